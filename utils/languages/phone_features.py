"""Articulatory features of phones in IPA, so that a phone has a place among others before anybody has said it.

The table is that of PanPhon 0.22.2 (Mortensen et al. 2016, COLING, pages 3475 to 3484; MIT licence): of its segments, those with
one mark at most, or with two of which one is length. Each of 24 features is present (+), absent (-) or without meaning (0). It
stands here as a file, because PanPhon itself needs pandas.
"""

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Collection, Dict, List, Sequence

import numpy as np

FEATURES = 24
WIDTH = 2 * FEATURES  # of the first and of the last segment of a phone: those of a diphthong or affricate differ
_TABLE = Path(__file__).parent / "phone_features.tsv"
_VALUES = {"+": 1.0, "-": -1.0, "0": 0.0}
_OTHERS = str.maketrans({"g": "ɡ", "ɚ": "ə", "ɝ": "ɜ", "ᵻ": "ɨ", "ʦ": "ts", "ʧ": "tʃ", "ʤ": "dʒ"})  # segments that it lacks


def segments(phone: str) -> List[str]:
    """The segments of a phone that have features: two of a diphthong or an affricate; none of what is no IPA."""
    table, found = _segments(), []
    text = unicodedata.normalize("NFD", phone.translate(_OTHERS))
    while text:
        size = next((n for n in range(min(len(text), 5), 0, -1) if text[:n] in table), 0)
        if size:
            found.append(text[:size])
        text = text[size or 1 :]  # tones and other marks have no features
    return found


def features(phone: str) -> np.ndarray:
    """Features of a phone, (WIDTH,): 1, -1 or 0; all 0 for one without a known segment."""
    table, found = _segments(), segments(phone)
    return np.concatenate((table[found[0]], table[found[-1]])) if found else np.zeros(WIDTH, np.float32)


def nearest(phone: str, others: Collection[str]) -> str:
    """Of other phones the one whose features differ least from a phone's; "" where it or all others have no features."""
    own = features(phone)
    distances = [(float(np.abs(features(other) - own).sum()), other) for other in others if own.any() and segments(other)]
    return min(distances, default=(0.0, ""))[1]


def of_alphabet(phones: Sequence[str]) -> np.ndarray:
    """Features of an alphabet of phones whose ids begin at 1, (1 + n, WIDTH): row 0 has none."""
    return np.stack([np.zeros(WIDTH, np.float32), *map(features, phones)])


@lru_cache(maxsize=None)
def _segments() -> Dict[str, np.ndarray]:
    lines = _TABLE.read_text(encoding="utf-8").splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return {segment: np.array([_VALUES[v] for v in values], np.float32) for segment, values in rows}
