"""Weights that training begins with (`train.init`): a student's encoder, or what fits of a trained model.

Of a bundle everything is taken that means the same in the new model: the encoder, the word head, the rows of units, letters and
phones that both know. A unit in IPA that the bundle's model lacks has the row of the nearest phone that it has, by articulatory
features; in word vectors, phones are known by these features anyway. The rest begins fresh.
"""

from pathlib import Path
from typing import Dict, Mapping, Tuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from utils.core.errors import UserError
from utils.lang.lexicon import BLANK, SYMBOL, Lexicon, read_symbols
from utils.lang.units import in_ipa, language_of
from utils.languages.phone_features import nearest
from utils.nn.model import AcousticModel
from utils.pipeline.outside import initial_weights

ENCODER, UNITS = "encoder.", "subword."  # beginnings of the names of weights
ALPHABETS = {"word.words.spelling.": "letters.txt", "word.words.pronunciation.": "phones.txt"}  # rows of `letter.weight`, from 1


def begin_from(model: AcousticModel, path: Path, lexicon: Lexicon, vectors: Path) -> str:
    """Give a model the weights of a student (a file) or of a bundle (a folder), as far as they fit.

    Args:
      model: with fresh weights.
      path: a file of safetensors, of which the encoder alone is read, or a bundle.
      lexicon: its tokens name the rows of the model's sub-word head.
      vectors: the folder of the stage vectors that the model was made from.
    Returns:
      what was taken, for the log.
    Raises:
      UserError: no such weights, or an encoder of another shape.
    """
    stored, bundle = _stored(path), (path / "tokens.txt").is_file()
    taken = _encoder(model, stored, path)
    said = ["the encoder"]
    own = model.state_dict()
    if bundle and all(UNITS + part in stored and UNITS + part in own for part in ("weight", "bias")):
        theirs = {token: row for row, token in enumerate(read_symbols(path / "tokens.txt")) if row < len(stored[UNITS + "bias"])}
        ours = {BLANK: 0, **lexicon.token_id}
        like = {} if (path / "sp.model").is_file() else _neighbours(lexicon, theirs)
        for part in ("weight", "bias"):
            taken[UNITS + part], n = _rows(own[UNITS + part], stored[UNITS + part], ours, {**theirs, **like})
        said.append(f"{n - 1 - len(like)} of {len(lexicon.tokens)} sub-word units")
        if like:
            named = {row: token for token, row in theirs.items()}
            said.append(
                f"{len(like)} as their neighbours ({', '.join(f'{token} as {named[row]}' for token, row in like.items())})"
            )
    if bundle and model.word is not None:
        fitting = {name: stored[name] for name, value in own.items() if _fits(name, value, stored)}
        for prefix, alphabet in ALPHABETS.items():
            rows = prefix + "letter.weight"
            if rows in own and rows in stored and own[rows].shape[1] == stored[rows].shape[1]:
                ours, theirs = (_alphabet(folder / alphabet) for folder in (vectors, path))
                by_features = prefix + "of_features.weight" in fitting
                fresh = own[rows] * (not by_features)  # a new phone has features alone, as in utils/vectors/composer.py
                fitting[rows], n = _rows(fresh, stored[rows], ours, theirs)
                said.append(f"{n} of {len(ours)} {alphabet.partition('.')[0]}")
        if any(name.startswith("word.output") for name in fitting):
            said.append("the word head")
        taken.update(fitting)
    model.load_state_dict({**own, **taken})
    return ", ".join(said)


def _stored(path: Path) -> Dict[str, Tensor]:
    file = initial_weights(path)
    try:
        return load_file(str(file))
    except Exception as error:  # safetensors' errors share no class
        raise UserError(
            f"train.init={path} can't be read as safetensors ({error}); name a bundle, or what steps.distil wrote"
        ) from None


def _encoder(model: AcousticModel, stored: Mapping[str, Tensor], path: Path) -> Dict[str, Tensor]:
    inside = {name: value for name, value in stored.items() if name.startswith(ENCODER)}
    wanted = {name: value for name, value in model.state_dict().items() if name.startswith(ENCODER)}
    wrong = [name for name, value in wanted.items() if name not in inside or inside[name].shape != value.shape]
    if wrong or len(inside) != len(wanted):
        first = (wrong or sorted(set(inside) - set(wanted)))[0][len(ENCODER) :]
        raise UserError(
            f"train.init={path} has the weights of another encoder (the first that differ: {first}); it must be made with the "
            "settings of the groups model and features that this model is trained with"
        )
    return inside


def _neighbours(lexicon: Lexicon, theirs: Mapping[str, int]) -> Dict[str, int]:
    """Units in IPA that another model of phones lacks -> rows of their nearest phones there."""
    if not (lexicon.of_phones and in_ipa(language_of(lexicon.folder))):
        return {}
    phones = [token for token in theirs if not SYMBOL.fullmatch(token)]
    found = {token: nearest(token, phones) for token in lexicon.tokens if token not in theirs}
    return {token: theirs[other] for token, other in found.items() if other}


def _rows(own: Tensor, stored: Tensor, ours: Mapping[str, int], theirs: Mapping[str, int]) -> Tuple[Tensor, int]:
    """`own` (N, ...) with the rows of symbols that both know taken from `stored` (M, ...), and their number."""
    both = [(row, theirs[symbol]) for symbol, row in ours.items() if symbol in theirs]
    out = own.clone()
    if both:
        to, source = (torch.tensor(rows) for rows in zip(*both))
        out[to] = stored[source].to(own)
    return out, len(both)


def _fits(name: str, value: Tensor, stored: Mapping[str, Tensor]) -> bool:
    own = name in ("word.words.weight", "word.words.bias") or name.endswith("letter.weight")  # a row a word or a symbol
    elsewhere = name.startswith("word.words.meaning")  # dimensions of another source
    return name.startswith("word.") and not own and not elsewhere and name in stored and stored[name].shape == value.shape


def _alphabet(path: Path) -> Dict[str, int]:
    return {symbol: row for row, symbol in enumerate(path.read_text(encoding="utf-8").split("\n")[:-1], 1)}
