"""What the header of an audio file promises, against what the file holds: libsndfile reads the lesser of both without a word."""

import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Optional, Tuple

import numpy as np

BLOCK = 1 << 20  # bytes in memory at once
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICS")  # what music players append; no audio


@dataclass(frozen=True)
class Difference:
    """Bytes between a header's promise and its file."""

    missing: int = 0  # promised samples that the file lacks
    more: int = 0  # behind the samples, other than zeros, and in no chunk: samples that the header does not promise


@dataclass(frozen=True)
class _Layout:
    """Chunks of a format: a name, a size, the content."""

    form: bytes  # at byte 8
    first: int  # where the first chunk starts
    samples: bytes  # name of the chunk with the samples
    size: str  # of `struct`
    name_bytes: int = 4
    align: int = 2
    whole: bool = False  # the size counts name and size too


LAYOUTS: Dict[bytes, _Layout] = {
    b"RIFF": _Layout(b"WAVE", 12, b"data", "<I"),
    b"RIFX": _Layout(b"WAVE", 12, b"data", ">I"),
    b"RF64": _Layout(b"WAVE", 12, b"data", "<I"),
    b"FORM": _Layout(b"AIF", 12, b"SSND", ">I"),
    b"riff": _Layout(b"\xa5\xd6\x28\xdb", 40, b"data", "<Q", 16, 8, True),  # Sony Wave64
    b"caff": _Layout(b"", 8, b"data", ">Q", 4, 1),
}


def difference(path: Path) -> Difference:
    """Compare the header of a file (WAV, RF64, Wave64, AIFF, CAF, AU, SPHERE, FLAC; others differ in nothing) with its length."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(1024)
        layout = LAYOUTS.get(head[:4])
        if layout and head[8:12].startswith(layout.form):
            return _chunks(stream, layout, size, _ds64(head) if head[:4] == b"RF64" else None)
        if head[:4] == b"fLaC":
            at = _find(stream, b"fLaC\0\0\0\x22", 4)
            return Difference(more=size - at if at > 0 else 0)
        promised = _au(head) or _sphere(head)
        if promised is None:
            return Difference()
        start, length = promised
        return Difference(max(0, start + length - size), _nonzero(stream, start + length))


def _chunks(stream: BinaryIO, layout: _Layout, size: int, samples: Optional[int]) -> Difference:
    """The difference of a file of chunks.

    Args:
      samples: bytes of the chunk with the samples, where another chunk says it.
    """
    head, at, seen = layout.name_bytes + struct.calcsize(layout.size), layout.first, False
    while at + head <= size:
        stream.seek(at)
        name = stream.read(layout.name_bytes)
        (length,) = struct.unpack(layout.size, stream.read(head - layout.name_bytes))
        length -= head if layout.whole else 0
        if seen and name[:4] in (layout.samples, *LAYOUTS):  # another file joined to this one, or more samples
            return Difference(more=_nonzero(stream, at))
        if seen and (not re.match(rb"[ -~]{4}", name) or length < 0 or at + head + length > size):
            return Difference(more=_nonzero(stream, at))
        if not seen and name[:4] == layout.samples:
            length = length if samples is None else samples
            if length == 0 or length >= 2 ** (8 * struct.calcsize(layout.size) - 1) - 4096:  # written to a pipe: length unknown
                return Difference()
            if at + head + length > size:
                return Difference(missing=at + head + length - size)
            seen = True
        at += head + length
        at += -at % layout.align
    return Difference(more=_nonzero(stream, at) if seen else 0)


def _nonzero(stream: BinaryIO, start: int) -> int:
    """Bytes from `start` to the end that are neither zero nor a tag."""
    stream.seek(0, os.SEEK_END)
    if start >= stream.tell():
        return 0
    stream.seek(start)
    if stream.read(16).startswith(TAGS):
        return 0
    stream.seek(start)
    return sum(int(np.count_nonzero(np.frombuffer(block, np.uint8))) for block in iter(lambda: stream.read(BLOCK), b""))


def _find(stream: BinaryIO, wanted: bytes, start: int) -> int:
    """Where bytes first occur from `start` on; -1 where they don't."""
    stream.seek(start)
    end, at = b"", start
    while block := stream.read(BLOCK):
        found = (end + block).find(wanted)
        if found >= 0:
            return at - len(end) + found
        at, end = at + len(block), (end + block)[1 - len(wanted) :]
    return -1


def _ds64(head: bytes) -> Optional[int]:
    """Bytes of samples of an RF64 file."""
    return struct.unpack_from("<Q", head, 28)[0] if head[12:16] == b"ds64" else None


def _au(head: bytes) -> Optional[Tuple[int, int]]:
    """Where the samples of an AU file start, and their bytes; None where the header does not say it."""
    if head[:4] not in (b".snd", b"dns.") or len(head) < 12:
        return None
    start, length = struct.unpack_from(">II" if head[:4] == b".snd" else "<II", head, 4)
    return None if length in (0, 0xFFFFFFFF) else (start, length)


def _sphere(head: bytes) -> Optional[Tuple[int, int]]:
    """The same of a NIST SPHERE file."""
    if not head.startswith(b"NIST_1A\n"):
        return None
    fields = dict(re.findall(rb"(?m)^(sample_count|channel_count|sample_n_bytes) -i (\d+)", head))
    start = re.match(rb"NIST_1A\n *(\d+)", head)
    if start is None or b"sample_count" not in fields:
        return None
    each = int(fields.get(b"channel_count", 1)) * int(fields.get(b"sample_n_bytes", 1))
    return int(start[1]), int(fields[b"sample_count"]) * each
