"""Whisper's frozen encoder by CTranslate2 as a front end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, List, Sequence

import numpy as np

from utils.core.errors import UserError
from utils.features.front_end import Windowed, window_starts
from utils.features.whisper_model import _ctranslate2, whisper_folder

# Whisper (Radford et al. 2022): 30 s windows of log-mel frames at 10 ms, of which the encoder makes frames at 20 ms.
RATE = 16000
WINDOW = 3000  # mel frames that the encoder takes at most
OVERLAP = 200  # mel frames that two windows of a longer recording share
PAD = RATE  # samples: recordings are filled up with silence to a multiple, so that those of a like length share a batch


class WhisperFrontEnd(Windowed):
    """The frozen encoder of a Whisper model, through CTranslate2: (T, model width) at 20 ms a frame.

    A recording is not filled up to 30 s, only to whole seconds, and shares a batch with those of the same length alone: its
    features depend on nothing but itself. One longer than 30 s is encoded in windows that overlap, joined in the middle of what
    they share. The model is loaded with the first utterance, so after the fork of a worker process.
    """

    name = "whisper"
    sampling_rate, frame_shift, overlap = RATE, 0.02, OVERLAP // 2  # two mel frames are a frame

    def __init__(self, config: SimpleNamespace, device: str) -> None:
        """Raises UserError: the model is not there, it is of another kind, or `compute_type` is not for this device."""
        if config.frame_shift != self.frame_shift:
            raise UserError(f"Whisper's frames are 20 ms apart: set features.frame_shift=0.02, not {config.frame_shift:g}")
        self.place = Placement(config.compute_type, device, "features")
        self.folder = whisper_folder(config.model, "features")
        self.model: Any = None
        self.mel: Any = None

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

    def _load(self) -> None:
        if self.model is not None:
            return
        self.model = load_whisper(self.folder, self.place)
        self.mel = mel_extractor(self.model.n_mels)


class Placement:
    """Where and in which arithmetic CTranslate2 runs a model; `arguments` are those of its constructors."""

    def __init__(self, compute_type: str, device: str, group: str) -> None:
        """Raises UserError, in terms of the config's `group`: CTranslate2 has no such device, or not this type on it."""
        ctranslate2 = _ctranslate2()
        kind, _, number = device.partition(":")
        if kind == "cuda" and not ctranslate2.get_cuda_device_count():
            raise UserError("CTranslate2 sees no GPU, which Whisper with --device cuda needs; use --device cpu")
        able = sorted(ctranslate2.get_supported_compute_types(kind))
        if compute_type not in able:
            raise UserError(f"{group}.compute_type={compute_type}: on {kind} there are {', '.join(able)}")
        self.arguments = {"device": kind, "device_index": int(number or 0), "compute_type": compute_type}


def load_whisper(folder: Path, place: Placement) -> Any:
    """CTranslate2's Whisper model of `features.model`, on one core; raises UserError where the folder's can't be read."""
    import ctranslate2

    try:
        return ctranslate2.models.Whisper(str(folder), **place.arguments, intra_threads=1, inter_threads=1)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"features.model={folder} is not a Whisper model that CTranslate2 can read: {error}") from None


def mel_extractor(bins: int) -> Any:
    """faster-whisper's: samples -> log-mel energies (bins, T) at 10 ms, as Whisper was trained on."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=bins)


def mel_windows(samples: np.ndarray, extractor: Any) -> List[np.ndarray]:
    """Log-mel windows (bins, at most WINDOW) of one recording (S,), each but the last WINDOW long."""
    padded = np.pad(samples, (0, max(-len(samples) % PAD, PAD - len(samples))))
    mel = extractor(padded, padding=0).astype(np.float32)
    return [mel[:, start : start + WINDOW] for start in window_starts(mel.shape[1], WINDOW, OVERLAP)]
