"""What an index keeps of a recording: frames of the word head as int8, the sub-word head as uint8, and the words heard.

An hour of speech takes 45,000 frames of `dim` + 10 bytes (12 MB at 256 dimensions), 90,000 frames of a byte a unit (3.6 MB at 40
phones), and some 1 MB of words.
"""

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from utils.bundle.evidence import Evidence, Heard, Rows
from utils.bundle.recogniser import Recogniser
from utils.search.paths import STEP
from utils.search.scoring import normaliser, relative

AT_ONCE = 1 << 12  # frames
Arc = Tuple[str, float, float, float]  # word, start, end in seconds from the start of the window, posterior


@dataclass(frozen=True)
class Window:
    """A part of a recording that was recognised by itself."""

    frames: np.ndarray  # (T2, dim) int8
    scale: np.ndarray  # (T2,) float32: multiplies `frames`
    normaliser: np.ndarray  # (T2,) float32, see utils.search.scoring
    speech: np.ndarray  # (T2,) float16, the probability that a word ends there
    subword: np.ndarray  # (T, units) uint8: steps below the best unit of each frame
    arcs: List[Arc]


def compact(evidence: Evidence, arcs: Sequence[Arc], table: Rows) -> Window:
    """A window as it is stored. table: the vocabulary."""
    highest = np.abs(evidence.frames).max(1, initial=0.0)
    scale = (np.maximum(highest, 1e-6) / 127).astype(np.float32)
    frames = np.rint(evidence.frames / scale[:, None]).astype(np.int8)
    norm = normaliser(evidence.frames, evidence.blank, table)
    steps = np.rint(-relative(evidence.subword) / STEP) if len(evidence.subword) else evidence.subword
    speech = -np.expm1(np.minimum(evidence.blank - norm, 0.0)).astype(np.float16)
    return Window(frames, scale, norm, speech, np.minimum(steps, 255).astype(np.uint8), list(arcs))


def speech_of(frames: np.ndarray, scale: np.ndarray, normalisers: np.ndarray, table: Rows) -> np.ndarray:
    """`Window.speech` of an index that was made before it was kept."""
    out, silent = np.empty(len(frames), np.float16), np.full(AT_ONCE, -np.inf, np.float32)
    for at in range(0, len(frames), AT_ONCE):
        part = frames[at : at + AT_ONCE].astype(np.float32) * scale[at : at + AT_ONCE, None]
        words = normaliser(part, silent[: len(part)], table)
        out[at : at + AT_ONCE] = np.exp(np.minimum(words - normalisers[at : at + AT_ONCE], 0.0))
    return out


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
