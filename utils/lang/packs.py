"""Vocabulary packs: words added to a trained model, which stays unchanged.

A pack is a safetensors file with the vectors of the words. Its metadata has their units and the origin of each word.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Sequence, Tuple, Union

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from utils.core.errors import UserError
from utils.core.files import atomic_path
from utils.lang.lexicon import SYMBOL, Entry


@dataclass
class Pack:
    """Words with their vectors, in the space of one trained model."""

    model: str  # fingerprint of the training stage
    words: List[str]
    vectors: Tensor  # (n, dim), unit length
    spoken: Dict[str, List[Tuple[str, ...]]]  # word -> its sequences of sub-word units
    origin: Dict[str, str] = field(default_factory=dict)  # word -> text, pronunciation, recording, common
    frequency: Dict[str, float] = field(default_factory=dict)  # word -> its share of running words, if that is known
    like: Dict[str, Dict[str, float]] = field(default_factory=dict)  # word -> words of the model that it is used like: weight

    @property
    def entries(self) -> List[Entry]:
        """Words and units, as a lexicon has them."""
        return [(word, units) for word in self.words for units in self.spoken[word]]

    def with_words(self, other: "Pack") -> "Pack":
        """This pack and another; for words in both, the other's entry counts."""
        kept = self.without(other.words)
        return Pack(
            self.model,
            kept.words + other.words,
            torch.cat((kept.vectors, other.vectors)),
            {**kept.spoken, **other.spoken},
            {**kept.origin, **other.origin},
            {**kept.frequency, **other.frequency},
            {**kept.like, **other.like},
        )

    def without(self, words: Sequence[str]) -> "Pack":
        """The pack without some words."""
        gone = set(words)
        keep = [n for n, word in enumerate(self.words) if word not in gone]
        left = [self.words[n] for n in keep]
        spoken, origin = {word: self.spoken[word] for word in left}, {word: self.origin[word] for word in left}
        frequency = {word: value for word, value in self.frequency.items() if word not in gone}
        like = {word: shares for word, shares in self.like.items() if word not in gone}
        return Pack(self.model, left, self.vectors[keep], spoken, origin, frequency, like)


def write_pack(pack: Pack, path: Path) -> None:
    """Write a pack atomically."""
    about = {key: getattr(pack, key) for key in ("model", "words", "spoken", "origin", "frequency", "like")}
    with atomic_path(path) as temporary:
        metadata = {"pack": json.dumps(about, ensure_ascii=False, sort_keys=True)}
        save_file({"vectors": pack.vectors.contiguous()}, str(temporary), metadata=metadata)


def read_pack(path: Path) -> Pack:
    """Read a pack; raises UserError if it is missing or damaged."""
    try:
        return pack_of(path.read_bytes(), path)
    except FileNotFoundError:
        others = sorted(p.stem for p in path.parent.glob("*.safetensors"))
        raise UserError(
            f"no vocabulary pack '{path.stem}' for this model ({path}); there are: {', '.join(others) or 'none'}. "
            "python -m steps.add_words makes them"
        ) from None


def pack_of(content: bytes, where: Union[str, Path]) -> Pack:
    """The pack in a file's bytes; `where`: the file, for the UserError that a damaged one raises."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about, vectors = json.loads(header["__metadata__"]["pack"]), load(content)["vectors"]
        spoken = {word: [tuple(units) for units in variants] for word, variants in about["spoken"].items()}
        return Pack(about["model"], about["words"], vectors, spoken, about["origin"], about["frequency"], about["like"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{where} is not a whole vocabulary pack ({error}): make it again with python -m steps.add_words"
        ) from None


def joined(packs: Sequence[Pack], known: Sequence[str]) -> Pack:
    """Several packs as one, without the words that the model knows; for words in several packs, the last pack counts.

    Raises:
      UserError: a word that is the name of a symbol, which the graphs can't tell from it.
    """
    symbols = [word for pack in packs for word in pack.words if SYMBOL.fullmatch(word)]
    if symbols:
        raise UserError(
            f"a vocabulary pack has {symbols[0]}, the name of a symbol: python -m steps.add_words --remove takes it out"
        )
    out = packs[0]
    for pack in packs[1:]:
        out = out.with_words(pack)
    return out.without(known)
