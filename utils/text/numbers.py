"""Numbers as they are read aloud: digits, separators and the signs beside them become words of the language."""

import re
from functools import lru_cache

_PERCENT = {"en": "percent", "es": "por ciento", "fr": "pour cent", "he": "אחוז", "it": "per cento", "ru": "процентов"}
_NUMBER = re.compile(r"(\d+)(?:[.,](\d+))?")
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)\b")
_THOUSANDS = {  # the mark between groups of three digits
    "en": re.compile(r"(?<=\d),(?=\d{3}(?!\d))"),
    "es": re.compile(r"(?<=\d)[.\u00a0\u202f](?=\d{3}(?!\d))"),
    "it": re.compile(r"(?<=\d)[.\u00a0\u202f](?=\d{3}(?!\d))"),
    "fr": re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3}(?!\d))"),
    "ru": re.compile(r"(?<=\d)[\u00a0\u202f](?=\d{3}(?!\d))"),
}


def read_numbers(text: str, language: str) -> str:
    """Text (NFC, in small letters) with its numbers written out.

    Args:
      language: ISO 639-1.
    """
    if language == "zh":
        text = re.sub(r"(\d+(?:\.\d+)?)[%％]", r"百分之\1", text)
    if any(character.isdigit() for character in text):
        text = _numbers(text, language)
    return text.replace("%", f" {_PERCENT.get(language, ' ')} ")


def spell_number(digits: str, language: str) -> str:
    """A whole number as it is said: `21` -> "twenty-one"; one that starts with 0 ("007") digit by digit."""
    if len(digits) > 1 and (digits[0] == "0" or len(digits) > 15):
        return " ".join(_spoken(int(d), language) for d in digits)
    return _spoken(int(digits), language)


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
