"""Hypotheses scored again. Lattices and n-best lists enter; scores of every link of the chain, weights tuned on dev, confidences
and the words chosen leave. Also the words that are added to a trained model.
"""
