"""The engine k2: recognises as stages 1, 6 and 7 do, link by link, with what a bundle has, in memory."""

import io
import threading
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import soundfile
import torch
from lhotse import MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from utils.bundle.best_path import placed
from utils.bundle.evidence import Evidence, Heard, Rows
from utils.bundle.files import BundleFiles
from utils.bundle.streaming import SearchGraph, Streaming
from utils.bundle.streaming_onnx import FILE, open_network
from utils.bundle.transcript import Hypothesis, Transcript, Word
from utils.core.errors import UserError
from utils.core.memory import Parts, in_parts
from utils.decode.path_words import of_units, of_words
from utils.engine.chain import LOG, Chain, Trained
from utils.engine.evidence import decoder_scores, decoder_words, evidence, meaning_rows, table_rows
from utils.engine.searching import search_graph
from utils.engine.times import word_times
from utils.features.extraction import in_memory
from utils.features.native import NATIVE, NativeFeatures
from utils.lang.packs import Pack, pack_of
from utils.lang.spelling import as_in_transcripts, parse
from utils.nn.streaming_model import torch_network
from utils.rescore.confidence import Calibration, Confidences
from utils.rescore.nbest_lists import NBestList
from utils.rescore.rescoring import flatten
from utils.text.letters import joined
from utils.text.scoring import GAP
from utils.train.dataset import ordered_batches

ALTERNATIVES, LEAST = 5, 0.01  # most words at the place of another, and the least posterior of one
FAINT = 0.002  # least posterior of what `hear` gives
NBEST = 10
KEPT_CHAINS = 4  # vocabularies of single calls whose graphs are kept


def open(  # noqa: A001 - the name that each engine has
    files: BundleFiles,
    packs: Sequence[Tuple[str, bytes]] = (),
    front_end: Optional[Union[str, Path]] = None,
    threads: int = 1,
    words: Sequence[str] = (),
    context: str = "",
    llm: str = "",
    meaning: str = "",
    device: str = "cpu",
) -> "K2Engine":
    """Open the engine; `front_end` and `threads` are those of `Recogniser.open`.

    Args:
      packs: names and contents of vocabulary packs.
      words: to add, each 'WORD' or 'WORD UNIT UNIT ...'.
      context: text whose words become more likely, a line a sentence: its n-gram model is interpolated with the bundle's.
      llm: the language model of rescore.llm, which a bundle never has inside; without it the chain ends before that link.
      meaning: the source of vectors.meaning.path, which vectors of added words need for their part of meaning.
      device: of the network and the search.
    """
    engine = K2Engine(Trained(files, front_end, device, llm, meaning), threads)
    engine.packs += [engine.pack_of(*pack) for pack in packs]
    engine.context = context
    if words:
        engine.add_words(words)
    engine.chain()
    return engine


class K2Engine:
    """An opened bundle. One call works at a time; others wait."""

    def __init__(self, trained: Trained, threads: int) -> None:
        self.trained, self.threads, self.lock = trained, threads, threading.RLock()
        self.rate: int = trained.front_end.sampling_rate  # opens the front end, so that a missing model is said at once
        self.changing = threading.Lock()  # of the words; it is not waited for by calls that recognise
        self.packs: List[Pack] = []  # beside those in the bundle
        self.more: List[Pack] = []  # of words added after it was opened
        self.weights: Dict[str, float] = {}  # of hot words, natural log
        self.opened: Optional[Chain] = None  # the chain without these
        self.context = ""
        self.chains: Dict[Tuple[Any, ...], Chain] = {}

    def pack_of(self, name: str, content: bytes) -> Pack:
        """A vocabulary pack; raises UserError where it is damaged, or made for another model."""
        found = pack_of(content, name)
        if found.model != self.trained.files.manifest.model:
            raise UserError(f"{name} is a pack for another model ({found.model}); make it again with steps.add_words --bundle")
        return found

    @property
    def added(self) -> List[str]:
        """The words added after the engine was opened, and those with a weight."""
        return list(dict.fromkeys([*(word for pack in self.more for word in pack.words), *self.weights]))

    def add_words(
        self,
        words: Sequence[str],
        weight: float = 0.0,
        recordings: Mapping[str, Sequence[Path]] = {},
        dry_run: bool = False,
    ) -> List[str]:
        """Add words to this recogniser, not to the bundle. The other calls go on with the words from before meanwhile.

        Args:
          words: each 'WORD' or 'WORD UNIT UNIT ...' with its pronunciation.
          weight: natural log by which the n-gram models find them more likely; also of words that are known.
          recordings: more words, with recordings of each alone.
          dry_run: whether only the sentences are wanted.
        Returns:
          sentences that say which words were changed, and which can't be told apart from others.
        Raises:
          UserError: words that can't be added.
        """
        with self.changing:
            packs, notes = self._packs(words, recordings)
            weights = dict(self.weights)
            if weight:
                weights.update(dict.fromkeys(self._named([*words, *recordings]), weight))
            if not dry_run:
                self._change([*self.more, *packs], weights)
            return notes + [line for pack in packs for line in self.trained.adding.confusable(pack)]

    def remove_words(self, words: Sequence[str]) -> None:
        """Undo `add_words` for some words."""
        with self.changing:
            left = [pack.without(words) for pack in self.more]
            gone = set(words)
            self._change([pack for pack in left if pack.words], {w: v for w, v in self.weights.items() if w not in gone})

    def _change(self, more: List[Pack], weights: Dict[str, float]) -> None:
        """Work with these words from now on."""
        made = self.trained.chain([*self.packs, *more], self.context, weights) if more or weights else self.opened
        with self.lock:
            self.more, self.weights = more, weights
            self.chains = {((), self.context): made} if made is not None else {}

    def _named(self, words: Sequence[str]) -> List[str]:
        """The words in the form that the lexicon has."""
        normalise = self.trained.adding.normalise
        return [part for line in words for part in normalise(parse(line, "words").word).split()]

    def _packs(self, words: Sequence[str], recordings: Mapping[str, Sequence[Path]] = {}) -> Tuple[List[Pack], List[str]]:
        """A pack of the words that are new, if any are; and remarks on the words."""
        adding = self.trained.adding
        known = {
            *self.trained.base.words,
            *(word for pack in (*self.trained.packs, *self.packs, *self.more) for word in pack.words),
        }
        asked = [parse(line, "words") for line in words]
        there = [one.word for one in asked if not one.units and adding.normalise_word(one.word) in known]
        notes = [f"in the vocabulary already: {', '.join(there)}"] * bool(there)
        new = [one for one in asked if one.word not in there]
        if not new and not recordings:
            return [], notes
        spelled, more = as_in_transcripts(new, adding.normalise_word, known)
        recorded = {adding.single_word(word): files for word, files in recordings.items()}
        return [adding.pack(spelled, recorded)], notes + more

    def chain(self, words: Sequence[str] = (), context: str = "") -> Chain:
        """The chain with more words, and another context than usual, for one call."""
        key = (tuple(words), context or self.context)
        if key not in self.chains:
            while len(self.chains) >= KEPT_CHAINS:
                del self.chains[[k for k in self.chains if k != ((), self.context)][0]]
            self.chains[key] = self._made(words, key[1])
        return self.chains[key]

    def _made(self, words: Sequence[str], context: str) -> Chain:
        made = self.trained.chain([*self.packs, *self.more, *self._packs(words)[0]], context, self.weights)
        if not words and context == self.context and not self.more and not self.weights:
            self.opened = made
        return made

    def transcribe_many(
        self, recordings: Sequence[Tuple[np.ndarray, int]], words: Sequence[str] = (), context: str = ""
    ) -> List[Transcript]:
        """A transcript of each recording, in order; short ones share batches, as in stage 6.

        A recording that is too short for a frame has no words.

        Args:
          recordings: samples (T,) float32, and their rates in Hz.
          words, context: as in `open`, for this call alone.
        Raises:
          UserError: words that can't be added.
        """
        out = self._heard(recordings, words, context)
        return [Transcript(one.words, one.nbest, one.seconds) for one in out]

    def hear(self, recordings: Sequence[Tuple[np.ndarray, int]]) -> List[Heard]:
        """See `Recogniser.hear`."""
        return self._heard(recordings)

    def _heard(self, recordings: Sequence[Tuple[np.ndarray, int]], words: Sequence[str] = (), context: str = "") -> List[Heard]:
        with self.lock:
            torch.set_num_threads(self.threads)
            chain = self.chain(words, context)
            out: Dict[int, Heard] = {}
            for batch in ordered_batches(self.cuts(recordings), chain.decoder.batch_seconds()):
                for cut, one in zip(batch, self.batch(chain, batch)):
                    out[int(cut.id)] = one
        nothing = [evidence(None, 0, chain.frame_seconds, len(samples) / rate) for samples, rate in recordings]
        return [out.get(n, Heard([], [], empty.seconds, empty)) for n, empty in enumerate(nothing)]

    def first_pass(self, recordings: Sequence[Tuple[np.ndarray, int]]) -> List[Transcript]:
        """As `transcribe_many`, but only the network and the best path of the first graph. It doesn't wait for other calls."""
        chain, seconds = self.chain(), [len(samples) / rate for samples, rate in recordings]
        decoder, spell = chain.decoder, chain.spelled
        out = [Transcript([], [], length) for length in seconds]
        head = 0 if "lattice" in decoder.graphs else 1
        for batch in ordered_batches(self.cuts(recordings), decoder.batch_seconds()):
            for cut, found in zip(batch, decoder.best(decoder.network(batch)[0])):
                if found is None:
                    continue
                path, log_probs = found[0], found[1].numpy()
                best = of_words(path, log_probs) if head else of_units(path, log_probs, spell)
                texts, n = chain.lexicon.ids_to_words(best.words), int(cut.id)
                words = placed(best, texts, len(log_probs), chain.frame_seconds[head], seconds[n])
                out[n] = Transcript(words, [Hypothesis(joined(texts), best.score)], seconds[n])
        return out

    def evidence(self, recordings: Sequence[Tuple[np.ndarray, int]], features: bool = False) -> List[Evidence]:
        """What the network says of each recording. It doesn't wait for other calls.

        Args:
          features: whether those of the front end are wanted too.
        """
        chain = self.chain()
        seconds = [len(samples) / rate for samples, rate in recordings]
        out = [evidence(None, 0, chain.frame_seconds, length) for length in seconds]
        for batch in ordered_batches(self.cuts(recordings), chain.decoder.batch_seconds()):
            output = chain.decoder.network(batch)[0]
            for n, cut in enumerate(batch):
                own = cut.load_features() if features else None
                out[int(cut.id)] = evidence(output, n, chain.frame_seconds, seconds[int(cut.id)], own)
        return out

    def front_end_features(self, recordings: Sequence[Tuple[np.ndarray, int]]) -> List[Optional[np.ndarray]]:
        """See `Recogniser.front_end_features`. It doesn't wait for other calls."""
        found = {int(cut.id): cut.load_features() for cut in self.cuts(recordings)}
        return [found.get(n) for n in range(len(recordings))]

    def decoder_scores(self, features: np.ndarray, sentences: Sequence[Sequence[str]]) -> Optional[List[float]]:
        """See `Recogniser.decoder_scores`. It doesn't wait for other calls."""
        return decoder_scores(self.trained, features, sentences)

    def decoder_words(self, features: np.ndarray, beam: int) -> Optional[List[str]]:
        """See `Recogniser.decoder_words`. It doesn't wait for other calls."""
        return decoder_words(self.trained, features, beam)

    @property
    def units(self) -> List[str]:
        """See `Recogniser.units`."""
        return ["<blk>", *self.trained.base.tokens]

    def normalise(self, text: str) -> str:
        """See `Recogniser.normalise`."""
        return self.trained.adding.normalise(text)

    def rows(self, words: Optional[Sequence[str]] = None) -> Rows:
        """See `Recogniser.rows`."""
        return table_rows(self.chain(), self.trained.adding, words)

    def meanings(self, words: Sequence[str]) -> np.ndarray:
        """See `Recogniser.meanings`."""
        return meaning_rows(self.trained.adding, words)

    def streaming(self) -> Optional[Streaming]:
        """What streams need of a causal model on filter banks; None for other models, which see whole segments."""
        trained = self.trained
        features = trained.settings["features"].features
        if trained.model.encoder.chunks is None or features.front_end not in NATIVE or features.denoise != "none":
            return None
        statistics = {name: value.numpy() for name, value in trained.features.stats.items()}
        if any("/" in name for name in statistics):  # of speakers
            return None
        front_end = NativeFeatures(vars(features), self.rate, 2.0**trained.front_end.tick_power, statistics)
        if trained.device == "cpu" and FILE in trained.files.names:  # half the cost of torch
            network = open_network(trained.files, self.threads)
        else:
            network = torch_network(trained.model)
        return Streaming(network, front_end, self.search_graph)

    def search_graph(self) -> SearchGraph:
        """The first graph with the words of now, for a search in NumPy."""
        chain = self.chain()
        if chain.search_graph is None:
            chain.search_graph = search_graph(chain)
        return chain.search_graph

    def cuts(self, recordings: Sequence[Tuple[np.ndarray, int]]) -> List[MonoCut]:
        """The recordings with their features, without those that are too short; ids are their numbers."""
        cuts = [self._cut(n, *one) for n, one in enumerate(recordings) if len(one[0])]
        found = in_memory(cuts, self.trained.front_end, self.trained.settings["features"].features.denoise)
        return [cut for cut in found if not isinstance(cut, str)]

    def _cut(self, n: int, samples: np.ndarray, rate: int) -> MonoCut:
        """A recording as stage 0 has it, in memory."""
        stream, name = io.BytesIO(), f"{n:08d}"
        soundfile.write(stream, samples, rate, format="WAV", subtype="FLOAT")
        seconds = len(samples) / rate
        recording = Recording(name, [AudioSource("memory", [0], stream.getvalue())], rate, len(samples), seconds)
        said = SupervisionSegment(name, name, 0.0, seconds, text="", language=self.trained.files.manifest.language, speaker="")
        return MonoCut(name, 0.0, seconds, 0, supervisions=[said], recording=recording)

    def batch(self, chain: Chain, cuts: Sequence[MonoCut]) -> List[Heard]:
        """What is heard in cuts with features, longest first."""

        def work(parts: Parts) -> List[Heard]:
            return [one for first, last in parts for one in self._recognised(chain, cuts[first:last])]

        return in_parts(work, [cut.id for cut in cuts], "recognise", "give shorter recordings", LOG)

    def _recognised(self, chain: Chain, cuts: Sequence[MonoCut]) -> List[Heard]:
        output, seconds = chain.decoder.network(cuts)
        before = [evidence(output, n, chain.frame_seconds, cut.duration) for n, cut in enumerate(cuts)]  # `search` changes it
        piece = chain.decoder.search(cuts, output, seconds)
        lists, kinds, rescorer = chain.rescored(cuts, piece)
        flat = flatten(lists, kinds)
        sure = Confidences(lists, flat, chain.weights)
        calibration = Calibration.of_weights(chain.weights["confidence"])
        confidences, shares_of = sure.of_words(calibration), sure.places(calibration.scale)
        out = []
        for n, (cut, one) in enumerate(zip(cuts, lists)):
            own = slice(flat.splits[n], flat.splits[n + 1])
            totals, best = sure.totals[own], int(sure.rows[n] - flat.splits[n])
            times = word_times(piece.outputs(), n, sure.words[n], rescorer, chain.frame_seconds, cut.duration)
            rows = list(zip(sure.words[n], times, confidences[n], shares_of[n]))
            words = [Word(word, *span, p, _alternatives(shares, word)) for word, span, p, shares in rows]
            arcs = [(word, *span, p) for _, span, _, shares in rows for word, p in shares.items() if word != GAP and p >= FAINT]
            out.append(Heard(words, _nbest(one, totals, best), cut.duration, before[n], arcs))
        return out


def _alternatives(shares: Dict[str, float], chosen: str) -> List[Tuple[str, float]]:
    found = [(word, round(p, 4)) for word, p in shares.items() if word not in (chosen, GAP) and p >= LEAST]
    return sorted(found, key=lambda pair: -pair[1])[:ALTERNATIVES]


def _nbest(one: NBestList, totals: np.ndarray, best: int) -> List[Hypothesis]:
    """The best paths, that with index `best` first; each text once."""
    order = [best, *np.argsort(-totals, kind="stable").tolist()]
    scores: Dict[str, float] = {}
    for n in order:
        scores.setdefault(joined(one.paths[n].words), round(float(totals[n]), 4))
    return [Hypothesis(text, score) for text, score in list(scores.items())[:NBEST]]
