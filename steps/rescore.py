"""Stage 7: n-best lists from the stored lattices, rescored; weights tuned on dev."""

from pathlib import Path
from typing import Any, Dict, List

import torch

from utils.core.files import read_json, write_json
from utils.core.timing import sum_timing
from utils.decode.pieces import pieces
from utils.pipeline.contract import Job
from utils.rescore import lm_rescorers
from utils.rescore.decodings import missing, pieces_of, rescore_whole_lattices, tune_and_write
from utils.rescore.nbest_lists import read_lists, write_lists
from utils.rescore.rescorer import Rescorer, Work
from utils.rescore.scores import SCORES, weighed


def run(job: Job) -> None:
    """Write nbest-<split>.jsonl, hyps-<decoding>-<split>.jsonl, weights.json and timing.json; with rescore.whole_lattice also
    occurrences-<split>.jsonl.
    """
    torch.set_num_threads(1)
    rescorer, parts = Rescorer.of_stages(job.inputs, job.config.rescore, job.log), job.out / "parts"
    available, kinds = rescorer.available(), rescorer.vocabulary.kinds
    models = lm_rescorers.made(job, available, rescorer.vocabulary, job.splits)
    decoded = [(piece, Path(split) / piece.path.name) for split in job.splits for piece in pieces(job.inputs["decode"], split)]
    work: List[Work] = [(piece, parts / "nbest" / name) for piece, name in decoded]
    job.executor.run_all(rescorer.piece, missing(work), "rescore")
    lists = pieces_of(parts, "nbest", read_lists, job.splits)
    for split in job.splits:
        write_lists(job.out / f"nbest-{split}.jsonl", lists[split])

    weights: Dict[str, Any] = {"graph": "+".join(rescorer.graphs)}
    measured, model_bytes, chain = list(work), 0, weighed(available)
    first = [score.decoding for score in SCORES if score.decoding in chain and not score.rescorer]  # of the lists as they are
    for name in first:
        weights[name] = tune_and_write(job, name, lists, kinds, chain[name])
    last = first[-1]
    if job.config.rescore.whole_lattice:
        weights["whole_lattice"], more = rescore_whole_lattices(job, rescorer, decoded, chain[last], parts)
        measured += more
    for name, model in models.items():
        work = lm_rescorers.apply(job, name, model, work, kinds, weights[last], parts)
        measured += work
        model_bytes += model.bytes()
        found = tune_and_write(job, name, pieces_of(parts, name, read_lists, job.splits), kinds, chain[name])
        weights[name] = {**found, **model.about(), "model_bytes": model_bytes}
        last = name
    write_json(job.out / "weights.json", weights)
    seconds = ((read_json(out.with_suffix(".seconds.json")), piece.audio_seconds) for piece, out in measured)
    write_json(job.out / "timing.json", sum_timing(seconds))


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="rescore"))
