"""Which file all stages read the samples of an audio file from: the file itself where libsndfile seeks in it exactly, or a copy.

Copies are made once, in stage 0, so that a cut has the same samples whichever chunk it is in. PyAV (FFmpeg) decodes what
libsndfile doesn't know: MP4 and 3GP, Matroska and WebM, and so on.
"""

import errno
import hashlib
import math
import os
import re
import shutil
import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Callable, DefaultDict, Dict, Iterator, List, Optional, Tuple

import numpy as np
import soundfile

from utils.audio import headers
from utils.core.errors import UserError
from utils.core.files import atomic_path

# FFmpeg's formats that are known by their content. Headerless ones aren't here (it would take a file for one by its name), nor
# play lists, which open other files.
CONTAINERS = "mov,matroska,asf,amr,aac,ac3,eac3,avi,flv,mpegts,mpeg,mp3,ogg,wav,w64,caf,aiff,flac,wv,tta,ape,shn,voc,rm,dss"
COUNTED = "wav w64 caf aiff flac wv tta ape voc".split()  # their header counts samples: fewer are a file cut short
ESTIMATED = "aac ac3 eac3 mpegts mpeg flv".split()  # FFmpeg guesses their length from the bit rate
GAP = 0.05  # seconds between two packets that are filled with silence, so that what follows keeps its time
LONGEST_GAP = 600.0  # seconds; more is a damaged time stamp
OFF = 0.2  # seconds by which the length in a compressed file's header may be wrong: encoders pad both ends
BLOCK = 1 << 16  # samples copied at once


def need_av() -> Any:
    """The module av (PyAV); raises UserError where it is missing."""
    try:
        import av
    except ImportError as error:
        raise UserError(
            f"such files, and long ones at other rates than 16 kHz, need the package av ({error}): python -m pip install av"
        ) from None
    return av


class Undecodable(Exception):
    """An audio file that can't be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Source:
    """What all stages read an audio file from."""

    path: Path
    coding: str  # in libsndfile's words, such as PCM_16
    remark: str = ""  # what is odd about the original


class Copies:
    """FLAC copies (16 bits) of audio files, in one folder; each file is copied once, also when several threads want it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._made: Dict[Path, Source] = {}
        self._locks: DefaultDict[Path, threading.Lock] = defaultdict(threading.Lock)

    def copy(self, path: Path, decode: Callable[[Path, Path], str]) -> Source:
        """The file's copy, made if it isn't there.

        Args:
          decode: writes the samples of a file to another, and returns what is odd about it.
        """
        with self._locks[path]:
            if path not in self._made:
                key = hashlib.sha256(str(path).encode()).hexdigest()[:16]
                copy = self.folder / f"{re.sub('[^A-Za-z0-9-]', '_', path.stem)[:40]}-{key}.flac"
                with atomic_path(copy) as temporary:
                    remark = decode(path, temporary)
                self._made[path] = Source(copy, "PCM_16", remark)
            return self._made[path]


@dataclass(frozen=True)
class Way:
    """What reads a file."""

    coding: str = ""  # in libsndfile's words; '' where FFmpeg reads it
    in_place: bool = False  # libsndfile reads the file under its name
    exact: bool = False  # also parts of it
    seconds: Optional[float] = None  # by a header that libsndfile reads
    unknown: str = ""  # libsndfile's reason not to read it
    remark: str = ""  # what is odd about it
    lenient: bool = False  # what is there is read, where a header promises more or less


@dataclass
class Decoded:
    """The samples of a file as FFmpeg decodes them."""

    rate: int  # Hz
    channels: int
    seconds: Optional[float]  # that a header promises
    blocks: Iterator[np.ndarray] = iter(())  # (T, channels) int16
    remarks: List[str] = field(default_factory=list)  # what is odd about it; complete after the last block


def source(path: Path, seeks: bool, copies: Copies) -> Source:
    """Find out what reads a file, and copy it where it can't be read exactly from any place.

    Args:
      path: an audio file.
      seeks: parts of it are used that don't begin at its start.
    Raises:
      Undecodable: nothing reads it, or its header and its content differ.
    """
    found = way(path)
    if not found.coding:
        return copies.copy(path, lambda old, new: _by_ffmpeg(old, new, found))
    copied = not found.in_place or seeks and not found.exact
    return replace(copies.copy(path, _by_libsndfile) if copied else Source(path, found.coding), remark=found.remark)


def way(path: Path, lenient: bool = False) -> Way:
    """Find out what reads a file.

    Args:
      lenient: a file whose header and length differ is not refused.
    Raises:
      Undecodable: it can't be read, or its header and its content differ.
    """
    try:
        with open(path, "rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as audio:  # by content, not by name
            form, coding, seconds, seekable = audio.format, audio.subtype, audio.frames / audio.samplerate, audio.seekable()
            unfinished = "end-of-stream" in audio.extra_info.lower()
            ends = not lenient or _ends(audio)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        raise Undecodable(f"can't read {path}: {error.strerror}") from None
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        _compare(path, lenient)
        return Way(unknown=re.sub(r"^Error opening \d+: ", "", str(error)), lenient=lenient)
    if form in ("OGG", "MP3") or coding.startswith("MPEG"):
        # of several files joined, libsndfile reads the first alone; it believes a wrong length; it may seek wrong in Vorbis
        actual = packet_seconds(path)
        if actual is not None and not seconds - 0.001 < actual < seconds + OFF:
            return Way(seconds=seconds, lenient=lenient)
        return Way(coding, True, False, seconds, remark="it has no end mark, as if it were cut short" if unfinished else "")
    remark, more = _compare(path, lenient, seconds)
    if lenient and not ends:
        remark = remark or "its header promises other samples than there are"
        more = True
    if more:  # libsndfile reads no more than the header promises, and not all of that where a compressed file is cut short
        return Way(remark=remark, lenient=True)
    misnamed = path.suffix.lower() == ".raw" or ".tar/" in str(path)  # soundfile and Lhotse go by these names
    return Way(coding, seekable and not misnamed, True, seconds, remark=remark)


def _ends(audio: soundfile.SoundFile) -> bool:
    """Whether the last sample that the header promises is there."""
    if audio.format != "FLAC" or not audio.seekable():
        return audio.frames > 0
    try:
        return bool(audio.seek(audio.frames - 1) >= 0) and len(audio.read(1)) == 1
    except (soundfile.LibsndfileError, RuntimeError):
        return False


def _compare(path: Path, lenient: bool, seconds: float = math.inf) -> Tuple[str, bool]:
    """What is odd about a file whose header and length differ, and whether it promises too little; refuse it unless `lenient`.

    Args:
      seconds: that libsndfile reads; infinite where it reads none.
    """
    found, size = headers.difference(path), path.stat().st_size
    if found.missing:
        if lenient:
            return f"it is cut short: its header promises {found.missing} more bytes than there are", False
        raise Undecodable(f"truncated audio file {path}: {found.missing} bytes are missing")
    if found.more / size <= 0.02 / (seconds + 0.02):  # 20 ms
        return "", False
    if lenient and path.suffix.lower() == ".wav":
        return f"its header promises less than there is: {found.more} more bytes follow, which are read too", True
    anew = (
        f"ffmpeg -ignore_length 1 -i {path} NEW.wav" if path.suffix.lower() == ".wav" else f"sox --ignore-length {path} NEW.wav"
    )
    raise Undecodable(
        f"the header of {path} promises less than there is: {found.more} more bytes follow the samples that it counts; "
        f"write it anew, for example with: {anew}"
    )


def _by_libsndfile(path: Path, copy: Path) -> str:
    with open(path, "rb") as stream, soundfile.SoundFile(stream.fileno(), closefd=False) as audio:
        with _written(copy, audio.samplerate, audio.channels) as write:
            while len(block := audio.read(BLOCK, dtype="float32", always_2d=True)):
                write(block)
    return ""


@contextmanager
def _written(copy: Path, rate: int, channels: int) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that appends samples, (T, channels), to a FLAC file.

    Raises:
      OSError: not all of them arrived in the file, because the disk is full, for example.
    """
    frames = 0

    def write(samples: np.ndarray) -> None:
        nonlocal frames
        frames += len(samples)
        try:
            out.write(samples)
        except (soundfile.LibsndfileError, AssertionError) as error:
            raise _unwritten(copy) from error

    out = soundfile.SoundFile(str(copy), "w", rate, channels, "PCM_16", format="FLAC")
    try:
        yield write
    finally:
        out.close()
    if soundfile.info(str(copy)).frames != frames:
        raise _unwritten(copy)


def _unwritten(copy: Path) -> OSError:
    full = shutil.disk_usage(copy.parent).free < 1 << 20
    return OSError(errno.ENOSPC if full else errno.EIO, "can't write", str(copy))


def _by_ffmpeg(path: Path, copy: Path, found: Way) -> str:
    with _said(path, found), decoded(path, found) as audio, _written(copy, audio.rate, audio.channels) as write:
        for block in audio.blocks:
            write(block)
    return "; ".join(audio.remarks)


@contextmanager
def decoded(path: Path, found: Way) -> Iterator[Decoded]:
    """The only audio stream of a file, decoded by FFmpeg while the block reads it.

    Raises:
      Undecodable: no such stream, several, or a damaged one. The blocks raise it too.
    """
    av = need_av()

    options = {"format_whitelist": CONTAINERS, **({"ignore_length": "1"} if found.lenient and found.remark else {})}
    with _said(path, found):
        container = av.open(os.path.abspath(path), options=options)  # a colon in a relative path would name a protocol
    with container:
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        if not streams:
            raise Undecodable(f"no audio in {path}")
        if len(streams) > 1:
            languages = ", ".join(s.language or "?" for s in streams)
            raise Undecodable(
                f"{len(streams)} audio streams in {path} ({languages}): take the one that is transcribed, "
                f"the first with: ffmpeg -i {path} -map 0:a:0 NEW.wav"
            )
        with _said(path, found):
            audio = _decode(container, streams[0], path, found)
        yield audio


@contextmanager
def _said(path: Path, found: Way) -> Iterator[None]:
    """Say of which file an error of a decoder is, and what to do."""
    av = need_av()

    try:
        yield
    except (av.error.FFmpegError, ValueError, IndexError, soundfile.LibsndfileError) as error:
        raise Undecodable(f"can't decode {path}: {found.unknown or error}; {_remedy(path)}") from None


def _decode(container: Any, stream: Any, path: Path, found: Way) -> Decoded:
    damaged: List[int] = []
    frames = _frames(container, stream, damaged, found.lenient)
    first = next(frames, None)
    if first is None:
        raise Undecodable(f"no samples in {path}")
    kind = container.format.name.split(",")[0]
    promised = found.seconds
    if promised is None and kind not in ESTIMATED:
        promised = _promised(container, stream)
    audio = Decoded(first.sample_rate, first.layout.nb_channels, promised)
    zero = (container.start_time or 0) / 1e6  # seconds: the time stamp of the first sample

    def blocks() -> Iterator[np.ndarray]:
        written = 0
        with _said(path, replace(found, unknown="")):  # the reason not to take libsndfile is not why it ends here
            for block in _timed(chain([first], frames), zero, path, audio):
                written += len(block)
                yield block
        actual = written / audio.rate
        if promised and not found.remark and abs(actual - promised) > max(OFF, 0.01 * actual):
            if kind in COUNTED and actual < promised and not found.lenient:
                raise Undecodable(f"truncated audio file {path}: {actual:.2f} of {promised:.2f} s")
            audio.remarks.insert(0, f"its header says {promised:.2f} s, and {actual:.2f} s are there")
        if damaged:
            audio.remarks.append(f"{len(damaged)} of its packets are damaged")

    audio.blocks = blocks()
    return audio


def _timed(frames: Iterator[Any], zero: float, path: Path, audio: Decoded) -> Iterator[np.ndarray]:
    """The samples of frames, (T, channels) int16, each at its time: where there is a gap, silence."""
    av = need_av()

    resampler, written, filled = None, 0, 0.0
    for frame in frames:
        resampler = resampler or av.AudioResampler(format="s16", layout=frame.layout, rate=audio.rate)
        at = written / audio.rate
        gap = 0.0 if frame.pts is None else float(frame.pts * frame.time_base) - zero - at
        if gap > LONGEST_GAP:
            raise Undecodable(f"the time stamps of {path} leap by {gap:.0f} s at {at:.2f} s; {_remedy(path)}")
        if gap > GAP:
            silence = np.zeros((round(gap * audio.rate), audio.channels), np.int16)
            yield silence
            written, filled = written + len(silence), filled + gap
        elif gap < -OFF:  # another file joined to this one: its time starts anew
            zero += gap
        for part in resampler.resample(frame):
            yield part.to_ndarray().reshape(-1, audio.channels)
            written += part.samples
    if filled:
        audio.remarks.append(f"{filled:.2f} s for which it has no audio are filled with silence")


def _frames(container: Any, stream: Any, damaged: List[int], lenient: bool) -> Iterator[Any]:
    """Decoded frames; packets that can't be decoded are noted in `damaged`.

    Raises:
      av.error.InvalidDataError: more packets than a tenth are damaged, and not `lenient`.
    """
    av = need_av()

    for n, packet in enumerate(container.demux(stream)):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            damaged.append(n)
            if not lenient and len(damaged) > 0.1 * n:
                raise


def _promised(container: Any, stream: Any) -> Optional[float]:
    """Seconds of a stream, by the header of its container."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration and len(container.streams) == 1 else None


def packet_seconds(path: Path) -> Optional[float]:
    """Seconds of audio in a compressed file, by its packets, which aren't decoded; None where FFmpeg doesn't know it."""
    av = need_av()

    try:
        with av.open(os.path.abspath(path), options={"format_whitelist": CONTAINERS}) as container:
            stream = container.streams.audio[0]
            return float(sum(packet.duration or 0 for packet in container.demux(stream)) * stream.time_base)
    except (av.error.FFmpegError, IndexError):
        return None


def _remedy(path: Path) -> str:
    with open(path, "rb") as stream:
        head = stream.read(1024)
    if head.startswith(b"NIST_1A"):
        return f"SPHERE with compressed samples is written as WAV by: sph2pipe -f wav {path} NEW.wav"
    convert = f"convert it, for example with: ffmpeg -i {path} NEW.wav"
    return f"{convert} (samples without a header: sox -t raw -r 16000 -e signed -b 16 -c 1 {path} NEW.wav)"
