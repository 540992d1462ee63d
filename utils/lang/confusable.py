"""Confusable words: added words that a model can hardly tell from others, found without audio."""

import math
from collections import defaultdict
from typing import Dict, Iterator, List, Tuple

import torch
from torch import Tensor

from utils.lang.lexicon import Lexicon
from utils.lang.packs import Pack

LEAST = 0.02  # smallest expected confusion that is reported
MOST_WORDS = 10_000  # most added words that are compared with each other; more are only compared with the model's
BLOCK = 4096


def confusion(cosines: Tensor, scale: float) -> Tensor:
    """The share of the probability that another word gets if the speech lies exactly on the word's own vector.

    This is the two-word softmax of the word head: 1 / (1 + exp(scale (1 - cosine))), so 0.5 for words of the same vector.
    """
    return torch.sigmoid(scale * (cosines - 1))


def confusions(vectors: Tensor, others: Tensor, scale: float) -> Iterator[Tuple[int, int, float]]:
    """Pairs of rows with an expected confusion of at least `LEAST`, with its value.

    Args:
      vectors: (n, dim), unit length; others: (m, dim) likewise.
      scale: of the word head's cosines.
    """
    threshold = 1 - math.log(1 / LEAST - 1) / scale
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ others.T
        close = cosines > threshold
        rows, columns = torch.nonzero(close, as_tuple=True)
        yield from zip((rows + start).tolist(), columns.tolist(), confusion(cosines[close], scale).tolist())


def close_pairs(pack: Pack, lexicon: Lexicon, known: Tensor, scale: float) -> List[str]:
    """A line for each added word with the units of another word, or with a vector close to another's; worst first.

    Args:
      known: (V, dim), vectors of the lexicon's words.
      scale: of the word head's cosines.
    """
    same: Dict[Tuple[str, ...], List[str]] = defaultdict(list)
    for word, units in (*lexicon.entries, *pack.entries):
        same[units].append(word)
    found: List[Tuple[float, str]] = []
    for word, units in pack.entries:
        others = sorted(set(same[units]) - {word})
        if others:
            sounds = f"{word} sounds like {', '.join(others)} ({' '.join(units)})"
            found.append((1.0, f"{sounds}: only the language model tells them apart"))
    pairs = [(pack.words[n], lexicon.words[m], share) for n, m, share in confusions(pack.vectors, known, scale)]
    if len(pack.words) <= MOST_WORDS:
        among = confusions(pack.vectors, pack.vectors, scale)
        pairs += [(pack.words[n], pack.words[m], share) for n, m, share in among if n < m]
    found += [(share, f"{word} is close to {other}: expected confusion {100 * share:.0f}%") for word, other, share in pairs]
    return [line for _, line in sorted(found, key=lambda item: (-item[0], item[1]))]
