"""Rescoring of whole lattices: the word head scores every arc in its span. Hence best path, posteriors and occurrences."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from utils.core.files import read_jsonl, write_jsonl
from utils.core.timing import timed
from utils.decode.posteriors import oracle, word_posteriors
from utils.decode.word_lattice import WordLattice, word_lattices
from utils.lang.lexicon import Lexicon
from utils.rescore.confidence import Calibration, calibrate, correct
from utils.rescore.nbest_lists import ScoredPath
from utils.rescore.rescoring import FEATURES, vector
from utils.rescore.scores import SCORES, Kinds
from utils.text.scoring import edits
from utils.vectors.wordscore import arc_scores

OF_ARCS = [score for score in SCORES if score.of_arcs]
COLUMNS = [0, *(1 + FEATURES.index(score.name) for score in OF_ARCS)]  # of the acoustic score and these among all weights
SCALES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5)  # above 1 where many paths have the same words
FLOOR = 0.05  # occurrences with a lower posterior are dropped
View = Callable[[int, List[int]], Tuple[Tensor, Dict[str, float]]]  # `Rescorer.view` of one batch
Occurrence = Tuple[str, float, float, float]  # word, first and last second, posterior


@dataclass
class AtScale:
    """What a lattice says with its scores multiplied by one scale."""

    posteriors: List[float]  # of the best path's words
    occurrences: List[Occurrence]


@dataclass
class RescoredLattice:
    """The lattice of one utterance."""

    id: str
    ref: List[str]
    path: ScoredPath  # the best one
    log_probs: Dict[str, float]  # word -> the word head's highest log-probability in any frame
    scales: Dict[str, AtScale]  # by the scale, written as by `scale_key`
    oracle: Optional[int] = None  # fewest errors of any path, where it was asked for


def scale_key(scale: float) -> str:
    """A scale as a key."""
    return f"{scale:g}"


class WholeLattices:
    """Rescores the word lattices of a batch."""

    def __init__(
        self, lexicon: Lexicon, trained: int, frame_ratio: float, frame_seconds: float, settings: Tuple[float, float]
    ) -> None:
        """
        Args:
          trained: number of the lexicon's words that the trained model has; those after them were added.
          frame_ratio: frames of the word head a frame of the lattices.
          frame_seconds: length of a frame of the lattices.
          settings: what the lattices were made with: scale of the LM, output beam.
        """
        self.lexicon, self.frame_ratio, self.frame_seconds, self.settings = lexicon, frame_ratio, frame_seconds, settings
        kinds = Kinds(added=frozenset(lexicon.words[trained:]))
        self.counts = {s.name: np.array([0, *(s.of_word(word, kinds) for word in lexicon.words)]) for s in OF_ARCS if s.of_word}

    def read(
        self,
        lattices: Any,
        ids: Sequence[str],
        refs: Sequence[List[str]],
        view: Optional[View],
        weights: Mapping[str, float],
        scales: Sequence[float],
        seconds: Dict[str, float],
    ) -> List[RescoredLattice]:
        """Rescore each lattice.

        Args:
          lattices: k2.FsaVec.
          ids, refs: of the utterances.
          view: the word head's log-probabilities; None without a word head.
          weights: of the scores, by name.
          scales: by which totals are multiplied to become log-probabilities.
          seconds: to which the time is added.
        """
        out, by_weight = [], vector(weights)[COLUMNS]
        with timed(seconds, "whole_lattice"):
            for n, lattice in enumerate(word_lattices(lattices, *self.settings)):
                parts, log_probs = self._parts(lattice, view, n)
                scores = parts @ by_weight
                best = lattice.best(scores)
                said = lattice.words[best]
                sums = zip(("am", "lm", "word"), parts[best].sum(0).tolist())
                path = ScoredPath(self.lexicon.ids_to_words(said.tolist()), {name: round(value, 4) for name, value in sums})
                by_scale = {scale_key(scale): self._at(lattice, scale * scores, said[said > 0].tolist()) for scale in scales}
                out.append(RescoredLattice(ids[n], refs[n], path, log_probs, by_scale))
        return out

    def oracles(self, lattices: Any, references: Sequence[Sequence[str]]) -> List[int]:
        """Fewest word errors of any path of each lattice."""
        ids = [[self.lexicon.word_id.get(word, -1) for word in reference] for reference in references]
        return [oracle(lattice, ref) for lattice, ref in zip(word_lattices(lattices, *self.settings), ids)]

    def _parts(self, lattice: WordLattice, view: Optional[View], n: int) -> Tuple[np.ndarray, Dict[str, float]]:
        """The acoustic score and OF_ARCS of each arc, (A, 1 + OF_ARCS), and the word head's highest log-probabilities."""
        ids = lattice.words
        scores = {"lm": lattice.lm, "word": np.zeros(len(ids)), **{name: table[ids] for name, table in self.counts.items()}}
        log_probs: Dict[str, float] = {}
        occurring = sorted(set(ids.tolist()) - {0})
        if view is not None and occurring:
            frames, log_probs = view(n, occurring)
            columns = np.where(np.isin(ids, occurring), np.searchsorted(occurring, ids), -1)
            column, start, end = (torch.from_numpy(part) for part in (columns, *lattice.spans()))
            scores["word"] = arc_scores(frames[:, 1:] - frames[:, :1], column, start, end, self.frame_ratio).numpy()
        return np.stack((lattice.am, *(scores[score.name] for score in OF_ARCS)), 1), log_probs

    def _at(self, lattice: WordLattice, scores: np.ndarray, best: Sequence[int]) -> AtScale:
        hits = lattice.occurrences(lattice.posteriors(scores), FLOOR)
        names = self.lexicon.ids_to_words([hit[0] for hit in hits])
        found: List[Occurrence] = [
            (name, round(first * self.frame_seconds, 3), round(last * self.frame_seconds, 3), round(p, 4))
            for name, (_, first, last, p) in zip(names, hits)
        ]
        return AtScale([round(p, 4) for p in word_posteriors(lattice, scores, best)], found)


def errors(lattices: Sequence[RescoredLattice]) -> int:
    """Errors of the best paths, in words or characters."""
    return sum(edits(one.ref, one.path.words) for one in lattices)


def calibrated(lattices: Sequence[RescoredLattice], scales: Sequence[float]) -> Calibration:
    """Confidences of the best paths' words, fitted on dev, at the scale that fits best."""
    right = [hit for one in lattices for hit in correct(one.ref, one.path.words)]
    return calibrate({scale: evidence(lattices, scale) for scale in scales}, np.array(right))


def evidence(lattices: Sequence[RescoredLattice], scale: float) -> Tuple[np.ndarray, np.ndarray]:
    """Posteriors and log-probabilities of the best paths' words, (n,) each, as `Calibration` takes them."""
    posterior = [p for one in lattices for p in one.scales[scale_key(scale)].posteriors]
    log_probs = [one.log_probs.get(word, 0.0) for one in lattices for word in one.path.words]
    return np.array(posterior), np.array(log_probs)


def write_lattices(path: Path, lattices: Iterable[RescoredLattice]) -> None:
    """Write a line an utterance, atomically."""
    write_jsonl(path, map(asdict, lattices))


def read_lattices(path: Path) -> List[RescoredLattice]:
    """The reverse of `write_lattices`."""
    rows = read_jsonl(path)
    for row in rows:
        row["path"] = ScoredPath(**row["path"])
        row["scales"] = {key: AtScale(**at) for key, at in row["scales"].items()}
    return [RescoredLattice(**row) for row in rows]
