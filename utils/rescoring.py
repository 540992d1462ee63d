"""Log-linear rescoring of n-best lists; every weight tuned on dev."""

from dataclasses import dataclass
from itertools import product
from typing import Collection, Dict, List, Optional, Sequence, Tuple

import kaldialign
import numpy as np
from scipy.ndimage import uniform_filter

from utils.lexicon import UNKNOWN

GRID: Dict[str, Sequence[float]] = {  # what tuning tries; the acoustic score has weight 1
    "lm": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0),
    "word": (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0),
    "penalty": (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
    "unknown": (-12.0, -9.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 9.0, 12.0),
    "added": (-12.0, -9.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 9.0, 12.0),
    "word_lm": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0),
    "attention": (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 8.0),
    "llm": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0),
}
USUAL = {"lm": 1.0, "word": 0.6, "penalty": 0.0, "unknown": 0.0, "added": 0.0, "word_lm": 1.0, "attention": 1.0, "llm": 1.0}
READERS = ("word_lm", "attention", "llm")  # models that score the best paths alone, in this order
FEATURES = ("lm", "word", "penalty", "unknown", "added", *READERS)  # of a path beside the acoustic score
Row = Dict  # of nbest-<split>.jsonl: id, ref, paths [{words, am, lm, word}]; behind READERS also theirs; `proposed` where so


@dataclass
class Lists:
    """All paths of a split, flat."""

    scores: np.ndarray  # (P, 9): am, lm, word, number of words, of which unknown, of which added to the trained model, READERS
    splits: np.ndarray  # (U + 1,): paths of utterance u are splits[u] .. splits[u + 1]
    errors: np.ndarray  # (P,): word errors against the reference


def flatten(rows: Sequence[Row], added: Collection[str] = ()) -> Lists:
    """Count every path's errors and stack the scores.

    Args:
      added: words that were added to the trained model.
    """
    scores, errors, splits = [], [], [0]
    for row in rows:
        for path in row["paths"]:
            words = path["words"]
            new = sum(word in added for word in words) if added else 0
            counts = (len(words), words.count(UNKNOWN), new)
            scores.append((path["am"], path["lm"], path.get("word", 0.0), *counts, *(path.get(link, 0.0) for link in READERS)))
            errors.append(kaldialign.edit_distance(row["ref"], path["words"])["total"])
        splits.append(len(scores))
    return Lists(np.array(scores).reshape(-1, 1 + len(FEATURES)), np.array(splits), np.array(errors))


def tune(lists: Lists, names: Sequence[str], fixed: Optional[Dict[str, float]] = None) -> Tuple[Dict[str, float], int]:
    """Weights with the fewest errors, over the grid of `names` (keys of GRID; others are `fixed`, or 0, but lm 1).

    Errors are smoothed over neighbouring weights before the choice, so that a lucky point on a small dev set is not taken; of all
    weights within one error of the best, those nearest to the usual ones are.

    Returns:
      the weights, those that were fixed among them, and the errors on these lists with them.
    """
    fixed = fixed or {}
    grids = [GRID[name] for name in names]
    errors = np.zeros([len(g) for g in grids])
    for index, values in zip(np.ndindex(*errors.shape), product(*grids)):
        errors[index] = lists.errors[choose(lists, {**fixed, **dict(zip(names, values))})].sum()
    smooth = uniform_filter(errors, 3, mode="nearest")
    best = np.argwhere(smooth <= smooth.min() + 1)
    usual = np.array([list(GRID[name]).index(USUAL[name]) for name in names])
    index = tuple(best[np.argmin(np.abs(best - usual).sum(1))])
    return {**fixed, **{name: grid[i] for name, grid, i in zip(names, grids, index)}}, int(errors[index])


def pruned(rows: Sequence[Row], lists: Lists, weights: Dict[str, float], count: int, margin: float) -> List[Row]:
    """The lists with their best paths under some weights alone, in the order that they have. What the attention decoder proposed
    stays until it has been read by it: where its words are new, the scores so far say little of them.

    Args:
      count: how many at most.
      margin: how far below the best one's their scores may be.
    """
    total = totals(lists, weights)
    kept = []
    for row, first, last in zip(rows, lists.splits, lists.splits[1:]):
        own = total[first:last]
        best = {n for n in np.argsort(-own, kind="stable")[:count].tolist() if own[n] >= own.max() - margin}
        best |= {n for n, path in enumerate(row["paths"]) if path.get("proposed") and "attention" not in path}
        kept.append({**row, "paths": [row["paths"][n] for n in sorted(best)]})
    return kept


def totals(lists: Lists, weights: Dict[str, float]) -> np.ndarray:
    """Every path's score with some weights: (P,), natural log."""
    return lists.scores @ vector(weights)


def vector(weights: Dict[str, float]) -> np.ndarray:
    """Weights in the order of `Lists.scores`: (9,). What is not among them has 0, but the LM 1."""
    return np.array([1.0, *(weights.get(name, float(name == "lm")) for name in FEATURES)])


def choose(lists: Lists, weights: Dict[str, float]) -> np.ndarray:
    """Index of the best path of each utterance; the first among equals, which is the first pass's."""
    total = totals(lists, weights)
    best = np.maximum.reduceat(total, lists.splits[:-1])
    hits = np.nonzero(total >= np.repeat(best, np.diff(lists.splits)))[0]
    return hits[np.unique(np.searchsorted(lists.splits, hits, side="right"), return_index=True)[1]]


def best_words(rows: Sequence[Row], chosen: np.ndarray, splits: np.ndarray) -> List[List[str]]:
    """The chosen paths' words, one list an utterance."""
    return [row["paths"][c - s]["words"] for row, c, s in zip(rows, chosen, splits)]
