"""Weights of the log-linear model, tuned on dev by minimum risk: the errors that are expected where each path is as probable as its
score says (Smith and Eisner 2006, equation 3), a smooth function of the weights, which L-BFGS minimises.
"""

from itertools import product
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.optimize import minimize

from utils.rescoring import FEATURES, Lists, choose, totals

USUAL = {"lm": 1.0, "word": 1.0, "penalty": 0.0, "unknown": 0.0, "added": 0.0, "word_lm": 1.0, "attention": 1.0, "llm": 1.0}
SPREAD = {"lm": 0.5, "word": 1.0, "penalty": 1.0, "unknown": 3.0, "added": 3.0, "word_lm": 0.5, "attention": 1.0, "llm": 0.5}
COUNTS = ("penalty", "unknown", "added")  # of words: their weights may be negative
SHARPNESS = (0.5, 1.0, 2.0)  # of the scores where they become probabilities
TIES = (0.03, 0.1, 0.3, 1.0)  # errors that it costs to have one weight a spread away from the usual one
FOLDS, REPEATS = 5, 3


def tune(lists: Lists, names: Sequence[str]) -> Tuple[Dict[str, float], int]:
    """The weights of `names`, keys of USUAL.

    A small dev set is soon fitted by chance. So the weights are tied to usual ones, and how firmly, and how sharp the
    probabilities are, is what makes the fewest errors in repeated cross-validation, on utterances that the weights were not
    tuned on.

    Returns:
      the weights, and the errors on these lists with them.
    """
    random, parts = np.random.default_rng(0), []
    for _ in range(REPEATS):
        fold = random.permutation(len(lists.splits) - 1) % FOLDS
        folds = [fold == n for n in range(FOLDS)]
        parts += [(_some(lists, ~there), _some(lists, there)) for there in folds if there.any() and not there.all()]

    def held_out(setting: Tuple[float, float]) -> int:
        return sum(_errors(there, _fit(here, names, *setting)) for here, there in parts)

    found = _fit(lists, names, *min(product(SHARPNESS, reversed(TIES)), key=held_out))
    return found, _errors(lists, found)


def risk(
    weights: np.ndarray, columns: np.ndarray, base: np.ndarray, lists: Lists, sharpness: float
) -> Tuple[float, np.ndarray]:
    """Expected errors of all utterances, and their gradient.

    Args:
      weights: (K,); columns: (P, K), what they weigh of each path.
      base: (P,), the rest of each path's score, natural log.
      sharpness: paths have probabilities that are as exp(sharpness * score).
    """
    first, counts = lists.splits[:-1], np.diff(lists.splits)
    scores = sharpness * (base + columns @ weights)
    shares = np.exp(scores - np.repeat(np.maximum.reduceat(scores, first), counts))
    shares /= np.repeat(np.add.reduceat(shares, first), counts)
    expected = np.add.reduceat(shares * lists.errors, first)
    return float(expected.sum()), sharpness * ((shares * (lists.errors - np.repeat(expected, counts))) @ columns)


def _fit(lists: Lists, names: Sequence[str], sharpness: float, tie: float) -> Dict[str, float]:
    base = totals(lists, dict.fromkeys(names, 0.0))
    columns = lists.scores[:, [1 + FEATURES.index(name) for name in names]]
    usual, spread = (np.array([table[name] for name in names]) for table in (USUAL, SPREAD))

    def cost(weights: np.ndarray) -> Tuple[float, np.ndarray]:
        away = (weights - usual) / spread
        value, slope = risk(weights, columns, base, lists, sharpness)
        return value + tie * away @ away, slope + 2 * tie * away / spread

    bounds: List[Tuple[Optional[float], None]] = [(None if name in COUNTS else 0.0, None) for name in names]
    return dict(zip(names, minimize(cost, usual, jac=True, method="L-BFGS-B", bounds=bounds).x.round(4).tolist()))


def _errors(lists: Lists, weights: Dict[str, float]) -> int:
    return int(lists.errors[choose(lists, weights)].sum())


def _some(lists: Lists, chosen: np.ndarray) -> Lists:
    """The lists of the utterances that `chosen` (U,) names."""
    counts = np.diff(lists.splits)
    paths = np.repeat(chosen, counts)
    return Lists(lists.scores[paths], np.concatenate(([0], np.cumsum(counts[chosen]))), lists.errors[paths])
