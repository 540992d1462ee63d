"""Whisper's input (windows of log-mel frames), and its models in CTranslate2 (Radford et al. 2022)."""

from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from utils.core.errors import UserError
from utils.features.front_end import window_starts
from utils.features.whisper_model import import_ctranslate2

RATE = 16000  # Hz
FRAME_SHIFT = 0.02  # seconds, of the encoder's frames; mel frames are 10 ms apart
WINDOW = 3000  # mel frames: the encoder's longest input, 30 s
OVERLAP = 200  # mel frames that two windows of a longer recording share
PAD = RATE  # samples: recordings are padded with silence to a multiple, so that those of similar length share a batch


class Placement:
    """The device and the arithmetic in which CTranslate2 runs a model; `arguments` are those of its constructors."""

    def __init__(self, compute_type: str, device: str, group: str) -> None:
        """Args: group: of the configuration, for messages. Raises UserError: CTranslate2 has no such device, or not this type
        on it.
        """
        ctranslate2 = import_ctranslate2()
        kind, _, number = device.partition(":")
        if kind == "cuda" and not ctranslate2.get_cuda_device_count():
            raise UserError("CTranslate2 sees no GPU, which Whisper with --device cuda needs; use --device cpu")
        able = sorted(ctranslate2.get_supported_compute_types(kind))
        if compute_type not in able:
            raise UserError(f"{group}.compute_type={compute_type}: on {kind} there are {', '.join(able)}")
        self.arguments: Dict[str, Any] = {"device": kind, "device_index": int(number or 0), "compute_type": compute_type}


def load_whisper(folder: Path, place: Placement) -> Any:
    """CTranslate2's Whisper model in `folder`, on one core; raises UserError if it can't be read."""
    import ctranslate2

    arguments = {**place.arguments, "intra_threads": 1, "inter_threads": 1}
    if not isinstance(folder, Path):  # a folder of a bundle, which may be encrypted
        arguments["files"] = {file.name: file.read_bytes() for file in folder.iterdir()}
    try:
        return ctranslate2.models.Whisper(str(folder), **arguments)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"features.model={folder} is not a Whisper model that CTranslate2 can read: {error}") from None


def mel_extractor(bins: int) -> Any:
    """faster-whisper's extractor: samples -> log-mel energies (bins, T) at 10 ms, as in Whisper's training."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=bins)


def mel_windows(samples: np.ndarray, extractor: Any) -> List[np.ndarray]:
    """Windows (bins, at most WINDOW) of log-mel frames of one recording (S,); all but the last are WINDOW long."""
    padded = np.pad(samples, (0, max(-len(samples) % PAD, PAD - len(samples))))
    mel = extractor(padded, padding=0).astype(np.float32)
    return [mel[:, start : start + WINDOW] for start in window_starts(mel.shape[1], WINDOW, OVERLAP)]
