"""Audio files: what is wrong with one, G.722, 16-bit WAV."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np
import soundfile

from utils.core.files import atomic_path

SILENCE = 1e-4  # peak of full scale (-80 dB); audio that never exceeds it is silence
SLACK = 0.02  # seconds by which a segment may begin before or end after its recording; the segment is cut there


@dataclass(frozen=True)
class Checked:
    """What a look at one audio file found. `problems[i]` belongs to span i; None where it is good."""

    rate: int  # Hz
    samples: int  # per channel
    channels: int
    problems: List[Optional[str]]


def check(path: Path, spans: Sequence[Tuple[float, Optional[float]]], channel: Optional[int] = None) -> Checked:
    """Decode the spans of one file that utterances use and tell what is wrong with each.

    Args:
      path: the audio file.
      spans: (start, end) in seconds; end None for the end of the file.
      channel: which channel of several is used; None: the file must have one. A file that has one is used as it is.
    Returns:
      `Checked`; a file that can't be used at all has rate 0 and the same problem in every span.
    """

    def unusable(problem: str) -> Checked:
        return Checked(0, 0, 0, [problem] * len(spans))

    if not path.is_file():
        return unusable(f"no audio file {path}")
    if path.stat().st_size == 0:
        return unusable(f"empty audio file {path}")
    try:
        with soundfile.SoundFile(str(path)) as audio:
            rate, total, channels = audio.samplerate, audio.frames, audio.channels
            cut = _missing_bytes(path)
            if cut:
                return unusable(f"truncated audio file {path}: {cut} bytes are missing")
            if total <= 0:
                return unusable(f"no samples in {path}")
            if channel is None and channels != 1:
                return unusable(
                    f"{channels} channels in {path}: name that of each recording in reco2file_and_channel (RECORDING FILE A), or "
                    "choose one for all with data.options.channel=0"
                )
            channel = 0 if channels == 1 else channel  # a file of one channel was cut from the call before
            if channel is not None and channel >= channels:
                return unusable(f"no channel {channel} in {path}, which has {channels}")
            problems = [_problem(audio, start, end, channel or 0, path) for start, end in spans]
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        return unusable(f"can't decode {path}: {error}")
    return Checked(rate, total, channels, problems)


def decode_g722(path: Path) -> np.ndarray:
    """Samples of a raw 64 kbit/s G.722 file: (T,) int16 at 16 kHz."""
    import av

    data = path.read_bytes()
    if not data:
        return np.zeros(0, dtype=np.int16)
    decoder = av.CodecContext.create("g722", "r")
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16, copy=False)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write (T,) int16 samples as 16-bit WAV, atomically."""
    with atomic_path(path) as temporary:
        soundfile.write(str(temporary), samples, rate, subtype="PCM_16")


def _problem(audio: soundfile.SoundFile, start: float, end: Optional[float], channel: int, path: Path) -> Optional[str]:
    rate, total = audio.samplerate, audio.frames
    length = total / rate
    if start < -SLACK or start >= length or end is not None and end > length + SLACK:
        return f"segment {start:g}-{'' if end is None else f'{end:g}'} s lies outside {path}, which lasts {length:.3f} s"
    first, last = round(max(start, 0.0) * rate), total if end is None else min(round(end * rate), total)
    if last <= first:
        return f"zero length: from {start:g} to {last / rate:g} s of {path}"
    audio.seek(first)
    samples = audio.read(last - first, dtype="float32", always_2d=True)
    if len(samples) < last - first:
        return f"truncated audio file {path}: {len(samples)} of {last - first} samples"
    samples = samples[:, channel]
    if not np.isfinite(samples).all():
        return f"samples that are not numbers in {path}"
    if max(samples.max(), -samples.min()) < SILENCE:
        return f"silent: {path}"
    return None


def _missing_bytes(path: Path) -> int:
    """Bytes that a WAV file's header promises and the file lacks; libsndfile reads such a file without a word."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return 0
        while True:
            chunk = stream.read(8)
            if len(chunk) < 8:
                return 0
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                streamed = length in (0, 0xFFFFFFFF) or length >= 0x7FFFF000  # written to a pipe: length unknown
                return 0 if streamed else max(0, length - (size - stream.tell()))
            stream.seek(length + length % 2, os.SEEK_CUR)
