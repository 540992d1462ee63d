"""An audio file as a stream of samples, for recognising: what can be read is read, and what is odd about it is said."""

import errno
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, List, Optional

import numpy as np
import soundfile

from utils.audio.decoding import BLOCK, OFF, Undecodable, Way, decoded, way
from utils.audio.levels import COARSE, SILENCE, useless
from utils.core.errors import UserError


@dataclass
class Recording:
    """An audio file that is being read."""

    rate: int  # Hz
    channels: int
    seconds: Optional[float]  # that a header promises
    blocks: Iterator[np.ndarray]  # (T, channels) float32, of full scale 1
    remarks: List[str] = field(default_factory=list)  # what is odd about it; complete after the last block


@contextmanager
def recording(path: Path) -> Iterator[Recording]:
    """The samples of a file, from its start, in bounded memory, for as long as the block lasts.

    A file whose header is wrong about its length is read to its end.

    Raises:
      UserError: no audio, damaged, or samples on another scale. The blocks raise it too.
    """
    try:
        if os.stat(path).st_size == 0:
            raise UserError(f"empty audio file {path}")
        found = way(path, lenient=True)
        with _by_libsndfile(path, found) if found.coding else _by_ffmpeg(path, found) as audio:
            audio.remarks += [found.remark] * bool(found.remark)
            audio.blocks = _looked_at(audio, audio.blocks, path, COARSE.get(found.coding, SILENCE))
            yield audio
    except Undecodable as error:
        raise UserError(str(error)) from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR):
            raise UserError(f"can't read {path}: {error.strerror}") from None
        raise


def length(path: Path) -> float:
    """Seconds of a file, by its header; infinite where libsndfile does not know it. Quick."""
    try:
        with open(path, "rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as file:
            return float(file.frames / file.samplerate)
    except (OSError, soundfile.LibsndfileError, RuntimeError, ValueError):
        return math.inf


@contextmanager
def _by_libsndfile(path: Path, found: Way) -> Iterator[Recording]:
    with open(path, "rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as file:
        audio = Recording(file.samplerate, file.channels, file.frames / file.samplerate, iter(()))

        def blocks() -> Iterator[np.ndarray]:
            samples = 0
            try:
                while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                    samples += len(block)
                    yield block
            except (soundfile.LibsndfileError, RuntimeError) as error:
                if not samples:
                    raise UserError(f"can't decode {path}: {error}") from None
            if file.frames - samples > OFF * audio.rate:
                audio.remarks.append(
                    f"it is damaged or cut short: {samples / audio.rate:.2f} of {file.frames / audio.rate:.2f} s are there"
                )

        audio.blocks = blocks()
        yield audio


@contextmanager
def _by_ffmpeg(path: Path, found: Way) -> Iterator[Recording]:
    with decoded(path, found) as inner:
        yield Recording(inner.rate, inner.channels, inner.seconds, _larger(inner.blocks), inner.remarks)


def _larger(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks of int16, which codecs make of 20 ms, as fewer blocks of float32: what comes after costs by the block."""
    held: List[np.ndarray] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= BLOCK:
            yield np.concatenate(held).astype(np.float32) / 32768
            held = []
    if held:
        yield np.concatenate(held).astype(np.float32) / 32768


def _looked_at(audio: Recording, blocks: Iterator[np.ndarray], path: Path, silence: float) -> Iterator[np.ndarray]:
    """Blocks that are samples of full scale 1; says where all of them are silent."""
    low, high = np.inf, -np.inf
    for block in blocks:
        wrong = useless(block, path)
        if wrong:
            raise UserError(wrong)
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        yield block
    if high < low:
        raise UserError(f"no samples in {path}")
    if high - low < 2 * silence:
        audio.remarks.append("it is silent")
