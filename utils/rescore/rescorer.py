"""One decoded batch after the other: scored n-best lists, and whole lattices rescored."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from safetensors.torch import load_file

from utils.core.files import write_json, write_jsonl
from utils.core.memory import Parts, in_parts
from utils.core.timing import timed
from utils.decode.candidates import Candidates
from utils.decode.nbest import nbest
from utils.lang.fsa import some
from utils.lang.graphs import load_fsa
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.vocabulary import open_lexicon, used_lang
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.rescore.adding import Adding, spellings
from utils.rescore.whole_lattice import WholeLattices
from utils.train.models import with_added
from utils.vectors.wordscore import sequence_scores, span_scores
from utils.vectors.wordvec import word_scores

Work = Tuple[Dict[str, Any], Path]  # a decoded piece, and where what is made of it is, without ending


class Rescorer:
    """Turns one decoded batch into scored n-best lists."""

    def __init__(self, job: Job, graph: str, both: bool, decode: SimpleNamespace) -> None:
        """decode: the group that the lattices were made with."""
        self.config, self.graph, self.both, self.first_lm_scale = job.config.rescore, graph, both, decode.first_lm_scale
        self.log = job.log
        self.lang, self.candidates = used_lang(job.inputs["lang"], job.inputs["decode"]), None
        self.inputs = job.inputs
        self.proposed: Dict[str, List[Tuple[int, ...]]] = {}  # word ids, by utterance
        self.more: List[str] = []  # words of theirs that decoding lacked
        model = made_with(job.inputs["train"]).model
        self.frame_ratio = (
            model.subword_subsampling / model.word_subsampling if graph == "lattice" else 1.0
        )  # word-head frames a lattice frame
        self.lexicon = open_lexicon(self.lang, decode.unknown)
        trained = len(read_lexicon(job.inputs["lang"]).words)
        self.added = set(self.lexicon.words[trained:])  # by packs
        frame = model.subword_subsampling * made_with(job.inputs["features"]).features.frame_shift
        settings = (decode.first_lm_scale, decode.output_beam)
        self.reader = WholeLattices(self.lexicon, trained, self.frame_ratio, frame, settings)
        table = job.inputs["decode"] / "words.safetensors"
        self.vectors: Optional[Dict[str, torch.Tensor]] = load_file(str(table)) if table.exists() else None

    def piece(self, piece: Dict[str, Any], out: Path) -> None:
        """Write `<out>.jsonl`, the n-best lists of all candidates (a row an utterance), and before it `<out>.seconds.json`."""
        self._lists(piece, out, self.both or bool(self.proposed), self.config.word_score)

    def of_lattices(self, piece: Dict[str, Any], out: Path) -> None:
        """The same of the lattices alone, each word scored in its span."""
        self._lists(piece, out, False, "span")

    def whole(
        self, piece: Dict[str, Any], out: Path, weights: Dict[str, float], scales: Sequence[float], oracle: bool = False
    ) -> None:
        """Write `<out>.jsonl`, what `WholeLattices.read` finds (a row an utterance), with the fewest errors of any path where
        `oracle` is set, and before it `<out>.seconds.json`.
        """
        lattices, seconds = _lattices(piece, "lattice"), {}
        view = None
        if self.vectors is not None:
            view = partial(self.view, _scores(piece))
        rows = self.reader.read(lattices, view, weights, scales, seconds)
        rows = [{"id": i, "ref": r, **row} for i, r, row in zip(piece["ids"], piece["refs"], rows)]
        if oracle:
            rows = [{**row, "oracle": n} for row, n in zip(rows, self.reader.oracles(lattices, piece["refs"]))]
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_jsonl(out.with_suffix(".jsonl"), rows)

    def _lists(self, piece: Dict[str, Any], out: Path, joining: bool, word_score: str) -> None:
        seconds: Dict[str, float] = {}
        if joining or self.vectors is not None:
            kept = _scores(piece)
        lattices = _lattices(piece, self.graph)
        lists = self.lists(piece, lattices, seconds)
        if joining:
            others = self.lists(piece, _lattices(piece, "word_lattice"), seconds) if self.both else [[]] * len(lists)
            proposed = [self.proposed.get(utterance, ()) for utterance in piece["ids"]]
            with timed(seconds, "nbest"):
                lists = [self.join(kept, n, *three) for n, three in enumerate(zip(lists, others, proposed))]
        views: List[Tuple[List[Dict[str, float]], Dict[str, float]]] = [([], {}) for _ in lists]
        if self.vectors is not None:
            views = [self.score(kept, n, paths, word_score, seconds) for n, paths in enumerate(lists)]
        rows = []
        for utterance, reference, paths, (scored, heard) in zip(piece["ids"], piece["refs"], lists, views):
            listed = [{"words": self.lexicon.ids_to_words(p.words), "am": round(p.am, 4), "lm": round(p.lm, 4)} for p in paths]
            for path, scores in zip(listed, scored):
                path.update(scores)
            ranks = {words: rank for rank, words in enumerate(self.proposed.get(utterance, ()), 1)} if joining else {}
            for path, p in zip(listed, paths):
                if p.words in ranks:
                    path["proposed"] = round((1 + 1 / ranks[p.words]) / 2, 4)
            rows.append(
                {
                    "id": utterance,
                    "ref": reference,
                    "paths": listed or [{"words": [], "am": 0.0, "lm": 0.0, "word": 0.0}],
                    "heard": heard,
                }
            )
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_jsonl(out.with_suffix(".jsonl"), rows)

    def lists(self, piece: Dict[str, Any], lattices: Any, seconds: Dict[str, float]) -> List[List[Any]]:
        """n-best lists of a decoded piece's lattices."""

        def work(parts: Parts) -> List[List[Any]]:
            return [paths for part in parts for paths in nbest(some(lattices, *part), *settings)]

        settings = (self.config.paths, self.config.lattice_scale, self.first_lm_scale)
        remedy = f"lower rescore.paths={self.config.paths}"
        with timed(seconds, "nbest"):
            return in_parts(work, piece["ids"], f"n-best lists of {piece['path'].name}", remedy, self.log)

    def join(
        self, kept: Dict[str, torch.Tensor], n: int, subword: List[Any], word: List[Any], proposed: Sequence[Tuple[int, ...]]
    ) -> List[Any]:
        """The hypotheses of both lattices of utterance n of the batch, and those proposed, scored alike."""
        if self.candidates is None:
            self.candidates = Candidates(self.lang, self.lexicon, self.more)
        return self.candidates.join(subword, word, _subword(kept, n), self.frame_ratio, self.first_lm_scale, proposed)

    def take(self, proposals: Dict[str, List[List[str]]]) -> None:
        """Let hypotheses join the lists of their utterances, and words of theirs that decoding lacked the vocabulary, each by its
        spelling and its vector. A hypothesis with a word that can't be spelled is left out. Together these words have the n-gram's
        share of unseen ones, each alike: what that leaves a word depends on how many there are; the weight `unknown` makes up for it.
        """
        known = self.lexicon.word_id
        letters = {letter for word in known for letter in word}
        new = {word for hyps in proposals.values() for words in hyps for word in words if word not in known}
        self.more = sorted(spellings(sorted(word for word in new if letters.issuperset(word)), self.lexicon))
        if self.more:
            adding = Adding(self.inputs)
            pack = adding.pack([(word, ()) for word in self.more])
            entries = [*self.lexicon.entries, *pack.entries]
            self.lexicon = Lexicon([*self.lexicon.words, *self.more], self.lexicon.tokens, entries, self.lexicon.folder)
            if self.vectors is not None:
                table = with_added(adding.model, self.vectors["vectors"], self.vectors["bias"], pack.vectors)
                self.vectors = dict(zip(("vectors", "bias"), table))
        ids = self.lexicon.word_id
        self.proposed = {
            utterance: [tuple(ids[word] for word in words) for words in hyps if all(word in ids for word in words)]
            for utterance, hyps in proposals.items()
        }
        self.log.info("%d words of the attention decoder's join the vocabulary", len(self.more))

    def score(
        self,
        kept: Dict[str, torch.Tensor],
        n: int,
        paths: List[Any],
        word_score: str,
        seconds: Dict[str, float],
    ) -> Tuple[List[Dict[str, float]], Dict[str, float]]:
        """The word head's score `word` of each path of utterance n of the batch, and its highest log-probability of each of their words,
        as in `view`.
        """
        with timed(seconds, "word_score"):
            if not paths:
                return [], {}
            occurring = sorted({w for path in paths for w in path.words} - {self.lexicon.unknown_id})
            columns = {word: column for column, word in enumerate(occurring)}
            log_probs, heard = self.view(kept, n, occurring)
            if word_score == "span":
                scores = span_scores(log_probs[:, 1:] - log_probs[:, :1], paths, columns, self.frame_ratio)
            else:
                scores = sequence_scores(log_probs, paths, columns)
        return [{"word": round(score, 4)} for score in scores], heard

    def view(self, kept: Dict[str, torch.Tensor], n: int, words: List[int]) -> Tuple[torch.Tensor, Dict[str, float]]:
        """The word head's log-probabilities of the blank and of some words in utterance n of the batch, (T, 1 + W), and the highest
        that each word has in any frame.
        """
        chosen, length = torch.tensor(words, dtype=torch.int64) - 1, int(kept["lengths"][n])
        frames, blank = kept["frames"][n, :length].float(), kept["blank"][n, :length]
        scores = word_scores(frames, blank, self.vectors["vectors"][chosen], self.vectors["bias"][chosen])
        log_probs = scores - kept["normaliser"][n, :length, None]
        highest = log_probs[:, 1:].amax(0).tolist()
        return log_probs, {word: round(value, 3) for word, value in zip(self.lexicon.ids_to_words(words), highest)}


def _lattices(piece: Dict[str, Any], graph: str) -> Any:
    """The lattices of one kind of a decoded piece."""
    return load_fsa(piece["path"].with_name(f"{piece['path'].name}-{graph}.pt"))


def _scores(piece: Dict[str, Any]) -> Dict[str, torch.Tensor]:
    """What the heads said of a decoded piece (`FirstPassDecoder._piece`)."""
    return load_file(str(piece["path"].with_name(piece["path"].name + "-scores.safetensors")))


def _subword(kept: Dict[str, torch.Tensor], n: int) -> torch.Tensor:
    """The sub-word head's log-probabilities of utterance n of a batch: (T, units)."""
    return kept["subword"][n, : int(kept["subword_lengths"][n])].float()
