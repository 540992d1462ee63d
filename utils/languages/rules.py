"""The rules of a language that text becomes words by: a YAML file a language in rules/, named by its tag.

A language without a file has the rules that `Rules` has as defaults, with what CLDR has (rules/cldr.yaml): signs in numbers, the
words for &, % and €.
A file may say `like: zh`, and then has only what differs. Patterns are regular expressions, replaced in the order of the file;
texts are in NFC when they are tried, and but for `letters` in small letters.
"""

from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.core.languages import canonical, family, script

FOLDER = Path(__file__).parent / "rules"
CLDR = "cldr"  # the file with what CLDR has
Forms = Union[Sequence[str], Mapping[str, str]]  # by `counts`, or by the plural category of CLDR
Replaced = Sequence[Tuple[str, str]]  # patterns, and what takes the place of a match


@dataclass(frozen=True)
class Rules:
    """What text of a language becomes words by. Words of numbers that a language has no rule for are empty."""

    language: str
    version: int = 1  # of the normaliser: raised whenever its output changes

    # Letters
    dotless: bool = False  # I is the capital of ı, and İ that of i
    letters: Replaced = ()  # letters that are typed in several ways, before anything else
    spelling: Replaced = ()  # of finished words
    twins: Mapping[str, str] = field(default_factory=dict)  # of: letters that are typed for those of by: in words with beside:
    inside: str = ""  # signs that are part of a word between letters, besides the apostrophe
    points: bool = False  # whether vowel points (Hebrew, Arabic) belong to the spelling; otherwise they are dropped
    and_: str = ""  # what & is read as

    # Numbers as they are written
    decimal: str = "."  # the sign before decimals; the other of dot and comma stands between thousands
    blank: bool = False  # whether thousands may be parted by a plain blank
    lakhs: bool = False  # whether 12,34,567 is one number
    dotted: bool = False  # whether 3. may be an ordinal
    spaced: bool = True  # whether words of numbers stand apart

    # Numbers as they are read
    digits: Sequence[str] = ()  # names of 0 to 9, where no library has the language's numbers: each digit is read by itself
    library: str = ""  # cldr: its numbers come before those of num2words
    cardinals: str = ""  # Chinese numerals of 0 to 10, 100, 1000, 10 000 and 100 000 000; empty: by a library
    number_gender: str = ""  # m or f: that of a number alone, where num2words takes a gender
    feminine_forms: Replaced = ()  # of a number that counts a feminine noun, elsewhere
    decimals: str = ""  # named: hundredths are named
    point: str = ""  # how the sign before decimals is read
    dot: str = ""  # how the dot of versions and addresses is read, where it is read otherwise
    minus: str = ""
    to: str = ""  # between the ends of a range that is written with a long dash
    number_sign: str = ""  # № and n°
    powers: Sequence[str] = ()  # ² and ³
    nouns: Mapping[str, Forms] = field(default_factory=dict)  # forms of %, ‰, ° and currencies after a number
    cents: Mapping[str, Sequence[str]] = field(default_factory=dict)  # hundredths of a currency that are said with a name
    counts: Sequence[str] = ("0*1",)  # numbers that take each form but the last, as patterns
    feminine: Sequence[str] = ()  # signs and names of hundredths that are feminine
    before: Mapping[str, str] = field(default_factory=dict)  # what stands before the number, not after it: 百分之 for %
    before_noun: Replaced = ()  # of the last word of a number before a noun
    uncounted: str = ""  # the beginning of nouns before which a number keeps its form, as a pattern
    one: Mapping[str, str] = field(default_factory=dict)  # gender -> what follows the noun for the number 1
    two: str = ""  # 2 before a masculine noun
    counted: Mapping[int, str] = field(default_factory=dict)  # a number -> how grammars say it too where it counts something
    money_and: str = ""  # between an amount and its hundredths
    money_prefix: str = ""  # of the hundredths, instead
    money_signs: Replaced = ()  # how signs of currencies may also be written
    sizes: str = ""  # of an amount of money, as a pattern: $5bn
    magnitudes: Mapping[str, str] = field(default_factory=dict)  # their words
    scales: Mapping[str, str] = field(default_factory=dict)  # c and f after °
    degrees_before_scale: bool = True  # whether a scale's word follows that of °
    half: Sequence[str] = ()  # alone, and after a whole number
    one_and_a_half: str = ""
    parts: Mapping[int, Sequence[str]] = field(default_factory=dict)  # a third, a quarter ...: one, several
    part_of_ordinal: Replaced = ()  # the plural of other parts, from the ordinal
    part_forms: Sequence[str] = ()  # forms of the ordinal that names a part: one, several
    above: Mapping[int, str] = field(default_factory=dict)  # the number of parts, where it is another than the cardinal
    above_others: bool = True  # whether other numbers of parts have a name
    above_gender: str = ""
    mixed: str = "{whole} {part}"  # a whole number and parts
    mixed_forms: Replaced = ()  # of the part after a whole number
    fraction: str = ""  # where one form is for all: {below}分之{above}
    ordinal: str = ""  # where one form is for all: 第{number}
    ordinal_endings: Mapping[str, str] = field(default_factory=dict)  # gender -> endings of written ordinals
    ordinal_dot: bool = False  # whether a dot may stand before them
    ordinal_zero: bool = False  # whether 0th is an ordinal
    ordinal_case: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # form -> what num2words is asked for
    ordinal_forms: Mapping[str, Replaced] = field(default_factory=dict)  # form -> how it is made of the masculine
    ordinal_by_ending: Mapping[str, Replaced] = field(default_factory=dict)  # an ending, as a pattern -> how it changes the word
    inflected: Mapping[str, Any] = field(default_factory=dict)  # endings after digits: 5-го, 10-летний
    decades: Mapping[str, Any] = field(default_factory=dict)  # 1990s
    days: Mapping[str, Any] = field(default_factory=dict)  # 1. Mai
    years: str = ""  # numbers whose digits are read one by one, as a pattern with one group
    clock: Mapping[str, Any] = field(default_factory=dict)  # words of hours, minutes and seconds
    times: Sequence[str] = ()  # what may follow an hour besides :30, as patterns
    hour_alone: Sequence[str] = ()  # the same, for an hour whose 00 is not read


@lru_cache(maxsize=None)
def rules(language: str) -> Rules:
    """The rules of a language: those of the file with its tag, with its code and script, or with its code.

    Raises:
      UserError: the file is no YAML, or has a key that is none.
    """
    code = family(language)
    names = [canonical(language), f"{code}-{script(language)}", code]
    name = next((name for name in names if (FOLDER / f"{name}.yaml").is_file() and name != CLDR), "")
    cldr = _of_cldr(code, script(language) == script(code))
    return Rules(language=language, **{**cldr, **(_read(name) if name else {})})


def languages() -> List[str]:
    """The languages that have a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != CLDR)


def _read(name: str) -> Dict[str, Any]:
    path, known = FOLDER / f"{name}.yaml", {f.name for f in fields(Rules)}
    content = _content(path)
    content = {("and_" if key == "and" else key): value for key, value in dict(content).items()}
    like = content.pop("like", "")
    for key in content:
        if key not in known:
            raise UserError(
                f"{path} has '{key}', which no rule is called{nearest(str(key), known)}: see utils/languages/rules.py"
            )
    return {**(_read(like) if like else {}), **content}


@lru_cache(maxsize=None)
def _cldr() -> Dict[str, Any]:
    return _content(FOLDER / f"{CLDR}.yaml")


def _content(path: Path) -> Dict[str, Any]:
    import yaml  # here, because a bundle recognises without it

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} can't be read: {error}") from None


def _of_cldr(code: str, usual: bool) -> Dict[str, Any]:
    """How numbers are parted, and whether a dot makes an ordinal; and words, which are in a language's usual script."""
    listed = _cldr()
    words = dict(listed["words"].get(code, {})) if usual else {}
    known = {"and_": words.pop("and", ""), "before": words.pop("before", {}), "nouns": words}
    lists = {key: code in listed.get(key, "").split() for key in ("blank", "lakhs", "dotted")}
    version = 2 if lists["lakhs"] else 1
    return {"version": version, "decimal": "," if code in listed["comma"].split() else ".", **lists, **known}
