"""First part of stage 7 with `rescore.attention.beam`: hypotheses of the front end's attention decoder for each utterance."""

from pathlib import Path
from typing import Sequence

from utils.core.files import read_json, read_jsonl, write_json, write_jsonl
from utils.core.parallel import run_all
from utils.core.timing import sum_timing, timed
from utils.decode.attention import AttentionDecoder
from utils.pipeline.contract import Job

CHUNK = 64  # utterances of similar length that are written together


def run(job: Job) -> None:
    """Write timing.json and proposals.jsonl: a row per utterance of dev and test, with `id` and `hyps` (words, best first)."""
    settings = job.config.rescore.attention
    decoder = AttentionDecoder.of_stages(job.inputs["data"], job.inputs["features"], job.splits, job.device, settings.context)
    cuts = sorted(decoder.cuts.values(), key=lambda cut: (-cut.duration, cut.id))
    work = [(cuts[n : n + CHUNK], job.out / "parts" / f"{n:06d}") for n in range(0, len(cuts), CHUNK)]

    def chunk(cuts: Sequence, out: Path) -> None:
        seconds: dict = {}
        with timed(seconds, "proposals"):
            found = decoder.propose([cut.id for cut in cuts], settings.beam)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out.with_suffix(".json"), [seconds, sum(cut.duration for cut in cuts)])
        write_jsonl(out.with_suffix(".jsonl"), ({"id": utterance, "hyps": hyps} for utterance, hyps in found.items()))

    run_all(chunk, [w for w in work if not w[1].with_suffix(".jsonl").exists()], job.nj, "propose")
    write_jsonl(job.out / "proposals.jsonl", (row for _, out in work for row in read_jsonl(out.with_suffix(".jsonl"))))
    write_json(job.out / "timing.json", sum_timing(read_json(out.with_suffix(".json")) for _, out in work))
