"""The front end ssl: frozen hidden states of wav2vec 2.0, HuBERT or WavLM. Untested on real weights (see ssl_model.py)."""

from types import SimpleNamespace
from typing import Dict, List, Sequence, Tuple

import numpy as np
from torch import Tensor, nn

from utils.features.front_end import window_starts
from utils.features.hidden_states import HiddenStates, fill
from utils.features.ssl_model import FRAME, RATE, read
from utils.nn.wav2vec2 import Architecture, Wav2Vec2

WINDOW = 1500  # frames of 20 ms that are encoded at once, as the cost of attention grows with their square
OVERLAP = 100  # frames that two windows of a longer recording share


class SslFrontEnd(HiddenStates):
    """A frame spans 25 ms, so most recordings have one frame less than steps of 20 ms: the last frame is repeated.

    A recording longer than 30 s is encoded in windows; its waveform is normalised as a whole.
    """

    name = "ssl"
    sampling_rate, frame_shift, overlap, minute = RATE, FRAME / RATE, OVERLAP, 2 * WINDOW * FRAME

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Args and errors as HiddenStates has them."""
        super().__init__(config, device)
        self.span = _span(self.architecture.conv_kernel, self.architecture.conv_stride)

    def _windows(self, samples: np.ndarray) -> List[np.ndarray]:
        if self.architecture.do_normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)  # transformers' constant
        samples = np.pad(samples, (0, max(self.span - len(samples), 0))).astype(np.float32)
        frames = 1 + (len(samples) - self.span) // FRAME
        length = (WINDOW - 1) * FRAME + self.span
        return [samples[n * FRAME : n * FRAME + length] for n in window_starts(frames, WINDOW, self.overlap)]

    def _read(self) -> Tuple[Architecture, Dict[str, Tensor]]:
        return read(self.source)

    def _make(self) -> nn.Module:
        model = Wav2Vec2(self.architecture, max(self.layers))
        fill(model, self.weights, self.source)
        return model


def _span(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame is made of."""
    span = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        span = (span - 1) * stride + kernel
    return span
