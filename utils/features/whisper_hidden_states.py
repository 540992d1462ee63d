"""The front end whisper where `features.layers` is not [-1]: hidden states of the frozen encoder, in torch."""

from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

import numpy as np
from torch import Tensor, nn

from utils.features.hidden_states import HiddenStates, fill
from utils.features.whisper import FRAME_SHIFT, OVERLAP, RATE, WINDOW, mel_extractor, mel_windows
from utils.features.whisper_model import whisper_folder
from utils.nn.wav2vec2 import Architecture
from utils.nn.whisper_encoder import WhisperEncoder, read


class WhisperHiddenStates(HiddenStates):
    """From the same windows as WhisperFrontEnd, but always in float32: `features.compute_type` is not used."""

    name = "whisper"
    sampling_rate, frame_shift, overlap, minute = RATE, FRAME_SHIFT, OVERLAP // 2, 2 * WINDOW

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Args and errors as HiddenStates has them."""
        super().__init__(config, device)
        self.mels = self.weights["conv1.weight"].shape[1]
        self.mel: Any = None

    def _windows(self, samples: np.ndarray) -> List[np.ndarray]:
        return mel_windows(samples, self.mel)

    def _read(self) -> Tuple[Architecture, Dict[str, Tensor]]:
        return read(whisper_folder(self.source, "features"))

    def _make(self) -> nn.Module:
        model = WhisperEncoder(self.architecture, self.mels, len(self.weights["positions"]), max(self.layers))
        fill(model, self.weights, self.source)
        self.mel = mel_extractor(self.mels)
        return model
