"""Vectors files of GloVe, word2vec and fastText, of which only the wanted words are kept."""

import re
from pathlib import Path
from typing import Dict, Sequence

import numpy as np

from utils.core.errors import UserError
from utils.text.normalise import folded
from utils.text.text_files import lines

SEPARATOR = re.compile("[ \t]+")
FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")  # what fastText's own binary files begin with


def read_vectors(path: Path, words: Sequence[str]) -> Dict[str, np.ndarray]:
    """Vectors (D,) of those of the words that the file has, if only with other letters: New, don’t, ещё for new, don't, еще.

    Args:
      path: text (`.gz` too), or binary (`.bin`: word2vec's format, or fastText's own, which composes unknown words from letters).
    Raises:
      UserError: the file is missing, cut short or damaged; a wanted word's vector has a number that is not finite.
    """
    found = _binary(path, words) if path.suffix == ".bin" else _text(path, words)
    for word, vector in found.items():
        if not np.isfinite(vector).all():
            raise UserError(f"{path}: '{word}' has a number that is not finite (NaN, or infinite); download or train it again")
    return found


def _text(path: Path, words: Sequence[str]) -> Dict[str, np.ndarray]:
    """A word a line with its numbers, separated by spaces or tabs; word2vec and fastText have a first line: count, D."""
    wanted, dim, headed = set(words), 0, False
    found: Dict[str, np.ndarray] = {}
    alike: Dict[str, np.ndarray] = {}  # of words that the file has with other letters
    for number, line in enumerate(lines(path), 1):
        parts = SEPARATOR.split(line.rstrip("\r\n \t"))
        if number == 1 and len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit():
            dim, headed = int(parts[1]), True
            continue
        dim = dim or len(parts) - 1
        if dim < 1:
            raise UserError(f"{path}, line {number}: no number after the word; is it a file of word vectors?")
        if len(parts) < dim + 1:
            raise UserError(
                f"{path}, line {number}: {len(parts) - 1} numbers after the word, {dim} expected; the file is ragged "
                "or cut short: download it again"
            )
        word = " ".join(parts[:-dim])  # GloVe 840B and fastText have words with spaces
        if not headed and len(parts) > dim + 1 and _is_number(parts[-dim - 1]) and _is_number(parts[1]):
            raise UserError(f"{path}, line {number}: {len(parts) - 1} numbers after the word, {dim} expected; the file is ragged")
        kept = found if word in wanted else alike
        word = word if word in wanted else _alike(word)
        if word in wanted and word not in kept:
            try:
                kept[word] = np.array(parts[-dim:], dtype=np.float32)
            except ValueError:
                raise UserError(f"{path}, line {number}: '{word}' has something that is not a number") from None
    return {**alike, **found}


def _binary(path: Path, words: Sequence[str]) -> Dict[str, np.ndarray]:
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_vectors

    with open(path, "rb") as stream:
        is_fasttext = stream.read(4) == FASTTEXT_MAGIC
    try:
        vectors = (
            load_facebook_vectors(str(path))
            if is_fasttext
            # word2vec cuts words at 100 bytes, if need be inside a letter
            else KeyedVectors.load_word2vec_format(str(path), binary=True, unicode_errors="replace")
        )
    except (EOFError, ValueError, UnicodeDecodeError, NotImplementedError, AssertionError) as error:
        raise UserError(f"{path} is not a complete word2vec or fastText binary file ({error}); download it again") from None
    written = {word: word for word in words if is_fasttext or word in vectors}
    lost = set(words) - set(written)
    for key in vectors.key_to_index if lost else ():
        if _alike(key) in lost:
            written.setdefault(_alike(key), key)
    return {word: vectors[key] for word, key in written.items()}


def _alike(word: str) -> str:
    """A word of a file in the letters that transcripts have."""
    return folded(word).replace("ё", "е")


def _is_number(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return False
