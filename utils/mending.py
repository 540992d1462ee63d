"""Words that no vocabulary has, replaced by those with the nearest vectors: what an attention decoder writes freely is often nearly
the word that was said, and vectors of how words sound tell which words that can be.
"""

from itertools import product
from typing import Dict, List, Sequence, Tuple

from torch import Tensor
from torch.nn import functional as F

PLACES = 4  # of a hypothesis at most that are mended: one with more says little
BLOCK = 256  # words at once, against the whole vocabulary


def nearest(vectors: Tensor, known: int, count: int) -> Dict[int, List[int]]:
    """The words that each unknown one may be: word id -> ids of known words with a cosine above 0, the nearest first.

    Args:
      vectors: (V, dim) of all words, those with ids 1 .. `known` first.
      count: how many at most.
    """
    unit, found = F.normalize(vectors.float(), dim=-1), {}
    for start in range(known, len(unit), BLOCK):
        cosines, places = (unit[start : start + BLOCK] @ unit[:known].T).topk(min(count, known))
        for n, row in enumerate(zip(cosines.tolist(), places.tolist()), start + 1):
            found[n] = [place + 1 for cosine, place in zip(*row) if cosine > 0]
    return found


def mended(hypotheses: Sequence[Tuple[int, ...]], near: Dict[int, List[int]], count: int) -> List[Tuple[int, ...]]:
    """The hypotheses that have unknown words with known ones in their place: each with the nearest, then one of them with the second
    nearest, and so on: as many ranks in all, from 0, as are below `count`.

    Args:
      hypotheses: word ids.
      near: unknown word's id -> known ones', as `nearest` finds them.
    """
    out: Dict[Tuple[int, ...], None] = {}
    for words in hypotheses:
        places = [n for n, word in enumerate(words) if word in near]
        if 0 < len(places) <= PLACES:
            for ranks in product(*(range(min(count, len(near[words[n]]))) for n in places)):
                if sum(ranks) < count:
                    chosen = dict(zip(places, ranks))
                    out[tuple(near[word][chosen[n]] if n in chosen else word for n, word in enumerate(words))] = None
    return list(out)
