"""Weights of the log-linear model, tuned on dev by minimum risk annealing (Smith and Eisner 2006).

The expected errors, where each path is as probable as its score says, are a smooth function of the weights (equation 3). L-BFGS
minimises it first for flat probabilities, then from there for sharper ones, which have many local minima.
"""

from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.optimize import minimize

from utils.rescore.rescoring import FEATURES, Lists, choose, totals
from utils.rescore.scores import SCORES

BY_NAME = {score.name: score for score in SCORES}
SHARPNESS = (0.25, 0.5, 1.0, 2.0)  # by which scores are multiplied to become log-probabilities
TIES = (3.0, 1.0, 0.3, 0.1)  # errors that one weight costs when it is one spread away from its usual value
FOLDS, REPEATS = 5, 3


def tune(lists: Lists, names: Sequence[str]) -> Tuple[Dict[str, float], int]:
    """The best weights of the scores `names`.

    A small dev set is easily overfitted. So the weights are tied to their usual values. How firmly, and how sharp the
    probabilities are, is chosen by repeated cross-validation: the fewest errors on utterances that the weights were not tuned on.

    Returns:
      the weights, and the errors on these lists with them.
    """
    random, parts = np.random.default_rng(0), []
    for _ in range(REPEATS):
        fold = random.permutation(len(lists.splits) - 1) % FOLDS
        folds = [fold == n for n in range(FOLDS)]
        parts += [(_some(lists, ~there), _some(lists, there)) for there in folds if there.any() and not there.all()]

    held_out = np.zeros((len(TIES), len(SHARPNESS)))
    for n, tie in enumerate(TIES):
        for here, there in parts:
            held_out[n] += [_errors(there, weights) for weights in _annealed(here, names, tie)]
    tie, sharpness = np.unravel_index(held_out.argmin(), held_out.shape)  # among equals the firmest and flattest
    found = _annealed(lists, names, TIES[tie])[sharpness]
    return found, _errors(lists, found)


def risk(weights: np.ndarray, columns: np.ndarray, base: np.ndarray, lists: Lists, sharpness: float) -> Tuple[float, np.ndarray]:
    """Expected errors of all utterances (equation 3).

    Args:
      weights: (K,).
      columns: (P, K), the scores that they weigh.
      base: (P,), the rest of each path's score, natural log.
      sharpness: a path's probability is proportional to exp(sharpness * score).
    Returns:
      the risk, and its gradient (K,).
    """
    first, counts = lists.splits[:-1], np.diff(lists.splits)
    scores = sharpness * (base + columns @ weights)
    shares = np.exp(scores - np.repeat(np.maximum.reduceat(scores, first), counts))
    shares /= np.repeat(np.add.reduceat(shares, first), counts)
    expected = np.add.reduceat(shares * lists.errors, first)
    return float(expected.sum()), sharpness * ((shares * (lists.errors - np.repeat(expected, counts))) @ columns)


def _annealed(lists: Lists, names: Sequence[str], tie: float) -> List[Dict[str, float]]:
    """The best weights for each sharpness."""
    base = totals(lists, dict.fromkeys(names, 0.0))
    columns = lists.scores[:, [1 + FEATURES.index(name) for name in names]]
    usual, spread = (np.array([getattr(BY_NAME[name], key) for name in names]) for key in ("usual", "spread"))

    def cost(weights: np.ndarray, sharpness: float) -> Tuple[float, np.ndarray]:
        away = (weights - usual) / spread
        value, slope = risk(weights, columns, base, lists, sharpness)
        return value + tie * away @ away, slope + 2 * tie * away / spread

    bounds: List[Tuple[Optional[float], None]] = [(None if BY_NAME[name].signed else 0.0, None) for name in names]
    found = [usual]
    for sharpness in SHARPNESS:
        found.append(minimize(cost, found[-1], (sharpness,), jac=True, method="L-BFGS-B", bounds=bounds).x)
    return [dict(zip(names, weights.round(4).tolist())) for weights in found[1:]]


def _errors(lists: Lists, weights: Dict[str, float]) -> int:
    return int(lists.errors[choose(lists, weights)].sum())


def _some(lists: Lists, chosen: np.ndarray) -> Lists:
    """The lists of the utterances where `chosen`, (U,) bool, is true."""
    counts = np.diff(lists.splits)
    paths = np.repeat(chosen, counts)
    return Lists(lists.scores[paths], np.concatenate(([0], np.cumsum(counts[chosen]))), lists.errors[paths])
