"""The word-vector table. Words, vectors files, language models and text enter; the parts of each word's vector leave, the modules
that compose them, and the score of speech frames against the table.
"""
