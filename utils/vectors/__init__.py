"""The word-vector table: words, vectors files, language models and text in; the parts of each word's vector out.

Also the modules that compose the parts, and the score of speech frames against the table.
"""
