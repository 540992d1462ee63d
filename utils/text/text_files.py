"""Text files of any size, plain or compressed: their lines, or blocks of whole lines."""

import bz2
import gzip
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, Optional, Sequence, Tuple

from utils.core.errors import UserError
from utils.text.encoding import SAMPLE, broken_lines, refusal, wide

# By the first bytes.
PACKED: Dict[bytes, Callable[..., IO]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"BZh": bz2.open}
NOT_TEXT = {
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PK\3\4": "a ZIP archive, as documents of Word are too",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"%PDF-": "a PDF document",
}
SEEN = 1 << 26  # bytes of a file that isn't UTF-8 in which the broken lines are counted
BLOCK = 1 << 22  # bytes
LONGEST_LINE = 1 << 28  # bytes: a sentence of 50 million words is none
PACKING = 4  # how many times smaller compressed text is, about


def lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file, plain or compressed by gzip, xz or bzip2, with their line ends.

    Raises:
      UserError: another file.
    """
    try:
        opened = _opener(path)
        with opened(path, "rt", encoding="utf-8-sig", newline="\n") as text:
            yield from text
    except UnicodeDecodeError:
        with opened(path, "rb") as stream:
            why = refusal(path, stream.read(SEEN))
        raise UserError(f"{why}. Binary word2vec and fastText files end in .bin") from None
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{path} can't be read: {error}") from None


@dataclass(frozen=True)
class Position:
    """How far text files are read."""

    file: int = 0
    offset: int = 0  # bytes of the file, unpacked
    lines: int = 0  # of the file


@dataclass(frozen=True)
class TextFiles:
    """Text files, a sentence a line, that are read in blocks of whole lines.

    `normalise`: what is done to each line. `letters`: whether it leaves ASCII letters and blanks as they are, in small letters,
    so that lines of these need no normalising.
    """

    paths: Sequence[Path]
    normalise: Optional[Callable[[str], str]] = None
    letters: bool = False

    @property
    def size(self) -> int:
        """Bytes of text, about: of compressed files only their own size is known."""
        return sum(path.stat().st_size * (PACKING if _packed(path) else 1) for path in self.paths)

    def blocks(self, start: Position = Position()) -> Iterator[Tuple[str, Position]]:
        """Whole lines, each with its end, and where the next block begins.

        Raises:
          UserError: a file can't be read, is no UTF-8 text, or has a line of hundreds of megabytes.
        """
        for number in range(start.file, len(self.paths)):
            yield from self._of_file(number, start if number == start.file else Position(number))

    def _of_file(self, number: int, start: Position) -> Iterator[Tuple[str, Position]]:
        path, at = self.paths[number], start
        try:
            with _opener(path)(path, "rb") as stream:
                stream.seek(at.offset)
                waiting = b""
                while True:
                    more = stream.read(BLOCK)
                    end = more.rfind(b"\n") + 1
                    if more and not end:
                        waiting += more
                        if len(waiting) > LONGEST_LINE:
                            raise UserError(
                                f"{path}, line {at.lines + 1} is longer than {LONGEST_LINE >> 20} MB; a line is a sentence: "
                                "break the text into lines"
                            )
                        continue
                    block, waiting = waiting + more[:end], more[end:]
                    if not more and not block:
                        return
                    text = self._decoded(block, path, at)
                    at = Position(number, at.offset + len(block), at.lines + text.count("\n"))
                    yield self._normalised(text if text.endswith("\n") else f"{text}\n"), at
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise UserError(f"{path} can't be read: {error}") from None

    def _decoded(self, block: bytes, path: Path, at: Position) -> str:
        try:
            text = block.decode()
        except UnicodeDecodeError:
            if at.offset == 0:
                raise UserError(refusal(path, block)) from None
            line, byte = broken_lines(block)[0]
            raise UserError(f"{path}, line {at.lines + line}: not UTF-8 (byte {byte} of the line); correct it there") from None
        return text.removeprefix("\ufeff") if at.offset == 0 else text

    def _normalised(self, text: str) -> str:
        if self.normalise is None:
            return text
        if self.letters and _of_letters(text):
            return text.lower()
        done = (line.lower() if self.letters and _of_letters(line) else self.normalise(line) for line in text[:-1].split("\n"))
        return "\n".join(done) + "\n"


def _of_letters(text: str) -> bool:
    """Whether a text has nothing but ASCII letters and blanks."""
    return text.isascii() and not text.encode().translate(None, _LETTERS)


_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \r\n"


def _packed(path: Path) -> bool:
    with open(path, "rb") as stream:
        head = stream.read(8)
    return any(head.startswith(magic) for magic in PACKED)


def _opener(path: Path) -> Callable[..., IO]:
    """What opens a file of text. Raises UserError for one that is none."""
    with open(path, "rb") as raw:
        head = raw.read(8)
    form = next((name for magic, name in NOT_TEXT.items() if head.startswith(magic)), "")
    if form:
        raise UserError(f"{path} is {form}, not text: unpack or convert it (gzip, xz and bzip2 files are read as they are)")
    opened = next((way for magic, way in PACKED.items() if head.startswith(magic)), open)
    with opened(path, "rb") as stream:
        head = stream.read(SAMPLE)
    if wide(head):
        raise UserError(refusal(path, head))
    return opened
