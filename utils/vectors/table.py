"""Stage 3's word-vector tables: one function a source, all giving the same parts.

A table is a dict of tensors, row = word id - 1; behind the lexicon's words come those of no utterance (vectors.outside):
  letters  (V, L) uint8 or int16, ids from 1 padded with 0: what the letter encoder reads
  phones   (V, K, P) uint8, likewise, of up to K pronunciations; a word without one has none but zeros
  meaning  (V, D) float32, and known (V,) bool: whether the source has the word

A source gives raw vectors; `Processing` learns from the table's words what is done to them, and does it to words added later too.
"""

import logging
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from utils.core.errors import UserError
from utils.lang.units import cmudict
from utils.text.normalise import normaliser
from utils.text.sentences import Text, lines
from utils.vectors.contexts import context_vectors
from utils.vectors.embedding_table import folder_licence, open_embedding_table

Meaning = Tuple[np.ndarray, np.ndarray, str]  # (V, D), (V,) bool, licence


PRONUNCIATIONS = 4  # of one word, at most


def spelling(words: Sequence[str]) -> Tuple[Tensor, List[str]]:
    """Letters of every word, (V, L), and the alphabet: its first symbol has id 1."""
    alphabet = sorted({letter for word in words for letter in word})
    return numbered(words, alphabet), alphabet


def pronunciation(words: Sequence[str], spoken: Mapping[str, Sequence[Sequence[str]]]) -> Tuple[Tensor, List[str]]:
    """Phones of every word, (V, K, P), and the alphabet of phones: its first has id 1.

    Args:
      spoken: word -> its pronunciations; the first `PRONUNCIATIONS` count.
    """
    alphabet = sorted({phone for word in words for phones in spoken.get(word, ()) for phone in phones})
    return numbered_pronunciations([spoken.get(word, ()) for word in words], alphabet), alphabet


def numbered(sequences: Sequence[Sequence[str]], alphabet: Sequence[str]) -> Tensor:
    """Ids of symbols, padded with 0: (n, longest). KeyError for a symbol that is not in the alphabet."""
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


def outside(name: str, words: Sequence[str]) -> List[str]:
    """Words of no utterance, which the training learns not to hear: all of cmudict, or a list in a file, one word a line.

    Left out are those of `words`, and any with a letter that none of `words` has.
    """
    if name == "cmudict":
        listed: Iterable[str] = cmudict()
    else:
        listed = (line.strip() for line in lines(Path(name)))
    known, alphabet = set(words), {letter for word in words for letter in word}
    return sorted({word for word in listed if word and word not in known and alphabet.issuperset(word)})


@dataclass(frozen=True)
class Processing:
    """Centring, removal of the top components (Mu and Viswanath 2018, all-but-the-top), PCA, and a mean square length of 1."""

    mean: Tensor  # (D,)
    removed: Tensor  # (k, D), orthonormal: the strongest directions, which say how frequent a word is and little else
    axes: Tensor  # (width, D), orthonormal: what PCA keeps; (0, D) where there is no PCA
    scale: Tensor  # ()

    @classmethod
    def learn(cls, vectors: np.ndarray, remove: int, width: int) -> "Processing":
        """From the words that the source has: (n, D).

        Args:
          remove: top components to take out.
          width: dimensions that PCA keeps; 0 for all.
        Raises:
          UserError: more components than the words or the dimensions give.
        """
        if remove + width > min(vectors.shape):
            raise UserError(
                f"vectors.meaning.remove={remove} and vectors.meaning.width={width} want {remove + width} components; "
                f"{vectors.shape[0]} words of {vectors.shape[1]} dimensions have {min(vectors.shape)}"
            )
        x = torch.from_numpy(vectors).double()
        mean = x.mean(0)
        axes = torch.linalg.svd(x - mean, full_matrices=False)[2] if remove or width else x[:0]
        made = cls(mean, axes[:remove], axes[remove : remove + width], torch.tensor(1.0, dtype=torch.float64))
        scale = made(vectors).square().sum(1).mean().sqrt().clamp(min=1e-8)
        return cls(mean, made.removed, made.axes, scale.double())

    def __call__(self, vectors: np.ndarray) -> Tensor:
        """(n, D) -> (n, width or D), float32."""
        x = torch.from_numpy(vectors).double() - self.mean
        x = x - x @ self.removed.T @ self.removed
        return ((x @ self.axes.T if len(self.axes) else x) / self.scale).float()

    def of(self, vectors: np.ndarray, known: np.ndarray) -> Tensor:
        """As above, and zeros where the source doesn't have the word; known: (n,) bool."""
        return self(np.asarray(vectors, dtype=np.float32)) * torch.from_numpy(known)[:, None]

    def tensors(self) -> Dict[str, Tensor]:
        """For safetensors; `Processing(**tensors)` is this one again."""
        return {name: value.contiguous() for name, value in asdict(self).items()}


def meaning(
    words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace
) -> Tuple[Tensor, Tensor, Processing, str]:
    """Vectors of the source that the group `vectors.meaning` names, processed: (V, width) float32, zero where it has none.

    Args:
      words: the table's words in order.
      sentences: training text, for the sources that learn from it.
      config: the group `vectors.meaning`, and `normalise`, which makes a line of text like the transcripts.
    Returns:
      the vectors; which words the source has, (V,) bool; what was done to them; and the source's licence, as far as it is known.
    Raises:
      UserError: a source that is missing, damaged or has none of the words.
    """
    vectors, known, licence = SOURCES[config.source](words, sentences, config)
    if not known.any():
        where = f"vectors.meaning.path={config.path}"
        raise UserError(f"{where}: it has none of the {len(words)} words; is it of another language, or cased?")
    processing = Processing.learn(np.asarray(vectors, dtype=np.float32)[known], config.remove, config.width)
    return processing.of(vectors, known), torch.from_numpy(known), processing, licence


def of_trained(vectors: np.ndarray, known: np.ndarray, trained: int, width: int, where: str) -> Tensor:
    """Vectors of words, those of the training text first, centred and scaled as these `trained` ones want it; zeros for unknown words.

    Args:
      vectors: (W, D); known: (W,) bool.
      width: dimensions that PCA keeps, where there are more; 0 for all.
      where: the option that names the vectors, for the error.
    Raises:
      UserError: none of the trained words is known.
    """
    if not known[:trained].any():
        raise UserError(f"{where} has none of the {trained} words; is it of another language, or cased?")
    heard = np.asarray(vectors, np.float32)[:trained][known[:trained]]
    return Processing.learn(heard, 0, width if 0 < width < min(heard.shape) else 0).of(vectors, known)


def random_vectors(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> Meaning:
    """The control: a normal vector that depends on nothing but the word's name and the seed."""
    rows = [np.random.default_rng([config.seed, zlib.crc32(word.encode())]).standard_normal(config.dim) for word in words]
    return np.stack(rows), np.ones(len(words), bool), NO_LICENCE


def fasttext(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> Meaning:
    """fastText (Bojanowski et al. 2017) on the training text, and on that of `config.path`; with one worker the same vectors
    each time. Every word has a vector, if only from its letters.
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
    return np.stack([model.wv[word] for word in words]), np.ones(len(words), bool), licence


def from_file(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> Meaning:
    """A GloVe, word2vec or fastText file, text (`.gz` too) or binary (`.bin`); only the table's words are kept."""
    path = Path(config.path)
    if not config.path:
        raise UserError("vectors.meaning.source=file needs --set vectors.meaning.path=FILE (GloVe, word2vec or fastText)")
    found = _binary(path, words) if path.suffix == ".bin" else _text(path, words)
    dim = len(next(iter(found.values()))) if found else 1
    out = np.stack([found.get(word, np.zeros(dim)) for word in words])
    return out, np.array([word in found for word in words]), "not stated in a vectors file: look where it came from"


def language_model(words: Sequence[str], sentences: Sequence[List[str]], config: SimpleNamespace) -> Meaning:
    """The rows of a language model's table of token embeddings, those of a word's tokens pooled; or its hidden states."""
    if not config.path:
        raise UserError("vectors.meaning.source=llm needs --set vectors.meaning.path=PATH, a Hugging Face folder or a GGUF file")
    if config.mode == "context":
        return (*context_vectors(config.path, words, sentences, config.layer, config.kept), folder_licence(Path(config.path)))
    model = open_embedding_table(config.path)
    vectors, known = model.vectors(words, config.pooling, sentences)
    return vectors, known, model.licence


NO_LICENCE = "made here"
SOURCES: Dict[str, Callable[..., Meaning]] = {
    "random": random_vectors,
    "fasttext": fasttext,
    "file": from_file,
    "llm": language_model,
}


def _text(path: Path, words: Sequence[str]) -> Dict[str, np.ndarray]:
    """One word a line with its numbers, separated by spaces; word2vec's and fastText's first line (count, dim) is skipped."""
    wanted, found, dim = set(words), {}, 0
    for number, line in enumerate(lines(path), 1):
        parts = line.rstrip().split(" ")
        if number == 1 and len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit():
            dim = int(parts[1])
            continue
        dim = dim or len(parts) - 1
        if len(parts) < dim + 1 or dim < 1:
            raise UserError(
                f"{path}, line {number}: {len(parts) - 1} numbers after the word, {dim} expected; the file is ragged "
                "or cut short: fetch it again"
            )
        word = " ".join(parts[:-dim])  # GloVe 840B has words with spaces
        if len(parts) > dim + 1 and _number(parts[-dim - 1]) and _number(parts[1]):
            raise UserError(f"{path}, line {number}: {len(parts) - 1} numbers after the word, {dim} expected; the file is ragged")
        if word in wanted and word not in found:
            try:
                vector = np.array(parts[-dim:], dtype=np.float32)
            except ValueError:
                raise UserError(f"{path}, line {number}: '{word}' has something that is not a number") from None
            if not np.isfinite(vector).all():
                raise UserError(f"{path}, line {number}: '{word}' has a number that is not finite")
            found[word] = vector
    return found


def _binary(path: Path, words: Sequence[str]) -> Dict[str, np.ndarray]:
    """word2vec's binary format, or fastText's own (which also composes words it has not seen)."""
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_vectors

    with open(path, "rb") as stream:
        is_fasttext = stream.read(4) == (793712314).to_bytes(4, "little")  # fastText's magic number
    try:
        vectors = load_facebook_vectors(str(path)) if is_fasttext else KeyedVectors.load_word2vec_format(str(path), binary=True)
    except (EOFError, ValueError, UnicodeDecodeError, NotImplementedError, AssertionError) as error:
        raise UserError(f"{path} is not a whole word2vec or fastText binary file ({error}); fetch it again") from None
    return {word: vectors[word] for word in words if is_fasttext or word in vectors}


def _number(text: str) -> bool:
    try:
        float(text)
        return True
    except ValueError:
        return False


def source_config(config: SimpleNamespace, kept: Optional[Path] = None) -> SimpleNamespace:
    """The group `vectors.meaning` with what its sources need beside, from the whole configuration of this stage.

    Args:
      kept: file that an interrupted run goes on from.
    """
    normalise = normaliser(config.data.normaliser, config.data.language)
    return SimpleNamespace(**vars(config.vectors.meaning), normalise=normalise, kept=kept)
