"""Where in a long recording speech is: windows cut at pauses, while the recording is being read.

Silero's network for voice activity (https://github.com/snakers4/silero-vad, version 6) comes with the package faster-whisper.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, List, Optional

import numpy as np

from utils.audio.decoding import need_av
from utils.core.errors import UserError

RATE, FRAME, CONTEXT = 16000, 512, 64  # Hz; samples of a frame (32 ms); samples before it that the network reads too
WHOLE = 30.0  # seconds; shorter recordings are one window


@dataclass(frozen=True)
class Pauses:
    """How a recording of more than `WHOLE` seconds is cut: chosen on dev by `tests.bench.pauses`."""

    longest: float = 8.0  # seconds of a window
    pause: float = 0.5  # seconds without speech that end a window
    before: float = 0.3  # seconds kept before speech, of what the window before leaves
    after: float = 0.3  # seconds kept after speech: at most half of the pause
    silence: float = 0.6  # seconds without speech after which a window is closed before speech begins again
    speech: float = 0.35  # probability above which speech begins
    no_speech: float = 0.2  # probability below which it ends; lower than usual, for 8 kHz


PAUSES = Pauses()
Probability = Callable[[np.ndarray], np.ndarray]  # (T,) samples -> (n,) of the frames that they complete


@dataclass(frozen=True)
class Window:
    """A part of a recording to be recognised."""

    start: float  # seconds
    samples: np.ndarray  # (T,) float32


class SpeechProbability:
    """The probability of speech in each frame of a stream of samples of any rate."""

    def __init__(self, rate: int) -> None:
        """rate: Hz, of the samples. Raises UserError where the network is missing."""
        self._network = _network()
        self._state = [np.zeros((1, 1, 128), np.float32)] * 2
        self._left = np.zeros(CONTEXT, np.float32)  # the context of the next frame, and its samples so far
        self._rate, self._resampler = rate, _resampler(rate)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32: of the frames that (T,) more samples complete."""
        joined = np.concatenate([self._left, self._at_16_khz(samples)])
        count = (len(joined) - CONTEXT) // FRAME
        self._left = joined[count * FRAME :]
        if not count:
            return np.zeros(0, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(joined, CONTEXT + FRAME)[::FRAME][:count]
        given = {"input": np.ascontiguousarray(frames), "h": self._state[0], "c": self._state[1]}
        found, *self._state = self._network.run(None, given)
        return found.reshape(-1)

    def _at_16_khz(self, samples: np.ndarray) -> np.ndarray:
        if self._resampler is None or not len(samples):
            return samples
        av = need_av()

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
        frame.sample_rate = self._rate
        parts = [part.to_ndarray().reshape(-1) for part in self._resampler.resample(frame)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _resampler(rate: int) -> Any:
    if rate == RATE:
        return None
    av = need_av()

    return av.AudioResampler(format="flt", layout="mono", rate=RATE)


@lru_cache(maxsize=1)
def _network() -> Any:
    package = find_spec("faster_whisper")  # which is not imported
    path = Path((package.submodule_search_locations or [""])[0], "assets", "silero_vad_v6.onnx") if package else None
    if path is None or not path.is_file():
        raise UserError(
            f"recordings of more than {WHOLE:g} s need the voice activity network of the package faster-whisper; "
            "install it with: python -m pip install --no-deps faster-whisper==1.2.1"
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Windows:
    """Cuts one channel of a recording into windows as it is read. It holds at most `WHOLE` seconds and what is pushed at once.

    A window of a long recording begins and ends in a pause, near speech; where speech without one lasts longer than a window may,
    it is cut where speech is least probable in the second half, and the next window begins there.
    """

    def __init__(self, rate: int, pauses: Pauses = PAUSES, probability: Optional[Probability] = None) -> None:
        """rate: Hz; probability: of speech, where it is known already (default: `SpeechProbability`)."""
        self._rate, self._pauses = rate, pauses
        self._known = probability
        self._held: List[np.ndarray] = []
        self._first = 0  # index of the first sample that is held
        self._end = 0  # of the sample after the last
        self._speech: Optional[Probability] = None  # None while the recording may be a short one
        self._found: List[float] = []  # probabilities of frames, from frame `_frame` on
        self._frame = 0
        self._next = 0  # the frame that comes next
        self._start: Optional[float] = None  # seconds; of the open window
        self._last = 0.0  # seconds; where its speech ended so far
        self._past = 0.0  # seconds; where the window before it ended

    def push(self, samples: np.ndarray) -> List[Window]:
        """The windows that (T,) more samples complete."""
        self._held.append(samples)
        self._end += len(samples)
        if self._speech is None:
            if self._end <= WHOLE * self._rate:
                return []
            self._speech, samples = self._known or SpeechProbability(self._rate), self._joined()
        self._found += self._speech(samples).tolist()
        return self._windows()

    def finish(self) -> List[Window]:
        """The last windows: the whole recording where it is a short one."""
        if self._speech is None:
            return [Window(0.0, self._joined())] if self._end else []
        out = self._windows()
        if self._start is not None:
            out.append(self._cut(min(self._last + self._pauses.after, self._end / self._rate)))
        return out

    def _windows(self) -> List[Window]:
        out, use = [], self._pauses
        while self._next < self._frame + len(self._found):
            now = self._next * FRAME / RATE  # seconds
            probability = self._found[self._next - self._frame]
            if self._start is None:
                if probability >= use.speech:
                    self._start, self._last = max(now - use.before, self._past), now
                else:
                    self._drop(now - use.before)
            if self._start is not None:
                silent = now - self._last
                if probability >= (use.speech if silent >= use.pause else use.no_speech):
                    if silent >= use.pause:
                        out.append(self._cut(self._last + min(use.after, silent / 2)))
                        self._start = max(now - use.before, self._past)
                    self._last = now + FRAME / RATE
                elif silent >= use.silence:
                    out.append(self._cut(self._last + use.after))
            if self._start is not None and now - self._start >= use.longest and now - self._last < use.pause:
                edge = self._weakest(self._start + use.longest / 2, now)
                out.append(self._cut(edge))
                self._start, self._last = edge, max(self._last, edge)
            self._next += 1
        return out

    def _cut(self, end: float) -> Window:
        """Close the open window at `end` seconds."""
        assert self._start is not None  # a window is open
        begin, self._start, self._past = self._start, None, end
        first, last = round(begin * self._rate), min(round(end * self._rate), self._end)
        window = Window(first / self._rate, self._joined()[first - self._first : last - self._first].copy())
        self._drop(end)
        return window

    def _weakest(self, begin: float, end: float) -> float:
        """Seconds, between two others, of the middle of the five frames (160 ms) with the least speech."""
        first = int(begin * RATE / FRAME)
        frames = np.asarray(self._found[first - self._frame : int(end * RATE / FRAME) - self._frame])
        return (first + 2.5 + int(np.argmin(np.convolve(frames, np.ones(5), "valid")))) * FRAME / RATE

    def _joined(self) -> np.ndarray:
        if len(self._held) != 1:
            self._held = [np.concatenate(self._held)] if self._held else [np.zeros(0, np.float32)]
        return self._held[0]

    def _drop(self, before: float) -> None:
        """Forget samples and probabilities of more than a pause before a time in seconds, in large steps."""
        keep = max(int((before - self._pauses.pause) * self._rate), self._first)
        if keep - self._first < self._rate:
            return
        self._held, self._first = [self._joined()[keep - self._first :].copy()], keep
        frame = max(keep * RATE // self._rate // FRAME - 1, self._frame)
        self._found, self._frame = self._found[frame - self._frame :], frame
