"""Log-linear rescoring of n-best lists. utils/rescore/tuning.py finds the weights."""

from dataclasses import dataclass, replace
from typing import List, Mapping, Sequence

import numpy as np

from utils.rescore.nbest_lists import NBestList
from utils.rescore.scores import SCORES, Kinds
from utils.text.scoring import edits

NO_KINDS = Kinds()
FEATURES = tuple(score.name for score in SCORES)  # what is weighed of a path, beside the acoustic score


@dataclass
class Lists:
    """The paths of all utterances of a split in one table."""

    scores: np.ndarray  # (P, 1 + FEATURES): the acoustic score, then FEATURES
    splits: np.ndarray  # (U + 1,): paths of utterance u are splits[u] .. splits[u + 1]
    errors: np.ndarray  # (P,): errors against the reference, in words or characters


def flatten(lists: Sequence[NBestList], kinds: Kinds = NO_KINDS) -> Lists:
    """Count every path's errors and stack its scores. A score that a path lacks is 0."""
    scores, errors, splits = [], [], [0]
    for one in lists:
        for path in one.paths:
            row = [path.scores["am"]]
            for score in SCORES:
                if score.of_word is None:
                    row.append(path.scores.get(score.name, 0.0))
                else:
                    row.append(sum(score.of_word(word, kinds) for word in path.words))
            scores.append(row)
            errors.append(edits(one.ref, path.words))
        splits.append(len(scores))
    return Lists(np.array(scores, dtype=float).reshape(-1, 1 + len(FEATURES)), np.array(splits), np.array(errors))


def pruned(lists: Sequence[NBestList], flat: Lists, weights: Mapping[str, float], count: int, margin: float) -> List[NBestList]:
    """The lists with only their best paths, in their old order.

    What the attention decoder proposed stays until that decoder has scored it: of new words the other scores say little.

    Args:
      flat: `lists`, flattened.
      weights: by which the paths are ranked.
      count: how many paths to keep at most.
      margin: how far below the best one's their total may be.
    """
    total = totals(flat, weights)
    kept = []
    for one, first, last in zip(lists, flat.splits, flat.splits[1:]):
        own = total[first:last]
        best = {n for n in np.argsort(-own, kind="stable")[:count].tolist() if own[n] >= own.max() - margin}
        best |= {n for n, path in enumerate(one.paths) if path.scores.get("proposed") and "attention" not in path.scores}
        kept.append(replace(one, paths=[one.paths[n] for n in sorted(best)]))
    return kept


def totals(lists: Lists, weights: Mapping[str, float]) -> np.ndarray:
    """Every path's total score: (P,), natural log."""
    return lists.scores @ vector(weights)


def vector(weights: Mapping[str, float]) -> np.ndarray:
    """Weights in the order of `Lists.scores`: (1 + FEATURES,). Missing weights are 0; that of `lm` is 1."""
    return np.array([1.0, *(weights.get(name, float(name == "lm")) for name in FEATURES)])


def choose(lists: Lists, weights: Mapping[str, float]) -> np.ndarray:
    """Row of the best path of each utterance, (U,); among equals the first, which the first pass ranks highest."""
    total = totals(lists, weights)
    best = np.maximum.reduceat(total, lists.splits[:-1])
    hits = np.nonzero(total >= np.repeat(best, np.diff(lists.splits)))[0]
    return hits[np.unique(np.searchsorted(lists.splits, hits, side="right"), return_index=True)[1]]


def best_words(lists: Sequence[NBestList], chosen: np.ndarray, splits: np.ndarray) -> List[List[str]]:
    """The words of the chosen paths (U,), one list an utterance."""
    return [one.paths[c - s].words for one, c, s in zip(lists, chosen, splits)]
