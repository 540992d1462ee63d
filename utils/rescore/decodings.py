"""The decodings of rescoring: weights tuned on dev, calibrated confidences, and the hypotheses that they choose."""

from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from utils.core.files import write_jsonl
from utils.core.languages import in_characters
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.rescore.confidence import Calibration, Confidences
from utils.rescore.nbest_lists import NBestList, read_lists
from utils.rescore.rescorer import Rescorer, Work
from utils.rescore.rescoring import flatten
from utils.rescore.scores import WHOLE_LATTICE, Kinds
from utils.rescore.tuning import tune
from utils.rescore.whole_lattice import SCALES, RescoredLattice, calibrated, errors, evidence, read_lattices, scale_key
from utils.text.scoring import characters

TURNS = 6  # most turns of tuning the weights on whole lattices


def pieces_of(parts: Path, name: str, read: Callable[[Path], List[Any]], splits: Sequence[str]) -> Dict[str, List[Any]]:
    """What one decoding made of all pieces of each split, in order.

    Args:
      parts: the folder of all decodings' pieces, parts/<name>/<split>/<piece>.jsonl.
      read: reads one piece.
    """
    found = {split: sorted((parts / name / split).glob("*.jsonl")) for split in splits}
    return {split: [row for path in paths for row in read(path)] for split, paths in found.items()}


def missing(work: Sequence[Work]) -> List[Work]:
    """The pieces that are not made yet."""
    return [(piece, out) for piece, out in work if not out.with_suffix(".jsonl").exists()]


def tune_and_write(
    job: Job, name: str, lists: Mapping[str, Sequence[NBestList]], kinds: Kinds, free: Sequence[str]
) -> Dict[str, Any]:
    """Tune a decoding's weights on dev, calibrate its confidences, and write its hypotheses: hyps-<name>-<split>.jsonl.

    Args:
      lists: by split.
      free: names of the scores to weigh.
    Returns:
      what weights.json has of the decoding.
    """
    flat = {split: flatten(lists[split], kinds) for split in job.splits}
    found, wrong = tune(flat["dev"], free)
    sure = {split: Confidences(lists[split], flat[split], found) for split in job.splits}
    calibration = sure["dev"].calibrate()
    for split in job.splits:
        rows = zip(lists[split], sure[split].words, sure[split].of_words(calibration))
        write_jsonl(
            job.out / f"hyps-{name}-{split}.jsonl",
            ({"id": one.id, "ref": one.ref, "hyp": words, "confidence": confidence} for one, words, confidence in rows),
        )
    return _about(job, name, found, wrong, lists["dev"], calibration)


def rescore_whole_lattices(
    job: Job, rescorer: Rescorer, pieces: Sequence[Work], free: Sequence[str], parts: Path
) -> Tuple[Dict[str, Any], List[Work]]:
    """Rescore whole lattices: hyps-whole_lattice-<split>.jsonl, and occurrences-<split>.jsonl, where each word is probably said.

    The weights are tuned on n-best lists of the same lattices, with the same scores. The lattices' best paths with these weights
    join the lists, and the weights are tuned again, until the lists have them all (Och 2003).

    Args:
      pieces: the decoded pieces, and the names of what is made of them.
      free: names of the scores to weigh.
      parts: the folder of all decodings' pieces.
    Returns:
      what weights.json has of the decoding; the pieces with where the results are.
    """
    dev = [(piece, name) for piece, name in pieces if name.parent.name == "dev"]

    def run(function: Callable[..., None], name: str, chosen: Sequence[Work]) -> List[Work]:
        work = [(piece, parts / name / own) for piece, own in chosen]
        job.executor.run_all(function, missing(work), name)
        return work

    run(rescorer.of_lattices, "lattice_lists", dev)
    lists = pieces_of(parts, "lattice_lists", read_lists, ("dev",))["dev"]
    found: Dict[str, float] = {}
    for turn in range(TURNS):
        found, _ = tune(flatten(lists, rescorer.vocabulary.kinds), free)
        run(partial(rescorer.whole, weights=found, scales=()), f"lattice_best-{turn}", dev)
        best: List[RescoredLattice] = pieces_of(parts, f"lattice_best-{turn}", read_lattices, ("dev",))["dev"]
        new = [(one.path, nbest) for one, nbest in zip(best, lists) if one.path not in nbest.paths]
        if not new:
            break
        for path, nbest in new:
            nbest.paths.append(path)
    run(partial(rescorer.whole, weights=found, scales=SCALES), "lattice_scales", dev)
    calibration = calibrated(pieces_of(parts, "lattice_scales", read_lattices, ("dev",))["dev"], SCALES)
    name = WHOLE_LATTICE.name
    work = run(partial(rescorer.whole, weights=found, scales=[calibration.scale], oracle=True), name, pieces)
    lattices: Dict[str, List[RescoredLattice]] = pieces_of(parts, name, read_lattices, job.splits)
    for split in job.splits:
        write_whole_lattices(job.out, split, lattices[split], calibration)
    about = _about(job, name, found, errors(lattices["dev"]), lattices["dev"], calibration)
    return {**about, "graph": "lattice"}, work


def write_whole_lattices(out: Path, split: str, lattices: Sequence[RescoredLattice], calibration: Calibration) -> None:
    """Write the hypotheses and the occurrences of a split."""
    sure = iter(calibration(*evidence(lattices, calibration.scale)).round(4).tolist())
    hyps: List[Dict[str, Any]] = []
    for one in lattices:
        words = one.path.words
        confidence = [next(sure) for _ in words]
        hyps.append({"id": one.id, "ref": one.ref, "oracle": one.oracle, "hyp": words, "confidence": confidence})
    write_jsonl(out / f"hyps-{WHOLE_LATTICE.name}-{split}.jsonl", hyps)
    found = ({"id": one.id, "words": one.scales[scale_key(calibration.scale)].occurrences} for one in lattices)
    write_jsonl(out / f"occurrences-{split}.jsonl", found)


def _about(
    job: Job, name: str, weights: Dict[str, float], wrong: int, dev: Sequence[Any], calibration: Calibration
) -> Dict[str, Any]:
    """What weights.json has of a decoding, which is logged; dev: lists or lattices, with `ref`."""
    rate = 100 * wrong / sum(len(characters(one.ref)) for one in dev)  # of words in scripts with spaces
    measure = "CER" if in_characters(made_with(job.inputs["data"]).data.language) else "WER"
    job.log.info("%s: %s, dev %s %.2f%%", name, ", ".join(f"{k} {v:g}" for k, v in weights.items()), measure, rate)
    return {**weights, f"dev_{measure.lower()}": rate, "confidence": calibration.weights()}
