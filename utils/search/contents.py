"""What an index keeps of a recording: frames of the word head as int8, the sub-word head as uint8, and the words heard.

An hour of speech takes 45,000 frames of `dim` + 6 bytes (12 MB at 256 dimensions), 90,000 frames of a byte a unit (3.6 MB at 40
phones), and some 1 MB of words.
"""

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from utils.bundle.evidence import Evidence, Heard, Rows
from utils.bundle.recogniser import Recogniser
from utils.search.scoring import normaliser, relative

STEP = 1 / 16  # nats of a step of the sub-word head's scores; what is 16 nats below a frame's best unit is as good as never
Arc = Tuple[str, float, float, float]  # word, start, end in seconds from the start of the window, posterior


@dataclass(frozen=True)
class Window:
    """A part of a recording that was recognised by itself."""

    frames: np.ndarray  # (T2, dim) int8
    scale: np.ndarray  # (T2,) float32: multiplies `frames`
    normaliser: np.ndarray  # (T2,) float32, see utils.search.scoring
    subword: np.ndarray  # (T, units) uint8: steps below the best unit of each frame
    arcs: List[Arc]


def compact(evidence: Evidence, arcs: Sequence[Arc], table: Rows) -> Window:
    """A window as it is stored. table: the vocabulary."""
    highest = np.abs(evidence.frames).max(1, initial=0.0)
    scale = (np.maximum(highest, 1e-6) / 127).astype(np.float32)
    frames = np.rint(evidence.frames / scale[:, None]).astype(np.int8)
    norm = normaliser(evidence.frames, evidence.blank, table)
    steps = np.rint(-relative(evidence.subword) / STEP) if len(evidence.subword) else evidence.subword
    return Window(frames, scale, norm, np.minimum(steps, 255).astype(np.uint8), list(arcs))


def unpacked(subword: np.ndarray) -> np.ndarray:
    """(..., units) uint8 -> log-probabilities against the best unit of each frame, float32."""
    return subword.astype(np.float32) * np.float32(-STEP)


@dataclass(frozen=True)
class Indexed(Heard):
    """A transcript with what an index keeps of it."""

    window: Optional[Window] = None


class Listening:
    """In place of a recogniser for `utils.recognition`: its transcripts bring what an index keeps."""

    def __init__(self, recogniser: Recogniser, table: Optional[Rows] = None) -> None:
        """table: `recogniser.rows()`, if known."""
        self.language, self._recogniser = recogniser.language, recogniser
        self._table = recogniser.rows() if table is None else table

    def transcribe_many(self, recordings: Sequence[Tuple[np.ndarray, int]], **options: Any) -> List[Indexed]:
        """As `Recogniser.transcribe_many`."""
        heard = self._recogniser.hear(recordings)
        kept = [compact(one.evidence, one.arcs, self._table) for one in heard if one.evidence is not None]
        return [Indexed(one.words, [], one.seconds, window=window) for one, window in zip(heard, kept)]
