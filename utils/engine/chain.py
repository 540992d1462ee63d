"""The chain of a bundle: the trained model, and its links for one vocabulary."""

import json
import logging
import math
from collections import ChainMap
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from safetensors.torch import load as of_bytes

from utils.bundle.files import BundleFiles
from utils.bundle.manifest import WORD_VECTORS, graph_file
from utils.bundle.streaming import SearchGraph
from utils.core.errors import UserError
from utils.core.files import read_json
from utils.decode.attention import AttentionDecoder
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.pieces import KeptPiece
from utils.decode.search_weights import read_weights
from utils.engine.contents import ABOUT, PACKS, WORD_LM_VECTORS, bundle_file, stage_folders
from utils.engine.front_end_model import open_front_end
from utils.engine.grammar import grammar_in_memory
from utils.engine.graph_arrays import fsa_of_arrays
from utils.features.front_end import FrontEnd
from utils.features.whisper import Placement
from utils.features.whisper_front_end import WhisperFrontEnd
from utils.lang.graphs import need_k2
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.packs import Pack, pack_of
from utils.lang.packs import joined as joined_packs
from utils.lang.units import spoken_as
from utils.lang.vocabulary import extended, extended_lm, unseen
from utils.ngrams.estimating import estimate, of_words
from utils.ngrams.mixture import Mixture
from utils.ngrams.ngram import UNKNOWN, NGram, read_arpa
from utils.nn.sentence_scorer import SentenceScorer
from utils.nn.word_lm import LEARNED, VectorLM, word_vectors
from utils.pipeline.config import made_with
from utils.rescore.adding import Adding
from utils.rescore.lm_rescorers import AttentionRescorer, Scorer, by_words, rescored
from utils.rescore.nbest_lists import NBestList
from utils.rescore.rescorer import Rescorer
from utils.rescore.scores import WHOLE_LATTICE, Kinds, decodings
from utils.rescore.vocabulary import Vocabulary, with_proposals
from utils.text.sentences import some_transcripts
from utils.train.dataset import Features
from utils.train.models import trained_model, with_added
from utils.vectors.wordvec import WordTable

LOG = logging.getLogger("nuptse.recogniser")
SAMPLE = 200  # sentences of the training text that a word LM levels added words on
CONTEXT_WEIGHT = 0.3  # of the n-gram model of a context


@dataclass
class Chain:
    """The links with one vocabulary."""

    lexicon: Lexicon
    decoder: FirstPassDecoder
    rescorer: Rescorer
    names: List[str]  # of the decodings of stage 7, along the chain
    all_weights: Dict[str, Any]  # weights.json
    scorers: Dict[str, Scorer]  # of the links that score only the best paths
    attention: Optional[AttentionDecoder]
    propose: Callable[[Rescorer, Dict[str, List[List[str]]]], Rescorer]  # the rescorer with proposals of a batch
    frame_seconds: Tuple[float, float]  # a frame of the sub-word head, and of the word head
    search_graph: Optional[SearchGraph] = None  # made when a stream needs it

    @property
    def weights(self) -> Dict[str, Any]:
        """Those of the last decoding, with its calibration."""
        return self.all_weights[self.names[-1]]

    def spelled(self, word: int) -> List[List[int]]:
        """The pronunciations of a word as ids of units."""
        return self.lexicon.pronunciations[self.lexicon.words[word - 1]]

    def rescored(self, cuts: Sequence[Any], piece: KeptPiece) -> Tuple[List[NBestList], Kinds, Rescorer]:
        """The lists of a decoded batch with the scores of all links, and what scored them."""
        rescorer, config = self.rescorer, self.rescorer.config
        if self.attention is not None:
            self.attention.cuts = {cut.id: cut for cut in cuts}
            if config.attention.beam:
                rescorer = self.propose(rescorer, self.attention.propose([cut.id for cut in cuts], config.attention.beam))
        lists, kinds = rescorer.scored_lists(piece, rescorer.joining, config.word_score, {}), rescorer.vocabulary.kinds
        before = [name for name in self.names if name not in self.scorers][-1]
        for name in self.names[self.names.index(before) + 1 :]:
            lists = rescored(name, getattr(config, name), self.scorers[name], lists, kinds, self.all_weights[before], {})
            before = name
        return lists, kinds, rescorer


class Trained:
    """What a bundle has, whatever the vocabulary."""

    def __init__(
        self, files: BundleFiles, front_end: Optional[Union[str, Path]], device: str, llm: str = "", meaning: str = ""
    ) -> None:
        """Args and errors: as `utils.engine.k2.open` has them."""
        need_k2("the engine k2", "open the bundle with engine='onnx'")
        torch.set_num_threads(1)
        self.files, self.device, self.llm, self.meaning, self.given = files, device, llm, meaning, front_end
        self.folders = stage_folders(files)
        self.settings = {stage: made_with(folder) for stage, folder in self.folders.items()}
        self.about: Dict[str, Any] = json.loads(bundle_file(files, ABOUT).read_text())
        self.base = read_lexicon(self.folders["lang"])
        chunk = getattr(self.settings["decode"].decode, "chunk", 0.0)  # bundles from before have no such key
        model = trained_model(self.folders["train"], self.folders, self.base, self.about["feature_dim"], chunk)
        self.model = model.to(device)
        self.table: Optional[WordTable] = None
        if WORD_VECTORS in files.names:
            self.table = WordTable(**of_bytes(files.read(WORD_VECTORS)))
        self.features = Features(self.folders["features"], cache_gb=0.0)
        self.search = read_weights(self.folders["decode"])
        self.packs = [pack_of(files.read(name), name) for name in files.names if name.startswith(PACKS)]

    @cached_property
    def front_end(self) -> FrontEnd:
        """What computes features."""
        rate = self.settings["data"].data.sampling_rate
        return open_front_end(self.files, self.settings["features"].features, rate, self.given, self.device)

    @cached_property
    def language_models(self) -> List[NGram]:
        """The n-gram models of the training text: those of the sub-word graph and of the word graph."""
        return [read_arpa(self.folders["lang"] / name) for name in ("lm.arpa", "g.arpa")]

    @cached_property
    def adding(self) -> Adding:
        """What embeds words."""
        made = Adding(self.folders, self.model, lambda: self.front_end)
        if made.composer is not None and self.meaning:
            config, source = made.composer.config, self.about["meaning"]
            if source != "fasttext" and config.pooling != "frequency":  # these learn from the training text, which a bundle lacks
                config.path, config.source = self.meaning, source
                made.composer.sentences = list
        return made

    @cached_property
    def attention(self) -> Optional[AttentionDecoder]:
        """The decoder of the front end's Whisper model, where the chain has it."""
        config = self.settings["rescore"].rescore.attention
        return self.whisper_decoder if config.paths or config.beam else None

    @cached_property
    def whisper_decoder(self) -> Optional[AttentionDecoder]:
        """The decoder of the front end's Whisper model; None where the features are not its last hidden state."""
        features = self.settings["features"].features
        if features.front_end != "whisper" or list(getattr(features, "layers", [-1])) != [-1]:
            return None
        return self._whisper_decoder()

    @cached_property
    def hearing_decoder(self) -> Optional[AttentionDecoder]:
        """The same, beside the chain's, which other threads may be using: its utterances are those of `utils.engine.evidence`."""
        other = self.whisper_decoder
        if other is None:
            return None
        made = self._whisper_decoder()
        made.tokenizers = other.tokenizers
        return made

    def _whisper_decoder(self) -> AttentionDecoder:
        config = self.settings["rescore"].rescore.attention
        front_end, features = self.front_end, self.settings["features"].features  # whose model was found by the first
        place = Placement(features.compute_type, self.device, "features")
        made = AttentionDecoder(features.model, place, self.folders["data"], [], getattr(config, "context", 0))
        if isinstance(front_end, WhisperFrontEnd):
            made.model = front_end.loaded()
        return made

    def chain(self, packs: Sequence[Pack], context: str, weights: Mapping[str, float] = {}) -> Chain:
        """The chain with the words of more packs than the bundle's own, with a context, and with weights of hot words."""
        every = [*self.packs, *packs]
        added = joined_packs(every, self.base.words) if every else None
        lexicon = extended(self.base, added.entries) if added else self.base
        how = (added.frequency, added.like) if added else ({}, {})
        decode = self.settings["decode"].decode
        heads, whole = (self.model.subword is not None, self.model.word is not None), None
        if packs or context or weights:
            texts = [extended_lm(model, self.folders["lang"], lexicon, *how) for model in self.language_models]
            if context:
                texts = [self._mixed(model, context, lexicon) for model in texts]
            if weights:
                texts = [_boosted(model, weights) for model in texts]
            made = grammar_in_memory(lexicon, (texts[0], texts[1]), heads, decode.first_pass_lm_order)
            graphs, whole = {name: graph.to(self.device) for name, graph in made.graphs.items()}, made.whole

            def lm() -> NGram:
                return made.lm()
        else:
            graphs = {name: self._graph(name).to(self.device) for name in ("lattice", "word_lattice") if self._has(name)}
            whole = self._graph("whole") if self._has("whole") else None

            @lru_cache(maxsize=None)
            def lm() -> NGram:
                return extended_lm(self.language_models[0], self.folders["lang"], lexicon, *how)

        table = self.table
        if table is not None and added:
            table = with_added(self.model, *table, added.vectors)
        on_device = None if table is None else WordTable(*(part.to(self.device) for part in table))
        decoder = FirstPassDecoder(self.model, self.features, lexicon, graphs, on_device, decode, self.device, whole)
        decoder.weigh(self.search)
        config, size = self.settings["rescore"].rescore, len(self.base.words)
        vocabulary = Vocabulary(lexicon, size, frozenset(lexicon.words[size:]), *(table or (None, None)))
        model, frame = self.settings["train"].model, self.settings["features"].features.frame_shift
        ratio = model.subword_subsampling / model.word_subsampling
        tuned = read_json(self.folders["rescore"] / "weights.json")
        names = [d.name for d in decodings() if d.name in tuned and d != WHOLE_LATTICE and (d.name != "llm" or self.llm)]
        return Chain(
            lexicon,
            decoder,
            Rescorer(config, self.search, list(graphs), ratio, vocabulary, lm, LOG),
            names,
            tuned,
            {name: getattr(self, f"_{name}")(vocabulary) for name in names if name in ("word_lm", "attention", "llm")},
            self.attention,
            self._proposing(lm),
            (frame * model.subword_subsampling, frame * model.word_subsampling),
        )

    def _has(self, graph: str) -> bool:
        return graph_file(graph) in self.files.names

    def _graph(self, name: str) -> Any:
        return fsa_of_arrays(of_bytes(self.files.read(graph_file(name))))

    def _mixed(self, model: NGram, context: str, lexicon: Lexicon) -> NGram:
        sentences = [self.adding.normalise(line).split() for line in context.splitlines()]
        sentences = list(of_words([words for words in sentences if words], lexicon.words))
        if all(word == UNKNOWN for words in sentences for word in words):
            raise UserError("the context has none of the model's words; add its words too (words=, or --words)")
        other = estimate(sentences, model.order)
        return Mixture(model, other, CONTEXT_WEIGHT).static(other.logp)

    def _proposing(self, lm: Callable[[], NGram]) -> Callable[[Rescorer, Dict[str, List[List[str]]]], Rescorer]:
        """Proposed words that the vocabulary lacks are as likely as in stage 7, whatever their number here."""
        count = self.about["proposed"]

        @lru_cache(maxsize=None)
        def reserved() -> Tuple[NGram, float]:
            share = unseen(self.folders["lang"])
            return lm().with_words([f"<{n}>" for n in range(count)], share), math.log10(share / max(count, 1))

        def propose(rescorer: Rescorer, proposals: Dict[str, List[List[str]]]) -> Rescorer:
            language = spoken_as(self.settings["lang"].data.language, self.settings["lang"].lang.units)
            vocabulary, numbered = with_proposals(rescorer.vocabulary, proposals, language, lambda: self.adding)
            base, logp = reserved()
            new: Dict[Any, float] = {(word,): logp for word in vocabulary.proposed}
            extended = NGram(base.order, ChainMap(new, base.logp), base.backoff) if new else base  # type: ignore[arg-type]
            return replace(rescorer, vocabulary=vocabulary, proposals=numbered, lm=lambda: extended, candidates=None)

        return propose

    def _attention(self, vocabulary: Vocabulary) -> Scorer:
        assert self.attention is not None  # the chain has the link
        return AttentionRescorer(self.attention).scorer()

    def _llm(self, vocabulary: Vocabulary) -> Scorer:
        count = self.settings["rescore"].rescore.llm.context
        return by_words(SentenceScorer(self.llm, vocabulary.lexicon.words, some_transcripts(self.folders["data"], count)))

    def _word_lm(self, vocabulary: Vocabulary) -> Scorer:
        config, words = self.settings["rescore"].rescore.word_lm, vocabulary.lexicon.words
        if config.source in ("trained", LEARNED):
            vectors = word_vectors(config, words, len(self.base.words), vocabulary.vectors)
        else:
            vectors = of_bytes(self.files.read(WORD_LM_VECTORS))["vectors"]
            words = words[: len(vectors)]  # the others are skipped
        made = VectorLM(words, len(self.base.words), vectors, config.width, config.seed)
        made.load(self.folders["rescore"] / "word_lm.safetensors")
        made.offset = self.about["word_lm_offset"]
        if len(words) != self.about["words"]:
            made.level(some_transcripts(self.folders["data"], SAMPLE), unseen(self.folders["lang"]))
        return by_words(made)


def _boosted(model: NGram, weights: Mapping[str, float]) -> NGram:
    """A model with words that are more likely in every context, by weights in natural log (hot words).

    Contexts then sum to more than 1.
    """
    logp = {gram: old + weights.get(gram[-1], 0.0) / math.log(10) for gram, old in model.logp.items()}
    return NGram(model.order, logp, model.backoff)
