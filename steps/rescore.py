"""Stage 7: n-best lists from the stored lattices, rescored; weights tuned on dev."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
import torch
from safetensors.torch import load_file

from steps.add_words import Adding
from steps.decode import with_added
from utils.adding import spellings
from utils.attention import AttentionDecoder
from utils.candidates import Candidates
from utils.confidence import SCALES, Calibration, calibrate, correct, posteriors
from utils.config import made_with
from utils.contract import Job
from utils.decoding import pieces
from utils.files import read_json, read_jsonl, write_json, write_jsonl
from utils.graphs import load_fsa
from utils.lexicon import Lexicon, read_lexicon
from utils.memory import Parts, in_parts
from utils.nbest import nbest, some
from utils.parallel import run_all
from utils.readers import AttentionReader, LanguageModelReader, WordLMReader
from utils.rescoring import Lists, best_words, choose, flatten, pruned, totals, tune
from utils.timing import sum_timing, timed
from utils.vocabulary import open_lexicon, used_lang
from utils.whole_lattice import WholeLattices, best_scale, calibrated, chosen, errors, evidence
from utils.wordscore import sequence_scores, span_scores

SPLITS = ("dev", "test")
TURNS = 6  # of tuning the weights on whole lattices, at most
Work = Tuple[Dict[str, Any], Path]  # a decoded piece, and where a link's lists of it are, without ending


def run(job: Job) -> None:
    """Write nbest-<split>.jsonl, hyps-<decoding>-<split>.jsonl, weights.json, timing.json."""
    torch.set_num_threads(1)
    decoded = job.inputs["decode"]
    graphs = [graph for graph in ("lattice", "word_lattice") if (decoded / f"hyps-{graph}-dev.jsonl").exists()]
    graph, both = graphs[0], job.config.rescore.candidates == "both" and len(graphs) == 2
    rescorer = Rescorer(job, graph, both, made_with(decoded).decode)
    attention = attention_decoder(job)
    parts, beam = job.out / "parts", job.config.rescore.attention.beam
    done = [(piece, Path(split) / piece["path"].name) for split in SPLITS for piece in pieces(decoded, split)]
    proposing = [(piece, parts / "proposals" / name) for piece, name in done] if beam else []
    if beam:
        rescorer.take(propose(job, attention, proposing))
    reading = readers(job, rescorer, attention)  # what they lack is said before the work
    work = [(piece, parts / "nbest" / name) for piece, name in done]
    run_all(rescorer.piece, [w for w in work if not w[1].with_suffix(".jsonl").exists()], job.nj, "rescore")
    rows = listed(job, "nbest")
    added = set(rescorer.lexicon.words[rescorer.trained :])
    weights: Dict[str, Any] = {"graph": "+".join(graphs if both else graphs[:1])}
    more = ("unknown",) if rescorer.lexicon.unknown and graph == "lattice" else ()
    more += ("added",) if added else ()
    schemes = {"lm": [("lm", "penalty", *more)]}
    if rescorer.vectors is not None and graph == "lattice":
        schemes["wordvec"] = [("lm", "word", "penalty", *more)]
    for name, steps in schemes.items():
        weights[name] = settle(job, name, rows, added, steps)
    for split in SPLITS:
        write_jsonl(job.out / f"nbest-{split}.jsonl", rows[split])
    measured, kept, model_bytes = proposing + work, more, 0
    if job.config.rescore.whole_lattice:
        measured = measured + whole_lattices(job, rescorer, done, added, schemes.get("wordvec", schemes["lm"])[0], weights)
    for link, reader in reading.items():
        work = read_again(job, link, reader, work, added, weights[name])
        measured += work
        steps = [("lm", *(("word",) if "wordvec" in schemes else ()), "penalty", link)]
        steps += [("penalty", link, *kept)] if kept else []
        weights[link] = settle(job, link, listed(job, link), added, steps, {key: weights[name][key] for key in kept})
        model_bytes += reader.bytes()
        weights[link] = {**weights[link], **reader.about(), "model_bytes": model_bytes}
        name, kept = link, (*kept, link)
    write_json(job.out / "weights.json", weights)
    seconds = ((read_json(out.with_suffix(".seconds.json")), piece["audio_seconds"]) for piece, out in measured)
    write_json(job.out / "timing.json", sum_timing(seconds))


def listed(job: Job, link: str) -> Dict[str, List[Dict[str, Any]]]:
    """The lists of all pieces of each split, in order, as one link of the chain wrote them."""
    folders = {split: sorted((job.out / "parts" / link / split).glob("*.jsonl")) for split in SPLITS}
    return {split: [row for path in paths for row in read_jsonl(path)] for split, paths in folders.items()}


def settle(
    job: Job,
    name: str,
    rows: Dict[str, List[Dict[str, Any]]],
    added: Set[str],
    steps: Sequence[Sequence[str]],
    fixed: Optional[Dict[str, float]] = None,
) -> Dict[str, Any]:
    """Tune a decoding's weights on dev, one set of them after the other, calibrate its confidences, and write its hypotheses."""
    lists = {split: flatten(rows[split], added) for split in SPLITS}
    found, errors = dict(fixed or {}), 0
    for free in steps:
        found, errors = tune(lists["dev"], free, found)
    dev_wer = 100 * errors / sum(len(row["ref"]) for row in rows["dev"])
    job.log.info("%s: %s, dev WER %.2f%%", name, ", ".join(f"{k} {v:g}" for k, v in found.items()), dev_wer)
    sure = {split: Confidences(rows[split], lists[split], found) for split in SPLITS}
    calibration = sure["dev"].calibrate()
    for split in SPLITS:
        words = best_words(rows[split], sure[split].chosen, lists[split].splits)
        write_jsonl(
            job.out / f"hyps-{name}-{split}.jsonl",
            (
                {"id": r["id"], "ref": r["ref"], "hyp": w, "confidence": c}
                for r, w, c in zip(rows[split], words, sure[split].of_words(calibration))
            ),
        )
    return {**found, "dev_wer": dev_wer, "confidence": calibration.weights()}


def whole_lattices(
    job: Job, rescorer: "Rescorer", done: Sequence[Work], added: Set[str], free: Sequence[str], weights: Dict[str, Any]
) -> List[Work]:
    """Rescore whole lattices: decodings `whole_lattice` and `consensus`, and occurrences-<split>.jsonl, where each word is probably
    said. The weights are tuned on n-best lists of the same lattices, with the same scores.

    Args:
      done: the decoded pieces, and the names of what is made of them.
      free: the weights to tune.
      weights: of the stage, to which the decodings' are added.
    Returns:
      the pieces with where the results are.
    """
    parts, dev = job.out / "parts", [item for item in done if item[1].parent.name == "dev"]

    def run(function: Any, link: str, chosen: Sequence[Work]) -> List[Work]:
        work = [(piece, parts / link / name) for piece, name in chosen]
        run_all(function, [w for w in work if not w[1].with_suffix(".jsonl").exists()], job.nj, link)
        return work

    run(rescorer.of_lattices, "lattice_lists", dev)
    lists = listed(job, "lattice_lists")["dev"]
    for turn in range(TURNS):  # the lattices' best path with the weights joins the lists, until it is in them (Och 2003)
        found, _ = tune(flatten(lists, added), free)
        run(partial(rescorer.whole, weights=found, scales=()), f"lattice_best-{turn}", dev)
        rows = listed(job, f"lattice_best-{turn}")["dev"]
        new = [(row["path"], one) for row, one in zip(rows, lists) if row["path"] not in one["paths"]]
        for path, one in new:
            one["paths"].append(path)
        if not new:
            break
    run(partial(rescorer.whole, weights=found, scales=SCALES), "lattice_scales", dev)
    rows = listed(job, "lattice_scales")["dev"]
    scale = best_scale(rows)
    learned = {"whole_lattice": calibrated(rows, "whole_lattice", SCALES), "consensus": calibrated(rows, "consensus", [scale])}
    scales = sorted({scale, learned["whole_lattice"].scale})
    work = run(partial(rescorer.whole, weights=found, scales=scales, oracle=True), "whole_lattice", done)
    for split, rows in listed(job, "whole_lattice").items():
        for name, calibration in learned.items():
            sure = iter(calibration(*evidence(rows, name, calibration.scale)).round(4).tolist())
            hyps = []
            for row in rows:
                words = chosen(row, name, calibration.scale)[0]
                kept = {key: row[key] for key in ("id", "ref", "oracle")}
                hyps.append({**kept, "hyp": words, "confidence": [next(sure) for _ in words]})
            write_jsonl(job.out / f"hyps-{name}-{split}.jsonl", hyps)
        hits = ({"id": row["id"], "words": row["scales"][f"{scale:g}"]["occurrences"]} for row in rows)
        write_jsonl(job.out / f"occurrences-{split}.jsonl", hits)
        if split == "dev":
            for name, calibration in learned.items():
                dev_wer = 100 * errors(rows, name, calibration.scale) / sum(len(row["ref"]) for row in rows)
                weights[name] = {**found, "graph": rescorer.graph, "dev_wer": dev_wer, "confidence": calibration.weights()}
                job.log.info("%s: %s, dev WER %.2f%%", name, ", ".join(f"{k} {v:g}" for k, v in found.items()), dev_wer)
    return work


def attention_decoder(job: Job) -> Optional[AttentionDecoder]:
    """That of the front end's model, where it is wanted."""
    wanted, features = job.config.rescore.attention, job.inputs["features"]
    if not (wanted.paths or wanted.beam):
        return None
    return AttentionDecoder(made_with(features).features, made_with(job.inputs["data"]).data, features, SPLITS, job.device)


def propose(job: Job, attention: AttentionDecoder, work: Sequence[Work]) -> Dict[str, List[List[str]]]:
    """Hypotheses of the attention decoder's own for every utterance: `<out>.json` has them, `<out>.seconds.json` their time."""

    def one(piece: Dict[str, Any], out: Path) -> None:
        seconds: Dict[str, float] = {}
        with timed(seconds, "proposals"):
            found = {utterance: attention.propose(utterance, job.config.rescore.attention.beam) for utterance in piece["ids"]}
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_json(out.with_suffix(".json"), found)

    run_all(one, [w for w in work if not w[1].with_suffix(".json").exists()], job.nj, "proposals")
    return {utterance: hyps for _, out in work for utterance, hyps in read_json(out.with_suffix(".json")).items()}


def readers(job: Job, rescorer: "Rescorer", attention: Optional[AttentionDecoder]) -> Dict[str, Any]:
    """The models that are to read the best paths, by the name of their link, in order."""
    config, words, data = job.config.rescore, rescorer.lexicon.words, job.inputs["data"]
    found: Dict[str, Any] = {}
    if config.word_lm.source != "none":
        own = None if rescorer.vectors is None else rescorer.vectors["vectors"]
        found["word_lm"] = WordLMReader(config.word_lm, words, job.inputs["lang"], data, own, job.out)
    if config.attention.paths:
        found["attention"] = AttentionReader(attention)
    if config.llm.path:
        found["llm"] = LanguageModelReader(config.llm, words, data)
    return found


def read_again(
    job: Job, link: str, reader: Any, work: Sequence[Work], added: Set[str], weights: Dict[str, float]
) -> List[Work]:
    """A model reads the best paths of every list: `<out>.jsonl` has these with its score, `<out>.seconds.json` its time.

    Args:
      link: READERS.
      weights: of the decoding before, which say what the best paths are.
    Returns:
      the pieces with where the results are.
    """
    config, outs = getattr(job.config.rescore, link), [job.out / "parts" / link / out.parent.name / out.name for _, out in work]
    left = [(lists, out) for (_, lists), out in zip(work, outs) if not out.with_suffix(".jsonl").exists()]
    scorer = reader.scorer() if left else None

    def piece(lists: Path, out: Path) -> None:
        rows = read_jsonl(lists.with_suffix(".jsonl"))
        rows = pruned(rows, flatten(rows, added), weights, config.paths, config.margin)
        seconds: Dict[str, float] = {}
        with timed(seconds, link):
            scores = iter(scorer(rows))
        for row in rows:
            row["paths"] = [{**path, link: round(next(scores), 4)} for path in row["paths"]]
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_jsonl(out.with_suffix(".jsonl"), rows)

    if left:
        run_all(piece, left, job.nj, link)
    return [(piece, out) for (piece, _), out in zip(work, outs)]


class Confidences:
    """How sure the words are that some weights choose in each utterance of a split."""

    def __init__(self, rows: Sequence[Dict[str, Any]], lists: Lists, weights: Dict[str, float]) -> None:
        self.rows, self.splits = rows, lists.splits
        self.chosen, self.totals = choose(lists, weights), totals(lists, weights)

    def calibrate(self) -> Calibration:
        """On the references of these rows."""
        words = best_words(self.rows, self.chosen, self.splits)
        right = [hit for row, said in zip(self.rows, words) for hit in correct(row["ref"], said)]
        return calibrate({scale: self._evidence(scale) for scale in SCALES}, np.array(right))

    def of_words(self, calibration: Calibration) -> List[List[float]]:
        """Of each utterance, each word's confidence from 0 to 1."""
        flat = calibration(*self._evidence(calibration.scale)).round(4).tolist()
        edges = np.cumsum([0] + [len(words) for words in best_words(self.rows, self.chosen, self.splits)])
        return [flat[a:b] for a, b in zip(edges, edges[1:])]

    def _evidence(self, scale: float) -> Tuple[np.ndarray, np.ndarray]:
        """Posterior and the word head's score of all words."""
        posterior: List[float] = []
        heard: List[float] = []
        for n, row in enumerate(self.rows):
            first, last = self.splits[n], self.splits[n + 1]
            path = int(self.chosen[n] - first)
            posterior += posteriors(row, self.totals[first:last], path, scale)
            heard += [row.get("heard", {}).get(word, 0.0) for word in row["paths"][path]["words"]]
        return np.array(posterior), np.array(heard)


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
            model.subword_stride / model.word_stride if graph == "lattice" else 1.0
        )  # word-head frames a lattice frame
        self.lexicon = open_lexicon(self.lang, decode.unknown)
        self.trained = len(read_lexicon(job.inputs["lang"]).words)  # those behind were added
        stride = model.subword_stride if graph == "lattice" else model.word_stride
        frame = stride * made_with(job.inputs["features"]).features.frame_shift
        settings = (decode.first_lm_scale, decode.output_beam)
        self.reader = WholeLattices(self.lexicon, self.trained, self.frame_ratio, frame, settings)
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
        path, seconds = piece["path"], {}
        lattices = load_fsa(path.with_name(f"{path.name}-{self.graph}.pt"))
        view = None
        if self.vectors is not None and self.graph == "lattice":
            view = partial(self.view, load_file(str(path.with_name(path.name + "-scores.safetensors"))))
        rows = self.reader.read(lattices, view, weights, scales, seconds)
        rows = [{"id": i, "ref": r, **row} for i, r, row in zip(piece["ids"], piece["refs"], rows)]
        if oracle:
            rows = [{**row, "oracle": n} for row, n in zip(rows, self.reader.oracles(lattices, piece["refs"]))]
        write_json(out.with_suffix(".seconds.json"), seconds)
        write_jsonl(out.with_suffix(".jsonl"), rows)

    def _lists(self, piece: Dict[str, Any], out: Path, joining: bool, word_score: str) -> None:
        seconds: Dict[str, float] = {}
        if joining or self.vectors is not None:
            kept = load_file(str(piece["path"].with_name(piece["path"].name + "-scores.safetensors")))
        lists = self.lists(piece, self.graph, seconds)
        if joining:
            others = self.lists(piece, "word_lattice", seconds) if self.both else [[]] * len(lists)
            proposed = [self.proposed.get(utterance, ()) for utterance in piece["ids"]]
            with timed(seconds, "nbest"):
                lists = [self.join(kept, n, *three) for n, three in enumerate(zip(lists, others, proposed))]
        views: List[Tuple[List[float], Dict[str, float]]] = [([], {}) for _ in lists]
        if self.vectors is not None:
            with timed(seconds, "word_score"):
                views = [self.score(kept, n, paths, word_score) for n, paths in enumerate(lists)]
        rows = []
        for utterance, reference, paths, (scored, heard) in zip(piece["ids"], piece["refs"], lists, views):
            listed = [
                {"words": self.lexicon.ids_to_words(p.words), "am": round(p.am, 4), "lm": round(p.lm, 4)} for p in paths
            ]
            for path, score in zip(listed, scored):
                path["word"] = round(score, 4)
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

    def lists(self, piece: Dict[str, Any], graph: str, seconds: Dict[str, float]) -> List[List[Any]]:
        """n-best lists of one kind of a decoded piece's lattices."""
        path = piece["path"]
        lattices = load_fsa(path.with_name(f"{path.name}-{graph}.pt"))

        def work(parts: Parts) -> List[List[Any]]:
            return [paths for part in parts for paths in nbest(some(lattices, *part), *settings)]

        settings = (self.config.paths, self.config.lattice_scale, self.first_lm_scale)
        remedy = f"lower rescore.paths={self.config.paths}"
        with timed(seconds, "nbest"):
            return in_parts(work, piece["ids"], f"n-best lists of {path.name}", remedy, self.log)

    def join(
        self, kept: Dict[str, torch.Tensor], n: int, subword: List[Any], word: List[Any], proposed: Sequence[Tuple[int, ...]]
    ) -> List[Any]:
        """The hypotheses of both lattices of utterance n of the batch, and those proposed, scored alike."""
        if self.candidates is None:
            self.candidates = Candidates(self.lang, self.lexicon, self.more)
        log_probs = kept["subword"][n, : int(kept["subword_lengths"][n])].float()
        return self.candidates.join(subword, word, log_probs, self.frame_ratio, self.first_lm_scale, proposed)

    def take(self, proposals: Dict[str, List[List[str]]]) -> None:
        """Let hypotheses join the lists of their utterances, and words of theirs that decoding lacked the vocabulary, each by its
        spelling and its vector. A hypothesis with a word that can't be spelled is left out. Together these words have the n-gram's
        share of unseen ones, each alike: what that leaves a word depends on how many there are; the weight `added` makes up for it.
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
        self, kept: Dict[str, torch.Tensor], n: int, paths: List[Any], word_score: str
    ) -> Tuple[List[float], Dict[str, float]]:
        """The word head's score of each path of utterance n of the batch, and what it heard of its words, as in `view`."""
        if not paths:
            return [], {}
        occurring = sorted({w for path in paths for w in path.words} - {self.lexicon.unknown_id})
        rows = {word: column for column, word in enumerate(occurring)}
        log_probs, heard = self.view(kept, n, occurring)
        if word_score == "span":
            return span_scores(log_probs[:, 1:] - log_probs[:, :1], paths, rows, self.frame_ratio), heard
        return sequence_scores(log_probs, paths, rows), heard

    def view(self, kept: Dict[str, torch.Tensor], n: int, words: List[int]) -> Tuple[torch.Tensor, Dict[str, float]]:
        """The word head's log-probabilities of the blank and of some words in utterance n of the batch, (T, 1 + W), and the highest
        that each word has in any frame.
        """
        chosen, length = torch.tensor(words, dtype=torch.int64) - 1, int(kept["lengths"][n])
        scores = kept["frames"][n, :length].float() @ self.vectors["vectors"][chosen].T + self.vectors["bias"][chosen]
        log_probs = torch.cat((kept["blank"][n, :length, None], scores), 1) - kept["normaliser"][n, :length, None]
        highest = log_probs[:, 1:].amax(0).tolist()
        return log_probs, {word: round(value, 3) for word, value in zip(self.lexicon.ids_to_words(words), highest)}


if __name__ == "__main__":
    import sys

    from utils.driver import main

    sys.exit(main(only="rescore"))
