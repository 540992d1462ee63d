"""Published corpora that Lhotse has recipes for: where each one's files are, what it is asked for, which of them are missing.

`local/lhotse_recipe.py` is the module of local/ that reads them all; `table` has a row a corpus.
"""
