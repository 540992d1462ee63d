"""n-best lists from lattices: word sequences with their scores and word times."""

from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import torch

from utils.lang.fsa import arc_edges, arc_labels
from utils.lang.hypothesis import Hypothesis


def nbest(lattices: Any, paths: int, scale: float, lm_scale: float) -> List[List[Hypothesis]]:
    """Sample paths from each lattice and merge those with the same words; best first, always with the best path of the lattice.

    Args:
      lattices: k2.FsaVec with the attributes `lm_scores` and `aux_labels`.
      paths: number of paths to sample from each lattice.
      scale: factor of the scores while sampling; below 1 the paths vary more.
      lm_scale: factor of the LM in the scores of the lattices, which is taken out for `am`.
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
        found: Dict[Tuple[int, ...], Hypothesis] = {}
        first, last = utterances[n], utterances[n + 1]
        chosen = np.concatenate((arcs[rows[first] : rows[last]], best_arcs[edges[n] : edges[n + 1]]))
        starts = np.concatenate((rows[first : last + 1] - rows[first], [len(chosen)]))
        for length, words, frames, total, lm_score in _paths(chosen, starts, scores, lm, values, splits):
            if not length:
                continue
            one = Hypothesis(words, total - lm_scale * lm_score, lm_score, frames, length - 1)
            kept = found.get(one.words)
            if kept is None or one.am + lm_scale * one.lm > kept.am + lm_scale * kept.lm:
                found[one.words] = one
        out.append(sorted(found.values(), key=lambda p: -(p.am + lm_scale * p.lm)))
    return out


def _numbered(lattices: Any) -> Any:
    """A copy whose arcs have their number as an attribute."""
    copy = lattices.clone()
    copy.arc_number = torch.arange(copy.num_arcs, dtype=torch.int32)
    return copy


def _paths(
    arcs: np.ndarray, starts: np.ndarray, scores: np.ndarray, lm: np.ndarray, values: np.ndarray, splits: np.ndarray
) -> Iterator[Tuple[int, Tuple[int, ...], Tuple[int, ...], float, float]]:
    """For each path: number of arcs, words, the frame of each word, score, LM score.

    Args:
      arcs: of all paths, concatenated; those of path n are starts[n] .. starts[n + 1].
      scores, lm: (num_arcs,), of the lattices.
      values, splits: from `arc_labels`.
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
