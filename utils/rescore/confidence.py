"""Word confidences: a word's posterior among the rescored hypotheses and the word head's score of it, calibrated on dev."""

from dataclasses import dataclass
from typing import Dict, List, Mapping, Sequence, Tuple

import kaldialign
import numpy as np
from scipy.optimize import minimize

from utils.rescore.nbest_lists import NBestList
from utils.rescore.rescoring import Lists, best_words, choose, totals
from utils.text.scoring import GAP

SCALES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # by which a path's total score is multiplied to become a log-probability
BINS = 10  # of the reliability curve
FLOOR = 1e-4  # least probability
RIDGE = 1e-2  # L2 penalty on the calibration's weights: dev sets are small


def posteriors(shares: Sequence[Mapping[str, float]], words: Sequence[str]) -> List[float]:
    """Posterior of each word of a path: the share of the paths' probability that has the same word at its place.

    Args:
      shares: of its places, from `places`.
    """
    return [share.get(word, 0.0) for share, word in zip(shares, words)]


def places(nbest: NBestList, scores: np.ndarray, chosen: int, scale: float) -> List[Dict[str, float]]:
    """For each word of the chosen path, the words at its place in any path, each with its share of the paths' probability.

    Args:
      scores: (P,), the paths' totals with the tuned weights, natural log.
      chosen: index of the chosen path.
      scale: multiplies the scores. They are sums over frames that are not independent, so their differences are too large.
    """
    weights = np.exp(scale * (scores - scores.max()))
    weights /= weights.sum()
    words = nbest.paths[chosen].words
    shares: List[Dict[str, float]] = [{} for _ in words]
    for path, weight in zip(nbest.paths, weights.tolist()):
        if weight < FLOOR / 10:
            continue
        aligned = zip(words, words) if path.words == words else kaldialign.align(words, path.words, GAP)
        for place, other in zip(shares, (other for own, other in aligned if own != GAP)):
            place[other] = place.get(other, 0.0) + weight
    return shares


def correct(reference: Sequence[str], hypothesis: Sequence[str]) -> List[bool]:
    """Whether each recognised word is right: aligned with the same word of the reference."""
    return [ref == hyp for ref, hyp in kaldialign.align(list(reference), list(hypothesis), GAP) if hyp != GAP]


@dataclass(frozen=True)
class Calibration:
    """Logistic regression (Platt 1999) on the logit of a word's posterior and on the word head's log-probability."""

    scale: float  # as in `places`
    bias: float
    posterior: float
    log_prob: float

    def __call__(self, posterior: np.ndarray, log_prob: np.ndarray) -> np.ndarray:
        """Probability that each word is right: (n,), from (n,) and (n,)."""
        return 1 / (1 + np.exp(-_features(posterior, log_prob) @ np.array([self.bias, self.posterior, self.log_prob])))

    @staticmethod
    def of_weights(weights: Mapping[str, float]) -> "Calibration":
        """The reverse of `weights`."""
        return Calibration(weights["scale"], weights["bias"], weights["posterior"], weights["heard"])

    def weights(self) -> Dict[str, float]:
        """For the stage's weights.json."""
        return {"scale": self.scale, "bias": self.bias, "posterior": self.posterior, "heard": self.log_prob}


def calibrate(candidates: Dict[float, Tuple[np.ndarray, np.ndarray]], right: np.ndarray) -> Calibration:
    """Fit on dev.

    Args:
      candidates: scale -> posteriors and log-probabilities of all words, (n,) each; the scale of the highest likelihood is taken.
      right: (n,), whether each word is right. Where all or none are, nothing can be learned; the posterior is the confidence.
    """
    best, found = np.inf, Calibration(1.0, 0.0, 1.0, 0.0)
    if len(np.unique(right)) < 2:
        return found
    for scale, (posterior, log_prob) in candidates.items():
        x, y = _features(posterior, log_prob), np.where(right, 1.0, -1.0)

        def loss(w: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> Tuple[float, np.ndarray]:
            margin = y * (x @ w)
            slope = -y / (1 + np.exp(np.clip(margin, -500, 500)))
            return np.logaddexp(0, -margin).sum() + RIDGE * (w @ w), x.T @ slope + 2 * RIDGE * w

        fitted = minimize(loss, np.array([0.0, 1.0, 0.0]), jac=True, method="L-BFGS-B")
        if fitted.fun < best:
            best, found = fitted.fun, Calibration(scale, *fitted.x.tolist())
    return found


def _features(posterior: np.ndarray, log_prob: np.ndarray) -> np.ndarray:
    p = np.clip(posterior, FLOOR, 1 - FLOOR)
    return np.stack((np.ones(len(p)), np.log(p / (1 - p)), log_prob), 1)


def quality(confidence: np.ndarray, right: np.ndarray) -> Dict[str, float]:
    """How good confidences (n,) are, against whether each word is right (n,).

    Returns:
      ece: expected calibration error over ten bins of equal width, percent (Naeini et al. 2015).
      nce: normalised cross entropy (NIST; Siu et al. 1997): 1 for perfect confidences, 0 for those that say no more than the
      share of right words, negative for worse ones.
    """
    p, y = np.clip(confidence, FLOOR, 1 - FLOOR), np.asarray(right, dtype=float)
    ece = sum(share * abs(said - true) for said, true, share in reliability(confidence, right))
    base = np.clip(y.mean(), FLOOR, 1 - FLOOR)
    entropy = -(y * np.log(base) + (1 - y) * np.log(1 - base)).sum()
    cross = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()
    return {"ece": round(float(100 * ece), 3), "nce": round(float(1 - cross / entropy), 4)}


def reliability(confidence: np.ndarray, right: np.ndarray) -> List[Tuple[float, float, float]]:
    """Mean confidence, share of right words, and share of all words, of each bin that has words."""
    number = np.minimum((np.asarray(confidence) * BINS).astype(int), BINS - 1)
    y = np.asarray(right, dtype=float)
    return [
        (float(np.mean(confidence[number == n])), float(y[number == n].mean()), float((number == n).mean()))
        for n in range(BINS)
        if (number == n).any()
    ]


class Confidences:
    """Confidences of the words that some weights choose in each utterance of a split."""

    def __init__(self, lists: Sequence[NBestList], flat: Lists, weights: Mapping[str, float]) -> None:
        """flat: `lists`, flattened."""
        self.lists, self.splits = lists, flat.splits
        self.totals = totals(flat, weights)
        self.rows = choose(flat, weights)
        self.words = best_words(lists, self.rows, flat.splits)
        self._places: Tuple[float, List[List[Dict[str, float]]]] = (0.0, [])  # of the last scale

    def calibrate(self) -> Calibration:
        """Fit on the references of these lists."""
        right = [hit for one, said in zip(self.lists, self.words) for hit in correct(one.ref, said)]
        return calibrate({scale: self._evidence(scale) for scale in SCALES}, np.array(right))

    def of_words(self, calibration: Calibration) -> List[List[float]]:
        """Confidence of each chosen word, from 0 to 1, one list an utterance."""
        flat = calibration(*self._evidence(calibration.scale)).round(4).tolist()
        edges = np.cumsum([0] + [len(words) for words in self.words])
        return [flat[a:b] for a, b in zip(edges, edges[1:])]

    def places(self, scale: float) -> List[List[Dict[str, float]]]:
        """`places` of each utterance."""
        if self._places[0] != scale:
            edges = zip(self.lists, self.rows, self.splits, self.splits[1:])
            found = [places(one, self.totals[first:last], int(row - first), scale) for one, row, first, last in edges]
            self._places = scale, found
        return self._places[1]

    def _evidence(self, scale: float) -> Tuple[np.ndarray, np.ndarray]:
        """Posteriors and the word head's log-probabilities of all chosen words, (n,) each."""
        posterior: List[float] = []
        log_probs: List[float] = []
        for one, words, shares in zip(self.lists, self.words, self.places(scale)):
            posterior += posteriors(shares, words)
            log_probs += [one.log_probs.get(word, 0.0) for word in words]
        return np.array(posterior), np.array(log_probs)
