"""Recordings and what is said in them. Audio files and Kaldi data directories enter; checked Lhotse manifests leave, with a list
of what was left out and why.
"""
