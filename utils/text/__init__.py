"""What is written: normalisers, sentences of text files, and the alignment of hypotheses with references. Raw text enters;
normalised words and error rates leave.
"""
