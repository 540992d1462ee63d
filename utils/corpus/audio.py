"""Audio files: what is wrong with one, the samples of a cut, 16-bit WAV."""

import hashlib
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np
import soundfile
from lhotse import Recording
from lhotse.audio import AudioSource
from lhotse.audio.backend import LibsndfileBackend, audio_backend
from lhotse.cut import MonoCut
from lhotse.utils import compute_num_samples

from utils.audio.decoding import BLOCK, Copies, Source, Undecodable, source
from utils.audio.levels import COARSE, SILENCE, problem
from utils.core.errors import UserError
from utils.core.files import atomic_path
from utils.corpus import doubtful, paths
from utils.corpus.doubtful import Doubt

SLACK = 0.02  # seconds by which a segment may begin before or end after its recording; the segment is cut there
DEAD = 1e-4  # energy of a channel against the loudest (-40 dB): less, and there is nothing in it
SAME = 1e-3  # share of the energy: less of it in the difference of two channels (-30 dB), and they are the same, coded with loss


@dataclass(frozen=True)
class Span:
    """What a look at the part of a file that an utterance uses found."""

    problem: Optional[str] = None  # None where it is good
    doubts: Tuple[Doubt, ...] = ()
    digest: str = ""  # SHA-1 of the samples


@dataclass(frozen=True)
class Checked:
    """What a look at one audio file found."""

    path: Path  # what all stages read it from: the file, or its copy
    rate: int  # Hz
    samples: int  # per channel
    channels: int
    spans: List[Span]

    @property
    def problems(self) -> List[Optional[str]]:
        """Of each span; None where it is good."""
        return [span.problem for span in self.spans]


def check(path: Path, spans: Sequence[Tuple[float, Optional[float]]], copies: Copies, channel: Optional[int] = None) -> Checked:
    """Decode the spans of one file that utterances use and tell what is wrong with each.

    Args:
      path: the audio file.
      spans: (start, end) in seconds; end None for the end of the file.
      copies: for a file that can't be read exactly from any place.
      channel: which channel of several is used; None: the file must have one, or the same in all. A file that has one is used
        as it is.
    Returns:
      `Checked`; a file that can't be used at all has rate 0 and the same problem in every span.
    """

    def unusable(problem: str) -> Checked:
        return Checked(path, 0, 0, 0, [Span(problem)] * len(spans))

    if not os.path.isfile(path):  # Path.is_file raises at names that are too long
        return unusable(f"no audio file {path}{paths.remedy(path)}")
    if path.stat().st_size == 0:
        return unusable(f"empty audio file {path}")
    try:
        found = source(path, any(start > 0 for start, _ in spans), copies)
        with soundfile.SoundFile(str(found.path)) as audio:
            rate, total, channels = audio.samplerate, audio.frames, audio.channels
            if total <= 0:
                return unusable(f"no samples in {path}")
            same, dead = _same(audio) if channel is None and channels > 1 else (True, "")
            if not same:
                return unusable(
                    f"{channels} channels in {path}{dead}: name that of each recording in reco2file_and_channel "
                    "(RECORDING FILE A), or choose one for all with data.options.channel=0"
                )
            channel = 0 if channels == 1 else channel  # a file of one channel was cut from the call before
            if channel is not None and channel >= channels:
                return unusable(f"no channel {channel} in {path}, which has {channels}")
            looks = [_look(audio, start, end, channel or 0, path, found) for start, end in spans]
    except Undecodable as error:
        return unusable(str(error))
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        return unusable(f"can't decode {path}: {error}")
    return Checked(found.path, rate, total, channels, looks)


def load(cut: MonoCut) -> np.ndarray:
    """Samples of a cut that stage 0 made, (1, S) float32: by libsndfile alone, with which `check` looked at them."""
    with audio_backend(LibsndfileBackend()):  # Lhotse's own choice goes by names: sph2pipe for .sph, and so on
        return cut.load_audio()


@contextmanager
def whole(path: Path) -> Iterator[MonoCut]:
    """A cut of a whole file outside a corpus, for as long as the block lasts.

    Raises:
      UserError: what `check` finds wrong with it.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = check(path, [(0.0, None)], Copies(Path(folder)))
        if found.problems[0]:
            raise UserError(found.problems[0])
        source = AudioSource("file", list(range(found.channels)), str(found.path))
        recording = Recording(path.stem, [source], found.rate, found.samples, found.samples / found.rate)
        yield MonoCut(path.stem, 0.0, recording.duration, 0, recording=recording)


def write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write (T,) int16 samples as 16-bit WAV, atomically."""
    with atomic_path(path) as temporary:
        soundfile.write(str(temporary), samples, rate, subtype="PCM_16")


def _same(audio: soundfile.SoundFile) -> Tuple[bool, str]:
    """Whether all channels are the same, as where a phone stores mono as stereo; and which are dead, for a message."""
    audio.seek(0)
    energy, apart = np.zeros(audio.channels), np.zeros(audio.channels)
    while len(block := audio.read(BLOCK, dtype="float32", always_2d=True)):
        energy += np.square(block).sum(0)
        apart += np.square(block - block[:, :1]).sum(0)
    dead = [str(c) for c in range(audio.channels) if energy[c] < DEAD * energy.max()]
    return bool(apart.sum() < SAME * energy.sum()), f" (nothing in channel {', '.join(dead)})" * bool(dead)


def _look(audio: soundfile.SoundFile, start: float, end: Optional[float], channel: int, path: Path, found: Source) -> Span:
    rate, total = audio.samplerate, audio.frames
    length = total / rate
    if not np.isfinite([start, end or 0.0]).all():
        return Span(f"segment {start}-{end} s of {path}: no finite numbers")
    if start < -SLACK or start >= length or end is not None and end > length + SLACK:
        return Span(f"segment {start:g}-{'' if end is None else f'{end:g}'} s lies outside {path}, which lasts {length:.3f} s")
    first = compute_num_samples(max(start, 0.0), rate)  # rounded as in Lhotse's reading
    last = total if end is None else min(first + compute_num_samples(max(0.0, end - max(start, 0.0)), rate), total)
    if last <= first:
        return Span(f"zero length: from {start:g} to {length if end is None else min(end, length):g} s of {path}")
    audio.seek(first)
    samples = audio.read(last - first, dtype="float32", always_2d=True)
    if len(samples) < last - first:
        return Span(f"truncated audio file {path}: {len(samples)} of {last - first} samples")
    samples = np.ascontiguousarray(samples[:, channel])
    wrong = problem(samples, COARSE.get(found.coding, SILENCE), path)
    if wrong:
        return Span(wrong)
    remark = (Doubt("odd file", f"{path}: {found.remark}"),) if found.remark else ()
    return Span(None, (*remark, *doubtful.of_samples(samples, rate, found.coding)), hashlib.sha1(samples.tobytes()).hexdigest())
