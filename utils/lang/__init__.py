"""Words and their units. Normalised sentences enter; lexicon, sub-word units, n-gram models, k2 graphs, vocabulary packs and the
audit of what can be trained and told apart leave.
"""
