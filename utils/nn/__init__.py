"""The network and its losses. Feature tensors and targets enter. Log-probabilities, frames in the word-vector space, losses and
CTC alignments leave.
"""
