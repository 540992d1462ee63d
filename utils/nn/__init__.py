"""The network and its losses. Feature tensors and targets enter; log-probabilities, frames in the word-vector space, losses and CTC
alignments leave.
"""
