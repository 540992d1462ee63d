"""Processes that train one model together. The work of each enters; sums over all leave, or one error that names whose it is."""
