"""The spotter: what the network says of a recording or a stream goes in piece by piece, places of keywords come out.

A place is where the best path of a keyword's units against the best unit of each frame has a peak; the log-probability of its
word vectors there, the mean over its words, is added, and so is the cosine of a vector from recordings. Sounds have at most 0;
what a vector adds may be more.
"""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.ndimage import maximum_filter1d

from utils.bundle.evidence import Evidence, Rows
from utils.core.errors import UserError
from utils.search.scoring import UNREACHABLE, advance, begin, normaliser, relative, sequence, sounds, vector_scores
from utils.spotting.keywords import Keyword

LONGEST = 4.0  # seconds of a keyword; frames of the word head are kept for so long
GAP = 1.0  # most seconds from one word of a keyword to the next
NEAR = 0.75  # cosine of a vector from recordings with a frame of another one, about
THRESHOLD = -10.0  # where nothing was calibrated
THRESHOLD_DECODER = -25.0  # as well, with the second look
LOWEST = -40.0  # what calibration looks at


@dataclass(frozen=True)
class Settings:
    """How the two scores are weighed."""

    blank_penalty: float = 1.0  # subtracted from the blank's log-probability in the sub-word head
    vectors: float = 1.0  # weight of the word vectors' log-probability
    recordings: float = (
        1.0  # the same of vectors from recordings: of their cosine with the frame, less 1, times the frame's length
    )
    around: float = 0.16  # seconds before and after the sounds in which frames of the word head count; it waits for so much, too
    decoder: float = 1.0  # weight of the second look (utils/spotting/decoder.py), where the bundle has Whisper's decoder; 0: none
    decoder_around: float = 0.4  # seconds before and after the sounds that the decoder hears


@dataclass(frozen=True)
class Hit:
    """A place where a keyword may have been said."""

    keyword: str
    start: float  # seconds
    end: float  # seconds
    score: float  # natural log, the sum of the others
    sounds: float  # of its units, at most 0
    vectors: float  # of its words and recordings, weighted; 0 without a word head
    decoder: float = 0.0  # of the second look, at most 0; 0 without it


class Spotter:
    """Keywords, ready to be looked for. Streams share it."""

    def __init__(
        self, keywords: Sequence[Keyword], table: Rows, thresholds: Sequence[float], settings: Settings = Settings()
    ) -> None:
        """
        Args:
          keywords: with different names.
          table: the words that theirs compete with, `Recogniser.rows()`.
          thresholds: of each keyword, the lowest score of a hit.
        Raises:
          UserError: no keyword, two with one name.
        """
        names = [keyword.name for keyword in keywords]
        if not names:
            raise UserError("no keyword to look for")
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise UserError(f"keywords that are given twice: {', '.join(twice[:10])}")
        self.keywords, self.table, self.settings = list(keywords), table, settings
        self.thresholds = np.asarray(thresholds, np.float64)
        self.places = {keyword.name: n for n, keyword in enumerate(keywords)}
        self.sounds = sounds([keyword.spoken for keyword in keywords])
        self.vectors = np.concatenate([keyword.vectors for keyword in keywords])
        self.bias = np.concatenate([keyword.bias for keyword in keywords])
        counts = np.cumsum([0, *(len(keyword.vectors) for keyword in keywords)])
        self.words = [slice(first, last) for first, last in zip(counts, counts[1:])]
        heard = [keyword.heard for keyword in keywords if keyword.heard is not None]
        self.heard = np.stack(heard) if heard else self.vectors[:0]
        places = counts[-1] + np.cumsum([keyword.heard is not None for keyword in keywords]) - 1
        self.recorded = [int(n) if one.heard is not None else None for one, n in zip(keywords, places)]  # columns of `scores`

    @property
    def columns(self) -> int:
        """The number of vectors, M + E: of the words of all keywords, and of recordings."""
        return len(self.vectors) + len(self.heard)

    def scores(self, frames: np.ndarray, blank: np.ndarray) -> np.ndarray:
        """The scores of all vectors in each frame, (T, M + E), float32.

        A vector from recordings does not compete with the vocabulary, as that of a spelling does: among the words that it knows
        are those that sound like it, and they would hide it.
        """
        words = vector_scores(frames, normaliser(frames, blank, self.table), self.vectors, self.bias)
        if not len(self.heard):
            return words
        return np.concatenate((words, frames @ self.heard.T - NEAR * np.linalg.norm(frames, axis=1, keepdims=True)), 1)

    def hits(self, evidence: Evidence) -> List[Hit]:
        """The hits in a whole recording, by their ends."""
        stream = Spotting(self, evidence.subword_seconds, evidence.word_seconds)
        return stream.accept(evidence.subword, evidence.frames, evidence.blank) + stream.finish()


class Spotting:
    """One stream. What it finds does not depend on how the stream is cut into pieces."""

    def __init__(self, spotter: Spotter, subword_seconds: float, word_seconds: float) -> None:
        """Seconds of a frame of either head."""
        self.spotter = spotter
        self._fine, self._coarse = subword_seconds, word_seconds
        self._reach = max(1, round(spotter.settings.around / subword_seconds))  # frames to each side of a peak
        self._search = begin(spotter.sounds)
        self._scores = np.zeros((0, len(spotter.keywords)), np.float32)  # from frame `_first` on
        self._starts = np.zeros(self._scores.shape, np.int32)
        self._first = self._next = 0  # `_next`: the frame whose peaks come next
        self._words = np.zeros((0, spotter.columns), np.float32)  # log-probabilities, from frame `_first_word` on
        self._first_word = 0
        self._last: Dict[int, Hit] = {}  # of each keyword

    def accept(self, subword: np.ndarray, frames: np.ndarray, blank: np.ndarray) -> List[Hit]:
        """Take more frames of either head; see `Evidence`. The hits that they complete, by their ends."""
        spotter = self.spotter
        if len(subword):
            scores, starts = advance(self._search, spotter.sounds, relative(subword, spotter.settings.blank_penalty))
            scores, starts = _of_keywords(scores, starts, spotter.sounds.edges)
            self._scores, self._starts = np.concatenate((self._scores, scores)), np.concatenate((self._starts, starts))
        if len(frames) and spotter.columns:
            self._words = np.concatenate((self._words, spotter.scores(frames, blank)))
        return self._found(False)

    def finish(self) -> List[Hit]:
        """The last hits."""
        return self._found(True)

    def _found(self, finished: bool) -> List[Hit]:
        """The hits at peaks whose surroundings are complete."""
        until = self._first + len(self._scores) - self._reach * (not finished)
        if self.spotter.columns and not finished:
            heard = (self._first_word + len(self._words)) * self._coarse - self.spotter.settings.around
            until = min(until, int(heard / self._fine + 1e-6))
        if until <= self._next:
            return []
        hits = []
        for frame, k in self._peaks(until):
            hit = self._hit(frame, k)
            if hit.score >= self.spotter.thresholds[k] and (k not in self._last or hit.start >= self._last[k].end):
                self._last[k] = hit
                hits.append(hit)
        self._next = until
        self._forget()
        return hits

    def _peaks(self, until: int) -> List[Tuple[int, int]]:
        """Frames and keywords of peaks before frame `until` that may become hits."""
        begins = max(self._next - self._reach, self._first) - self._first
        scores = self._scores[begins : until + self._reach - self._first]
        offset = self._next - self._first - begins
        own = scores[offset : offset + until - self._next]
        above = own >= self.spotter.thresholds - self._most()
        columns = np.flatnonzero(above.any(0))
        highest = maximum_filter1d(scores[:, columns], 2 * self._reach + 1, axis=0, mode="constant", cval=float(UNREACHABLE))
        peaks = above[:, columns] & (own[:, columns] >= highest[offset : offset + len(own)])
        return [(int(t) + self._next, int(columns[k])) for t, k in np.argwhere(peaks)]

    def _most(self) -> np.ndarray:
        """The most that the vectors of each keyword may add now, at least 0; words beyond the normaliser's get more than 0."""
        spotter, settings = self.spotter, self.spotter.settings
        most = np.zeros(len(spotter.words))
        if len(self._words):
            highest = self._words.max(0)
            for k, (words, recorded) in enumerate(zip(spotter.words, spotter.recorded)):
                if words.stop > words.start:
                    most[k] = settings.vectors * max(0.0, float(highest[words].max()))
                if recorded is not None:
                    most[k] += settings.recordings * max(0.0, float(highest[recorded]))
        return most

    def _hit(self, frame: int, k: int) -> Hit:
        sounds = float(self._scores[frame - self._first, k])
        start, end = float(self._starts[frame - self._first, k]) * self._fine, (frame + 1) * self._fine
        words, recorded, settings = self.spotter.words[k], self.spotter.recorded[k], self.spotter.settings
        vectors, none = 0.0, float(UNREACHABLE)
        first = max(0, int((start - settings.around) / self._coarse) - self._first_word)
        last = int(np.ceil((end + settings.around) / self._coarse - 1e-6)) - self._first_word
        near = self._words[first:last]
        if words.stop > words.start:
            gap = max(1, round(GAP / self._coarse))
            vectors += settings.vectors * (sequence(near[:, words], gap)[0] if len(near) else none)
        if recorded is not None:
            vectors += settings.recordings * (float(near[:, recorded].max()) if len(near) else none)
        score = sounds + vectors
        return Hit(self.spotter.keywords[k].name, round(start, 3), round(end, 3), score, sounds, vectors)

    def _forget(self) -> None:
        """Drop frames that no later hit needs."""
        old = self._next - self._reach - self._first
        if old > LONGEST / self._fine:
            self._scores, self._starts = self._scores[old:], self._starts[old:]
            self._first += old
        before = int((self._next * self._fine - LONGEST) / self._coarse) - self._first_word
        if before > LONGEST / self._coarse:
            self._words = self._words[before:]
            self._first_word += before


def _of_keywords(scores: np.ndarray, starts: np.ndarray, edges: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Scores and starts of pronunciations, (T, P), as those of keywords, (T, K): of each the best."""
    if len(edges) == scores.shape[1]:
        return scores, starts
    best = np.maximum.reduceat(scores, edges, axis=1)
    counts = np.diff(np.append(edges, scores.shape[1]))
    is_best = scores == np.repeat(best, counts, axis=1)
    found = np.maximum.reduceat(np.where(is_best, starts, -1), edges, axis=1)
    return best, found
