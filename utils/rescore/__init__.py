"""Lattices, n-best lists and models that score them enter; every score of a hypothesis, weights tuned on dev, confidences and the
chosen words leave. Also words added to a trained model, as vocabulary packs.
"""
