"""First part of stage 7 with `rescore.attention.beam`: hypotheses of the front end's attention decoder for each utterance."""

from functools import partial
from pathlib import Path
from typing import Dict, Sequence

from utils.core.files import read_json, read_jsonl, write_json, write_jsonl
from utils.core.timing import sum_timing, timed
from utils.decode.attention import AttentionDecoder
from utils.pipeline.contract import Job

CHUNK = 64  # utterances of similar length that are written together


def run(job: Job) -> None:
    """Write timing.json and proposals.jsonl: a row per utterance of dev and test, with `id` and `hyps` (words, best first)."""
    settings = job.config.rescore.attention
    decoder = AttentionDecoder.of_stages(job.inputs["data"], job.inputs["features"], job.splits, job.device, settings.context)
    cuts = sorted(decoder.cuts.values(), key=lambda cut: (-cut.duration, cut.id))
    work = [([cut.id for cut in cuts[n : n + CHUNK]], job.out / "parts" / f"{n:06d}") for n in range(0, len(cuts), CHUNK)]
    left = [(ids, out) for ids, out in work if not out.with_suffix(".jsonl").exists()]
    job.executor.run_all(partial(_chunk, decoder=decoder, beam=settings.beam), left, "propose")
    write_jsonl(job.out / "proposals.jsonl", (row for _, out in work for row in read_jsonl(out.with_suffix(".jsonl"))))
    write_json(job.out / "timing.json", sum_timing(read_json(out.with_suffix(".json")) for _, out in work))


def _chunk(utterances: Sequence[str], out: Path, decoder: AttentionDecoder, beam: int) -> None:
    seconds: Dict[str, float] = {}
    with timed(seconds, "proposals"):
        found = decoder.propose(utterances, beam)
    write_json(out.with_suffix(".json"), [seconds, sum(decoder.cuts[utterance].duration for utterance in utterances)])
    write_jsonl(out.with_suffix(".jsonl"), ({"id": utterance, "hyps": hyps} for utterance, hyps in found.items()))
