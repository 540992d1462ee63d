"""Front ends of stage 1: samples -> features. Log-mel filter banks or MFCC through Lhotse, or a frozen encoder: Whisper's here,
by CTranslate2; its hidden states in utils/whisper_states.py, a self-supervised encoder's in utils/ssl_front_end.py.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence, Union

import numpy as np
from lhotse import Fbank, FbankConfig, Mfcc, MfccConfig
from lhotse.utils import compute_num_frames

from utils import download
from utils.errors import UserError

DESCRIPTION = "front_end.json"  # beside hidden states: their layers, the shape and the size of the model that made them
Extracted = List[Union[np.ndarray, Exception]]  # features (T, C) float32 of each utterance, or why it has none

CEPSTRA = 13  # of MFCC, the 0th among them, as Kaldi's defaults

# Whisper (Radford et al. 2022): 30 s windows of log-mel frames at 10 ms, of which the encoder makes frames at 20 ms.
RATE = 16000
WINDOW = 3000  # mel frames that the encoder takes at most
OVERLAP = 200  # mel frames that two windows of a longer recording share
PAD = RATE  # samples: recordings are filled up with silence to a multiple, so that those of a like length share a batch
MODEL_FILES = ("model.bin", "config.json")


class FrontEnd:
    """What stage 1 asks of a front end beside `extract`."""

    encoder = False  # whether it is a network, one process of which a GPU takes
    tick_power = -5  # the cache rounds to two to the power of it
    smallest_std = 0.1  # normalisation divides by no less: a filter that stays on the floor (8 kHz audio at 16 kHz) isn't blown up
    description: Dict[str, Any] = {}  # for later stages; written as DESCRIPTION where there is any


class FbankFrontEnd(FrontEnd):
    """Lhotse's fbank, or MFCC of it, as the group `features` says; without dither, so that the same audio gives the same numbers.

    Energies are floored at float32's epsilon for audio in [-1, 1].
    """

    def __init__(self, config: SimpleNamespace, rate: int) -> None:
        """Raises UserError where no such filter bank can be made."""
        if config.frame_length <= 0 or config.frame_shift <= 0:
            raise UserError("features.frame_length and features.frame_shift are seconds above 0")
        self.name, self.sampling_rate, self.frame_shift = config.front_end, rate, config.frame_shift
        settings = dict(
            sampling_rate=rate,
            num_mel_bins=config.num_mel_bins,
            frame_length=config.frame_length,
            frame_shift=config.frame_shift,
            low_freq=config.low_freq,
            high_freq=config.high_freq,
            preemph_coeff=config.preemphasis,
            window_type=config.window,
            dither=0.0,
        )
        try:
            mfcc = config.front_end == "mfcc"
            self.extractor = Mfcc(MfccConfig(num_ceps=CEPSTRA, **settings)) if mfcc else Fbank(FbankConfig(**settings))
        except (AssertionError, ValueError, RuntimeError) as error:
            raise UserError(
                f"no filter bank can be made at data.sampling_rate={rate} with the settings of the group features: {error}"
            ) from None

    def extract(self, samples: Sequence[np.ndarray]) -> Extracted:
        """samples: (1, S) float32 in [-1, 1] of each utterance -> features (T, num_mel_bins), or (T, CEPSTRA)."""
        out: Extracted = []
        for one in samples:
            try:
                out.append(self.extractor.extract(one, self.sampling_rate))
            except (ValueError, AssertionError, RuntimeError, IndexError) as error:  # too short for one window
                out.append(error)
        return out


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


def make(config: SimpleNamespace, rate: int, device: str = "cpu") -> Union[FbankFrontEnd, Windowed]:
    """The front end that the group `features` names; its `sampling_rate` is that of the samples it takes.

    Raises:
      UserError: settings that it can't work with.
    """
    if config.front_end == "ssl":
        from utils.ssl_front_end import SslFrontEnd  # imports torchaudio

        return SslFrontEnd(config, device)
    if config.front_end == "whisper" and config.layers != [-1]:
        from utils.whisper_states import WhisperStates

        return WhisperStates(config, device)
    return WhisperFrontEnd(config, device) if config.front_end == "whisper" else FbankFrontEnd(config, rate)


def model_bytes(config: SimpleNamespace) -> int:
    """Size of the model that the group `features` names; 0 for filter banks."""
    return (whisper_folder(config.model, "features") / "model.bin").stat().st_size if config.front_end == "whisper" else 0


def whisper_folder(model: str, group: str) -> Path:
    """Where a Whisper model in CTranslate2's format lies: a folder, or a size (tiny, base.en, small ...), downloaded once.

    Args:
      model: the key `model` of the config's `group`.
    Raises:
      UserError: no such folder or size, files missing from the folder, another kind of model, or it can't be downloaded.
    """
    path = Path(model)
    if model and path.is_dir():
        return check_whisper(path, group)
    _ctranslate2()
    from faster_whisper.utils import available_models, download_model

    if not model or model not in available_models():
        raise UserError(
            f"{group}.model={model or '(empty)'} is neither a folder with a Whisper model in CTranslate2's format "
            f"({', '.join(MODEL_FILES)}) nor a size: {', '.join(available_models())}"
        )
    target = download.folder(f"whisper-{model}")
    if not all((target / name).exists() for name in MODEL_FILES):
        try:
            download_model(model, output_dir=str(target))
        except Exception as error:  # whatever the hub's client throws
            first = " ".join(str(error).split())[:200]
            raise UserError(
                f"the Whisper model {model} can't be downloaded ({type(error).__name__}: {first}); run again to go on, or copy "
                f"its folder here and name it by --set {group}.model=FOLDER"
            ) from None
    return check_whisper(target, group)


def load_whisper(folder: Path, place: Placement) -> Any:
    """CTranslate2's Whisper model of `features.model`, on one core; raises UserError where the folder's can't be read."""
    import ctranslate2

    try:
        return ctranslate2.models.Whisper(str(folder), **place.arguments, intra_threads=1, inter_threads=1)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"features.model={folder} is not a Whisper model that CTranslate2 can read: {error}") from None


def check_whisper(folder: Path, group: str) -> Path:
    """`folder` again, if it has the files of a Whisper model; raises UserError where not."""
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{group}.model={folder} has no {' and no '.join(missing)}: it is no model in CTranslate2's format "
            f"(ct2-transformers-converter makes one of a Hugging Face folder)"
        )
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not JSON: {error}") from None
    if "suppress_ids" not in settings and "alignment_heads" not in settings:
        raise UserError(f"{group}.model={folder} is a model of another kind: its config.json is not Whisper's")
    return folder


def mel_extractor(bins: int) -> Any:
    """faster-whisper's: samples -> log-mel energies (bins, T) at 10 ms, as Whisper was trained on."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=bins)


def mel_windows(samples: np.ndarray, extractor: Any) -> List[np.ndarray]:
    """Log-mel windows (bins, at most WINDOW) of one recording (S,), each but the last WINDOW long."""
    padded = np.pad(samples, (0, max(-len(samples) % PAD, PAD - len(samples))))
    mel = extractor(padded, padding=0).astype(np.float32)
    return [mel[:, start : start + WINDOW] for start in window_starts(mel.shape[1], WINDOW, OVERLAP)]


def window_starts(length: int, window: int, overlap: int) -> range:
    """Where windows of a recording begin, each but the last `window` long."""
    return range(0, max(length - overlap, 1), window - overlap)


def _join(windows: List[np.ndarray], half: int) -> np.ndarray:
    """Frames (T, C) of overlapping windows, without the `half` of what two share that is the other's."""
    parts = []
    for n, window in enumerate(windows):
        parts.append(window[half if n else 0 : len(window) - half if n + 1 < len(windows) else None])
    return np.concatenate(parts)


def _ctranslate2() -> Any:
    try:
        import ctranslate2
        import faster_whisper  # noqa: F401 - mel filters and the names of sizes
    except ImportError as error:
        raise UserError(
            f"Whisper needs the packages ctranslate2 and faster-whisper ({error}); utils/setup.sh installs them"
        ) from None
    return ctranslate2
