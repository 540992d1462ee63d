"""How sure a recognised word is: its posterior among the rescored hypotheses and the word head's score of it, calibrated on dev."""

from dataclasses import asdict, dataclass
from typing import Dict, List, Sequence, Tuple

import kaldialign
import numpy as np
from scipy.optimize import minimize

from utils.rescore.rescoring import Lists, best_words, choose, totals
from utils.text.scoring import GAP

SCALES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of a path's total score where it becomes a probability
BINS = 10  # of the reliability curve
FLOOR = 1e-4  # of probabilities
RIDGE = 1e-2  # on the calibration's weights: dev sets are small
Row = Dict  # of nbest-<split>.jsonl


def posteriors(row: Row, scores: np.ndarray, chosen: int, scale: float) -> List[float]:
    """Of each word of the chosen path: the share of the paths' probability that has the same word at its place.

    Args:
      scores: (P,), the paths' with the tuned weights, natural log.
      chosen: index of the path that was taken.
      scale: of the scores; paths' scores are sums over frames that aren't independent, hence too far apart.
    """
    weights = np.exp(scale * (scores - scores.max()))
    weights /= weights.sum()
    words = row["paths"][chosen]["words"]
    sums = np.zeros(len(words))
    for path, weight in zip(row["paths"], weights):
        if weight < FLOOR / 10:
            continue
        if path["words"] == words:
            sums += weight
            continue
        place = 0
        for own, other in kaldialign.align(words, path["words"], GAP):
            if own != GAP:
                sums[place] += weight * (own == other)
                place += 1
    return sums.tolist()


def correct(reference: Sequence[str], hypothesis: Sequence[str]) -> List[bool]:
    """Of each recognised word, whether it stands where the reference has it."""
    return [ref == hyp for ref, hyp in kaldialign.align(list(reference), list(hypothesis), GAP) if hyp != GAP]


@dataclass(frozen=True)
class Calibration:
    """Logistic regression (Platt 1999) on the logit of a word's posterior and on the word head's score of it."""

    scale: float  # of `posteriors`
    bias: float
    posterior: float
    heard: float

    def __call__(self, posterior: np.ndarray, heard: np.ndarray) -> np.ndarray:
        """Probability that the words are right: (n,) each."""
        return 1 / (1 + np.exp(-_features(posterior, heard) @ np.array([self.bias, self.posterior, self.heard])))

    def weights(self) -> Dict[str, float]:
        """For the stage's weights.json."""
        return asdict(self)


def calibrate(candidates: Dict[float, Tuple[np.ndarray, np.ndarray]], right: np.ndarray) -> Calibration:
    """Fit on dev.

    Args:
      candidates: scale -> posterior and word-head score of all words, (n,) each; the scale with the highest likelihood is taken.
      right: (n,), whether each word is; where all are, or none is, there is nothing to learn, and the posterior is taken as it is.
    """
    best, found = np.inf, Calibration(1.0, 0.0, 1.0, 0.0)
    if len(np.unique(right)) < 2:
        return found
    for scale, (posterior, heard) in candidates.items():
        x, y = _features(posterior, heard), np.where(right, 1.0, -1.0)

        def loss(w: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> Tuple[float, np.ndarray]:
            margin = y * (x @ w)
            slope = -y / (1 + np.exp(np.clip(margin, -500, 500)))
            return np.logaddexp(0, -margin).sum() + RIDGE * (w @ w), x.T @ slope + 2 * RIDGE * w

        fitted = minimize(loss, np.array([0.0, 1.0, 0.0]), jac=True, method="L-BFGS-B")
        if fitted.fun < best:
            best, found = fitted.fun, Calibration(scale, *fitted.x.tolist())
    return found


def _features(posterior: np.ndarray, heard: np.ndarray) -> np.ndarray:
    p = np.clip(posterior, FLOOR, 1 - FLOOR)
    return np.stack((np.ones(len(p)), np.log(p / (1 - p)), heard), 1)


def quality(confidence: np.ndarray, right: np.ndarray) -> Dict[str, float]:
    """How good confidences are on words of which it is known whether they are right.

    Returns:
      ece: expected calibration error over ten bins of equal width, percent (Naeini et al. 2015); nce: normalised cross entropy, 1
      for certainty, 0 for what the share of right words alone says, less where it is worse (NIST; Siu et al. 1997).
    """
    p, y = np.clip(confidence, FLOOR, 1 - FLOOR), np.asarray(right, dtype=float)
    ece = sum(share * abs(said - true) for said, true, share in reliability(confidence, right))
    base = np.clip(y.mean(), FLOOR, 1 - FLOOR)
    entropy = -(y * np.log(base) + (1 - y) * np.log(1 - base)).sum()
    cross = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()
    return {"ece": round(float(100 * ece), 3), "nce": round(float(1 - cross / entropy), 4)}


def reliability(confidence: np.ndarray, right: np.ndarray) -> List[Tuple[float, float, float]]:
    """Of each bin of confidences with words in it: mean confidence, share of right words, share of all words in it."""
    number = np.minimum((np.asarray(confidence) * BINS).astype(int), BINS - 1)
    y = np.asarray(right, dtype=float)
    return [
        (float(np.mean(confidence[number == n])), float(y[number == n].mean()), float((number == n).mean()))
        for n in range(BINS)
        if (number == n).any()
    ]


class Confidences:
    """How sure the words are that some weights choose in each utterance of a split."""

    def __init__(self, rows: Sequence[Row], lists: Lists, weights: Dict[str, float]) -> None:
        self.rows, self.splits = rows, lists.splits
        self.chosen, self.totals = choose(lists, weights), totals(lists, weights)

    def calibrate(self) -> Calibration:
        """On the references of these rows."""
        words = best_words(self.rows, self.chosen, self.splits)
        right = [hit for row, said in zip(self.rows, words) for hit in correct(row["ref"], said)]
        return calibrate({scale: self._evidence(scale) for scale in SCALES}, np.array(right))

    def of_words(self, calibration: Calibration) -> List[List[float]]:
        """Of each utterance, each word's confidence from 0 to 1."""
        flat = calibration(*self._evidence(calibration.scale)).round(4).tolist()
        edges = np.cumsum([0] + [len(words) for words in best_words(self.rows, self.chosen, self.splits)])
        return [flat[a:b] for a, b in zip(edges, edges[1:])]

    def _evidence(self, scale: float) -> Tuple[np.ndarray, np.ndarray]:
        """Posterior and the word head's score of all words."""
        posterior: List[float] = []
        heard: List[float] = []
        for n, row in enumerate(self.rows):
            first, last = self.splits[n], self.splits[n + 1]
            path = int(self.chosen[n] - first)
            posterior += posteriors(row, self.totals[first:last], path, scale)
            heard += [row.get("heard", {}).get(word, 0.0) for word in row["paths"][path]["words"]]
        return np.array(posterior), np.array(heard)
