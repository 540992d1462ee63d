"""Text normalisers: a transcript as published -> the words that are spoken, joined by one space.

A normaliser has an id, `<name>-<language>-<version>`, that goes into every result, because word error rates of
different normalisers are not comparable. Raise the version of a language whenever its output changes. A corpus keeps the first
version that gives its words, so that its results stay comparable: version 2 reads more kinds of numbers and symbols, and texts of
plain words are those of version 1.

`basic`: Unicode NFC, lower case, numbers read aloud (numbers.py), everything that is neither a letter nor an apostrophe
inside a word becomes a space. Hyphens separate words; apostrophes do not ("l'heure", "don't"). Spanish, French and Italian keep
their accents; Russian writes ё as е, as most of its texts do. Chinese words keep their segmentation.
"""

import re
import unicodedata
from typing import Callable, Dict, Iterable, Mapping

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.text.numbers import read_numbers

NAMES = ("basic",)
VERSIONS: Dict[str, int] = {"de": 1, "en": 2, "es": 2, "fr": 2, "he": 2, "it": 2, "nl": 1, "pt": 1, "ru": 2, "zh": 2}

_AND = {"de": "und", "en": "and", "es": "y", "fr": "et", "it": "e", "nl": "en", "pt": "e", "ru": "и"}
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


def normaliser_id(name: str, texts: Mapping[str, Iterable[str]], first: Mapping[str, int] = {}) -> str:
    """The name of a normaliser in results: `basic-en-2`; of several languages `basic-en-2+fr-1`.

    Args:
      texts: language -> a corpus's texts as published. Where they are plain words, the version is 1.
      first: language -> the first version that is known to give a corpus's words.
    """
    _check(name, texts)
    newest = {language: 1 if all(map(_plain_words, found)) else VERSIONS[language] for language, found in texts.items()}
    return f"{name}-" + "+".join(f"{language}-{first.get(language, version)}" for language, version in newest.items())


def folded(text: str) -> str:
    """Text in the letters of transcripts: Unicode NFC, one form of apostrophe, small letters."""
    return unicodedata.normalize("NFC", text).translate(_APOSTROPHES).lower()


def _plain_words(text: str) -> bool:
    """Whether a text has nothing but letters of one form and the usual punctuation, which all versions read alike."""
    characters = set("".join(unicodedata.normalize("NFC", text).split())) - set(".,!?;:-'’\"。，！？、；：")
    return all(unicodedata.category(c) in ("Lu", "Ll", "Lo") and unicodedata.normalize("NFKC", c) == c for c in characters)


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
    text = folded(text)
    text = read_numbers(text, language).replace("&", f" {_AND.get(language, ' ')} ")
    words = "".join(c if _in_word(text, i) else " " for i, c in enumerate(text)).split()
    if language == "ru":
        words = [w.translate(_LATIN_TWINS) if _CYRILLIC.search(w) else w for w in (w.replace("ё", "е") for w in words)]
    return " ".join(words)


def _in_word(text: str, i: int) -> bool:
    if text[i] == "'":
        return 0 < i < len(text) - 1 and text[i - 1].isalpha() and text[i + 1].isalpha()
    return unicodedata.category(text[i])[0] in "LM"
