"""Rescoring of whole lattices: the word head's score of its span on every arc, hence posteriors and occurrences."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import kaldialign
import numpy as np
import torch

from utils.core.timing import timed
from utils.decode.posteriors import oracle, word_posteriors
from utils.decode.word_lattice import WordLattice, word_lattices
from utils.lang.lexicon import Lexicon
from utils.rescore.confidence import Calibration, calibrate, correct
from utils.rescore.rescoring import FEATURES, vector
from utils.vectors.wordscore import arc_scores

PARTS = ("am", *FEATURES[:6])  # of an arc's score
SCALES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)  # above 1 where paths that say the same are many
FLOOR = 0.05  # posterior of an occurrence that is worth a line
Row = Dict[str, Any]
View = Callable[[int, List[int]], Tuple[torch.Tensor, Dict[str, float]]]  # utterance, words -> log-probabilities, heard


class WholeLattices:
    """Reads the word lattices of a batch with some weights."""

    def __init__(
        self, lexicon: Lexicon, trained: int, frame_ratio: float, frame_seconds: float, settings: Sequence[float]
    ) -> None:
        """
        Args:
          trained: how many of the lexicon's words training knew; those behind were added.
          frame_ratio: frames of the word head a frame of the lattices.
          frame_seconds: of the lattices.
          settings: what the lattices were made with: the LM's scale, and the beam that they are held to.
        """
        self.lexicon, self.trained, self.frame_ratio, self.frame_seconds = lexicon, trained, frame_ratio, frame_seconds
        self.settings = settings
        self.letters = np.array([0, *map(len, lexicon.words), 0, 0])  # of each word id; #0 and <unk> have none

    def read(
        self,
        lattices: Any,
        view: Optional[View],
        weights: Dict[str, float],
        scales: Sequence[float],
        seconds: Dict[str, float],
    ) -> List[Row]:
        """A row an utterance: `path`, the best one as in an n-best list; `heard`, as `view` gives it; `scales`, of each scale
        `posteriors` of the best path's words, and `occurrences` of words: word, first and last second, posterior.

        Args:
          lattices: k2.FsaVec.
          view: the word head's; None without one.
          weights: of `utils.rescore.rescoring.FEATURES`.
          scales: of the scores where they become probabilities.
          seconds: to which the time is added.
        """
        rows, by_weight = [], vector(weights)[: len(PARTS)]
        with timed(seconds, "whole_lattice"):
            for n, lattice in enumerate(word_lattices(lattices, *self.settings)):
                parts, heard = self._parts(lattice, view, n)
                scores = parts @ by_weight
                best = lattice.best(scores)
                said = lattice.words[best]
                words = self.lexicon.ids_to_words(said.tolist())
                path = {"words": words, **{name: round(value, 4) for name, value in zip(PARTS[:3], parts[best].sum(0).tolist())}}
                by_scale = {f"{scale:g}": self._at(lattice, scale * scores, said[said > 0].tolist()) for scale in scales}
                rows.append({"path": path, "heard": heard, "scales": by_scale})
        return rows

    def oracles(self, lattices: Any, references: Sequence[Sequence[str]]) -> List[int]:
        """Fewest word errors of any path of each lattice."""
        ids = [[self.lexicon.word_id.get(word, -1) for word in reference] for reference in references]
        return [oracle(lattice, ref) for lattice, ref in zip(word_lattices(lattices, *self.settings), ids)]

    def _parts(self, lattice: WordLattice, view: Optional[View], n: int) -> Tuple[np.ndarray, Dict[str, float]]:
        """What the arcs' scores are made of (A, PARTS), and the word head's highest score of each word there."""
        ids, unknown, heard = lattice.words, self.lexicon.unknown_id if self.lexicon.unknown else -1, {}
        counts = (ids > 0, self.letters[ids], ids == unknown, (ids > self.trained) & (ids != unknown))
        parts = np.stack((lattice.am, lattice.lm, np.zeros(len(ids)), *counts), 1)
        occurring = sorted(set(ids.tolist()) - {0, unknown})
        if view is not None and occurring:
            log_probs, heard = view(n, occurring)
            columns = np.where(np.isin(ids, occurring), np.searchsorted(occurring, ids), -1)
            spans = (torch.from_numpy(part) for part in (columns, *lattice.spans()))
            parts[:, 2] = arc_scores(log_probs[:, 1:] - log_probs[:, :1], *spans, self.frame_ratio)
        return parts, heard

    def _at(self, lattice: WordLattice, scores: np.ndarray, best: Sequence[int]) -> Dict[str, Any]:
        hits = lattice.occurrences(lattice.posteriors(scores), FLOOR)
        names = self.lexicon.ids_to_words([hit[0] for hit in hits])
        return {
            "posteriors": [round(p, 4) for p in word_posteriors(lattice, scores, best)],
            "occurrences": [
                [name, round(first * self.frame_seconds, 3), round(last * self.frame_seconds, 3), round(p, 4)]
                for name, (_, first, last, p) in zip(names, hits)
            ],
        }


def errors(rows: Sequence[Row]) -> int:
    """Word errors of the best paths."""
    return sum(kaldialign.edit_distance(row["ref"], row["path"]["words"])["total"] for row in rows)


def calibrated(rows: Sequence[Row], scales: Sequence[float]) -> Calibration:
    """Confidences of the best paths' words, fitted on dev, at the one of some scales that fits best."""
    right = [hit for row in rows for hit in correct(row["ref"], row["path"]["words"])]
    return calibrate({scale: evidence(rows, scale) for scale in scales}, np.array(right))


def evidence(rows: Sequence[Row], scale: float) -> Tuple[np.ndarray, np.ndarray]:
    """Posterior and the word head's highest score of all words of the best paths, what `Calibration` reads."""
    posterior = [p for row in rows for p in row["scales"][f"{scale:g}"]["posteriors"]]
    heard = [row["heard"].get(word, 0.0) for row in rows for word in row["path"]["words"]]
    return np.array(posterior), np.array(heard)
