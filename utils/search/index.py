"""Questions to an index: where is a term said? By text, pronunciation, recordings or meaning."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from utils.bundle.evidence import Rows
from utils.bundle.manifest import Manifest
from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.core.inputs import unchanged
from utils.search.calibration import Calibration, features, log_odds
from utils.search.contents import speech_of
from utils.search.examples import Example, Spoken, heard, spoken
from utils.search.measures import term_threshold
from utils.search.paths import best_paths
from utils.search.rivals import compete
from utils.search.scoring import UNREACHABLE, pronunciations
from utils.search.shards import Shard, Source, check_bundle, read_about, read_shards

LOOK = 400  # windows that the quick look by vectors passes on, for each term
LOOK_LIKE = 100  # for recordings
LIKENESS = 27.6  # that a cosine of recordings is multiplied by, beside nats of sounds: the scale of a usual word head
TILE = 4096  # frames of the quick look at once: they stay in the cache
AROUND = 0.3  # seconds on both sides of a word heard where its sounds are looked for
LEAST = 0.02  # least probability of a hit
UNLIKE = 0.99  # of pairs of words have meanings that are no more like than by chance
CHANCE = 0.3  # the cosine of these, where a vocabulary is too small to say: fewer words than FEW
FEW, SOME = 50, 1000  # words
NEXT = 1.0  # most seconds between two words of a phrase
# Of recordings: fitted on 396 examples of 136 words of the same dev.
RECORDED = Calibration([0.2683, 0.0403, 0.3308, 0.923, 0.2896, -0.0275, 0.0], -6.6311)
# By whether the vocabulary has a term, and whether the chain proposes words beyond it: fitted by tests.bench.terms on dev of
# speechocean762 with whisper_wordvec, with and without rescore.attention; those of late words, without, by
# tests.bench.late_words --fit on this, Common Voice and asterisk.
CALIBRATIONS = {
    (True, False): Calibration([0.1742, -0.0332, 0.0339, -0.207, 0.2398, 0.1087, 0.5155], 0.1894),
    (True, True): Calibration([0.2161, -0.0303, 0.0774, -0.033, 0.1306, 0.122, 0.3958], 0.0194),
    (False, False): Calibration([0.2272, 0.1346, 0.4516, 1.9292, 0.4876, 0.0906, 0.0], -1.9022),
    (False, True): Calibration([0.1355, 0.0293, 0.1988, 1.6075, 0.1283, 0.0693, 0.8013], 1.9128),
}


@dataclass(frozen=True)
class Query:
    """A term as search works on it."""

    text: str
    words: List[str]  # normalised; none for a recording
    vectors: np.ndarray  # (W, dim)
    bias: np.ndarray  # (W,)
    spoken: List[List[int]]  # pronunciations of the whole term
    known: bool  # whether the vocabulary has all of its words
    recorded: bool = False  # whether the vector is that of recordings


@dataclass(frozen=True)
class Hit:
    """A place where a term is said."""

    term: str
    file: str
    channel: Optional[int]
    start: float  # seconds
    end: float
    score: float  # log-odds, less those at which finding the term is worth the false alarms: terms can be compared
    probability: float  # that it is said there
    sure: bool  # whether the probability is above the threshold of the best expected term-weighted value
    by: str = "sound"  # or meaning
    word: str = ""  # that was heard, where it is another than the term


@dataclass(frozen=True)
class Places:
    """Candidates of one term."""

    window: np.ndarray  # (H,)
    start: np.ndarray  # (H,) seconds from the start of the recording
    end: np.ndarray
    features: np.ndarray  # (H, features)


def key_of(manifest: Manifest) -> str:
    """What tells a bundle from others: SHA-256 of its manifest."""
    return hashlib.sha256(json.dumps(asdict(manifest), sort_keys=True).encode()).hexdigest()


class Index:
    """An index in memory."""

    def __init__(
        self, shards: Sequence[Shard], seconds: Tuple[float, float], recogniser: Recogniser, table: Optional[Rows] = None
    ) -> None:
        """seconds: of a frame of the sub-word head, and of the word head; table: `recogniser.rows()`, if known. See `open`."""
        self.recogniser, self.seconds = recogniser, seconds
        self.sources: List[Source] = [source for shard in shards for source in shard.sources]
        self.table = recogniser.rows() if table is None else table
        self.vocabulary = set(self.table.words)
        offsets = np.cumsum([0, *(len(shard.sources) for shard in shards)])
        windows = [shard.windows + np.array([n, 0, 0, 0]) for shard, n in zip(shards, offsets)]
        self.source, self.channel = (np.concatenate([w[:, n] for w in windows]) for n in (0, 1))
        self.starts, self.lengths = (np.concatenate([getattr(s, name) for s in shards]) for name in ("starts", "lengths"))
        self.frames, self.scale, self.normaliser, self.subword = (
            np.concatenate([getattr(shard, name) for shard in shards]) for name in ("frames", "scale", "normaliser", "subword")
        )
        self.speech = np.concatenate([shard.speech for shard in shards])  # shorter than frames if an earlier version made a shard
        self.edges = [_joined([shard.edges(head) for shard in shards]) for head in (0, 1)]
        dropped = [offset + n for shard, offset in zip(shards, offsets) for n in shard.dropped]
        self.alive = ~np.isin(self.source, dropped)
        self.duration = float(sum(one.seconds for n, one in enumerate(self.sources) if n not in set(dropped)))
        self.arcs: Dict[str, List[Tuple[int, float, float, float]]] = {}  # word -> window, start, end, posterior
        first = 0
        for shard in shards:
            for (window, word), (start, end, posterior) in zip(shard.arcs.tolist(), shard.spans.tolist()):
                if self.alive[first + window]:
                    self.arcs.setdefault(shard.words[word], []).append((first + window, start, end, posterior))
            first += len(shard.windows)
        self.proposes = not self.vocabulary.issuperset(self.arcs)  # whether the chain finds words beyond its vocabulary

    @classmethod
    def open(cls, folder: Path, recogniser: Recogniser) -> "Index":
        """Read and check an index.

        Raises:
          UserError: no index, an empty or a damaged one, or one of another bundle.
        """
        about = read_about(Path(folder))
        check_bundle(folder, about, key_of(recogniser.manifest))
        shards = read_shards(Path(folder))
        if not shards:
            raise UserError(f"the index {folder} has no recordings yet; python -m steps.index --index {folder} AUDIO adds some")
        return cls(shards, about.seconds, recogniser)

    def changed(self) -> List[str]:
        """Names of recordings whose files are other than they were, and are left out from now on."""
        out = []
        for number in np.unique(self.source[self.alive]).tolist():
            one = self.sources[number]
            if Path(one.file["path"]).exists() and not unchanged(one.file):
                out.append(one.name)
                self.alive &= self.source != number
        return out

    def queries(self, texts: Sequence[str]) -> List[Query]:
        """Terms given as text: words or phrases that the model knows or not.

        Raises:
          UserError: a text without a word; words that the model has no pronunciation or no vector for, all of them named.
        """
        terms = [self.recogniser.normalise(text).split() for text in texts]
        empty = [text for text, words in zip(texts, terms) if not words]
        if empty:
            more = f" and {len(empty) - 1} others have" if len(empty) > 1 else " has"
            raise UserError(f"the query '{empty[0]}'{more} no word; give words that somebody says")
        rows = self.recogniser.rows(list(dict.fromkeys(word for words in terms for word in words)))
        place = {word: n for n, word in enumerate(rows.words)}
        return [self._query(text, words, rows, [place[word] for word in words]) for text, words in zip(texts, terms)]

    def pronounced(self, text: str, units: Sequence[str]) -> Query:
        """A term given with its pronunciation, as units of the model."""
        words = self.recogniser.normalise(text).split()
        if not words or not units:
            raise UserError(f"a pronunciation is that of a word, and '{text}' with '{' '.join(units)}' is none")
        return self._query(text, [], self.recogniser.rows([" ".join(("".join(words), *units))]), [0])

    def _query(self, text: str, words: List[str], rows: Rows, term: List[int]) -> Query:
        known = bool(words) and all(word in self.vocabulary for word in words)
        return Query(text, words, rows.vectors[term], rows.bias[term], pronunciations(rows, term), known)

    def example(self, recordings: Mapping[str, Example]) -> Query:
        """A term given by recordings of it, by name.

        Raises:
          UserError: nobody speaks in a recording.
        """
        evidence = self.recogniser.evidence([(one.samples, one.rate) for one in recordings.values()])
        vector, units = heard(recordings, evidence, self.table)
        return Query(" ".join(recordings), [], vector[None], np.zeros(1, np.float32), units, False, True)

    def meant(self, word: str, least: float = LEAST) -> List[Hit]:
        """Words of like meaning that were heard: the surest first.

        A hit's probability is the posterior of the word that was heard times the similarity of the two words' meanings; their sum
        is the expected count. The similarity is how far their cosine is from what chance gives to 1: sources of meaning differ.

        Raises:
          UserError: the bundle has no meanings, or none of this word.
        """
        words = sorted(self.arcs)
        (given,) = self.recogniser.meanings([one := self._one(word)])
        if not given.any():
            raise UserError(
                f"the bundle has no meaning of '{one}'; take another word, or name what its meanings came from: --meanings PATH "
                "(those that were learnt from the training text are known of its words alone)"
            )
        cosines = self.recogniser.meanings(words) @ given if words else np.zeros(0)
        hits = []
        for other, similar in zip(words, ((cosines - self.chance) / (1 - self.chance)).tolist()):
            for window, start, end, posterior in self.arcs[other] if similar >= max(least, LEAST) else ():
                if self.alive[window] and posterior * similar >= least:
                    hits.append(self._hit(one, window, (start, end), log_odds(posterior * similar), 0.0, "meaning", other))
        return sorted(hits, key=lambda hit: -hit.probability)

    @cached_property
    def chance(self) -> float:
        """The cosine of meanings that words have by chance: less than 1 in 100 pairs of the vocabulary's words have more."""
        words = self.table.words
        rows = self.recogniser.meanings(words[:: 1 + len(words) // SOME])
        rows = rows[rows.any(1)]
        pairs = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
        return float(np.quantile(pairs, UNLIKE)) if len(rows) >= FEW else CHANCE

    def _one(self, text: str) -> str:
        words = self.recogniser.normalise(text).split()
        if len(words) != 1:
            raise UserError(f"'{text}' is {len(words)} words, and a meaning is that of one word")
        return words[0]

    def paths(self) -> Dict[str, str]:
        """Where each recording is, by its name."""
        return {one.name: one.file["path"] for one in self.sources}

    def find(self, queries: Sequence[Query], least: float = LEAST, most: int = 0) -> List[List[Hit]]:
        """The hits of each query, the surest first.

        Args:
          least: probability.
          most: hits of each query; 0 for all.
        """
        places = [one for start in range(0, len(queries), 256) for one in self.places(queries[start : start + 256])]
        found = zip(queries, places, self.odds(queries, places))
        return [self._hits(*one, least)[: most or None] for one in found]

    def places(self, queries: Sequence[Query]) -> List[Places]:
        """Candidates of each query with their features: what the quick look proposes, and where its words were heard."""
        looked = self.look(queries)
        return [self._places(query, scores) for query, scores in zip(queries, looked.T)]

    def look(self, queries: Sequence[Query]) -> np.ndarray:
        """The quick look: the vector score of each query in each window, (windows, Q). Order of words does not count."""
        out = np.full((len(self.source), len(queries)), UNREACHABLE)
        for recorded, how in ((False, self._look_for_words), (True, self._look_for_recordings)):
            own = [n for n, query in enumerate(queries) if query.recorded is recorded]
            if own:
                out[:, own] = how([queries[n] for n in own])
        out[~self.alive] = UNREACHABLE
        return out

    def _look_for_words(self, queries: Sequence[Query]) -> np.ndarray:
        vectors, bias = np.concatenate([q.vectors for q in queries]), np.concatenate([q.bias for q in queries])
        words = np.cumsum([0, *(len(q.vectors) for q in queries)])
        edges, out = self.edges[1], np.full((len(self.source), len(vectors)), UNREACHABLE)
        there = np.flatnonzero(np.diff(edges) > 0)
        at = 0
        while at < len(there):  # whole windows, about TILE frames
            end = max(at + 1, int(np.searchsorted(edges[there], edges[there[at]] + TILE)))
            own = there[at:end]
            a, b = edges[own[0]], edges[own[-1] + 1]
            scores = self.frames[a:b].astype(np.float32) @ vectors.T
            scores *= self.scale[a:b, None]
            scores -= self.normaliser[a:b, None]
            out[own] = np.maximum.reduceat(scores, edges[own] - a, axis=0)
            at = end
        out += bias
        return out if len(vectors) == len(queries) else np.add.reduceat(out, words[:-1], axis=1) / np.diff(words)

    def _look_for_recordings(self, queries: Sequence[Query]) -> np.ndarray:
        out = np.full((len(self.source), len(queries)), UNREACHABLE)
        out[self.spoken.windows] = LIKENESS * self.spoken.look(np.concatenate([q.vectors for q in queries]))
        return out

    @cached_property
    def spoken(self) -> Spoken:
        """The frames in which recordings are looked for: made once, when the first query comes that has some."""
        if len(self.speech) < len(self.frames):  # an index of an earlier version
            self.speech = speech_of(self.frames, self.scale, self.normaliser, self.table)
        return spoken(self.frames, self.speech, np.repeat(np.arange(len(self.source)), np.diff(self.edges[1])))

    def _places(self, query: Query, scores: np.ndarray) -> Places:
        arcs = self._heard(query.words) if query.words else []
        count = min(LOOK_LIKE if query.recorded else LOOK, int((scores > UNREACHABLE / 2).sum()))
        proposed = np.argpartition(-scores, count - 1)[:count] if count else np.zeros(0, np.int64)
        window = np.concatenate((proposed, np.array([arc[0] for arc in arcs], np.int64)))
        whole = np.stack((np.zeros(count), self.lengths[proposed]), 1)
        spans = np.concatenate((whole, np.array([(arc[1] - AROUND, arc[2] + AROUND) for arc in arcs]).reshape(-1, 2)))
        score, start, end = self._by_sounds(window, spans, query.spoken)
        posterior = np.concatenate((np.zeros(count), np.array([arc[3] for arc in arcs])))
        chosen = np.lexsort((-score, -posterior))  # an arc counts before what was proposed at its place
        chosen = chosen[score[chosen] > UNREACHABLE / 2]
        if arcs:  # else each window was proposed once
            kept: Dict[int, List[int]] = {}
            for n in chosen.tolist():
                others = kept.setdefault(int(window[n]), [])
                if all(end[n] <= start[m] or start[n] >= end[m] for m in others):
                    others.append(n)
            chosen = np.array([n for own in kept.values() for n in own], np.int64)
        units = min(map(len, query.spoken))
        given = features(scores[window[chosen]], score[chosen], units, posterior[chosen])
        offset = self.starts[window[chosen]]
        return Places(window[chosen], start[chosen] + offset, end[chosen] + offset, given)

    def _by_sounds(
        self, window: np.ndarray, spans: np.ndarray, term: Sequence[Sequence[int]]
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Score, start and end in seconds of the best path within spans of windows: (H,) each."""
        edges, frame = self.edges[0], self.seconds[0]
        begins = edges[window]
        first = begins + np.clip((spans[:, 0] / frame).astype(np.int64), 0, None)
        last = np.minimum(begins + np.ceil(spans[:, 1] / frame).astype(np.int64), edges[window + 1])
        score, start, end = best_paths(term, self.subword, first, last)
        return score, (start - begins) * frame, np.minimum((end - begins) * frame, self.lengths[window])

    def _heard(self, words: Sequence[str]) -> List[Tuple[int, float, float, float]]:
        """Window, start, end and posterior where words were heard one after the other."""
        found = [arc for arc in self.arcs.get(words[0], []) if self.alive[arc[0]]]
        for word in words[1:]:
            later: Dict[int, List[Tuple[int, float, float, float]]] = {}
            for arc in self.arcs.get(word, []):
                later.setdefault(arc[0], []).append(arc)
            found = [
                (window, start, after[2], min(posterior, after[3]))
                for window, start, end, posterior in found
                for after in later.get(window, [])
                if end - 0.1 <= after[1] <= end + NEXT
            ]
        return found

    def calibration(self, query: Query) -> Calibration:
        """What makes a probability of a hit's features."""
        return RECORDED if query.recorded else CALIBRATIONS[query.known, self.proposes and bool(query.words)]

    def odds(self, queries: Sequence[Query], places: Sequence[Places]) -> List[np.ndarray]:
        """Log-odds of the candidates of each query. Late words that are asked for together compete (`rivals.compete`)."""
        out = [self.calibration(query)(own.features) for query, own in zip(queries, places)]
        late: Dict[str, List[int]] = {}
        for n, query in enumerate(queries):
            if len(query.words) == 1 and not query.known:
                late.setdefault(query.words[0], []).append(n)
        firsts = [numbers[0] for numbers in late.values()]  # a word that is asked for twice counts once
        if len(firsts) > 1:
            counts = [len(out[n]) for n in firsts]
            where = (np.concatenate([getattr(places[n], name) for n in firsts]) for name in ("window", "start", "end"))
            found = compete(np.concatenate([out[n] for n in firsts]), np.repeat(np.arange(len(firsts)), counts), *where)
            for numbers, own in zip(late.values(), np.split(found, np.cumsum(counts)[:-1])):
                for n in numbers:
                    out[n] = own
        return out

    def threshold(self, odds: np.ndarray) -> float:
        """The log-odds at which a hit of a term is worth it, from those of its candidates (`term_threshold`)."""
        return log_odds(term_threshold(1 / (1 + np.exp(-odds)), max(1.0, self.duration)))

    def _hits(self, query: Query, places: Places, odds: np.ndarray, least: float) -> List[Hit]:
        threshold, probability = self.threshold(odds), 1 / (1 + np.exp(-odds))
        out = []
        for n in np.argsort(-odds, kind="stable").tolist():
            if probability[n] < least:
                break
            window, span = int(places.window[n]), (float(places.start[n]), float(places.end[n]))
            span = (span[0] - self.starts[window], span[1] - self.starts[window])
            out.append(self._hit(query.text, window, span, float(odds[n]), threshold))
        return out

    def _hit(
        self, term: str, window: int, span: Tuple[float, float], odds: float, threshold: float, by: str = "sound", word: str = ""
    ) -> Hit:
        """A hit at a span of a window."""
        channel, (start, end) = int(self.channel[window]), (round(float(self.starts[window] + second), 2) for second in span)
        name, probability = self.sources[self.source[window]].name, round(float(1 / (1 + np.exp(-odds))), 4)
        score = round(odds - threshold, 3)
        return Hit(term, name, None if channel < 0 else channel, start, end, score, probability, score >= 0, by, word)


def _joined(edges: Sequence[np.ndarray]) -> np.ndarray:
    """Edges of several arrays as those of all, one after the other."""
    offsets = np.cumsum([0, *(int(one[-1]) for one in edges)])
    return np.concatenate([np.zeros(1, np.int64), *(one[1:] + offset for one, offset in zip(edges, offsets))])
