"""What every front end has, and how an encoder with a longest input encodes recordings of any length."""

from typing import Any, Dict, List, Sequence, Union

import numpy as np
from lhotse.utils import compute_num_frames

from utils.executors.reopened import Reopened

DESCRIPTION = "front_end.json"  # file of stage 1: layers, architecture and size of the model that made hidden states
Extracted = List[Union[np.ndarray, Exception]]  # of each utterance: features (T, C) float32, or why it has none


class FrontEnd(Reopened):
    """Samples -> features."""

    name: str
    sampling_rate: int  # of the samples that it takes, Hz
    frame_shift: float  # of its features, seconds
    encoder = False  # whether it is a neural network; one process runs it where a GPU is used
    tick_power = -5  # stored features are rounded to multiples of two to this power
    smallest_std = 0.1  # floor of the standard deviations: a filter without energy (8 kHz audio at 16 kHz) isn't amplified
    description: Dict[str, Any] = {}  # what later stages need to know; written as DESCRIPTION unless empty

    def extract(self, samples: Sequence[np.ndarray]) -> Extracted:
        """samples: (1, S) float32 in [-1, 1] at `sampling_rate` of each utterance -> features (T, C) of each."""
        raise NotImplementedError


class WindowedFrontEnd(FrontEnd):
    """An encoder with a longest input: longer recordings are encoded in windows, which are joined in the middle of each overlap.

    Only windows of the same length share a batch, so features do not depend on the other recordings.
    """

    encoder = True
    overlap: int  # frames that two windows share

    def extract(self, samples: Sequence[np.ndarray]) -> Extracted:
        """As FrontEnd's, with as many frames as Lhotse counts: frames at the end are cut off, or the last one is repeated."""
        self._load()
        windows = [self._windows(one[0]) for one in samples]
        by_length: Dict[int, List[np.ndarray]] = {}
        for cut in windows:
            for window in cut:
                by_length.setdefault(window.shape[-1], []).append(window)
        encoded = {length: iter(self._encode(same)) for length, same in by_length.items()}
        out: Extracted = []
        for one, cut in zip(samples, windows):
            joined = _join([next(encoded[window.shape[-1]]) for window in cut], self.overlap // 2)
            frames = compute_num_frames(one.shape[1] / self.sampling_rate, self.frame_shift, self.sampling_rate)
            short = max(frames - len(joined), 0)
            out.append(np.concatenate((joined, joined[-1:].repeat(short, 0))) if short else np.ascontiguousarray(joined[:frames]))
        return out

    def _load(self) -> None:
        """Load the model, unless it is loaded."""
        raise NotImplementedError

    def _windows(self, samples: np.ndarray) -> List[np.ndarray]:
        """samples: (S,) of one recording -> the encoder's inputs (..., L), in order."""
        raise NotImplementedError

    def _encode(self, windows: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Inputs of one length -> frames (T, C) float32 of each."""
        raise NotImplementedError


def window_starts(length: int, window: int, overlap: int) -> range:
    """Where the windows of a recording begin; all but the last are `window` long."""
    return range(0, max(length - overlap, 1), window - overlap)


def _join(windows: List[np.ndarray], half: int) -> np.ndarray:
    """Frames (T, C) of overlapping windows; of an overlap each window gives the `half` that is on its side."""
    parts = []
    for n, window in enumerate(windows):
        parts.append(window[half if n else 0 : len(window) - half if n + 1 < len(windows) else None])
    return np.concatenate(parts)
