"""The front end whisper: the last hidden state of a frozen Whisper encoder, through CTranslate2."""

from types import SimpleNamespace
from typing import Any, List, Sequence

import numpy as np

from utils.core.errors import UserError
from utils.features.front_end import WindowedFrontEnd
from utils.features.whisper import FRAME_SHIFT, OVERLAP, RATE, WINDOW, Placement, load_whisper, mel_extractor, mel_windows
from utils.features.whisper_model import whisper_folder


class WhisperFrontEnd(WindowedFrontEnd):
    """Frames (T, model width) at 20 ms.

    Recordings are padded to whole seconds, not to 30 s. The model is loaded with the first utterance, so in the worker process,
    after the fork.
    """

    name = "whisper"
    sampling_rate, frame_shift, overlap = RATE, FRAME_SHIFT, OVERLAP // 2  # a frame is made of two mel frames

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Args: config: the group `features`. Raises UserError: no such model, a model of another kind, or `compute_type`
        does not exist on this device.
        """
        if config.frame_shift != self.frame_shift:
            raise UserError(f"Whisper's frames are 20 ms apart: set features.frame_shift=0.02, not {config.frame_shift:g}")
        self.place = Placement(config.compute_type, device, "features")
        self.folder = whisper_folder(config.model, "features")
        self.model: Any = None
        self.mel: Any = None

    def _load(self) -> None:
        if self.model is None:
            self.model = load_whisper(self.folder, self.place)
            self.mel = mel_extractor(self.model.n_mels)

    def loaded(self) -> Any:
        """CTranslate2's model."""
        self._load()
        return self.model

    def _windows(self, samples: np.ndarray) -> List[np.ndarray]:
        return mel_windows(samples, self.mel)

    def _encode(self, windows: Sequence[np.ndarray]) -> List[np.ndarray]:
        import ctranslate2

        out: List[np.ndarray] = []
        room = max(1, 2 * WINDOW // windows[0].shape[1])  # a minute of audio a batch
        for start in range(0, len(windows), room):
            batch = np.ascontiguousarray(np.stack(windows[start : start + room]))
            out += list(np.array(self.model.encode(ctranslate2.StorageView.from_array(batch), to_cpu=True)).astype(np.float32))
        return out
