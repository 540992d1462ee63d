"""Text files that are not UTF-8: what encoding they have, and the command that converts them."""

import re
import shlex
import unicodedata
from math import log10
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Tuple

from utils.core.errors import UserError

SAMPLE = 1 << 16  # bytes with a high bit, and their lines, that an encoding is guessed from
# (name for iconv, Python's codec, languages whose words show that it is right). Of two that fit alike, the first is taken.
CANDIDATES: Tuple[Tuple[str, str, Tuple[str, ...]], ...] = (
    ("GB18030", "gb18030", ("zh",)),
    ("BIG5", "big5hkscs", ("zh",)),
    ("CP932", "cp932", ("ja",)),  # Shift_JIS with Microsoft's characters
    ("EUC-JP", "euc_jp", ("ja",)),
    ("CP949", "cp949", ("ko",)),  # EUC-KR with all syllables
    ("ISO-8859-1", "latin_1", ("fr", "es", "de", "it", "pt", "nl", "sv", "nb", "da", "fi", "ca", "is", "en")),
    ("WINDOWS-1252", "cp1252", ("fr", "es", "de", "it", "pt", "nl", "sv", "nb", "da", "fi", "ca", "is", "en")),
    ("ISO-8859-2", "iso8859_2", ("pl", "cs", "hu", "ro", "sk", "sl")),
    ("WINDOWS-1250", "cp1250", ("pl", "cs", "hu", "ro", "sk", "sl")),
    ("WINDOWS-1251", "cp1251", ("ru", "uk", "bg", "mk", "sh")),
    ("KOI8-R", "koi8_r", ("ru", "bg")),
    ("ISO-8859-5", "iso8859_5", ("ru", "uk", "bg", "mk")),
    ("IBM866", "cp866", ("ru",)),
    ("ISO-8859-7", "iso8859_7", ("el",)),
    ("ISO-8859-8", "iso8859_8", ("he",)),
    ("WINDOWS-1255", "cp1255", ("he",)),
    ("ISO-8859-9", "iso8859_9", ("tr",)),
    ("WINDOWS-1254", "cp1254", ("tr",)),
    ("ISO-8859-6", "iso8859_6", ("ar", "fa")),
    ("WINDOWS-1256", "cp1256", ("ar", "fa", "ur")),
    ("WINDOWS-1257", "cp1257", ("lt", "lv")),
    ("MACINTOSH", "mac_roman", ("fr", "es", "de", "it", "pt")),
    ("IBM850", "cp850", ("fr", "es", "de", "it", "pt")),
)
LIKELY = 2.0  # zipf value a letter, on average, below which a guess is not said: 3 is a word that a million has once
_WITHOUT_BLANKS = {"zh", "ja", "ko"}  # their runs of letters are looked up in parts
_PUNCTUATION = re.compile("[“”‘’„«»–—…¿¡ªº°•。，、？！]")  # says nothing of an encoding
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x80-\x9f\ue000-\uf8ff]")  # control and private characters
_MARKS = (  # byte order marks; those of UTF-32 begin like those of UTF-16
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def utf8_lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends; byte order marks, which joined files have inside too, are dropped.

    Raises:
      UserError: the file has another encoding, or line ends of old Macs; the message has the command that converts it.
    """
    data = path.read_bytes()
    if wide(data):
        raise UserError(refusal(path, data))
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise UserError(refusal(path, data)) from None
    for number, line in enumerate(lines, 1):
        line = line[:-1] if line.endswith("\r") else line
        if "\r" in line:
            remedy = _by("tr", [r"\r", r"\n"], path, "< ")
            raise UserError(f"{path}, line {number}: a carriage return inside the line, as line ends of old Macs are; {remedy}")
        yield line.lstrip("\ufeff")


def control_character(text: str) -> str:
    """The first control character of a text by name: "the control character NUL (U+0000)"; '' where there is none."""
    found = next((c for c in text if unicodedata.category(c) == "Cc" and not c.isspace()), "")
    return f"the control character {'NUL (U+0000)' if found == chr(0) else f'U+{ord(found):04X}'}" if found else ""


def spoiled(text: str) -> str:
    """Why a transcript can't be what was written: characters that only damage leaves; '' where it has none."""
    control = control_character(text)
    lost = "U+FFFD, the mark of a character that was lost in a conversion" if "\ufffd" in text else ""
    return f"{control or lost} in the text {text!r}" if control or lost else ""


def refusal(path: Path, data: bytes) -> str:
    """Why `data`, the bytes of a file or its beginning, is not UTF-8, and what to do, as an error says it."""
    encoding = wide(data)
    if not encoding:
        bad = broken_lines(data)
        number, byte = bad[0] if bad else (1, 1)
        where = f"{path}, line {number}: not UTF-8 (byte {byte})"
        if _has_utf8(data):
            many = f", as are lines {', '.join(str(n) for n, _ in bad[1:6])}" if bad[1:] else ""
            return f"{where}{many}; correct it there, since converting the whole file would spoil the lines that are UTF-8"
        encoding = guess(data)
        if not encoding:
            return f"{where}; find out its encoding, then: iconv -f ENCODING -t UTF-8 {shlex.quote(str(path))}"
    else:
        where = f"{path}: not UTF-8"
    about = {"GB18030": " (GBK is a part of it)", "CP932": " (Shift_JIS)", "CP949": " (EUC-KR)"}.get(encoding, "")
    return f"{where}; it looks like {encoding}{about}: {_by('iconv', ['-f', encoding, '-t', 'UTF-8'], path)}"


def wide(data: bytes) -> str:
    """UTF-16 or UTF-32, by iconv's name, where the bytes are that: by the mark, or every second byte of most letters is 0."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    head = data[: SAMPLE & ~3]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if 8 * max(even, odd) <= len(head) or min(even, odd) * 4 > max(even, odd):  # a damaged file has zeros at both
        return ""
    return "UTF-16BE" if even > odd else "UTF-16LE"


def broken_lines(data: bytes) -> List[Tuple[int, int]]:
    """(line, byte in the line) of what can't be decoded, both from 1."""
    out = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            out.append((number, error.start + 1))
    return out


def guess(data: bytes) -> str:
    """iconv's name of the encoding whose reading has the most frequent words, in any language; '' where none fits."""
    sample = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:SAMPLE]
    sample = sample[: sample.rfind(b"\n")] if len(sample) == SAMPLE and b"\n" in sample else sample
    best: Tuple[float, str] = (LIKELY, "")
    for name, codec, languages in CANDIDATES:
        text = _decoded(sample, codec)
        if text is not None:
            best = max(best, (max(_frequency(text, language) for language in languages), name), key=lambda pair: pair[0])
    return best[1]


def _decoded(sample: bytes, codec: str) -> Optional[str]:
    try:
        text = sample.decode(codec).casefold()  # as in wordfreq's lists
    except UnicodeDecodeError:
        return None
    return None if _NO_TEXT.search(text) else text


def _frequency(text: str, language: str) -> float:
    """Mean zipf value (log10 of occurrences in 10⁹ words) of the words with letters that are not ASCII, weighted by length."""
    from wordfreq import get_frequency_dict

    frequency = get_frequency_dict(language, "small")
    total = value = 0.0
    for word in re.findall(r"(?:[^\W\d_]|[^\x00-\x7f])+", _PUNCTUATION.sub(" ", text))[:3000]:
        if word.isascii():
            continue
        total += len(word)
        parts: Iterable[str] = [word]
        if language in _WITHOUT_BLANKS:  # letters of Latin script inside such a word speak against it
            parts = (part for part in _parts(word, frequency) if not part.isascii())
        value += sum(len(part) * (log10(frequency[part]) + 9) for part in parts if part in frequency)
    return value / total if total else 0.0


def _parts(word: str, known: Dict[str, float]) -> Iterator[str]:
    """A run of letters as the longest words from the left."""
    at = 0
    while at < len(word):
        size = next((n for n in (4, 3, 2) if word[at : at + n] in known), 1)
        yield word[at : at + size]
        at += size


def _has_utf8(data: bytes) -> bool:
    """Whether more lines have characters of several bytes that are UTF-8 than lines that aren't."""
    lines = [line for line in data.split(b"\n") if not line.isascii()]
    return 2 * len(broken_lines(b"\n".join(lines))) < len(lines)


def _by(program: str, arguments: List[str], path: Path, read: str = "") -> str:
    """The command that converts a file, plain or `.gz`, in place."""
    name, new, command = shlex.quote(str(path)), shlex.quote(f"{path}.utf8"), " ".join([program, *map(shlex.quote, arguments)])
    made = f"zcat {name} | {command} | gzip" if path.suffix == ".gz" else f"{command} {read}{name}"
    return f"convert it with: {made} > {new} && mv {new} {name}"
