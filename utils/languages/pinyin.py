"""Syllables of pinyin, with digits or tone marks, as the units that utils/lang/mandarin.py describes: initials, toned finals."""

import re
import unicodedata
from functools import lru_cache
from typing import Collection, FrozenSet, List, Sequence, Tuple

ERHUA = "rr"
NEUTRAL = "5"
_MARKS = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}  # combining marks: mā má mǎ mà
_SYLLABIC = re.compile("(h?)(m|n|ng)([1-5])")  # interjections such as 嗯


def syllable_units(syllable: str) -> Tuple[str, ...]:
    """Initial, if there is one, and toned final of a syllable: zhang3 -> zh ang3, yu2 -> v2."""
    from pypinyin.contrib.tone_convert import to_finals_tone3, to_initials

    syllabic = _SYLLABIC.fullmatch(syllable)
    if syllabic:
        initial, final = syllabic[1], f"{syllabic[2]}{syllabic[3]}"
    else:
        initial = to_initials(syllable, strict=True)
        final = to_finals_tone3(syllable, strict=True, neutral_tone_with_five=True)
        if final[:-1] == "i" and initial in ("z", "c", "s", "zh", "ch", "sh", "r"):
            final = f"{'i' * (2 if len(initial) == 1 and initial != 'r' else 3)}{final[-1]}"
    return (initial, final) if initial else (final,)


def written_units(word: str, fields: Sequence[str], phones: Collection[str] = ()) -> Tuple[str, ...]:
    """Units of a word's pronunciation that somebody wrote in pinyin: `yin2 hang2`, `yín háng`; `huar1` for 花儿.

    A syllable without a tone is neutral where another one has a tone.

    Args:
      phones: units of a model; the English ones, which are in capitals, may stand between the syllables.
    Returns:
      the units; none for what is not pinyin, has no tone at all, or another number of syllables than the word has characters.
    """
    kept = [None if field.isupper() and field in phones else _syllable(field) for field in fields]
    syllables = [one for one in kept if one is not None]
    if not all(name for name, _, _ in syllables) or not any(tone for _, tone, _ in syllables):
        return ()
    if sum(1 + erhua for _, _, erhua in syllables) != sum(not character.isascii() for character in word):
        return ()
    out: List[str] = []
    for field, one in zip(fields, kept):
        if one is None:
            out.append(field)
        else:
            out += [*syllable_units(f"{one[0]}{one[1] or NEUTRAL}"), *[ERHUA] * one[2]]
    return tuple(out)


def _syllable(field: str) -> Tuple[str, str, bool]:
    """Letters, tone and erhua of a written syllable: lǜ or lv4 -> lv, 4; no letters for what is none."""
    decomposed = unicodedata.normalize("NFD", field.lower().replace("u:", "ü"))
    digit = decomposed[-1:] if decomposed[-1:].isdigit() else ""
    marks = [_MARKS[c] for c in decomposed if c in _MARKS]
    letters = _letters(decomposed[: len(decomposed) - len(digit)])
    tone = {"0": NEUTRAL}.get(digit, digit) or "".join(marks)
    if (digit and marks) or tone not in ("", *_MARKS.values(), NEUTRAL):
        return "", "", False
    if letters in _syllables():
        return letters, tone, False
    return (letters[:-1], tone, True) if letters.endswith("r") and letters[:-1] in _syllables() else ("", "", False)


def _letters(decomposed: str) -> str:
    """Without tone marks, ü as v."""
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if c not in _MARKS)).replace("ü", "v")


@lru_cache(maxsize=None)
def _syllables() -> FrozenSet[str]:
    """All syllables of Mandarin, without tones."""
    from pypinyin.pinyin_dict import pinyin_dict

    readings = {reading for listed in pinyin_dict.values() for reading in listed.split(",")}
    return frozenset(_letters(unicodedata.normalize("NFD", reading)) for reading in readings)
