"""One decoded batch at a time: scored n-best lists of its lattices, and the lattices rescored as a whole."""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from utils.core.files import read_jsonl, write_json
from utils.core.memory import Parts, in_parts
from utils.core.timing import timed
from utils.decode.candidates import Candidates
from utils.decode.nbest import nbest
from utils.decode.pieces import HeadOutputs, Piece, read_word_table
from utils.decode.search_weights import HEADS, SearchWeights, read_weights
from utils.executors.reopened import Reopened
from utils.lang.fsa import some
from utils.lang.hypothesis import Hypothesis
from utils.lang.lexicon import read_lexicon
from utils.lang.units import language_of
from utils.lang.vocabulary import unseen, used_lang
from utils.ngrams.ngram import NGram, read_arpa
from utils.pipeline.config import made_with
from utils.rescore.adding import Adding
from utils.rescore.nbest_lists import NBestList, ScoredPath, write_lists
from utils.rescore.scores import Available
from utils.rescore.vocabulary import Vocabulary, with_proposals
from utils.rescore.whole_lattice import WholeLattices, write_lattices
from utils.vectors.wordscore import sequence_scores, span_scores

Work = Tuple[Piece, Path]  # a decoded piece, and the path without ending of what is made of it


@dataclass
class Rescorer(Reopened):
    """Rescores decoded batches. Of what the attention decoder proposed, all that can be spelled joins the lists."""

    config: SimpleNamespace  # the group `rescore`
    weights: Dict[str, SearchWeights]  # of the first pass, by graph
    graphs: List[str]  # that were searched; the lists have the paths of the first, or of both
    frame_ratio: float  # frames of the word head a frame of the sub-word head
    vocabulary: Vocabulary
    lm: Callable[[], NGram]  # of the vocabulary's words; called in the worker process
    log: logging.Logger
    proposals: Dict[str, List[Tuple[int, ...]]] = field(default_factory=dict)  # utterance id -> hypotheses of word ids
    lattices: Optional[WholeLattices] = None  # only where whole lattices are rescored
    candidates: Optional[Candidates] = None  # made with the first list

    def __post_init__(self) -> None:
        """Leave the graphs whose paths the lists have."""
        self.graphs = self.graphs if self.config.candidates == "both" else self.graphs[:1]
        self.frame_ratio = self.frame_ratio if self.graphs[0] == "lattice" else 1.0

    @staticmethod
    def of_stages(inputs: Mapping[str, Path], config: SimpleNamespace, log: logging.Logger) -> "Rescorer":
        """The rescorer of the stages' folders `inputs`; config: the group `rescore`."""
        decoded, model = inputs["decode"], made_with(inputs["train"]).model
        weights, lang = read_weights(decoded), used_lang(inputs["lang"], decoded)
        graphs = [graph for graph in HEADS if (decoded / f"hyps-{graph}-dev.jsonl").exists()]
        lexicon, trained = read_lexicon(lang), len(read_lexicon(inputs["lang"]).words)
        vocabulary = Vocabulary(lexicon, trained, frozenset(lexicon.words[trained:]), *(read_word_table(decoded) or (None, None)))
        proposals: Dict[str, List[Tuple[int, ...]]] = {}
        if "propose" in inputs:
            rows = read_jsonl(inputs["propose"] / "proposals.jsonl")
            language = language_of(inputs["lang"])
            hypotheses = {r["id"]: r["hyps"] for r in rows}
            vocabulary, proposals = with_proposals(vocabulary, hypotheses, language, lambda: Adding(inputs))
            log.info("%d words that the attention decoder proposed join the vocabulary", len(vocabulary.proposed))

        def lm() -> NGram:
            return read_arpa(lang / "lm.arpa").with_words(vocabulary.proposed, unseen(lang))

        ratio = model.subword_subsampling / model.word_subsampling
        made = Rescorer(config, weights, graphs, ratio, vocabulary, lm, log, proposals)
        frame = model.subword_subsampling * made_with(inputs["features"]).features.frame_shift
        settings = (weights[graphs[0]].lm_scale, made_with(decoded).decode.output_beam)
        made.lattices = WholeLattices(lexicon, trained, made.frame_ratio, frame, settings)
        return made.opened_by(Rescorer.of_stages, inputs, config, log)

    def available(self) -> Available:
        """What hypotheses are scored with."""
        vocabulary, subword = self.vocabulary, self.graphs[0] == "lattice"
        kinds = {"proposed": bool(self.proposals), "unknown": bool(vocabulary.proposed), "added": bool(vocabulary.added)}
        word_head = vocabulary.vectors is not None and subword
        return Available(self.config, word_head, frozenset(kind for kind, there in kinds.items() if there))

    def piece(self, piece: Piece, out: Path) -> None:
        """Write `<out>.jsonl`, the n-best lists of all candidates, and before it `<out>.seconds.json`."""
        self._write(piece, out, self.joining, self.config.word_score)

    def of_lattices(self, piece: Piece, out: Path) -> None:
        """As `piece`, of the first graph's lattices alone, with each word scored in its span."""
        self._write(piece, out, False, "span")

    def whole(self, piece: Piece, out: Path, weights: Mapping[str, float], scales: Sequence[float], oracle: bool = False) -> None:
        """Write `<out>.jsonl`, what `WholeLattices.read` finds, and before it `<out>.seconds.json`.

        Args:
          oracle: whether to find the fewest errors of any path too.
        """
        assert self.lattices is not None  # `of_stages` made it
        lattices, view = piece.lattices("lattice"), None
        seconds: Dict[str, float] = {}
        if self.vocabulary.vectors is not None:
            view = partial(self.view, piece.outputs())
        found = self.lattices.read(lattices, piece.ids, piece.refs, view, weights, scales, seconds)
        if oracle:
            for one, errors in zip(found, self.lattices.oracles(lattices, piece.refs)):
                one.oracle = errors
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_lattices(out.with_suffix(".jsonl"), found)

    def _write(self, piece: Piece, out: Path, joining: bool, word_score: str) -> None:
        seconds: Dict[str, float] = {}
        rows = self.scored_lists(piece, joining, word_score, seconds)
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_lists(out.with_suffix(".jsonl"), rows)

    @property
    def joining(self) -> bool:
        """Whether lists have other hypotheses than those of the first graph's lattices."""
        return len(self.graphs) == 2 or bool(self.proposals)

    def scored_lists(self, piece: Piece, joining: bool, word_score: str, seconds: Dict[str, float]) -> List[NBestList]:
        """n-best lists of a decoded batch; the time that each link takes is added to `seconds`.

        Args:
          joining: whether they have all candidates, else the paths of the first graph's lattices alone.
          word_score: span or sequence.
        """
        kept = piece.outputs() if joining or self.vocabulary.vectors is not None else HeadOutputs()
        lists = self.lists(piece, self.graphs[0], seconds)
        if joining:
            others = self.lists(piece, "word_lattice", seconds) if len(self.graphs) == 2 else [[] for _ in lists]
            with timed(seconds, "nbest"):
                lists = [self.join(kept, n, piece.ids[n], *two) for n, two in enumerate(zip(lists, others))]
        rows = []
        for n, (utterance, reference, paths) in enumerate(zip(piece.ids, piece.refs, lists)):
            listed = self.scored(paths)
            log_probs: Dict[str, float] = {}
            if self.vocabulary.vectors is not None and paths:
                with timed(seconds, "word_score"):
                    found, log_probs = self.score(kept, n, paths, word_score)
                for scored, score in zip(listed, found):
                    scored.scores["word"] = round(score, 4)
            ranks = {words: rank for rank, words in enumerate(self.proposals.get(utterance, ()), 1)} if joining else {}
            for scored, path in zip(listed, paths):
                if path.words in ranks:
                    scored.scores["proposed"] = round((1 + 1 / ranks[path.words]) / 2, 4)
            rows.append(
                NBestList(utterance, reference, listed or [ScoredPath([], {"am": 0.0, "lm": 0.0, "word": 0.0})], log_probs)
            )
        return rows

    def lists(self, piece: Piece, graph: str, seconds: Dict[str, float]) -> List[List[Hypothesis]]:
        """n-best lists of a decoded piece's lattices of one graph."""
        lattices = piece.lattices(graph)
        settings = (self.config.paths, self.config.lattice_scale, self.weights[graph].lm_scale)

        def work(parts: Parts) -> List[List[Hypothesis]]:
            return [paths for part in parts for paths in nbest(some(lattices, *part), *settings)]

        remedy = f"lower rescore.paths={self.config.paths}"
        with timed(seconds, "nbest"):
            return in_parts(work, piece.ids, f"n-best lists of {piece.path.name}", remedy, self.log)

    def scored(self, paths: Sequence[Hypothesis]) -> List[ScoredPath]:
        """The paths' words, with the scores of the lattice."""
        names = self.vocabulary.lexicon.ids_to_words
        return [ScoredPath(names(p.words), {"am": round(p.am, 4), "lm": round(p.lm, 4)}) for p in paths]

    def join(
        self, kept: HeadOutputs, n: int, utterance: str, subword: List[Hypothesis], word: List[Hypothesis]
    ) -> List[Hypothesis]:
        """The hypotheses of both lattices of utterance n of the batch, and those proposed, scored alike."""
        if self.candidates is None:
            self.candidates = Candidates(self.lm(), self.vocabulary.lexicon)
        proposed = self.proposals.get(utterance, ())
        weights = self.weights["lattice"]
        log_probs = kept.subword_log_probs(n)  # a copy, in float32
        log_probs[:, 0] -= weights.blank_penalty  # as the lattices' scores have it
        return self.candidates.join(subword, word, log_probs, self.frame_ratio, weights.lm_scale, proposed)

    def score(
        self, kept: HeadOutputs, n: int, paths: Sequence[Hypothesis], word_score: str
    ) -> Tuple[List[float], Dict[str, float]]:
        """The word head's score of each path of utterance n of the batch, and its log-probabilities as in `view`.

        Args:
          word_score: span or sequence.
        """
        said = {w for path in paths for w in path.words}
        parts = {} if word_score == "span" else {w: self.vocabulary.parts[w] for w in said if w in self.vocabulary.parts}
        occurring = sorted(said.union(*parts.values()))
        columns = {word: column for column, word in enumerate(occurring)}
        log_probs, highest = self.view(kept, n, occurring)
        if word_score == "span":
            return span_scores(log_probs[:, 1:] - log_probs[:, :1], paths, columns, self.frame_ratio), highest
        spelled = [replace(path, words=tuple(part for w in path.words for part in parts.get(w, (w,)))) for path in paths]
        return sequence_scores(log_probs, spelled, columns), highest

    def view(self, kept: HeadOutputs, n: int, words: Sequence[int]) -> Tuple[Tensor, Dict[str, float]]:
        """The word head's log-probabilities in utterance n of the batch.

        Args:
          words: W word ids.
        Returns:
          (T, 1 + W), of the blank and these words; word -> the highest in any frame.
        """
        vectors, bias = self.vocabulary.vectors, self.vocabulary.bias
        assert vectors is not None and bias is not None  # else nothing calls this
        chosen = torch.tensor(words, dtype=torch.int64) - 1
        log_probs = kept.word_log_probs(n, vectors[chosen], bias[chosen])
        highest = log_probs[:, 1:].amax(0).tolist()
        return log_probs, {word: round(v, 3) for word, v in zip(self.vocabulary.lexicon.ids_to_words(words), highest)}
