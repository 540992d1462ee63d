"""Keywords in audio files of any length."""

from dataclasses import replace
from pathlib import Path
from typing import Iterator, List, Tuple

import numpy as np

from utils.audio.levels import SILENCE
from utils.audio.recordings import recording
from utils.audio.speech import Window, Windows
from utils.bundle.recogniser import Recogniser, Sound
from utils.spotting.decoder import hits
from utils.spotting.spotter import Hit, Spotter

SHORTEST = 0.1  # seconds; nothing shorter holds a word


def spot(recogniser: Recogniser, spotter: Spotter, path: Path, remarks: List[str]) -> Iterator[Tuple[float, List[Hit]]]:
    """The hits in a file, window by window; several channels are mixed.

    Args:
      remarks: gets what is odd about the file.
    Returns:
      seconds of the file so far, and hits of the window that ended; the last pair has the length of the file.
    Raises:
      UserError: a file that can't be read.
    """
    with recording(path) as audio:
        cutter, heard = Windows(audio.rate), 0.0
        for block in audio.blocks:
            heard += len(block) / audio.rate
            for window in cutter.push(_mono(block)):
                yield heard, _hits(recogniser, spotter, window, audio.rate)
        for window in cutter.finish():
            yield heard, _hits(recogniser, spotter, window, audio.rate)
        remarks += [f"{path}: {remark}" for remark in audio.remarks]
    yield heard, []


def whole(path: Path) -> Sound:
    """The samples of a short file, and their rate. Raises UserError for a file that can't be read."""
    with recording(path) as audio:
        return np.concatenate([_mono(block) for block in audio.blocks]), audio.rate


def _mono(block: np.ndarray) -> np.ndarray:
    return block[:, 0] if block.shape[1] == 1 else block.mean(1, dtype=np.float32)


def _hits(recogniser: Recogniser, spotter: Spotter, window: Window, rate: int) -> List[Hit]:
    """With times in the file."""
    if len(window.samples) < SHORTEST * rate or float(np.abs(window.samples).max()) < SILENCE:
        return []
    found = hits(recogniser, spotter, window.samples, rate)
    return [replace(hit, start=round(hit.start + window.start, 3), end=round(hit.end + window.start, 3)) for hit in found]
