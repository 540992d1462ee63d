"""Noises and rooms to hear speech in."""

import hashlib
from collections import OrderedDict
from pathlib import Path
from typing import List, Sequence

import numpy as np

from utils.audio.decoding import Undecodable, way
from utils.audio.given import MEDIA
from utils.audio.recordings import recording
from utils.audio.resampling import resample
from utils.core.errors import UserError
from utils.core.files import files_in

HELD_OUT = 4  # of so many recordings one is for tests
IN_MEMORY = 1 << 26  # samples: 70 minutes at 16 kHz


def samples_of(path: Path, rate: int, first: bool = False) -> np.ndarray:
    """An audio file as (T,) float32 at `rate` Hz, channels mixed, or the first of them. Raises UserError as `recording` does."""
    with recording(path) as audio:
        blocks = [block[:, 0] if first else block.mean(1) for block in audio.blocks]
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    return resample(samples, audio.rate, rate).astype(np.float32)


class Recordings(Sequence[np.ndarray]):
    """The samples of files as a list, each read when it is asked for: MUSAN would fill 25 GB. The latest stay in memory."""

    def __init__(self, paths: Sequence[Path], rate: int, first: bool = False):
        """`rate`, `first`: see `samples_of`. Raises UserError for a file that can't be decoded, or is cut short."""
        for path in paths:
            _check(path)
        self._paths, self._rate, self._first = list(paths), rate, first
        self._latest: "OrderedDict[int, np.ndarray]" = OrderedDict()

    def __len__(self) -> int:
        """The number of files."""
        return len(self._paths)

    def __getitem__(self, n):  # noqa: ANN001, ANN204 - no slices
        """(T,) float32 of a file. Raises UserError: damaged, or silent."""
        if n not in self._latest:
            samples = samples_of(self._paths[n], self._rate, self._first)
            if not samples.any():
                raise UserError(f"{self._paths[n]} is silent; take it out of its folder")
            self._latest[n] = samples
            while len(self._latest) > 1 and sum(map(len, self._latest.values())) > IN_MEMORY:
                self._latest.popitem(last=False)
        self._latest.move_to_end(n)
        return self._latest[n]


def _check(path: Path) -> None:
    """Raise UserError for a file that can't be decoded, is empty or cut short."""
    try:
        found = way(path) if path.stat().st_size else None
        if found is None or found.seconds == 0:
            raise UserError(f"{path} has no samples; get it again, or take it out of its folder")
        if not found.coding:  # what its header says is no proof
            with recording(path) as audio:
                next(audio.blocks)
    except Undecodable as error:
        raise UserError(f"{error}; get it again, or take it out of its folder") from None


def noise_files(folder: Path, part: str = "") -> List[Path]:
    """The audio files in a folder and those below it.

    Args:
      part: train or test: the files of this part alone, chosen by the SHA-1 of their names, so that noises of tests are new to a
        model; empty for all.
    Raises:
      UserError: none are there.
    """
    paths = [path for path in files_in(folder) if path.suffix.lower() in MEDIA] if folder.is_dir() else []
    tests = {path for path in paths if int(hashlib.sha1(path.name.encode()).hexdigest(), 16) % HELD_OUT == 0}
    chosen = [path for path in paths if not part or (path in tests) == (part == "test")]
    if not chosen:
        why = f"has {len(paths)} audio files, none of them for {part}" if paths else "has no audio file"
        raise UserError(f"{folder} {why}; name a folder of recordings")
    return chosen


def chance(name: str) -> np.random.Generator:
    """Chance that follows from a name, such as an utterance's id."""
    return np.random.default_rng(int(hashlib.sha1(name.encode()).hexdigest(), 16))


def stretch(noises: Sequence[np.ndarray], length: int, draw: np.random.Generator) -> np.ndarray:
    """(length,) samples of noise from a place at random, of several recordings where one is too short."""
    found = noises[draw.integers(len(noises))]
    while len(found) <= length:
        found = np.concatenate((found, noises[draw.integers(len(noises))]))
    start = draw.integers(len(found) - length)
    return found[start : start + length]


def simulated_room(rate: int, draw: np.random.Generator) -> np.ndarray:
    """The impulse response (T,) of a room: noise that dies away by 60 dB in 0.1 to 0.5 s (Moorer 1979).

    Lhotse's generator is not used, because with one seed it gives another room from run to run.
    """
    seconds = draw.uniform(0.1, 0.5)
    times = np.arange(int(seconds * rate)) / rate
    response = draw.normal(size=len(times)) * 10 ** (-3 * times / seconds) * draw.uniform(0.02, 0.12)
    response[0] = 1
    return response


def in_room(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Speech (T,) with the echoes of a room, as long and from its loudest sound on in step with it."""
    from scipy.signal import fftconvolve  # slow to import, and recognising can do without

    first = int(np.abs(response).argmax()) if len(response) else 0
    return fftconvolve(samples, response)[first : first + len(samples)].astype(np.float32)
