"""Arcs of a k2.FsaVec as arrays."""

from typing import Any, Tuple

import numpy as np
import torch


def some(lattices: Any, first: int, last: int) -> Any:
    """Lattices `first` to `last` (not included) of a k2.FsaVec."""
    import k2

    if (first, last) == (0, lattices.shape[0]):
        return lattices
    return k2.index_fsa(lattices, torch.arange(first, last, dtype=torch.int32))


def arc_edges(fsas: Any) -> torch.Tensor:
    """Where the arcs of each FSA of a k2.FsaVec begin, and where those of the last one end: (N + 1,) int64.

    Indexing the vector, the usual way to find out, fails on ragged attributes if the last FSAs are empty.
    """
    shape = fsas.arcs.shape()
    return shape.row_splits(2).long()[shape.row_splits(1).long()]


def arc_labels(lattices: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Words of all arcs, concatenated, and where those of each arc begin: (W,), (num_arcs + 1,). An arc may have several."""
    import k2

    labels = lattices.aux_labels
    if isinstance(labels, k2.RaggedTensor):
        values, splits = labels.values.numpy(), labels.shape.row_splits(1).numpy()
    else:
        values, splits = labels.numpy(), np.arange(len(labels) + 1)
    keep = values > 0  # neither epsilon nor the -1 of final arcs
    return values[keep], np.concatenate(([0], np.cumsum(keep)))[splits]
