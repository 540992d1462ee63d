"""What the front ends share that give hidden states of an encoder in torch (ssl_front_end.py, whisper_hidden_states.py)."""

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from utils.core.device import check_device
from utils.core.errors import UserError
from utils.features.front_end import WindowedFrontEnd
from utils.nn.wav2vec2 import Architecture


class HiddenStates(WindowedFrontEnd):
    """Hidden states (T, L x C) of the layers that `features.layers` names, side by side, at 20 ms a frame.

    Layers count as in transformers: 0 is the input of the first layer (convolutions, positions added), n the output of layer n,
    -1 the last, after its final norm if the model has one.
    """

    tick_power, smallest_std = -8, 0.01  # finer than for log-mel energies: hidden states may vary by 0.1 or less
    minute: int  # steps of the last axis of a window in a minute of audio

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Args: config: the group `features`. Raises UserError: no such model, no such layer, or torch finds no GPU where one is
        asked for.
        """
        if config.frame_shift != self.frame_shift:
            raise UserError(f"this encoder's frames are 20 ms apart: set features.frame_shift=0.02, not {config.frame_shift:g}")
        check_device(device)
        torch.set_num_threads(1)  # worker processes are forks, and need a parent without threads
        self.device, self.source = device, config.model
        self.architecture, self.weights = self._read()
        self.layers = chosen_layers(config.layers, self.architecture.num_hidden_layers)
        self.model: Optional[nn.Module] = None
        self.description = self._describe()

    def _describe(self) -> Dict[str, Any]:
        above = tuple(f"encoder.layers.{n}." for n in range(max(self.layers), self.architecture.num_hidden_layers))
        size = sum(4 * value.numel() for name, value in self.weights.items() if not name.startswith(above))
        return {"layers": self.layers, "architecture": asdict(self.architecture), "model_bytes": size}

    def _read(self) -> Tuple[Architecture, Dict[str, Tensor]]:
        """Architecture and weights of the whole encoder that `source` names."""
        raise NotImplementedError

    def _make(self) -> nn.Module:
        """The network up to the highest of the layers, with its weights."""
        raise NotImplementedError

    def _load(self) -> None:
        if self.model is None:
            self.model = self._make().eval().to(self.device)
            self.weights = {}

    @torch.no_grad()
    def _encode(self, windows: Sequence[np.ndarray]) -> List[np.ndarray]:
        assert self.model is not None  # _load
        out: List[np.ndarray] = []
        room = max(1, self.minute // windows[0].shape[-1])
        for start in range(0, len(windows), room):
            states = self.model(torch.from_numpy(np.stack(windows[start : start + room])).to(self.device))
            out += list(torch.cat([states[n] for n in self.layers], -1).cpu().numpy())
        return out


def chosen_layers(layers: Sequence[int], last: int) -> List[int]:
    """Numbers, 0 to `last`, of the hidden states that `features.layers` names; negative ones count from the end, [] means all.

    Raises:
      UserError: a hidden state that does not exist, or is named twice.
    """
    chosen = [n + last + 1 if n < 0 else n for n in layers] or list(range(last + 1))
    if not all(0 <= n <= last for n in chosen) or len(set(chosen)) < len(chosen):
        raise UserError(f"features.layers={list(layers)}: there are the hidden states 0 to {last}; name each once, [] for all")
    return chosen


def fill(module: nn.Module, weights: Dict[str, Tensor], model: str) -> None:
    """Give `module` all its weights; raises UserError if some are missing or have another shape."""
    wanted = module.state_dict()
    wrong = [name for name, value in wanted.items() if name not in weights or weights[name].shape != value.shape]
    if wrong:
        raise UserError(
            f"features.model={model}: {len(wrong)} of {len(wanted)} weights are missing or not of the shape that config.json "
            f"states, the first of them {wrong[0]}: the folder is damaged, or of another kind of model"
        )
    module.load_state_dict({name: weights[name] for name in wanted})
