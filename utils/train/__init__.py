"""Training. Cuts with features, a lexicon and a table of vectors enter. Batches, checkpoints and one averaged model leave.

Also models made from finished folders, and synthesised speech to train on.
"""
