"""Digits and separators as they are written in different scripts and languages, made uniform: 0 to 9, a dot before decimals."""

import re
import unicodedata
from typing import Callable, List

from utils.languages import number_words as say
from utils.languages.rules import rules

_HARD_BLANKS = "\u00a0\u2007\u2009\u202f"  # no-break, figure, thin
_ETHIOPIC = "[\u1369-\u137c]+"  # 1 to 9, 10 to 90, 100, 10,000
_TWINS = str.maketrans("％﹪٪－−﹣￥＄￡／．，：٫٬", "%%%---¥$£/.,:.,")
SLASH = "\u2044"  # the fraction slash


def plain(text: str, language: str) -> str:
    """Digits of every script as 0 to 9; ½ as 1/2 with a fraction slash; signs that have several forms as the usual one."""
    out: List[str] = []
    spaced = rules(language).spaced
    text = re.sub(_ETHIOPIC, lambda numeral: f" {_of_ethiopic(numeral[0])} ", text)
    for at, c in enumerate(text):
        if c < "\u0080":
            out.append(c)
        elif unicodedata.category(c) == "Nd":
            out.append(str(unicodedata.decimal(c)))
        elif c in "²³":
            words = say.power(unicodedata.digit(c), language) if text[at - 1 : at].isalnum() else ""
            out.append(words if words and not spaced else f" {words or unicodedata.digit(c)} ")
        elif unicodedata.category(c) == "No":
            uniform = unicodedata.normalize("NFKC", c)
            if SLASH in uniform:  # apart from other digits
                out.append(" " * text[at - 1 : at].isnumeric() + uniform + " " * text[at + 1 : at + 2].isnumeric())
            else:
                out.append(f" {uniform} " if uniform.isascii() else c)
        elif unicodedata.category(c) == "Nl" and c != "〇":
            out.append(unicodedata.normalize("NFKC", c))  # Roman numerals stay letters
        else:
            out.append(c)
    text = "".join(out).translate(_TWINS)
    if not spaced:
        text = text.replace("〇", "零")
    else:
        text = re.sub(r"(?:№|\bn ?°|\bn\.?º) ?(?=\d)", f" {rules(language).number_sign} ", text)
    return re.sub(r"(?<=\d)(?:[℃℉])", lambda sign: {"℃": "°c", "℉": "°f"}[sign[0]], text)


def _of_ethiopic(numeral: str) -> int:
    """What an Ethiopic numeral says: ፲፱፻፹፯ is 19 hundreds and 87."""
    total = below = 0  # below: what the next sign of 100 or 10,000 counts
    for sign in numeral:
        value = int(unicodedata.numeric(sign))
        if value == 10_000:
            total, below = (total + below or 1) * value, 0
        elif value == 100:
            total, below = total + (below or 1) * value, 0
        else:
            below += value
    return total + below


def separators(text: str, language: str, doubt: Callable[[str, str], None]) -> str:
    """Text with its numbers written without signs between thousands and with a dot before decimals; lists get blanks.

    Args:
      doubt: gets what may be read otherwise too: its kind, and how it is written.
    """
    known = rules(language)
    comma = known.decimal == ","
    group, point = (".", ",") if comma else (",", ".")

    def joined(match: "re.Match[str]") -> str:
        run = re.sub(r"\D", "", match[0])
        if len(run) <= say.LONGEST:
            return run
        return f" {say.whole(run, language)} " if known.spaced else say.whole(run, language)

    def blank(match: "re.Match[str]") -> str:
        if re.fullmatch(r"\d{1,3}(?: 000)+", match[0]) or " " not in match[0]:
            return joined(match)
        if not known.blank:
            return match[0]
        doubt("thousands after a plain blank, or two numbers", match[0])
        return joined(match)

    def mixed(match: "re.Match[str]") -> str:  # two signs: the last one is before decimals
        return re.sub(r"\D", "", match[1]) + "." + match[4]

    text = re.sub(
        r"(?<![\d.,])([1-9]\d{0,2}(?:([.,' " + _HARD_BLANKS + r"])\d{3})(?:\2\d{3})*)(?!\2)([.,])(\d+)(?![.,]?\d)",
        mixed,
        text,
    )
    first, end = r"(?<![\d.,])(?<!\d['" + _HARD_BLANKS + r"])[1-9]\d{0,2}", r"(?!\d|[.,']\d)"
    text = re.sub(first + r"(?:['" + _HARD_BLANKS + r"]\d{3})+" + end, joined, text)
    text = re.sub(r"(?<![\d.,])(?<!\d )[1-9]\d{0,2}(?: \d{3})+(?! ?\d)(?![.,']\d)", blank, text)
    text = re.sub(first + rf"(?:\{group}\d{{3}})+(?!\d|\{group}\d)", joined, text)
    if known.lakhs:
        text = re.sub(r"(?<![\d.,])[1-9]\d?(?:,\d\d)+,\d{3}(?!\d|,\d)", joined, text)  # 12,34,567: lakhs and crores
    if comma:
        text = re.sub(first + r"(?:,\d{3}){2,}" + end, joined, text)
        _doubtful(doubt, r"(?<![\d.,])[1-9]\d{0,2},000(?![\d.,]\d)", text)
    else:
        text = re.sub(first + r"(?:\.000){2,}" + end, joined, text)
        _doubtful(doubt, r"(?<![\d.,\w])[1-9]\d{0,2}\.000(?![\d.,]\d)", text)
    if comma:
        text = re.sub(r"(?<![\d.,])(\d+),(\d+)(?![.,]?\d)", r"\1.\2", text)
    return re.sub(r"(?<=\d),(?=\d)", " , ", text)


def _doubtful(doubt: Callable[[str, str], None], pattern: str, text: str) -> None:
    for match in re.finditer(pattern, text):
        doubt("thousands, or decimals", match[0])
