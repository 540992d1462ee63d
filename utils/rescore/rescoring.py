"""Log-linear rescoring of n-best lists; utils/rescore/tuning.py finds the weights."""

from dataclasses import dataclass
from typing import Collection, Dict, List, Sequence

import kaldialign
import numpy as np

from utils.lang.lexicon import UNKNOWN

READERS = ("word_lm", "attention", "llm")  # models that score the best paths alone, in this order
COUNTS = ("penalty", "letters", "unknown", "added", "proposed")  # no scores: their weights may be negative
FEATURES = ("lm", "word", *COUNTS, *READERS)  # of a path beside the acoustic score
Row = Dict  # of nbest-<split>.jsonl: id, ref, paths [{words, am, lm, word}]; behind READERS also theirs; `proposed` of some


@dataclass
class Lists:
    """All paths of a split, flat."""

    scores: np.ndarray  # (P, 1 + FEATURES): am, lm, word; numbers of words, of their letters, of words that no vocabulary has, of
    # those that a pack has; (1 + 1 / r) / 2 where the path is the attention decoder's r-th best itself; READERS
    splits: np.ndarray  # (U + 1,): paths of utterance u are splits[u] .. splits[u + 1]
    errors: np.ndarray  # (P,): word errors against the reference


def flatten(rows: Sequence[Row], added: Collection[str] = (), unknown: Collection[str] = (UNKNOWN,)) -> Lists:
    """Count every path's errors and stack the scores.

    Every unit that a hypothesis has costs it probability, in the acoustic models and in an attention decoder; the numbers of words
    and of letters make up for that.

    Args:
      added: words that were added to the trained model.
      unknown: those that neither it nor a pack has. That somebody added a word makes it likelier by far than that it was
        proposed, so each kind has a weight of its own.
    """
    scores, errors, splits = [], [], [0]
    for row in rows:
        for path in row["paths"]:
            words = path["words"]
            counts = [len(words), sum(len(word) for word in words if word != UNKNOWN)]
            counts += [sum(word in kind for word in words) if kind else 0 for kind in (unknown, added)]
            more = (path.get(key, 0.0) for key in ("proposed", *READERS))
            scores.append((path["am"], path["lm"], path.get("word", 0.0), *counts, *more))
            errors.append(kaldialign.edit_distance(row["ref"], path["words"])["total"])
        splits.append(len(scores))
    return Lists(np.array(scores).reshape(-1, 1 + len(FEATURES)), np.array(splits), np.array(errors))


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
    """Weights in the order of `Lists.scores`: (1 + FEATURES,). What is not among them has 0, but the LM 1."""
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
