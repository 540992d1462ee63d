"""Text normalisers: a transcript as published -> the words that are spoken, joined by one space.

A normaliser has an id, `<name>-<language>-<version>`, that goes into every result, because word error rates of
different normalisers are not comparable. Raise the version of a language whenever its output changes.

`basic`: Unicode NFC, lower case, numbers written out in the language, everything that is neither a letter nor an apostrophe
inside a word becomes a space. Hyphens separate words; apostrophes do not ("l'heure", "don't"). Spanish, French and Italian keep
their accents; Russian writes ё as е, as most of its texts do. Chinese words keep their segmentation.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Callable, Dict, Iterable

from utils.core.allowed import nearest
from utils.core.errors import UserError

NAMES = ("basic",)
VERSIONS: Dict[str, int] = {"en": 1, "es": 1, "fr": 1, "he": 1, "it": 1, "ru": 1, "zh": 1}

_PERCENT = {"en": "percent", "es": "por ciento", "fr": "pour cent", "he": "אחוז", "it": "per cento", "ru": "процентов"}
_AND = {"en": "and", "es": "y", "fr": "et", "it": "e", "ru": "и"}
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ＇`´"), "'")
_NUMBER = re.compile(r"(\d+)(?:[.,](\d+))?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
_THOUSANDS = {  # the mark between groups of three digits
    "en": re.compile(r"(?<=\d),(?=\d{3}(?!\d))"),
    "es": re.compile(r"(?<=\d)[.\u00a0\u202f](?=\d{3}(?!\d))"),
    "it": re.compile(r"(?<=\d)[.\u00a0\u202f](?=\d{3}(?!\d))"),
    "fr": re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3}(?!\d))"),
    "ru": re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3}(?!\d))"),
}
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


def spell_number(digits: str, language: str) -> str:
    """A whole number as it is said: `21` -> "twenty-one"; one that starts with 0 ("007") digit by digit."""
    if len(digits) > 1 and (digits[0] == "0" or len(digits) > 15):
        return " ".join(_spoken(int(d), language) for d in digits)
    return _spoken(int(digits), language)


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
    if language == "zh":
        text = re.sub(r"(\d+(?:\.\d+)?)[%％]", r"百分之\1", text)
    if any(character.isdigit() for character in text):
        text = _numbers(text, language)
    text = text.replace("%", f" {_PERCENT.get(language, ' ')} ").replace("&", f" {_AND.get(language, ' ')} ")
    words = "".join(c if _in_word(text, i) else " " for i, c in enumerate(text)).split()
    if language == "ru":
        words = [w.translate(_LATIN_TWINS) if _CYRILLIC.search(w) else w for w in (w.replace("ё", "е") for w in words)]
    return " ".join(words)


def _in_word(text: str, i: int) -> bool:
    if text[i] == "'":
        return 0 < i < len(text) - 1 and text[i - 1].isalpha() and text[i + 1].isalpha()
    return unicodedata.category(text[i])[0] in "LM"


def _numbers(text: str, language: str) -> str:
    if language in _THOUSANDS:
        text = _THOUSANDS[language].sub("", text)
    if language == "en":
        text = _ORDINAL.sub(lambda match: f" {_spoken(int(match[1]), language, 'ordinal')} ", text)

    def spell(match: "re.Match[str]") -> str:
        whole, part = match.groups()
        if language == "zh":  # inside the word that the segmentation made of it
            return spell_number(whole, language) + ("点" + "".join(_chinese(int(d)) for d in part) if part else "")
        return f" {_spoken(float(f'{whole}.{part}'), language) if part else spell_number(whole, language)} "

    return _NUMBER.sub(spell, text)


@lru_cache(maxsize=10000)
def _spoken(number: float, language: str, to: str = "cardinal") -> str:
    if language == "zh":
        return _chinese(int(number))
    from num2words import num2words

    return num2words(number, lang=language, to=to)


def _chinese(number: int, inside: bool = False) -> str:
    """Chinese cardinal (num2words has none): 29 -> 二十九, 105 -> 一百零五, 12000 -> 一万二千; inside: a digit precedes it."""
    if number >= 10000:
        size, unit = (10**8, "亿") if number >= 10**8 else (10**4, "万")
        high, low = divmod(number, size)
        return _chinese(high) + unit + (("零" if low < size // 10 else "") + _chinese(low, True) if low else "")
    digits, out, gap = "零一二三四五六七八九", "", False
    for size, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, size)
        if digit:
            ten = size == 10 and digit == 1 and not (out or inside)  # 十, not 一十
            out += ("零" if gap and out else "") + ("" if ten else digits[digit]) + unit
        gap = not digit
    return out or "零"
