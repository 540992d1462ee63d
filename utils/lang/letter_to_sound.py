"""Pronunciations of English words that cmudict lacks, by the letter-to-sound rules of espeak-ng.

Models trained on cmudict do better than these rules on the words of cmudict, and worse on words outside it, the only ones that
are asked for here.

espeak-ng runs in a process of its own, which is this file run as a module: its library has one state for all threads, and its
licence is the GNU General Public License, version 3 or later.
"""

import ctypes
import re
import subprocess
import sys
import unicodedata
from typing import Dict, Iterable, Iterator, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import ROOT

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
_IPA = 0x02 | ord("_") << 8  # espeak-ng's mode: IPA, with _ between phones
_STRESS = str.maketrans("_", " ", "ˈˌ")
_ROMAN = re.compile("[ivxlcdm]+")


def letter_to_sound(words: Sequence[str]) -> Dict[str, Tuple[str, ...]]:
    """Word -> its phones, those of cmudict without stress; abbreviations ('pbx') are spelled out.

    Words with letters of other scripts than Latin, without letters, or with sounds that English lacks are missing.

    Raises:
      UserError: espeak-ng is not installed, or does not run.
    """
    fitting = [word for word in dict.fromkeys(words) if _fits(word)]
    spoken = {word: _phones(word, ipa) for word, ipa in zip(fitting, _transcribed(fitting))}
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


def _transcribed(words: Sequence[str]) -> Sequence[str]:
    """espeak-ng's transcriptions, in IPA with _ or spaces between phones."""
    if not words:
        return []
    asked = "".join(f"{word.lower()}\n" for word in words).encode()
    done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, input=asked, capture_output=True)
    lines = done.stdout.decode().split("\n")[:-1]
    if done.returncode or len(lines) != len(words):
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with status {done.returncode}"
        raise UserError(
            f"the pronunciation of '{words[0]}', which cmudict lacks, comes from espeak-ng, which does not run ({reason}): "
            "run utils/setup.sh, which installs it (espeakng-loader)"
        )
    return lines


def _espeak(words: Iterable[str]) -> Iterator[str]:
    """Transcriptions by the library, in this process."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    if library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0) < 0 or library.espeak_SetVoiceByName(
        b"en-us"
    ):
        sys.exit("its American English can't be loaded")
    for word in words:
        text, clauses = ctypes.c_char_p(word.encode()), []
        while text.value is not None:  # the library moves it to the next clause, and to NULL at the end
            clauses.append(library.espeak_TextToPhonemes(ctypes.byref(text), 1, _IPA).decode())
        yield " ".join(clauses)


if __name__ == "__main__":
    for ipa in _espeak(sys.stdin.buffer.read().decode().split("\n")[:-1]):
        sys.stdout.buffer.write(f"{ipa}\n".encode())
