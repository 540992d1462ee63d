"""Text normalisers: a transcript as published -> the words that are spoken, joined by one space.

A normaliser has an id, `<name>-<language>-<version>`, that goes into every result, because word error rates of
different normalisers are not comparable. Raise the version of a language whenever its output changes.

`basic`: Unicode NFC, lower case, numbers written out in the language, everything that is neither a letter nor an apostrophe
inside a word becomes a space. Hyphens separate words; apostrophes do not ("l'heure", "don't"). Spanish, French and Italian keep
their accents; Russian writes ё as е, as most of its texts do. Chinese words keep their segmentation.
"""

import re
import unicodedata
from typing import Callable, Dict, Iterable

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.text.numbers import read_numbers

NAMES = ("basic",)
VERSIONS: Dict[str, int] = {"en": 1, "es": 1, "fr": 1, "he": 1, "it": 1, "ru": 1, "zh": 1}

_AND = {"en": "and", "es": "y", "fr": "et", "it": "e", "ru": "и"}
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ＇`´"), "'")
_LATIN_TWINS = str.maketrans("aeopcyxkmt", "аеорсухкмт")  # Latin letters typed for Cyrillic ones that look the same
_CYRILLIC = re.compile("[а-я]")


def normaliser(name: str, language: str) -> Callable[[str], str]:
    """The function that normalises text of one language.

    Args:
      name: one of NAMES.
      language: ISO 639-1.
    Raises:
      UserError: unknown name or language.
    """
    _check(name, [language])

    def normalise(text: str) -> str:
        return _basic(text, language)

    return normalise


def normaliser_id(name: str, languages: Iterable[str]) -> str:
    """The name of a normaliser in results: `basic-en-1`; of several languages `basic-en-1+fr-1`."""
    languages = list(languages)
    _check(name, languages)
    return f"{name}-" + "+".join(f"{language}-{VERSIONS[language]}" for language in languages)


def _check(name: str, languages: Iterable[str]) -> None:
    if name not in NAMES:
        raise UserError(f"data.normaliser={name}{nearest(name, NAMES)}: there is {', '.join(NAMES)}")
    for language in languages:
        if language not in VERSIONS:
            raise UserError(
                f"no normaliser for the language '{language}'{nearest(language, VERSIONS)}: utils/text/normalise.py has "
                f"{', '.join(VERSIONS)}; set data.language, or add the language there"
            )


def _basic(text: str, language: str) -> str:
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES).lower()
    text = read_numbers(text, language).replace("&", f" {_AND.get(language, ' ')} ")
    words = "".join(c if _in_word(text, i) else " " for i, c in enumerate(text)).split()
    if language == "ru":
        words = [w.translate(_LATIN_TWINS) if _CYRILLIC.search(w) else w for w in (w.replace("ё", "е") for w in words)]
    return " ".join(words)


def _in_word(text: str, i: int) -> bool:
    if text[i] == "'":
        return 0 < i < len(text) - 1 and text[i - 1].isalpha() and text[i + 1].isalpha()
    return unicodedata.category(text[i])[0] in "LM"
