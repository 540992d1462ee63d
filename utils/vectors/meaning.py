"""Meaning vectors of words, from the source that `vectors.meaning.source` names: one function for each source."""

import logging
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, List, Optional, Sequence

import numpy as np
import torch
from torch import Tensor

from utils.core.errors import UserError
from utils.text.sentences import Text, transcripts_normaliser
from utils.vectors.contexts import context_vectors
from utils.vectors.embedding_table import folder_licence, open_embedding_table
from utils.vectors.processing import Processing
from utils.vectors.vector_files import read_vectors

NO_LICENCE = "made here"


@dataclass(frozen=True)
class SourceVectors:
    """Raw vectors of words."""

    vectors: np.ndarray  # (V, D)
    known: np.ndarray  # (V,) bool: which words the source has
    licence: str  # of the source, as far as it is known


@dataclass(frozen=True)
class Meaning:
    """Processed vectors of a table's words."""

    vectors: Tensor  # (V, width) float32; zeros for words that the source lacks
    known: Tensor  # (V,) bool
    processing: Processing
    licence: str


def meaning(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> Meaning:
    """Vectors of a table's words.

    Args:
      words: the table's words in order.
      sentences: the training text, for the sources that learn from it.
      config: of `source_config`.
    Raises:
      UserError: the source is missing, damaged or has none of the words.
    """
    found = SOURCES[config.source](words, sentences, config)
    if not found.known.any():
        where = f"vectors.meaning.path={config.path}"
        raise UserError(f"{where}: it has none of the {len(words)} words; is it of another language?")
    processing = Processing.learn(np.asarray(found.vectors, dtype=np.float32)[found.known], config.remove, config.width)
    return Meaning(processing.of(found.vectors, found.known), torch.from_numpy(found.known), processing, found.licence)


def source_config(config: SimpleNamespace, data: Path, kept: Optional[Path] = None) -> SimpleNamespace:
    """The group `vectors.meaning`, with `normalise` (makes a line of text like the transcripts) and `kept`.

    Args:
      config: the whole configuration of the stage.
      data: folder of stage 0.
      kept: file that an interrupted run resumes from.
    """
    return SimpleNamespace(**vars(config.vectors.meaning), normalise=transcripts_normaliser(data), kept=kept)


def stored_vectors(source: str, words: Sequence[str], path: str) -> SourceVectors:
    """Raw vectors of words from a vectors file, or the mean of their tokens' embeddings in a language model.

    Args:
      source: file or llm.
    Raises:
      UserError: what lies at `path` can't be used.
    """
    return SOURCES[source](words, [], SimpleNamespace(path=path, mode="table", pooling="mean"))


def random_vectors(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> SourceVectors:
    """A control: normally distributed vectors that depend on nothing but the word and the seed."""
    rows = [np.random.default_rng([config.seed, zlib.crc32(word.encode())]).standard_normal(config.dim) for word in words]
    return SourceVectors(np.stack(rows), np.ones(len(words), bool), NO_LICENCE)


def fasttext(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> SourceVectors:
    """fastText (Bojanowski et al. 2017), trained on the training text, and on the text at `config.path`.

    Every word has a vector, if only from its letters. One worker gives the same vectors each time.
    """
    from gensim.models import FastText

    logging.getLogger("gensim").setLevel(logging.WARNING)
    text = Text(sentences, config.path, config.normalise, "vectors.meaning.path")
    model = FastText(
        sentences=text,
        vector_size=config.dim,
        window=5,
        min_count=5 if config.path else 1,
        sg=1,
        epochs=5 if config.path else 20,
        workers=config.workers,
        seed=config.seed,
        hashfxn=lambda text: zlib.crc32(text.encode()),
        bucket=100_000,
    )
    licence = f"made here, of the training text and {config.path}" if config.path else NO_LICENCE
    return SourceVectors(np.stack([model.wv[word] for word in words]), np.ones(len(words), bool), licence)


def from_file(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> SourceVectors:
    """A vectors file: see `read_vectors`."""
    found = read_vectors(Path(config.path), words)
    dim = len(next(iter(found.values()))) if found else 1
    rows = np.stack([found.get(word, np.zeros(dim)) for word in words])
    known = np.array([word in found for word in words])
    return SourceVectors(rows, known, "not stated in a vectors file: see where it was published")


def language_model(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> SourceVectors:
    """A language model: the embeddings of a word's tokens, pooled (mode table), or its hidden states (mode context)."""
    if config.mode == "context":
        vectors, known = context_vectors(config.path, words, sentences, config.layer, config.kept)
        return SourceVectors(vectors, known, folder_licence(Path(config.path)))
    table = open_embedding_table(config.path)
    vectors, known = table.vectors(words, config.pooling, sentences)
    return SourceVectors(vectors, known, table.licence)


SOURCES: Dict[str, Callable[[Sequence[str], Sequence[List[str]], SimpleNamespace], SourceVectors]] = {
    "random": random_vectors,
    "fasttext": fasttext,
    "file": from_file,
    "llm": language_model,
}
