"""Letters in their usual form: compatibility forms, marks of stress and vowels, joiners and invisible characters."""

import re
import unicodedata
from functools import lru_cache
from typing import Sequence

from utils.languages.rules import rules

# Scripts in which words are not parted by blanks: Thai, Lao, Burmese, Khmer, Tai Le, New Tai Lue, Tai Tham, Tai Viet, kana, Han.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9fe\u1780-\u17ff\u1950-\u19df\u1a20-\u1aad\uaa80-\uaadf"
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_UNSPACED = re.compile(f"[{UNSPACED}]")
_JUNCTION = re.compile(f"(?<=[{UNSPACED}])(?=[^\\W\\d_{UNSPACED}])|(?<=[^\\W\\d_{UNSPACED}])(?=[{UNSPACED}])")
_BETWEEN = re.compile(f"(?<=[{UNSPACED}]) (?=[{UNSPACED}])")
_JOINERS = "\u200c\u200d"
_GERSHAYIM = re.compile('(?<=[\u05d0-\u05ea])["״“”](?=[\u05d0-\u05ea])')
_POINTS = re.compile(  # of vowels: Hebrew, Arabic, and in the Quran
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u0652\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)
_STRESS = re.compile("(?<=[\u0400-\u052f])[\u0300\u0301]")  # what NFC leaves on a Cyrillic letter
_NO_LETTERS = re.compile(
    "[\u02b9\u02ba\u02c6-\u02d1\u02ec\u02ee\u0640]"
)  # by category letters: primes, stress and length, tatweel
_NO_MARKS = re.compile("[\u0335-\u0338\u034f\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # strokes, variants of a character
# Their compatibility forms are not how they are written: Thai, Lao, Tibetan, single Korean letters. Numbers have º.
_AS_THEY_ARE = re.compile("[\u0e00-\u0fff\u3131-\u318e\u00aa\u00ba]")


def joined(words: Sequence[str]) -> str:
    """Words with a blank between them, except where both neighbours are of a script without blanks, such as Chinese or Thai."""
    return _BETWEEN.sub("", " ".join(words))


def usual_form(text: str, language: str) -> str:
    """Text in NFC with every letter in its usual form, without stress, vowel points, and what can't be seen.

    Joiners (U+200C, U+200D) stay where they shape letters, as in Hindi and Persian. A zero-width space parts words in scripts
    that have no blanks, nowhere else. A combining mark stays only on a letter.
    """
    text, known = unicodedata.normalize("NFC", text), rules(language)
    for pattern, other in known.letters:
        text = re.sub(pattern, other, text)
    if known.dotless:
        text = text.replace("I", "ı")
    if text.isascii():
        return text
    text = _GERSHAYIM.sub("", text).replace("İ", "i")
    text = text if known.points else _POINTS.sub("", text)
    text = _NO_MARKS.sub("", _NO_LETTERS.sub("", _STRESS.sub("", text)))
    if not any(map(_special, set(text))):
        return text
    out = ""
    for at, c in enumerate(text):
        category = unicodedata.category(c)
        if category == "Cf":
            out += _invisible(c, out[-1:], text[at + 1 : at + 2])
        elif category[0] == "M":
            out += c if category != "Me" and _of_word(out[-1:]) else ""
        elif c > "\u007f" and (category[0] == "L" or "\u2e80" <= c <= "\u2fd5"):  # radicals, which look like the characters
            out += _letters(c)
        else:
            out += c
    return unicodedata.normalize("NFC", out)


def apart(text: str) -> str:
    """Text with a blank between letters of a script without blanks and other letters: 打开wifi吧 -> 打开 wifi 吧."""
    return text if text.isascii() else _JUNCTION.sub(" ", text)


def of_word(text: str, at: int, inside: str = "") -> bool:
    """Whether the character is part of a word: a letter, a mark, a joiner, an apostrophe or sign of `inside` between letters."""
    if text[at] == "'" or text[at] in inside:
        return 0 < at < len(text) - 1 and _of_word(text[at - 1]) and text[at + 1].isalpha()
    return _of_word(text[at]) or text[at] in _JOINERS


@lru_cache(maxsize=100000)
def _special(c: str) -> bool:
    """Whether `usual_form` looks at the character and its neighbours."""
    return unicodedata.category(c) in ("Cf", "Mn", "Mc", "Me") or unicodedata.normalize("NFKC", c) != c


def _letters(c: str) -> str:
    usual = unicodedata.normalize("NFKC", c)
    plain = usual != c and not _AS_THEY_ARE.match(c) and all(part == " " or _of_word(part) for part in usual)
    return usual if plain else c


def _invisible(c: str, before: str, after: str) -> str:
    if c in _JOINERS:  # between letters from Arabic to Mongolian
        return c if "\u0600" <= before < "\u1900" and _of_word(before) and _of_word(after) else ""
    return " " if c == "\u200b" and (_UNSPACED.match(before) or _UNSPACED.match(after)) else ""


def _of_word(c: str) -> bool:
    return bool(c) and unicodedata.category(c)[0] in "LM"
