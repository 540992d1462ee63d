"""Words of the model that occur like an added one: named ones, or those with the nearest vectors."""

from pathlib import Path
from typing import Dict, Sequence

import torch
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.lang.lexicon import Lexicon
from utils.vectors.meaning import stored_vectors
from utils.vectors.processing import of_trained

MOST = 3000  # words that get n-grams
# nearest words, and temperature of their weights; dev perplexity hardly depends on them
NEIGHBOURS, SPREAD = 10, 0.1


def alike(words: Sequence[str], named: Sequence[str], path: Path, lexicon: Lexicon) -> Dict[str, Dict[str, float]]:
    """Which words of the model each added word occurs like, for NGram.with_words.

    Args:
      named: these words, for all added ones alike. If empty, the `NEIGHBOURS` words with the nearest vectors, weighted by the
        softmax of their cosines over `SPREAD`; an added word without a vector is left out.
      path: of the vectors: a vectors file, a language model's folder, or a GGUF file.
    Returns:
      added word -> word of the model -> weight; the weights sum to 1.
    Raises:
      UserError: a named word that the model doesn't have; vectors that can't be used.
    """
    lost = [word for word in named if word not in lexicon.word_id]
    if lost:
        raise UserError(f"--like: the model itself doesn't have {', '.join(lost)}; name words of its training text")
    if named:
        return {word: {other: 1 / len(set(named)) for other in named} for word in words}
    every, trained = [*lexicon.words, *words], len(lexicon.words)
    if not path.exists():
        raise UserError(f"--like-vectors {path}: there is no such file or folder")
    if len(words) > MOST:
        raise UserError(f"--like-vectors makes n-grams for {MOST} words at most, not {len(words)}; leave it out")
    source = "llm" if path.is_dir() or path.suffix == ".gguf" else "file"
    stored = stored_vectors(source, every, str(path))
    known, found = stored.known, of_trained(stored.vectors, stored.known, trained, 0, f"--like-vectors {path}")
    found = F.normalize(found, dim=-1)
    own = torch.from_numpy(known[:trained]).nonzero()[:, 0]
    known_vectors, out = found[own], {}
    for n, word in enumerate(words, trained):
        if known[n]:
            cosines, nearest = (known_vectors @ found[n]).topk(min(NEIGHBOURS, len(own)))
            likes = [lexicon.words[i] for i in own[nearest].tolist()]
            out[word] = dict(zip(likes, (cosines / SPREAD).softmax(0).tolist()))
    return out
