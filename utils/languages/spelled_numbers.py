"""Number words by the libraries that know them: num2words, then unicode-rbnf, which has CLDR's rules for spelled-out numbers.

A library counts for a language where its words are written in the language's script: num2words has Serbian in Latin letters
alone, and CLDR's Lao has Thai words.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Union

from utils.core.languages import canonical, script
from utils.languages.rules import rules
from utils.languages.scripts import in_its_script

Number = Union[int, float, str]  # a str has decimals
_OTHER_CODES = {"kk": "kz", "nb": "no"}  # of num2words
_SAMPLE = (0, 3, 7, 11, 21, 105, 1234)


class Speller(NamedTuple):
    """What spells the numbers of a language."""

    spell: Callable[..., str]  # of a number, and for num2words what it takes besides (to, case, gender)
    point: str  # the word between a whole number and its decimals; "" where there is none
    minus: str


class Unspeakable(ValueError):
    """A number that no library can spell."""


@lru_cache(maxsize=None)
def speller(language: str) -> Optional[Speller]:
    """What spells the numbers of a language; None where no library has it."""
    libraries = (_by_rbnf, _by_num2words) if rules(language).library == "cldr" else (_by_num2words, _by_rbnf)
    tried = [make(code) for make in libraries for code in _codes(language)]
    begun = [spell for spell in tried if spell and all(_fits(spell, number, language) for number in _SAMPLE[:-1])]
    fitting = [spell for spell in begun if _fits(spell, _SAMPLE[-1], language)]
    if not fitting:
        return None
    points = (_around(spell, number, spell(1), spell(2)) for spell in fitting for number in ("1.2", 1.2))
    signs = (_around(spell, -2, "", spell(2)) for spell in fitting)
    spell = fitting[0] if fitting[0] is begun[0] else _one_of(begun)  # num2words has Amharic up to 999
    return Speller(spell, next(filter(None, points), ""), next(filter(None, signs), ""))


def _one_of(spellers: Sequence[Callable[..., str]]) -> Callable[..., str]:
    """Spells a number by the first library that can."""

    def spell(number: Number, **form: Any) -> str:
        for one in spellers[:-1]:
            try:
                return one(number, **form)
            except Unspeakable:
                pass
        return spellers[-1](number, **form)

    return spell


def _codes(language: str) -> List[str]:
    """How libraries may call a language, the most exact first: pt_BR, pt."""
    code, *rest = canonical(language).split("-")
    names = ["_".join([code, *rest[:n]]) for n in range(len(rest), 0, -1)]
    return list(dict.fromkeys([*names, f"{code}_{script(language)}", code, _OTHER_CODES.get(code, code)]))


def _by_num2words(code: str) -> Optional[Callable[..., str]]:
    import num2words

    if code not in num2words.CONVERTER_CLASSES:
        return None

    def spell(number: Number, **form: Any) -> str:
        try:
            return str(num2words.num2words(number, lang=code, **form)).lower()
        except Exception as error:  # of many kinds, by language
            raise Unspeakable(f"{number}: {error!r}") from None

    return spell


def _by_rbnf(code: str) -> Optional[Callable[..., str]]:
    from unicode_rbnf import RbnfEngine

    if code not in RbnfEngine.get_supported_languages():
        return None
    engine = RbnfEngine.for_language(code)

    def spell(number: Number) -> str:
        try:
            words = engine.format_number(Decimal(str(number))).text
        except Exception as error:  # of many kinds, by language
            raise Unspeakable(f"{number}: {error!r}") from None
        if re.search(r"\d", words):
            raise Unspeakable(f"{number} is beyond the rules of {code}")
        return words.replace("\u00ad", "").replace("\u200b", " ").replace("’", "'").replace("ʼ", "'").lower()

    return spell


def _fits(spell: Callable[..., str], number: int, language: str) -> bool:
    try:
        words = spell(number)
    except Unspeakable:
        return False
    return bool(words) and all(in_its_script(c, language) for c in words if c.isalpha())


def _around(spell: Callable[..., str], number: Number, before: str, after: str) -> str:
    """The word that a number has besides the words before and after it; "" if it is made otherwise."""
    try:
        words = spell(number)
    except Unspeakable:
        return ""
    fits = words.startswith(before) and words.endswith(after) and len(words) > len(before) + len(after)
    middle = words[len(before) : len(words) - len(after)].strip()
    return middle if fits and any(map(str.isalpha, middle)) else ""
