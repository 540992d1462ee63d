"""Late words that are asked for together compete for their places, as words compete when they are decoded.

A word sounds like others: `number` like `numbers`, and the vocabulary may have neither. Alone, each is probable where either is
said; together, the probabilities of words at one place sum to at most 1.
"""

import numpy as np

FAINT = -7.0  # log-odds of hits that take nothing from others
SHARED = 0.5  # of the shorter of two hits: those that share more are at one place
TILE = 1 << 20  # most pairs of hits that are compared at once


def compete(odds: np.ndarray, word: np.ndarray, window: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Log-odds of hits among others: p_i = exp(odds_i) / (1 + sum of exp(odds_j) over itself and all hits j at its place).

    Args:
      odds: (H,) of each hit alone.
      word: (H,) a number for each word; hits of one word do not compete.
      window, start, end: (H,) where each is; seconds.
    """
    out = odds.copy()
    strong = np.flatnonzero(odds > FAINT)
    strong = strong[np.argsort(window[strong], kind="stable")]
    for own in np.split(strong, np.flatnonzero(np.diff(window[strong])) + 1):
        weight, length = np.exp(np.minimum(odds[own], 50.0)), end[own] - start[own]
        size = max(1, TILE // max(1, len(own)))
        for at in range(0, len(own), size):
            part = slice(at, at + size)
            shared = np.minimum(end[own][part, None], end[own]) - np.maximum(start[own][part, None], start[own])
            rivals = shared > SHARED * np.minimum(length[part, None], length)
            rivals &= word[own][part, None] != word[own]
            out[own[part]] -= np.log1p(rivals @ weight)
    return out
