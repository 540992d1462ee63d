"""Stage 7: n-best lists from the stored lattices, rescored; weights tuned on dev."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import torch

from utils.core.files import read_json, read_jsonl, write_json, write_jsonl
from utils.core.memory import keep_freed
from utils.core.parallel import run_all
from utils.core.timing import sum_timing, timed
from utils.decode.first_pass import pieces
from utils.lang.lexicon import UNKNOWN
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.rescore.attention import AttentionDecoder
from utils.rescore.confidence import Confidences
from utils.rescore.readers import AttentionReader, LanguageModelReader, WordLMReader
from utils.rescore.rescorer import Rescorer, Work
from utils.rescore.rescoring import Lists, best_words, flatten, pruned
from utils.rescore.tuning import tune
from utils.rescore.whole_lattice import SCALES, calibrated, errors, evidence

Flatten = Callable[[List[Dict[str, Any]]], Lists]  # utils.rescore.rescoring.flatten of this vocabulary

SPLITS = ("dev", "test")
TURNS = 6  # of tuning the weights on whole lattices, at most


def run(job: Job) -> None:
    """Write nbest-<split>.jsonl, hyps-<decoding>-<split>.jsonl, weights.json, timing.json."""
    torch.set_num_threads(1)
    decoded = job.inputs["decode"]
    graphs = [graph for graph in ("lattice", "word_lattice") if (decoded / f"hyps-{graph}-dev.jsonl").exists()]
    graph, both = graphs[0], job.config.rescore.candidates == "both" and len(graphs) == 2
    rescorer = Rescorer(job, graph, both, made_with(decoded).decode)
    parts = job.out / "parts"
    done = [(piece, Path(split) / piece["path"].name) for split in SPLITS for piece in pieces(decoded, split)]
    if "propose" in job.inputs:
        rescorer.take({row["id"]: row["hyps"] for row in read_jsonl(job.inputs["propose"] / "proposals.jsonl")})
    reading = readers(job, rescorer)  # what they lack is said before the work
    work = [(piece, parts / "nbest" / name) for piece, name in done]
    left = [w for w in work if not w[1].with_suffix(".jsonl").exists()]
    run_all(rescorer.piece, left, job.nj, "rescore")
    rows = listed(job, "nbest")
    flat = partial(flatten, added=rescorer.added, unknown={UNKNOWN, *rescorer.more})
    weights: Dict[str, Any] = {"graph": "+".join(graphs if both else graphs[:1])}
    more = ("proposed",) if rescorer.proposed else ()
    more += ("unknown",) if rescorer.more or (rescorer.lexicon.unknown and graph == "lattice") else ()
    more += ("added",) if rescorer.added else ()
    schemes = {"lm": ("lm", "penalty", "letters", *more)}
    if rescorer.vectors is not None and graph == "lattice":
        schemes["wordvec"] = ("lm", "word", "penalty", "letters", *more)
    lists = {split: flat(rows[split]) for split in SPLITS}
    for name, free in schemes.items():
        weights[name] = settle(job, name, rows, lists, free)
    for split in SPLITS:
        write_jsonl(job.out / f"nbest-{split}.jsonl", rows[split])
    measured, model_bytes = list(work), 0
    if job.config.rescore.whole_lattice:
        measured += whole_lattices(job, rescorer, done, flat, schemes.get("wordvec", free), weights)
    for link, reader in reading.items():
        work = read_again(job, link, reader, work, flat, weights[name])
        measured += work
        free, rows = (*free, link), listed(job, link)
        weights[link] = settle(job, link, rows, {split: flat(rows[split]) for split in SPLITS}, free)
        model_bytes += reader.bytes()
        weights[link] = {**weights[link], **reader.about(), "model_bytes": model_bytes}
        name = link
    write_json(job.out / "weights.json", weights)
    seconds = ((read_json(out.with_suffix(".seconds.json")), piece["audio_seconds"]) for piece, out in measured)
    write_json(job.out / "timing.json", sum_timing(seconds))


def listed(job: Job, link: str) -> Dict[str, List[Dict[str, Any]]]:
    """The lists of all pieces of each split, in order, as one link of the chain wrote them."""
    folders = {split: sorted((job.out / "parts" / link / split).glob("*.jsonl")) for split in SPLITS}
    return {split: [row for path in paths for row in read_jsonl(path)] for split, paths in folders.items()}


def settle(
    job: Job, name: str, rows: Dict[str, List[Dict[str, Any]]], lists: Dict[str, Lists], free: Sequence[str]
) -> Dict[str, Any]:
    """Tune a decoding's weights on dev, calibrate its confidences, and write its hypotheses; `lists` are `rows`, flattened."""
    found, errors = tune(lists["dev"], free)
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
    job: Job, rescorer: Rescorer, done: Sequence[Work], flat: Flatten, free: Sequence[str], weights: Dict[str, Any]
) -> List[Work]:
    """Rescore whole lattices: the decoding `whole_lattice`, and occurrences-<split>.jsonl, where each word is probably
    said. The weights are tuned on n-best lists of the same lattices, with the same scores.

    Args:
      done: the decoded pieces, and the names of what is made of them.
      free: the weights to tune.
      weights: of the stage, to which the decoding's are added.
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
        found, _ = tune(flat(lists), free)
        run(partial(rescorer.whole, weights=found, scales=()), f"lattice_best-{turn}", dev)
        rows = listed(job, f"lattice_best-{turn}")["dev"]
        new = [(row["path"], one) for row, one in zip(rows, lists) if row["path"] not in one["paths"]]
        for path, one in new:
            one["paths"].append(path)
        if not new:
            break
    run(partial(rescorer.whole, weights=found, scales=SCALES), "lattice_scales", dev)
    calibration = calibrated(listed(job, "lattice_scales")["dev"], SCALES)
    work = run(partial(rescorer.whole, weights=found, scales=[calibration.scale], oracle=True), "whole_lattice", done)
    for split, rows in listed(job, "whole_lattice").items():
        sure = iter(calibration(*evidence(rows, calibration.scale)).round(4).tolist())
        hyps = []
        for row in rows:
            words, kept = row["path"]["words"], {key: row[key] for key in ("id", "ref", "oracle")}
            hyps.append({**kept, "hyp": words, "confidence": [next(sure) for _ in words]})
        write_jsonl(job.out / f"hyps-whole_lattice-{split}.jsonl", hyps)
        hits = ({"id": row["id"], "words": row["scales"][f"{calibration.scale:g}"]["occurrences"]} for row in rows)
        write_jsonl(job.out / f"occurrences-{split}.jsonl", hits)
        if split == "dev":
            dev_wer = 100 * errors(rows) / sum(len(row["ref"]) for row in rows)
            weights["whole_lattice"] = {**found, "graph": "lattice", "dev_wer": dev_wer, "confidence": calibration.weights()}
            job.log.info("whole_lattice: %s, dev WER %.2f%%", ", ".join(f"{k} {v:g}" for k, v in found.items()), dev_wer)
    return work


def readers(job: Job, rescorer: Rescorer) -> Dict[str, Any]:
    """The models that are to read the best paths, by the name of their link, in order."""
    config, words, data = job.config.rescore, rescorer.lexicon.words, job.inputs["data"]
    found: Dict[str, Any] = {}
    if config.word_lm.source != "none":
        own = None if rescorer.vectors is None else rescorer.vectors["vectors"]
        found["word_lm"] = WordLMReader(config.word_lm, words, job.inputs["lang"], data, own, job.out)
    if config.attention.paths:
        keep_freed()
        found["attention"] = AttentionReader(AttentionDecoder(data, job.inputs["features"], SPLITS, job.device))
    if config.llm.path:
        found["llm"] = LanguageModelReader(config.llm, words, data)
    return found


def read_again(job: Job, link: str, reader: Any, work: Sequence[Work], flat: Flatten, weights: Dict[str, float]) -> List[Work]:
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
        rows = pruned(rows, flat(rows), weights, config.paths, config.margin)
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


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="rescore"))
