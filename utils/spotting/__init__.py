"""Spotting: keywords and wake words in recordings and streams, by their sounds and their word vectors together. A keyword
comes from text or from a few recordings; nothing is trained for it."""
