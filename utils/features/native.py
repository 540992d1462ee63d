"""Features without torch: filter banks by kaldi-native-fbank, within 1e-3 of Lhotse's, then rounded as stage 1 stores them."""

from typing import Any, Callable, Mapping, Optional

import numpy as np

from utils.core.errors import UserError

NATIVE = ("fbank", "mfcc")  # front ends
CEPSTRA = 13  # of MFCC, as in utils/features/fbank.py


class NativeFeatures:
    """Samples -> normalised features, as training and stage 6 see them."""

    def __init__(self, settings: Mapping[str, Any], rate: int, tick: float, statistics: Mapping[str, np.ndarray]) -> None:
        """
        Args:
          settings: the group `features`, with fbank or mfcc.
          rate: Hz.
          tick: stored features are multiples of it.
          statistics: `mean` and `std`, (C,), of utils/features/cmvn.py; empty without normalisation.
        Raises:
          UserError: the package is missing, or it has no such window.
        """
        try:
            import kaldi_native_fbank as native
        except ImportError as error:
            raise UserError(f"--engine onnx needs kaldi-native-fbank ({error}); pip install kaldi-native-fbank") from None
        if settings["denoise"] != "none":
            raise UserError(f"features.denoise={settings['denoise']}: the onnx engine can't reduce noise; use --engine k2")
        if settings["window"] == "blackman":  # Lhotse's is another function than Kaldi's
            raise UserError("features.window=blackman: the onnx engine does not have Lhotse's Blackman window; use --engine k2")
        mfcc = settings["front_end"] == "mfcc"
        options = native.MfccOptions() if mfcc else native.FbankOptions()
        frame, mel = options.frame_opts, options.mel_opts
        frame.samp_freq, frame.dither, frame.snip_edges = rate, 0.0, False
        frame.frame_length_ms, frame.frame_shift_ms = settings["frame_length"] * 1000, settings["frame_shift"] * 1000
        frame.preemph_coeff, frame.window_type = settings["preemphasis"], settings["window"]
        mel.num_bins, mel.low_freq, mel.high_freq = settings["num_mel_bins"], settings["low_freq"], settings["high_freq"]
        options.use_energy = False
        if mfcc:
            options.num_ceps = CEPSTRA
        self._make, self._options = (native.OnlineMfcc if mfcc else native.OnlineFbank), options
        self.rate, self.shift = rate, float(settings["frame_shift"])  # Hz; seconds between frames
        self.window = float(settings["frame_length"])  # seconds
        self._tick, self._statistics = tick, statistics
        window, shift = (int(settings[key] * rate) for key in ("frame_length", "frame_shift"))
        self._shortest = -(-(window - (window - shift) // 2) // 2)  # samples; with fewer Lhotse can't mirror the edges

    def extract(self, samples: np.ndarray) -> Optional[np.ndarray]:
        """samples: (S,) float32 in [-1, 1] -> (T, C) float32 as Lhotse's; None for too few samples for a frame."""
        if len(samples) < self._shortest:
            return None
        stream = self._make(self._options)
        stream.accept_waveform(self.rate, samples)
        stream.input_finished()
        return _ready(stream, 0)

    def __call__(self, samples: np.ndarray) -> Optional[np.ndarray]:
        """As `extract`, rounded and normalised."""
        features = self.extract(samples)
        if features is None:
            return None
        return self._seen(features)

    def stream(self) -> "FeatureStream":
        """Features of samples that come bit by bit."""
        return FeatureStream(self._make(self._options), self.rate, self._shortest, self._seen)

    def _seen(self, features: np.ndarray) -> np.ndarray:
        """(T, C) as stage 1 stores them and training sees them."""
        stored = np.round(features / self._tick) * self._tick
        if self._statistics:
            stored = (stored - self._statistics["mean"]) / self._statistics["std"]
        return stored.astype(np.float16).astype(np.float32)  # as utils.train.dataset.Features keeps them


class FeatureStream:
    """Samples of a stream, in any portions -> the frames that `NativeFeatures` gives for all of them at once.

    The first frame mirrors the beginning of the stream, the last ones its end. A frame comes when its window was heard, half a
    window after its middle. Old samples and frames are dropped.
    """

    def __init__(self, stream: Any, rate: int, shortest: int, seen: Callable[[np.ndarray], np.ndarray]) -> None:
        """`NativeFeatures.stream` makes it."""
        self._stream, self._rate, self._shortest, self._seen = stream, rate, shortest, seen
        self._heard = self._frames = 0
        self.dim = int(stream.dim)  # features in a frame

    def accept(self, samples: np.ndarray) -> np.ndarray:
        """samples: (S,) float32 in [-1, 1] at the features' rate -> the frames that are ready now, (T, C), T may be 0."""
        if len(samples):
            self._stream.accept_waveform(self._rate, samples)
            self._heard += len(samples)
        return self._new()

    def finish(self) -> np.ndarray:
        """No samples follow: the last frames, (T, C); none of a stream that is too short for one."""
        if self._heard < self._shortest:
            return np.zeros((0, self._stream.dim), np.float32)
        self._stream.input_finished()
        return self._new()

    def _new(self) -> np.ndarray:
        found = _ready(self._stream, self._frames)
        if found is None:
            return np.zeros((0, self._stream.dim), np.float32)
        self._stream.pop(len(found))
        self._frames += len(found)
        return self._seen(found)


def _ready(stream: Any, first: int) -> Optional[np.ndarray]:
    """The frames that a stream of kaldi-native-fbank has from number `first` on, (T, C); None without any."""
    frames = [stream.get_frame(n) for n in range(first, stream.num_frames_ready)]
    return np.stack(frames) if frames else None
