"""What the network says of a recording before any graph, and the words that it can be scored with: what search works on."""

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

import numpy as np

from utils.bundle.transcript import Transcript


@dataclass(frozen=True)
class Evidence:
    """The outputs of both heads for one recording."""

    subword: np.ndarray  # (T, units) float32, log-probabilities, blank first; (0, 0) without a sub-word head, and for a click
    frames: np.ndarray  # (T2, dim) float32, in the word-vector space, multiplied by the scale; (0, 0) without a word head
    blank: np.ndarray  # (T2,) float32, score of the blank beside `frames` @ vectors.T + bias
    subword_seconds: float  # a frame of `subword`
    word_seconds: float  # a frame of `frames`
    seconds: float  # of the recording
    features: Optional[np.ndarray] = None  # (T, C) float32, of the front end, where they were asked for


@dataclass(frozen=True)
class Rows:
    """Words as rows of the bundle's table of word vectors, with their pronunciations."""

    words: List[str]
    vectors: np.ndarray  # (W, dim) float32, unit length; a row of zeros where the bundle has no word head
    bias: np.ndarray  # (W,) float32, added to the scores of the words
    spoken: List[List[List[int]]]  # of each word its pronunciations, as ids of `Recogniser.units`


@dataclass(frozen=True)
class Heard(Transcript):
    """A transcript with what it was found from."""

    evidence: Optional[Evidence] = None
    arcs: List[Tuple[str, float, float, float]] = field(default_factory=list)  # word, start, end, posterior: all likely words
