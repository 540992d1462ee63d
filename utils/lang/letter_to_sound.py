"""Pronunciations of English words that cmudict lacks, by the letter-to-sound rules of espeak-ng.

Models trained on cmudict do better than these rules on the words of cmudict, and worse on words outside it, the only ones that
are asked for here.
"""

import re
import unicodedata
from typing import Dict, Sequence, Tuple

from utils.languages.ipa import transcribed

# The phones of cmudict for each of the IPA symbols that espeak-ng writes for American English.
_PHONES: Dict[str, str] = {
    # consonants
    **{
        "b": "B",
        "d": "D",
        "dʒ": "JH",
        "ð": "DH",
        "f": "F",
        "h": "HH",
        "j": "Y",
        "k": "K",
        "l": "L",
        "m": "M",
        "n": "N",
        "p": "P",
    },
    **{"s": "S", "t": "T", "tʃ": "CH", "v": "V", "w": "W", "x": "K", "z": "Z", "ŋ": "NG", "ɡ": "G", "ɬ": "L", "ɹ": "R", "r": "R"},
    **{"ɾ": "T", "ʃ": "SH", "ʒ": "ZH", "ʔ": "T", "θ": "TH", "nʲ": "N Y", "ɡʲ": "G Y"},
    # vowels
    **{"aɪ": "AY", "aʊ": "AW", "e": "EY", "eɪ": "EY", "i": "IY", "iː": "IY", "iːː": "IY", "o": "OW", "oʊ": "OW", "u": "UW"},
    **{"uː": "UW", "æ": "AE", "ɐ": "AH", "ɑː": "AA", "ɔ": "AO", "ɔː": "AO", "ɔɪ": "OY", "ə": "AH", "ɚ": "ER", "ɛ": "EH"},
    **{"ɜː": "ER", "ɪ": "IH", "ʊ": "UH", "ʌ": "AH", "ᵻ": "IH", "ɑ̃": "AA N", "ɔ̃": "AO N"},
    # vowels with what follows
    **{"aɪə": "AY AH", "aɪɚ": "AY ER", "iə": "IY AH", "n̩": "AH N", "ɑːɹ": "AA R", "ɔːɹ": "AO R", "əl": "AH L", "ɛɹ": "EH R"},
    **{"ɪɹ": "IH R", "ʊɹ": "UH R"},
}
VOICE = "en-us"
_STRESS = str.maketrans("_", " ", "ˈˌ")
_ROMAN = re.compile("[ivxlcdm]+")


def letter_to_sound(words: Sequence[str]) -> Dict[str, Tuple[str, ...]]:
    """Word -> its phones, those of cmudict without stress; abbreviations ('pbx') are spelled out.

    Words with letters of other scripts than Latin, without letters, or with sounds that English lacks are missing.

    Raises:
      UserError: espeak-ng is not installed, or does not run.
    """
    fitting = [word for word in dict.fromkeys(words) if _fits(word)]
    spoken = {word: _phones(word, ipa) for word, ipa in zip(fitting, transcribed(fitting, VOICE))}
    return {word: phones for word, phones in spoken.items() if phones}


def _fits(word: str) -> bool:
    latin = [unicodedata.name(c, "").startswith("LATIN ") for c in word]
    return any(latin) and all(ok or c.isdecimal() or c in "'’.-&" for ok, c in zip(latin, word))


def _phones(word: str, ipa: str) -> Tuple[str, ...]:
    """The phones of a word's IPA transcription; none if it has another symbol."""
    symbols = ipa.translate(_STRESS).split()
    if not _PHONES.keys() >= set(symbols):
        return ()
    phones = " ".join(_PHONES[symbol] for symbol in symbols)
    if _ROMAN.fullmatch(word.lower()):  # for 'ii' espeak-ng says 'roman two'
        phones = phones.removeprefix("R OW M AH N ")
    return tuple(phones.replace("ER R ", "ER ").split())  # before a vowel espeak-ng writes both, cmudict only ER
