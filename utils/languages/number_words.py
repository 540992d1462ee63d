"""Words of numbers: cardinals, ordinals, decimals, fractions, amounts of money, percent and degrees in each language.

Cardinals and ordinals come from libraries (spelled_numbers.py), Chinese ones from here: the libraries have none, or leave out 零
(CLDR's 五百三十七亿九百七十八万). What is made of them, such as decimals, of which num2words drops the zeros, has its words and
forms in the rules of the language (rules.py). A function returns "" where the rule of a language is not known.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Mapping, Sequence, Tuple

from unicode_rbnf.plural_rules import get_plural_category

from utils.core.languages import family
from utils.languages.rules import Forms, Replaced, rules
from utils.languages.spelled_numbers import Number, Unspeakable, speller

LONGEST = 15  # a number with more digits, and no separators, is read digit by digit


def spoken(language: str) -> bool:
    """Whether the numbers of a language can be read aloud."""
    known = rules(language)
    return bool(known.cardinals or known.digits or speller(language))


@lru_cache(maxsize=10000)
def cardinal(number: int, language: str, feminine: bool = False) -> str:
    """A whole number in words: 21 -> "twenty-one"; feminine: it counts a feminine noun, where the language tells."""
    known = rules(language)
    if known.cardinals:
        return chinese(number, known.cardinals)
    if known.number_gender:
        return _spelled(number, language, gender="f" if feminine else known.number_gender)
    words = _spelled(number, language)
    return _replaced(words, known.feminine_forms) if feminine else words


def digits(run: str, language: str) -> str:
    """A run of digits as it is said: `21` -> "twenty-one"; one that starts with 0 ("007"), or is very long, digit by digit."""
    if len(run) > 1 and (run[0] == "0" or len(run) > LONGEST):
        return one_by_one(run, language)
    return whole(run, language)


def one_by_one(run: str, language: str) -> str:
    """Digits, each by itself."""
    known = rules(language)
    return _space(language).join(known.digits[int(d)] if known.digits else cardinal(int(d), language) for d in run)


def whole(run: str, language: str) -> str:
    """A number of any size; digit by digit where the language has no name for it."""
    try:
        return one_by_one(run, language) if rules(language).digits else cardinal(int(run), language)
    except Unspeakable:
        return one_by_one(run, language)


def decimal(left: str, right: str, language: str) -> str:
    """A number with decimals, which keep their zeros: ("3", "10") -> "three point one zero", or hundredths with their name."""
    if rules(language).decimals and len(right) <= 6 and len(left) <= LONGEST:
        return _spelled(f"{int(left)}.{right}", language)
    parts = (digits(left, language), point(language), one_by_one(right, language))
    return _space(language).join(filter(None, parts))


def point(language: str) -> str:
    """How the sign before decimals is read; "" if that is not known."""
    spelled = speller(language)
    return rules(language).point or (spelled.point if spelled else "")


def dotted(parts: Tuple[str, ...], language: str) -> str:
    """A version or address: ("2", "0", "1") -> "two point zero point one"."""
    space = _space(language)
    return f"{space}{rules(language).dot or point(language)}{space}".join(digits(part, language) for part in parts)


def negative(language: str) -> str:
    """The word before a number below zero; "" if it is not known."""
    spelled = speller(language)
    return rules(language).minus or (spelled.minus if spelled else "")


def power(exponent: int, language: str) -> str:
    """² and ³ after a letter or number; "" for others."""
    names = rules(language).powers
    return names[exponent - 2] if names and exponent in (2, 3) else ""


def noun(sign: str, amount: str, language: str) -> str:
    """The form of a sign's noun ("%", "°" or a currency) after a number ("5", "2.5"); "" if there is none."""
    forms = rules(language).nouns.get(sign, ())
    return _form(forms, amount, language) if forms else ""


def counted(sign: str, amount: str, language: str) -> str:
    """A number with a sign after it: ("%", "5") -> "five percent"; "" if the language has no word for the sign."""
    known = rules(language)
    if sign in known.before:
        return known.before[sign] + number(amount, language)
    name = noun(sign, amount, language)
    feminine = sign in known.feminine
    if amount == "1" and name and known.one:
        return f"{name} {known.one['f' if feminine else 'm']}"
    if known.two and "." not in amount and not feminine and len(amount) <= LONGEST:
        words = known.two if amount == "2" else _spelled(int(amount), language, gender="m")
        return f"{words} {name}"
    return _joined(number(amount, language, feminine), name, language) if name else ""


def money(sign: str, amount: str, language: str) -> str:
    """An amount of money: ("$", "5.20") -> "five dollars and twenty cents"; "" if the language has no word for the currency."""
    known = rules(language)
    left, _, right = amount.partition(".")
    cents = known.cents.get(sign, ())
    if len(right) == 2 and len(left) <= LONGEST and (cents or right == "00"):
        units = counted(sign, left, language) if int(left) or right == "00" else ""
        if not int(right):
            return units
        small = f"{cardinal(int(right), language, cents[0] in known.feminine)} {_form(cents, right, language)}"
        if known.money_prefix:
            return f"{units} {known.money_prefix}{small}" if units else small
        return " ".join(filter(None, (units, known.money_and if units else "", small)))
    return counted(sign, amount, language)


def number(amount: str, language: str, feminine: bool = False) -> str:
    """A number without sign or separators, such as "5" or "2.50", in words."""
    left, dot, right = amount.partition(".")
    if dot:
        return decimal(left, right, language)
    return cardinal(int(left), language, True) if feminine and left == str(int(left)) else digits(left, language)


def fraction(before: str, above: int, below: int, language: str) -> str:
    """A fraction, alone or after a whole number: ("8", 1, 2) -> "eight and a half"; "" if the language's rule is not known."""
    known = rules(language)
    whole_part = digits(before, language) if before else ""
    if known.fraction:
        part = known.fraction.format(above=cardinal(above, language), below=cardinal(below, language))
        return known.mixed.format(whole=whole_part, part=part) if before else part
    if known.one_and_a_half and (before, above, below) == ("1", 1, 2):
        return known.one_and_a_half
    if (above, below) == (1, 2) and known.half:
        return f"{whole_part} {known.half[1]}" if before else known.half[0]
    part = _part(above, below, language)
    if not part or not before:
        return part
    return known.mixed.format(whole=whole_part, part=_replaced(part, known.mixed_forms) if above == 1 else part)


def _part(above: int, below: int, language: str) -> str:
    known = rules(language)
    named: Sequence[str] = known.parts.get(below, ())
    if not named and known.part_forms:
        named = [ordinal(below, language, form) for form in known.part_forms]
    if not named and known.part_of_ordinal and below != 2 and below <= 10:  # an ordinal that names a part: "three eighths"
        name = ordinal(below, language)
        named = (name, _replaced(name, known.part_of_ordinal))
    count = known.above.get(above)
    if not named or count is None and not known.above_others:
        return ""
    if count is None:
        count = cardinal(above, language, known.above_gender == "f")
    return f"{count} {named[above != 1]}".strip()


def ordinal(number: int, language: str, form: str = "m") -> str:
    """An ordinal number; form: m, f, or p (genitive plural, which names parts in Russian)."""
    known = rules(language)
    if known.ordinal:
        return known.ordinal.format(number=cardinal(number, language))
    words = _spelled(number, language, to="ordinal", **known.ordinal_case.get(form, {}))
    return _replaced(words, known.ordinal_forms.get(form, ()))


def inflected(number: int, ending: str, language: str) -> str:
    """The ordinal or cardinal with an ending, in Russian: (5, "го") -> "пятого"; or a word with its rest: "десятилетний".

    Returns "" where no form ends so.
    """
    known = rules(language).inflected
    ending = ending.replace("ё", "е")
    decade = ending == "е" and number >= 20 and number % 10 == 0  # 90-е (годы) are девяностые, 5-е (место) is пятое
    forms = (
        _spelled(number, language, to="ordinal", case=case, plural=plural, gender=gender).replace("ё", "е")
        for plural in ((True, False) if decade else (False, True))
        for case in known["cases"]
        for gender in known["genders"]
    )
    found = next((words for words in forms if words.endswith(ending)), "")
    if found or number > 100:
        return found
    stem = _spelled(number, language, case=known["stem"])
    if stem.endswith(ending):
        return stem
    return known["compounds"].get(number, stem.replace(" ", "")) + ending if len(ending) > 3 else ""


def chinese(number: int, numerals: str, inside: bool = False) -> str:
    """A cardinal in Chinese numerals: 29 -> 二十九, 105 -> 一百零五, 12000 -> 一万二千.

    Args:
      numerals: those of 0 to 10, 100, 1000, ten thousand and a hundred million.
      inside: whether a digit precedes the number.
    """
    if number >= 10000:
        size, unit = (10**8, numerals[14]) if number >= 10**8 else (10**4, numerals[13])
        high, low = divmod(number, size)
        rest = (numerals[0] if low < size // 10 else "") + chinese(low, numerals, True) if low else ""
        return chinese(high, numerals) + unit + rest
    out, gap = "", False
    for size, unit in ((1000, numerals[12]), (100, numerals[11]), (10, numerals[10]), (1, "")):
        digit, number = divmod(number, size)
        if digit:
            ten = size == 10 and digit == 1 and not (out or inside)  # 十, not 一十
            out += (numerals[0] if gap and out else "") + ("" if ten else numerals[digit]) + unit
        gap = not digit
    return out or numerals[0]


def _spelled(number: Number, language: str, **form: Any) -> str:
    spelled = speller(language)
    if spelled is None:
        raise Unspeakable(f"no library has the numbers of {language}")
    return spelled.spell(number, **form)


def _space(language: str) -> str:
    return " " if rules(language).spaced else ""


def _replaced(words: str, replaced: Replaced) -> str:
    for pattern, other in replaced:
        words = re.sub(pattern, other, words)
    return words


def _form(forms: Forms, amount: str, language: str) -> str:
    """The form of a noun after a number, which may have decimals."""
    if isinstance(forms, Mapping):
        return forms.get(get_plural_category(family(language), Decimal(amount)), forms["other"])
    patterns = rules(language).counts[: len(forms) - 1]
    return next((form for pattern, form in zip(patterns, forms) if re.fullmatch(pattern, amount)), forms[-1])


def _joined(words: str, name: str, language: str) -> str:
    """A number before its noun."""
    known = rules(language)
    if not known.uncounted or not re.match(known.uncounted, name):
        words = _replaced(words, known.before_noun)
    return f"{words}{_space(language)}{name}"
