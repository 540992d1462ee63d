"""n-best lists from lattices: word sequences with their scores and word times."""

from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import torch


@dataclass
class Path:
    """One word sequence of a lattice, on its best sampled path."""

    words: Tuple[int, ...]  # word ids
    am: float  # acoustic score, natural log
    lm: float  # graph's LM score, natural log, unscaled
    starts: Tuple[int, ...]  # frame at which each word is entered; none where that is not known
    frames: int


def nbest(lattices: Any, paths: int, scale: float, lm_scale: float) -> List[List[Path]]:
    """Sample paths from each lattice, join those of the same words, best first; the lattice's best path is always among them.

    Args:
      lattices: k2.FsaVec with the attributes `lm_scores` and `aux_labels`.
      paths: to sample for each lattice.
      scale: of the lattice's scores while sampling; below 1 the paths vary more.
      lm_scale: of the LM in the lattice's scores, taken out of `am`.
    """
    import k2

    values, splits = arc_labels(lattices)
    scores, lm = lattices.scores.detach().double().numpy(), lattices.lm_scores.detach().double().numpy()
    best = k2.shortest_path(_numbered(lattices), use_double_scores=True)
    flat = lattices.clone()
    flat.scores = lattices.scores.detach() * scale
    sampled = k2.random_paths(flat, use_double_scores=True, num_paths=paths)
    arcs = sampled.values.numpy()
    rows = sampled.shape.row_splits(2).numpy()  # path -> arcs
    utterances = sampled.shape.row_splits(1).numpy()  # utterance -> paths
    best_arcs, edges, out = best.arc_number.numpy(), arc_edges(best), []
    for n in range(lattices.shape[0]):
        found: Dict[Tuple[int, ...], Path] = {}
        first, last = utterances[n], utterances[n + 1]
        chosen = np.concatenate((arcs[rows[first] : rows[last]], best_arcs[edges[n] : edges[n + 1]]))
        starts = np.concatenate((rows[first : last + 1] - rows[first], [len(chosen)]))
        for length, words, frames, total, lm_score in _paths(chosen, starts, scores, lm, values, splits):
            if not length:
                continue
            one = Path(words, total - lm_scale * lm_score, lm_score, frames, length - 1)
            kept = found.get(one.words)
            if kept is None or one.am + lm_scale * one.lm > kept.am + lm_scale * kept.lm:
                found[one.words] = one
        out.append(sorted(found.values(), key=lambda p: -(p.am + lm_scale * p.lm)))
    return out


def some(lattices: Any, first: int, last: int) -> Any:
    """Lattices `first` to `last`, not included, of a vector."""
    import k2

    if (first, last) == (0, lattices.shape[0]):
        return lattices
    return k2.index_fsa(lattices, torch.arange(first, last, dtype=torch.int32))


def arc_edges(fsas: Any) -> torch.Tensor:
    """Where the arcs of each FSA of a vector begin, and where the last one's end: (N + 1,) int64.

    Taking one FSA out of the vector, k2's way to know, fails on ragged attributes where the last FSAs are empty.
    """
    shape = fsas.arcs.shape()
    return shape.row_splits(2).long()[shape.row_splits(1).long()]


def _numbered(lattices: Any) -> Any:
    """A copy whose arcs know their number."""
    copy = lattices.clone()
    copy.arc_number = torch.arange(copy.num_arcs, dtype=torch.int32)
    return copy


def arc_labels(lattices: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Words of all arcs one after the other, and where each arc's begin: (W,), (num_arcs + 1,). An arc may carry several."""
    import k2

    labels = lattices.aux_labels
    if isinstance(labels, k2.RaggedTensor):
        values, splits = labels.values.numpy(), labels.shape.row_splits(1).numpy()
    else:
        values, splits = labels.numpy(), np.arange(len(labels) + 1)
    keep = values > 0  # neither epsilon nor the -1 of final arcs
    return values[keep], np.concatenate(([0], np.cumsum(keep)))[splits]


def _paths(
    arcs: np.ndarray, starts: np.ndarray, scores: np.ndarray, lm: np.ndarray, values: np.ndarray, splits: np.ndarray
) -> Iterator[Tuple[int, Tuple[int, ...], Tuple[int, ...], float, float]]:
    """Of each path: number of arcs, words, the frame of each, score, LM score.

    Args:
      arcs: all paths' arcs, one after the other; those of path n are starts[n] .. starts[n + 1].
      scores, lm: (num_arcs,), of the lattices.
      values, splits: as `arc_labels` gives them.
    """
    counts = splits[arcs + 1] - splits[arcs]
    places = np.repeat(np.arange(len(arcs)), counts)  # of each word
    first = np.repeat(splits[arcs] - (np.cumsum(counts) - counts), counts)
    words = values[first + np.arange(len(places))].tolist()
    edges = np.searchsorted(places, starts).tolist()
    frames = (places - np.repeat(starts[:-1], np.diff(edges))).tolist()
    totals, lms = (np.concatenate(([0.0], np.cumsum(part[arcs])))[starts] for part in (scores, lm))
    for n, length in enumerate(np.diff(starts).tolist()):
        part = slice(edges[n], edges[n + 1])
        yield length, tuple(words[part]), tuple(frames[part]), float(totals[n + 1] - totals[n]), float(lms[n + 1] - lms[n])
