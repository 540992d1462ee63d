"""What stage 1 asks of a front end: samples -> features."""

from typing import Any, Dict, List, Sequence, Union

import numpy as np
from lhotse.utils import compute_num_frames

DESCRIPTION = "front_end.json"  # beside hidden states: their layers, the shape and the size of the model that made them
Extracted = List[Union[np.ndarray, Exception]]  # features (T, C) float32 of each utterance, or why it has none


class FrontEnd:
    """What stage 1 asks of a front end beside `extract`."""

    encoder = False  # whether it is a network, one process of which a GPU takes
    tick_power = -5  # the cache rounds to two to the power of it
    smallest_std = (
        0.1  # normalisation divides by no less: a filter that stays on the floor (8 kHz audio at 16 kHz) isn't blown up
    )
    description: Dict[str, Any] = {}  # for later stages; written as DESCRIPTION where there is any


class Windowed(FrontEnd):
    """Frames of recordings of any length, by an encoder that takes only so much at once: in windows that overlap, each used up
    to the middle of what it shares with its neighbours. Windows of one length share a batch.
    """

    encoder = True
    sampling_rate: int
    frame_shift: float
    overlap: int  # frames that two windows share

    def extract(self, samples: Sequence[np.ndarray]) -> Extracted:
        """samples: (1, S) float32 in [-1, 1] at `sampling_rate` of each utterance -> features (T, C), as many as Lhotse counts."""
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


def window_starts(length: int, window: int, overlap: int) -> range:
    """Where windows of a recording begin, each but the last `window` long."""
    return range(0, max(length - overlap, 1), window - overlap)


def _join(windows: List[np.ndarray], half: int) -> np.ndarray:
    """Frames (T, C) of overlapping windows, without the `half` of what two share that is the other's."""
    parts = []
    for n, window in enumerate(windows):
        parts.append(window[half if n else 0 : len(window) - half if n + 1 < len(windows) else None])
    return np.concatenate(parts)
