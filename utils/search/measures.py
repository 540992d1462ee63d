"""Measures of term detection.

TWV as NIST defines it ("The Spoken Term Detection (STD) 2006 Evaluation Plan", section 3, and "OpenKWS13 Keyword Search
Evaluation Plan", 2013): of terms that are said at least once,

    TWV(threshold) = 1 - mean over terms of [P_miss + beta P_FA],  beta = 999.9,
    P_miss = misses / N_true,  P_FA = false alarms / (trials - N_true),  trials = one a second of speech.

ATWV is TWV at the threshold that a system chose, MTWV the maximum over one threshold for all terms, OTWV the mean over terms of
the maximum over a threshold of each term. Average precision and P@N are those of TREC (Buckley and Voorhees 2000); N is the
number of true occurrences of a term.
"""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

BETA = 999.9
TOLERANCE = 0.5  # seconds by which a hit's middle may lie outside an occurrence (STD 2006, section 3.2)


@dataclass(frozen=True)
class Scored:
    """The hits of one term, and how often it was said."""

    scores: np.ndarray  # (H,) more is surer
    right: np.ndarray  # (H,) bool: whether each hit is an occurrence; each occurrence has at most one right hit
    true: int  # occurrences


def matched(hits: Sequence[Tuple[float, float, float]], said: Sequence[Tuple[float, float]]) -> np.ndarray:
    """Which hits in one recording are occurrences: the best ones first, each occurrence once.

    Args:
      hits: score, start, end in seconds.
      said: start, end of the occurrences.
    Returns:
      (H,) bool.
    """
    right, left = np.zeros(len(hits), bool), list(said)
    for n in sorted(range(len(hits)), key=lambda n: -hits[n][0]):
        middle = (hits[n][1] + hits[n][2]) / 2
        near = [span for span in left if span[0] - TOLERANCE <= middle <= span[1] + TOLERANCE]
        if near:
            left.remove(min(near, key=lambda span: abs(span[0] + span[1] - 2 * middle)))
            right[n] = True
    return right


def twv(terms: Sequence[Scored], trials: float, threshold: float) -> float:
    """TWV at one threshold: hits with at least this score count."""
    return 1 - float(np.mean([_cost(t.right[t.scores >= threshold], t.true, trials) for t in _said(terms)]))


def mtwv(terms: Sequence[Scored], trials: float) -> Tuple[float, float]:
    """The highest TWV of one threshold for all terms, and that threshold; 0 and infinity where no hit is worth it."""
    said = _said(terms)
    scores, gains = np.concatenate([t.scores for t in said]), np.concatenate([_gains(t, trials) for t in said])
    if not len(scores):
        return 0.0, np.inf
    order = np.argsort(-scores, kind="stable")
    scores, total = scores[order], np.cumsum(gains[order]) / len(said)
    ends = np.append(scores[1:] < scores[:-1], True)  # equal scores stand or fall together
    best = int(np.argmax(np.where(ends, total, -np.inf)))
    return (float(total[best]), float(scores[best])) if total[best] > 0 else (0.0, np.inf)


def otwv(terms: Sequence[Scored], trials: float) -> float:
    """The highest TWV where each term has a threshold of its own."""
    return float(np.mean([mtwv([term], trials)[0] for term in _said(terms)]))


def average_precision(term: Scored) -> float:
    """Mean over the occurrences of the precision at each; 0 for those that no hit has. Equal scores share their places."""
    if not len(term.scores):
        return 0.0
    order = np.lexsort((term.right, -term.scores))  # the wrong ones first among equals: never better than it is
    right = term.right[order]
    return float((np.cumsum(right)[right] / (np.flatnonzero(right) + 1)).sum() / term.true)


def precision_at_n(term: Scored) -> float:
    """Share of right ones among the first N hits, N being the number of occurrences."""
    order = np.lexsort((term.right, -term.scores))[: term.true]
    return float(term.right[order].sum() / term.true)


def detection_curve(terms: Sequence[Scored], trials: float, most: int = 200) -> List[Tuple[float, float, float]]:
    """Threshold, P_FA and P_miss, each the mean over terms, at up to `most` thresholds from high to low (NIST's DET curve)."""
    said = _said(terms)
    scores = np.unique(np.concatenate([t.scores for t in said]))[::-1]
    chosen = (
        scores[np.unique(np.linspace(0, len(scores) - 1, min(most, len(scores))).round().astype(int))] if len(scores) else scores
    )
    out = []
    for threshold in chosen.tolist():
        hits = [t.right[t.scores >= threshold] for t in said]
        alarms = np.mean([(~h).sum() / (trials - t.true) for h, t in zip(hits, said)])
        out.append((threshold, float(alarms), float(np.mean([1 - h.sum() / t.true for h, t in zip(hits, said)]))))
    return out


def summary(terms: Sequence[Scored], trials: float) -> Dict[str, float]:
    """MAP, P@N, MTWV with its threshold, and OTWV of terms that were said."""
    said, (highest, threshold) = _said(terms), mtwv(terms, trials)
    return {
        "terms": len(said),
        "map": float(np.mean([average_precision(t) for t in said])),
        "p_at_n": float(np.mean([precision_at_n(t) for t in said])),
        "mtwv": highest,
        "threshold": threshold,
        "otwv": otwv(said, trials),
    }


def term_threshold(probabilities: np.ndarray, trials: float) -> float:
    """The threshold on a term's probabilities that maximises its expected TWV (Miller et al. 2007, equation 4).

    A hit is worth 1 / N_true where it is right and costs beta / (trials - N_true) where it is wrong; N_true is expected to be
    the sum of the probabilities.
    """
    expected = float(probabilities.sum())
    return BETA * expected / (trials + (BETA - 1) * expected)


def _said(terms: Sequence[Scored]) -> List[Scored]:
    return [term for term in terms if term.true]


def _gains(term: Scored, trials: float) -> np.ndarray:
    """What each hit adds to the TWV of its term."""
    return np.where(term.right, 1 / term.true, -BETA / (trials - term.true))


def _cost(right: np.ndarray, true: int, trials: float) -> float:
    return 1 - right.sum() / true + BETA * (~right).sum() / (trials - true)
