"""From scores of a hit to the probability that the term is said there: logistic regression (Platt 1999).

The scores of a hit say little alone: short words score high everywhere. So it is also judged against the weaker candidates of its
term. The stronger ones don't count, because a word may be said often.
"""

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy.optimize import minimize

RIDGE = 10.0  # L2 penalty on the weights of standardised features: dev sets are small
MARGIN = 1.0  # nats
LEAST = 1e-6  # in place of a sum of nothing
FAINT = 1e-3  # posterior of a word that no hypothesis has, and what one lacks to certainty


@dataclass(frozen=True)
class Calibration:
    """Log-odds of a hit = bias + weights . features."""

    weights: Sequence[float]
    bias: float

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Log-odds (H,) of hits (H, features)."""
        return features @ np.array(self.weights) + self.bias


def features(vectors: np.ndarray, sounds: np.ndarray, units: int, posterior: np.ndarray) -> np.ndarray:
    """What is known of the H hits of one term: (H, 7).

    Args:
      vectors, sounds: (H,), scores of utils.search.scoring.
      units: of the term's pronunciation.
      posterior: (H,), of the words heard at the place of the hit.
    """
    both = vectors + sounds
    rows = [vectors, sounds, sounds / np.sqrt(units), np.full(len(both), np.log(units))]
    likely = np.clip(posterior, FAINT, 1 - FAINT)
    rows += [_above(both, 0.5), _above(both, 1.0), np.log(likely / (1 - likely))]
    return np.stack(rows, 1)


def _above(scores: np.ndarray, scale: float) -> np.ndarray:
    """How far each hit is above the sum of exp of the hits that are more than MARGIN weaker, natural log."""
    if not len(scores):
        return scores
    order = np.argsort(scores)
    ascending = scores[order]
    scaled = scale * (ascending - ascending[-1])
    sums = np.concatenate(([0.0], np.cumsum(np.exp(scaled))))
    out = np.empty(len(scores))
    out[order] = scaled - np.log(sums[np.searchsorted(ascending, ascending - MARGIN, side="right")] + LEAST)
    return out


def fit(features: np.ndarray, right: np.ndarray) -> Calibration:
    """Weights from hits (H, features) of dev, and whether each is right: (H,) bool."""
    mean, spread = features.mean(0), features.std(0)
    spread[spread < 1e-6] = np.inf  # what is the same in all hits says nothing: its weight is 0
    x = np.concatenate(((features - mean) / spread, np.ones((len(features), 1))), 1)
    y = np.where(right, 1.0, -1.0)

    def loss(w: np.ndarray) -> "tuple[float, np.ndarray]":
        margin, kept = y * (x @ w), np.append(w[:-1], 0.0)
        slope = -y / (1 + np.exp(np.clip(margin, -500, 500)))
        return np.logaddexp(0, -margin).sum() + RIDGE / 2 * (kept @ kept), x.T @ slope + RIDGE * kept

    w = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    weights = w[:-1] / spread
    return Calibration(weights.round(4).tolist(), round(float(w[-1] - weights @ mean), 4))


def log_odds(probability: float) -> float:
    """The reverse of the logistic function."""
    p = min(1 - 1e-9, max(1e-9, probability))
    return float(np.log(p / (1 - p)))
