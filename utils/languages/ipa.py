"""Pronunciations of words in IPA, by espeak-ng, which has voices of about 120 languages.

espeak-ng runs in a process of its own, which is this file run as a module: its library has one state for all threads, and its
licence is the GNU General Public License, version 3 or later.
"""

import ctypes
import json
import subprocess
import sys
import unicodedata
from functools import lru_cache
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.languages import canonical, family
from utils.languages.phone_features import segments

_IPA = 0x02 | ord("_") << 8  # espeak-ng's mode: IPA, with _ between phones
_NO_PHONES = str.maketrans("_", " ", "ˈˌ\u200d")  # between phones, and stress
_VOICES = {"en": "en-us", "fr": "fr-fr", "nn": "nb", "no": "nb", "zh": "cmn"}  # that it calls otherwise
_NO_DICTIONARY = ("fo", "kaa", "xex")  # voices that the wheel of 1.52 has without their dictionaries
_LIST = "voices"
_WRITTEN = {"ru": str.maketrans({"y": "ɨ", "ɭ": "l"})}  # voices that use a letter for another sound than IPA does
_NAMED = ("my", "th")  # languages whose voices name letters instead of reading words
_TONAL = frozenset("hak shn vi yue zh".split())  # whose voices write tones as figures, and the third as ɜ
_LENGTH = str.maketrans("", "", "ːˑ")


def phones(words: Sequence[str], language: str) -> Dict[str, Tuple[str, ...]]:
    """Word -> its phones in IPA, without stress, with figures for tones: `tˈiɛɜ ŋ` of a voice with tones is `t iɛ3 ŋ`.

    Words that the language's voice can't say are missing: of another script than Latin and its own, or without a letter or digit.
    So are all words of a language without a voice.

    Raises:
      UserError: espeak-ng is not installed, or does not run.
    """
    words = [word for word in dict.fromkeys(words) if any(map(str.isalnum, word))]
    code = family(language)
    named, tonal = "" if code in _NAMED else voice(language), code in _TONAL
    spoken = dict(zip(words, transcribed(words, named))) if named and words else {}
    return {word: found for word, found in ((word, _phones(word, ipa, tonal)) for word, ipa in spoken.items()) if found}


def in_segments(phones: Sequence[str], language: str) -> Tuple[str, ...]:
    """Phones of a language's voice as segments that languages share: `aɪ` is `a ɪ`, `tʃː` is `t ʃ`, without length and tone."""
    plain = (phone.translate(_LENGTH).translate(_WRITTEN.get(family(language), {})) for phone in phones)
    parts = [segment for phone in plain for segment in segments(phone) or [phone]]
    return tuple(part for part, before in zip(parts, ["", *parts]) if part != before) or tuple(phones)


def _phones(word: str, ipa: str, tonal: bool) -> Tuple[str, ...]:
    """The phones of a transcription; none where it names a character instead of saying it, for which it changes to English."""
    foreign = "(" in ipa
    if foreign and not any(unicodedata.name(c, "").startswith("LATIN ") for c in word):
        return ()
    symbols = ipa.translate(_NO_PHONES).split()
    if tonal:
        symbols = [f"{symbol[:-1]}3" if symbol[1:].endswith("ɜ") else symbol for symbol in symbols]
    return tuple(symbol for symbol in symbols if "(" not in symbol and any(unicodedata.category(c)[0] == "L" for c in symbol))


@lru_cache(maxsize=None)
def voice(language: str) -> str:
    """The name of espeak-ng's voice of a language, region or script; "" where it has none."""
    there = dict(line.split("\t") for line in reversed(_run(_LIST, [])))  # of two of a language, the first
    tag, code = canonical(language).lower(), family(language)
    names = [tag, _VOICES.get(code, code), code, *(name for name in there if name.startswith(f"{code}-"))]
    return next((there[name] for name in names if name in there and name not in _NO_DICTIONARY), "")


def transcribed(words: Sequence[str], voice: str) -> List[str]:
    """espeak-ng's transcriptions of words in IPA, with stress, and with _ or blanks between phones.

    Raises:
      UserError: espeak-ng is not installed, does not run, or has no such voice.
    """
    lines = _run(voice, words) if words else []
    if len(lines) != len(words):
        raise UserError(f"espeak-ng gave {len(lines)} pronunciations for {len(words)} words")
    return lines


def _run(voice: str, words: Sequence[str]) -> List[str]:
    asked = "".join(f"{json.dumps(word.lower())}\n" for word in words).encode()
    done = subprocess.run([sys.executable, "-m", __name__, voice], cwd=ROOT, input=asked, capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with status {done.returncode}"
        what = f"the pronunciation of '{words[0]}' comes" if words else "pronunciations come"
        raise UserError(
            f"{what} from espeak-ng, which does not run ({reason}): run utils/setup.sh, which installs it (espeakng-loader)"
        )
    return done.stdout.decode().split("\n")[:-1]


class _Voice(ctypes.Structure):
    """espeak_VOICE of its speak_lib.h, whose languages are a priority and a name."""

    _fields_ = [("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p)]


def _library() -> ctypes.CDLL:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    if library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0) < 0:
        sys.exit("its data can't be loaded")
    return library


def _voices() -> Iterator[str]:
    """Language and name of every voice."""
    library = _library()
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    for found in library.espeak_ListVoices(None):
        if not found:
            return
        language, file = found.contents.languages[1:].decode(), found.contents.identifier.decode()
        yield f"{language.lower()}\t{file.rpartition('/')[2]}"


def _espeak(voice: str, words: Iterable[str]) -> Iterator[str]:
    """Transcriptions by the library, in this process."""
    library = _library()
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    if library.espeak_SetVoiceByName(voice.encode()):
        sys.exit(f"its voice {voice} can't be loaded")
    for word in words:
        text, clauses = ctypes.c_char_p(word.encode()), []
        while text.value is not None:  # the library moves it to the next clause, and to NULL at the end
            clauses.append(library.espeak_TextToPhonemes(ctypes.byref(text), 1, _IPA).decode())
        yield " ".join(clauses)


if __name__ == "__main__":
    asked = sys.argv[1]
    lines = _voices() if asked == _LIST else _espeak(asked, map(json.loads, sys.stdin.buffer.read().decode().split("\n")[:-1]))
    for line in lines:
        sys.stdout.buffer.write(f"{line}\n".encode())
