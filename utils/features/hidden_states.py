"""What front ends that give hidden states of an encoder in torch share (utils/features/ssl_front_end.py, utils/features/whisper_hidden_states.py)."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from utils.core.device import check_device
from utils.core.errors import UserError
from utils.features.front_end import Windowed
from utils.nn.wav2vec2 import Architecture


class HiddenStates(Windowed):
    """Hidden states (T, L x C) of the layers that `features.layers` names, side by side, at 20 ms a frame.

    Layers count as in transformers: 0 is what the first layer gets (convolutions, positions added), n what layer n gives, -1 the
    last, behind its final norm where the model has one. Recordings share a batch with those of the same length alone.
    """

    tick_power, smallest_std = -8, 0.01  # finer than for log-mel energies: hidden states may vary by a tenth or less
    minute: int  # steps of the last axis of a window, in a minute of audio

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Raises UserError: the model can't be had, it lacks one of the layers, or torch finds no GPU where one is asked for."""
        if config.frame_shift != self.frame_shift:
            raise UserError(f"this encoder's frames are 20 ms apart: set features.frame_shift=0.02, not {config.frame_shift:g}")
        check_device(device)
        torch.set_num_threads(1)  # worker processes are forks: they need a parent without threads
        self.device, self.source = device, config.model
        self.architecture, self.weights = self._read()
        self.layers = chosen_layers(config.layers, self.architecture.num_hidden_layers)
        self.model: Optional[nn.Module] = None
        self.description = self._describe()

    def _describe(self) -> Dict[str, Any]:
        """What later stages need to know of the hidden states."""
        above = tuple(f"encoder.layers.{n}." for n in range(max(self.layers), self.architecture.num_hidden_layers))
        size = sum(4 * value.numel() for name, value in self.weights.items() if not name.startswith(above))
        return {"layers": self.layers, "architecture": asdict(self.architecture), "model_bytes": size}

    def _read(self) -> Tuple[Architecture, Dict[str, Tensor]]:
        """Shape and weights of the whole encoder, wherever `source` is."""
        raise NotImplementedError

    def _make(self) -> nn.Module:
        """The network up to the highest of the layers, with its weights."""
        raise NotImplementedError

    @torch.no_grad()
    def _encode(self, windows: Sequence[np.ndarray]) -> List[np.ndarray]:
        out: List[np.ndarray] = []
        room = max(1, self.minute // windows[0].shape[-1])
        for start in range(0, len(windows), room):
            states = self.model(torch.from_numpy(np.stack(windows[start : start + room])).to(self.device))
            out += list(torch.cat([states[n] for n in self.layers], -1).cpu().numpy())
        return out

    def _load(self) -> None:
        if self.model is None:
            self.model = self._make().eval().to(self.device)
            self.weights = {}


def chosen_layers(layers: Sequence[int], last: int) -> List[int]:
    """Numbers of the hidden states, 0 to `last`, that `features.layers` names: all where empty, from the end where negative.

    Raises UserError for one that there is not, or that is named twice.
    """
    chosen = [n + last + 1 if n < 0 else n for n in layers] or list(range(last + 1))
    if not all(0 <= n <= last for n in chosen) or len(set(chosen)) < len(chosen):
        raise UserError(f"features.layers={list(layers)}: there are the hidden states 0 to {last}; name each once, [] for all")
    return chosen
