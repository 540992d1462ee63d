"""The front end ssl: frozen hidden states of wav2vec 2.0, HuBERT or WavLM."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import torch

from utils.device import check_device
from utils.errors import UserError
from utils.front_end import Windowed, window_starts
from utils.pretrained import FRAME, RATE, fill, read
from utils.wav2vec2 import Wav2Vec2

WINDOW = 1500  # frames of 20 ms that are encoded at once: attention costs their square


class SslFrontEnd(Windowed):
    """Hidden states (T, L x C) of the layers that `features.layers` names, side by side, at 20 ms a frame.

    Layers count as in transformers: 0 is what the first layer gets (convolutions, positions added), n what layer n gives, -1 the
    last, behind its final norm where the model has one. A frame spans 25 ms, so the encoder makes one less than there are steps of
    20 ms in most recordings: the last is repeated. Recordings share a batch with those of the same length alone. One longer than
    30 s is encoded in windows that overlap, its waveform normalised as a whole.
    """

    name = "ssl"
    sampling_rate, frame_shift, overlap = RATE, FRAME / RATE, 100
    tick_power, smallest_std = -8, 0.01  # finer than for log-mel energies: hidden states may vary by a tenth or less

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Raises UserError: the model can't be had, it lacks one of the layers, or torch finds no GPU where one is asked for."""
        if config.frame_shift != self.frame_shift:
            raise UserError(f"this encoder's frames are 20 ms apart: set features.frame_shift=0.02, not {config.frame_shift:g}")
        check_device(device)
        torch.set_num_threads(1)  # worker processes are forks: they need a parent without threads
        self.device, self.source = device, config.model
        self.architecture, self.weights = read(config.model)
        self.layers = chosen_layers(config.layers, self.architecture.num_hidden_layers)
        self.span = _span(self.architecture.conv_kernel, self.architecture.conv_stride)
        self.model: Optional[Wav2Vec2] = None
        self.description = self._describe()

    def _describe(self) -> Dict[str, Any]:
        """What later stages need to know of the hidden states."""
        above = tuple(f"encoder.layers.{n}." for n in range(max(self.layers), self.architecture.num_hidden_layers))
        size = sum(4 * value.numel() for name, value in self.weights.items() if not name.startswith(above))
        return {"layers": self.layers, "architecture": asdict(self.architecture), "model_bytes": size}

    def _windows(self, samples: np.ndarray) -> List[np.ndarray]:
        if self.architecture.do_normalize:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)  # transformers' constant
        samples = np.pad(samples, (0, max(self.span - len(samples), 0))).astype(np.float32)
        frames = 1 + (len(samples) - self.span) // FRAME
        length = (WINDOW - 1) * FRAME + self.span
        return [samples[n * FRAME : n * FRAME + length] for n in window_starts(frames, WINDOW, self.overlap)]

    @torch.no_grad()
    def _encode(self, windows: Sequence[np.ndarray]) -> List[np.ndarray]:
        out: List[np.ndarray] = []
        room = max(1, 2 * WINDOW * FRAME // len(windows[0]))  # a minute of audio a batch
        for start in range(0, len(windows), room):
            states = self.model(torch.from_numpy(np.stack(windows[start : start + room])).to(self.device))
            out += list(torch.cat([states[n] for n in self.layers], -1).cpu().numpy())
        return out

    def _load(self) -> None:
        if self.model is None:
            model = Wav2Vec2(self.architecture, max(self.layers))
            fill(model, self.weights, self.source)
            self.model = model.eval().to(self.device)
            self.weights = {}


def chosen_layers(layers: Sequence[int], last: int) -> List[int]:
    """Numbers of the hidden states, 0 to `last`, that `features.layers` names: all where empty, from the end where negative.

    Raises UserError for one that there is not, or that is named twice.
    """
    chosen = [n + last + 1 if n < 0 else n for n in layers] or list(range(last + 1))
    if not all(0 <= n <= last for n in chosen) or len(set(chosen)) < len(chosen):
        raise UserError(f"features.layers={list(layers)}: there are the hidden states 0 to {last}; name each once, [] for all")
    return chosen


def _span(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one frame is made of."""
    span = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides)):
        span = (span - 1) * stride + kernel
    return span
