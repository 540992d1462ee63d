"""Coherence: how well the vector of a phrase fits those of the other candidates."""

from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Set

import numpy as np

from utils.core.errors import UserError
from utils.keywords.candidates import Candidate

COMMON = 3000  # frequent words of the language, by which vectors are centred
OTHERS = 50  # the best candidates, which the others are compared with


def word_vectors(path: Path, words: Sequence[str], common: Sequence[str]) -> Dict[str, np.ndarray]:
    """Vectors (D,) of unit length of the words that a source of meaning has, centred by the common words of the language.

    Args:
      path: a vectors file, a language model's folder, or a GGUF file.
      common: frequent words of the language.
    Raises:
      UserError: there is nothing at `path`, it can't be used, or it has none of the words.
    """
    from utils.vectors.meaning import stored_vectors
    from utils.vectors.processing import of_trained

    if not path.exists():
        raise UserError(f"--vectors {path}: there is no such file or folder")
    every = list(dict.fromkeys([*common, *words]))
    common = every[: len(set(common))]
    found = stored_vectors("llm" if path.is_dir() or path.suffix == ".gguf" else "file", every, str(path))
    rows = of_trained(found.vectors, found.known, len(common), 0, f"--vectors {path}").numpy()
    norms = np.linalg.norm(rows, axis=1)
    return {word: row / norm for word, row, norm in zip(every, rows, norms) if norm > 0}


def coherence(
    candidates: Sequence[Candidate], weights: Sequence[float], vectors: Mapping[str, np.ndarray]
) -> List[Optional[float]]:
    """Cosine of each candidate's vector with the sum of those of the `OTHERS` best candidates that share no word with it.

    A phrase's vector is the mean of its words'.

    Args:
      weights: of each candidate in the sum, and which are best: their scores without coherence.
    Returns:
      None for a candidate whose words have no vector, or that has nothing to be compared with.
    """
    rows = {n: row for n, row in enumerate(_phrase(one.phrase, vectors) for one in candidates) if row is not None}
    best = sorted(rows, key=lambda n: -weights[n])[:OTHERS]
    parts = {n: weights[n] * rows[n] for n in best}
    total = sum(parts.values(), np.zeros(1))
    of_word: Dict[str, Set[int]] = {}
    for n in best:
        for word in candidates[n].phrase:
            of_word.setdefault(word, set()).add(n)
    out: List[Optional[float]] = [None] * len(candidates)
    for n, row in rows.items():
        own = {other for word in candidates[n].phrase for other in of_word.get(word, ())}
        rest = total - sum((parts[other] for other in own), np.zeros_like(row))
        norm = float(np.linalg.norm(rest))
        out[n] = float(row @ rest) / norm if len(own) < len(best) and norm > 0 else None
    return out


def _phrase(phrase: Sequence[str], vectors: Mapping[str, np.ndarray]) -> Optional[np.ndarray]:
    known = [vectors[word] for word in phrase if word in vectors]
    if not known:
        return None
    mean = np.mean(known, axis=0)
    norm = float(np.linalg.norm(mean))
    return mean / norm if norm > 0 else None
