"""Keywords in a stream: samples go in as they come, hits come out within about half a second of the keyword's end.

A causal model sees each chunk once. Any other one hears the last seconds anew in every step, since it looks ahead, where the
activity of the voice says that somebody may be speaking.
"""

from dataclasses import replace
from typing import List, Optional, Union

import numpy as np

from utils.audio.resampling import Resampling
from utils.audio.speech import FRAME, SpeechProbability
from utils.audio.speech import RATE as VOICE_RATE
from utils.bundle.recogniser import Recogniser
from utils.bundle.streaming import Streaming
from utils.core.errors import UserError
from utils.spotting.decoder import looked_at
from utils.spotting.spotter import Hit, Spotter, Spotting

CHUNK = 0.32  # seconds that a causal network takes at once
STEP = 0.25  # seconds between two looks of another one
BACK = 2.0  # seconds that it hears anew: at least
BEFORE, UNIT = 0.6, 0.12  # seconds that it hears before a keyword, and of a unit of one that is said slowly
SOON = 0.5  # seconds after its end within which a place is a hit or none: later looks hear less of what is before it
SPEECH = 0.3  # probability above which somebody may be speaking
HELD = 0.6  # seconds after that in which it still looks


class Listening:
    """One stream."""

    def __init__(self, recogniser: Recogniser, spotter: Spotter, rate: int) -> None:
        """rate: Hz, of the samples."""
        if rate <= 0:
            raise UserError(f"the sampling rate is {rate}, and must be above 0")
        streaming = recogniser.streaming()
        self._way: Union[_Chunks, _Anew] = _Chunks(streaming, spotter, rate) if streaming else _Anew(recogniser, spotter, rate)

    def accept(self, samples: np.ndarray) -> List[Hit]:
        """The hits that (T,) float32 more samples complete, with times in the stream."""
        return self._way.accept(samples)

    def finish(self) -> List[Hit]:
        """The last hits."""
        return self._way.finish()


class _Chunks:
    def __init__(self, streaming: Streaming, spotter: Spotter, rate: int) -> None:
        self._network, self._caches = streaming.network, streaming.network.start()
        self._resampling, self._features = Resampling(rate, streaming.features.rate), streaming.features.stream()
        self._frames = streaming.network.chunk_frames(CHUNK, streaming.features.shift)
        self._waiting = np.zeros((0, self._features.dim), np.float32)
        self._spotter, self._shift = spotter, streaming.features.shift
        self._spotting: Optional[Spotting] = None  # once the first chunk says how long frames are

    def accept(self, samples: np.ndarray) -> List[Hit]:
        self._waiting = np.concatenate((self._waiting, self._features.accept(self._resampling(samples))))
        found: List[Hit] = []
        while len(self._waiting) >= self._frames:
            found += self._chunk(self._waiting[: self._frames])
            self._waiting = self._waiting[self._frames :]
        return found

    def finish(self) -> List[Hit]:
        more = self._features.accept(self._resampling(np.zeros(0, np.float32), last=True))
        self._waiting = np.concatenate((self._waiting, more, self._features.finish()))
        found = self.accept(np.zeros(0, np.float32))
        if len(self._waiting):
            found += self._chunk(self._waiting)
        return found + (self._spotting.finish() if self._spotting else [])

    def _chunk(self, chunk: np.ndarray) -> List[Hit]:
        (output,), (self._caches,) = self._network([chunk], [self._caches])
        if output.subword is None:
            raise UserError("this bundle has no sub-word head, which keywords need; take one of a recipe with both heads")
        if self._spotting is None:
            fine = len(chunk) * self._shift / max(1, len(output.subword))
            coarse = len(chunk) * self._shift / max(1, len(output.frames)) if output.frames is not None else fine
            self._spotting = Spotting(self._spotter, fine, coarse)
        empty = np.zeros((0, 0), np.float32)
        frames = empty if output.frames is None else output.frames
        blank = empty.reshape(-1) if output.blank is None else output.blank
        return self._spotting.accept(output.subword, frames, blank)


class _Anew:
    def __init__(self, recogniser: Recogniser, spotter: Spotter, rate: int) -> None:
        self._recogniser, self._spotter, self._rate = recogniser, spotter, rate
        self._voice = SpeechProbability(rate)
        self._step, self._keep = max(1, round(STEP * rate)), round(back(spotter) * rate)
        self._held = np.zeros(0, np.float32)  # the last seconds
        self._first = 0  # index of its first sample
        self._fresh: List[np.ndarray] = []  # samples since the last look
        self._spoken = -np.inf  # seconds, when somebody spoke last
        self._last = {keyword.name: -np.inf for keyword in spotter.keywords}  # where its last hit ended

    def accept(self, samples: np.ndarray) -> List[Hit]:
        found: List[Hit] = []
        while len(samples):
            left = self._step - sum(map(len, self._fresh))
            self._fresh.append(samples[:left])
            if len(samples) >= left:
                found += self._look()
            samples = samples[left:]
        return found

    def finish(self) -> List[Hit]:
        return self._look(last=True)

    def _look(self, last: bool = False) -> List[Hit]:
        fresh = np.concatenate([np.zeros(0, np.float32), *self._fresh])
        joined, self._fresh = np.concatenate((self._held, fresh)), []
        self._held = joined[-self._keep :].copy()
        self._first += len(joined) - len(self._held)
        start, now = self._first / self._rate, (self._first + len(self._held)) / self._rate
        if (self._voice(fresh) >= SPEECH).any():
            self._spoken = now
        if now - self._spoken > HELD or len(self._held) < FRAME * self._rate / VOICE_RATE:
            return []
        (evidence,) = self._recogniser.evidence([(self._held, self._rate)])
        hits = (replace(h, start=round(h.start + start, 3), end=round(h.end + start, 3)) for h in self._spotter.hits(evidence))
        until = now if last else now - self._spotter.settings.around  # a keyword cut short scores by chance
        new = [hit for hit in hits if hit.start >= self._last[hit.keyword] and now - SOON <= hit.end <= until]
        found = looked_at(self._recogniser, self._spotter, new, self._held, self._rate, start)
        for hit in found:
            self._last[hit.keyword] = hit.end
        return found


def back(spotter: Spotter) -> float:
    """Seconds that are heard anew: more for a long keyword."""
    longest = max(len(units) for keyword in spotter.keywords for units in keyword.spoken)
    return max(BACK, float(np.ceil(2 * (BEFORE + UNIT * longest)) / 2))
