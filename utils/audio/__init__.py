"""Audio files as samples: what reads a file, what is odd about it, its samples in blocks, and where in them speech is. Files
enter, NumPy arrays leave; without torch, k2 and Lhotse.
"""
