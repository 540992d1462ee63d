"""A hypothesis of a lattice."""

from dataclasses import dataclass
from typing import Tuple


@dataclass
class Hypothesis:
    """One word sequence of a lattice, on its best sampled path."""

    words: Tuple[int, ...]  # word ids
    am: float  # acoustic score, natural log
    lm: float  # graph's LM score, natural log, unscaled
    starts: Tuple[int, ...]  # frame at which each word is entered; empty if not known
    frames: int
