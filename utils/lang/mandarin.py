"""Pronunciations of Mandarin words by pypinyin: initials and toned finals, such as `zh ang3` and `ch ang2` for 长.

The units are those of pinyin's strict form (`j v2` for jú, `x iou1` for xiū), with two more finals for vowels that pinyin also
writes i: `ii` after z c s, `iii` after zh ch sh r. Tone 5 is the neutral tone. `rr` is the r of erhua, `h ua1 rr` for 花儿.
"""

import re
from collections import Counter, defaultdict
from functools import lru_cache
from itertools import islice, product
from typing import Dict, List, Sequence, Tuple

from utils.languages.pinyin import ERHUA, syllable_units
from utils.text.letters import UNSPACED

VARIANTS = 4  # most pronunciations of a word
LEAST = 0.05  # share of the phrases with a character in which a reading occurs; rarer ones are names, old or misprints
_CHILD = frozenset("女婴幼孤胎少健宠男小育患托生血弃病")  # before 儿 where it is a syllable, as in 女儿, and no erhua
_NUMERALS = frozenset(
    "零〇一二两三四五六七八九十百千万亿"
)  # doubled they keep their tones; the second 妈 of 妈妈 has the neutral tone too
_RUN = re.compile(f"([{UNSPACED}]+)")


def runs(word: str) -> List[str]:
    """The parts of a word that are Chinese, and those between them: 卡拉ok -> 卡拉, ok."""
    return [part for part in _RUN.split(word) if part]


def is_chinese(run: str) -> bool:
    """Whether a part of a word is one that `pinyin_units` may pronounce."""
    return _RUN.fullmatch(run) is not None


@lru_cache(maxsize=1 << 16)  # of a long list, which is first chosen and then spelled
def pinyin_units(word: str) -> List[Tuple[str, ...]]:
    """Pronunciations of a Chinese word, the most usual first; none if pypinyin lacks one of its characters.

    A word that is one of pypinyin's phrases, or made of them, is read as these are; other characters have each of the readings
    that are usual in phrases.
    """
    from pypinyin import Style, pinyin

    by_characters = pinyin(word, style=Style.TONE3, heteronym=True, neutral_tone_with_five=True, errors="ignore")
    usual = pinyin(word, style=Style.TONE3, neutral_tone_with_five=True, errors="ignore")
    if len(by_characters) != len(word):
        return []
    choices = [
        _of_character(word, at, [first, *(r for r in readings if r != first and r in _readings(word[at]))])
        for at, (readings, (first, *_)) in enumerate(zip(by_characters, usual))
    ]
    joined = (tuple(unit for units in chosen for unit in units) for chosen in product(*choices))
    return list(islice(dict.fromkeys(joined), VARIANTS))


def _of_character(word: str, at: int, readings: Sequence[str]) -> List[Tuple[str, ...]]:
    """Units of the character at a place in a word, for each of its readings as pypinyin writes them: er2, lv4."""
    before = word[at - 1] if at else ""
    if word[at] == "儿":
        erhua = [(ERHUA,)] * (word == "儿" or (at > 0 and before not in _CHILD))
        return [*erhua, syllable_units("er2")] if before else [syllable_units("er2"), *erhua]
    doubled = word[at] == before and word[at] not in _NUMERALS
    return [*map(syllable_units, readings), *([syllable_units(f"{readings[0][:-1]}5")] * doubled)]


@lru_cache(maxsize=None)
def _readings(character: str) -> List[str]:
    """Readings of a character that are usual in pypinyin's phrases."""
    from pypinyin.contrib.tone_convert import to_tone3

    found = _counts()[character]
    least = max(2, LEAST * sum(found.values()))
    return [to_tone3(reading, neutral_tone_with_five=True) for reading, count in found.most_common() if count >= least]


@lru_cache(maxsize=None)
def _counts() -> Dict[str, Counter]:
    """Character -> in how many phrases it has each reading."""
    from pypinyin.phrases_dict import phrases_dict

    counts: Dict[str, Counter] = defaultdict(Counter)
    for phrase, syllables in phrases_dict.items():
        for character, (reading, *_) in zip(phrase, syllables):
            counts[character][reading] += 1
    return counts
