"""Findings before training: out-of-vocabulary words, speaking rate, words that cannot be distinguished."""

from collections import Counter, defaultdict
from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np
from lhotse.augmentation import Speed

from utils.lang.feasibility import Need
from utils.lang.lexicon import Lexicon

FEWEST_FRAMES = 2.0  # with fewer there is no room for a blank next to the symbol
MOST_WORDS = 20_000  # whose vectors are compared, all with all
MOST_PAIRS = 1000  # that are listed
BLOCK = 1024


def oov(cuts: Iterable, known: Iterable[str]) -> Dict[str, Any]:
    """Words of a split that the lexicon lacks: counts of types and tokens, and the missing words by falling frequency."""
    counts = Counter(word for cut in cuts for word in cut.supervisions[0].text.split())
    known = set(known)
    missing = {word: n for word, n in counts.items() if word not in known}
    return {
        "types": len(counts),
        "oov_types": len(missing),
        "tokens": sum(counts.values()),
        "oov_tokens": sum(missing.values()),
        "words": sorted(missing, key=lambda word: (-missing[word], word)),
    }


def unperturbed(cuts: Iterable) -> List:
    """The cuts at their own speed."""
    return [cut for cut in cuts if not any(isinstance(t, Speed) for t in cut.recording.transforms or [])]


def speaking_rate(cuts: Iterable) -> Dict[str, float]:
    """Words a second: percentiles over the utterances, and the mean over all of the audio."""
    words, seconds = np.array([(len(cut.supervisions[0].text.split()), cut.duration) for cut in cuts], dtype=float).T
    return {**_percentiles(words / seconds, (1, 10, 50, 90, 99)), "mean": float(words.sum() / seconds.sum())}


def frames_a_symbol(rows: Sequence[Need]) -> Dict[str, float]:
    """Frames of one head for each one needed: percentiles over the utterances, and the share of those under `FEWEST_FRAMES`."""
    ratio = np.array([row.frames / row.needed for row in rows if row.needed])
    return {**_percentiles(ratio, (1, 10, 50)), "few": float((ratio < FEWEST_FRAMES).mean())}


def homophones(lexicon: Lexicon) -> List[List[str]]:
    """Groups of words with the same unit sequence: the sub-word head can't tell them apart, only the language model can."""
    groups: Dict[Tuple[str, ...], List[str]] = defaultdict(list)
    for word, units in lexicon.entries:
        groups[units].append(word)
    return sorted(sorted(set(group)) for group in groups.values() if len(set(group)) > 1)


def close_vectors(
    words: Sequence[str], vectors: np.ndarray, known: np.ndarray, counts: Dict[str, int], threshold: float
) -> Tuple[List[Tuple[str, str, float]], int]:
    """Pairs of words whose vectors' cosine is above `threshold`: the `MOST_PAIRS` closest, closest first, and how many there are.

    Args:
      vectors: (V, D), row i of words[i].
      known: (V,) bool; rows without a vector are passed over.
      counts: word -> occurrences in the training text: the `MOST_WORDS` most frequent are compared.
    """
    rows = sorted(np.flatnonzero(known), key=lambda i: (-counts.get(words[i], 0), i))[:MOST_WORDS]
    x = vectors[rows].astype(np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    pairs: List[Tuple[str, str, float]] = []
    total = 0
    for start in range(0, len(rows), BLOCK):
        cosines = x[start : start + BLOCK] @ x[start:].T
        above = np.triu(cosines > threshold, 1)  # each pair once
        total += int(above.sum())
        where = np.argwhere(above)
        where = where[np.argsort(-cosines[above], kind="stable")[:MOST_PAIRS]]
        pairs += [(words[rows[start + i]], words[rows[start + j]], round(float(cosines[i, j]), 4)) for i, j in where]
        pairs = sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))[:MOST_PAIRS]
    return pairs, total


def _percentiles(values: np.ndarray, at: Sequence[int]) -> Dict[str, float]:
    found = np.percentile(values, at) if len(values) else np.zeros(len(at))
    return {f"p{p}": round(float(v), 3) for p, v in zip(at, found)}
