"""Training. Cuts with features, a lexicon and a table of vectors enter; batches, checkpoints and finally one averaged model leave.
Also models made from finished folders, and synthesised speech to train on.
"""
