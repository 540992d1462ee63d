"""Enter: work, its pieces, a choice of what makes them. Leave: the pieces' files, the same bytes from forks and from the workers
of a Dask cluster; one clear error that names the piece and the worker.
"""
