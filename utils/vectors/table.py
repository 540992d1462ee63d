"""The parts of the word-vector table that come from a word's form: its letters, and its phones.

A table is a dict of tensors; row = word id - 1, and words that only synthesised speech has come after the lexicon's:
  letters  (V, L) uint8 or int16: ids from 1, padded with 0
  phones   (V, K, P) uint8 or int16: likewise, of up to K pronunciations; zeros for a word without any
  phone_features  (1 + phones, F) float32, where the phones are in IPA: see utils/languages/phone_features.py
  meaning  (V, D) float32, and known (V,) bool: see meaning.py
"""

from typing import List, Mapping, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

PRONUNCIATIONS = 4  # of a word, at most


def spelling(words: Sequence[str]) -> Tuple[Tensor, List[str]]:
    """Letters of every word, (V, L), and the alphabet: its first symbol has id 1."""
    alphabet = sorted({letter for word in words for letter in word})
    return numbered(words, alphabet), alphabet


def pronunciation(words: Sequence[str], spoken: Mapping[str, Sequence[Sequence[str]]]) -> Tuple[Tensor, List[str]]:
    """Phones of every word, (V, K, P), and the alphabet of phones: its first has id 1.

    Args:
      spoken: word -> its pronunciations, of which the first `PRONUNCIATIONS` are used.
    """
    alphabet = sorted({phone for word in words for phones in spoken.get(word, ()) for phone in phones})
    return numbered_pronunciations([spoken.get(word, ()) for word in words], alphabet), alphabet


def numbered(sequences: Sequence[Sequence[str]], alphabet: Sequence[str]) -> Tensor:
    """Ids of symbols, padded with 0: (n, longest). Raises KeyError for a symbol that is not in the alphabet."""
    ids = {symbol: n for n, symbol in enumerate(alphabet, 1)}
    out = np.zeros((len(sequences), max(map(len, sequences), default=0)), np.uint8 if len(alphabet) < 256 else np.int16)
    for row, sequence in enumerate(sequences):
        out[row, : len(sequence)] = [ids[symbol] for symbol in sequence]
    return torch.from_numpy(out)


def numbered_pronunciations(spoken: Sequence[Sequence[Sequence[str]]], alphabet: Sequence[str]) -> Tensor:
    """Ids of the phones of several words' pronunciations: (n, K, P)."""
    kept = [list(variants[:PRONUNCIATIONS]) for variants in spoken]
    most = max(map(len, kept), default=0)
    flat = numbered([phones for variants in kept for phones in variants + [()] * (most - len(variants))], alphabet)
    return flat.view(len(spoken), most, flat.shape[1])
