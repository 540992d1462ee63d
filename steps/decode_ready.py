"""Stage 6 of the ready-made systems: the words of dev and test."""

from functools import partial

from utils.baselines.ready import open_ready, recognise
from utils.core.files import write_json
from utils.core.inputs import same_inputs
from utils.corpus.cuts import read_cuts
from utils.decode.pieces import small_batches, unfinished, write_hypotheses
from utils.pipeline.contract import Job


def run(job: Job) -> None:
    """Write hyps-beam-<split>.jsonl, timing.json, inputs.jsonl, summary.json."""
    splits = {split: list(read_cuts(job.inputs["data"], split)) for split in job.splits}
    languages = {cut.supervisions[0].language for cuts in splits.values() for cut in cuts}
    recogniser = open_ready(job.config.system, job.config.ready, job.device, languages)
    work = [item for split, cuts in splits.items() for item in unfinished(small_batches(cuts), job.out / split)]
    job.network_executor.run_all(partial(recognise, recogniser=recogniser, data=job.inputs["data"]), work, "decode")
    write_hypotheses(job.out, job.splits)
    same_inputs(job.inputs["data"], job.out)
    write_json(job.out / "summary.json", {"model_bytes": recogniser.bytes})
