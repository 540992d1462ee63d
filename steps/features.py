"""Stage 1: features of every cut, speed-perturbed copies of the training set, and normalisation statistics."""

import shutil
from typing import List

from lhotse import CutSet

from utils.core.errors import UserError
from utils.core.files import atomic_path, write_json
from utils.core.timing import sum_timing
from utils.corpus.manifests import SPLITS
from utils.features import extraction as features
from utils.features.front_end import DESCRIPTION
from utils.features.front_ends import make
from utils.pipeline.contract import Job


def run(job: Job) -> None:
    """Write the features folder; chunks that an interrupted run finished are kept."""
    if not (job.out / "cmvn.safetensors").exists():  # the last file
        config = job.config.features
        front_end = make(config, job.config.data.sampling_rate, job.device)  # refuses bad settings before the work starts
        splits = {split: list(CutSet.from_file(job.inputs["data"] / f"cuts_{split}.jsonl.gz")) for split in SPLITS}
        work = features.chunks(splits, config.speed_perturb)

        def compute(n: int) -> None:
            features.compute(work[n], config, front_end, job.out, job.plan.out)

        features.make_missing(compute, work, front_end, job, "features")
        if front_end.description:
            write_json(job.out / DESCRIPTION, front_end.description)
        _finish(job, work, front_end.smallest_std)
    shutil.rmtree(job.out / "parts", ignore_errors=True)


def _finish(job: Job, work: List[features.Chunk], smallest: float) -> None:
    records = features.account(job, work, sum(len(chunk.cuts) for chunk in work))
    for split in SPLITS:
        mine = [chunk for chunk in work if chunk.split == split]
        kept = sum(records[chunk.name]["kept"] for chunk in mine)
        job.log.info("%-5s %d cuts in, %d out", split, sum(len(chunk.cuts) for chunk in mine), kept)
        if not kept:
            raise UserError(f"no cut of the {split} set is left")
        with atomic_path(job.out / f"cuts_{split}.jsonl.gz") as temporary, open(temporary, "wb") as stream:
            for chunk in mine:  # gzip files one behind the other are a gzip file
                stream.write((job.out / "parts" / f"{chunk.name}.jsonl.gz").read_bytes())
    heard = [records[chunk.name] for chunk in work if chunk.split != "train"]  # what decoding reads
    write_json(job.out / "timing.json", sum_timing((r["seconds"], r["audio_seconds"]) for r in heard))
    kind = job.config.features.normalise
    # global: what the model sees in training. By speaker: all that a speaker says, in whichever split, at its own speed.
    used = [c for c in work if (c.split == "train" if kind == "global" else c.speed == 1.0) and kind != "none"]
    sums = features.total([records[c.name]["sums"] for c in used])
    features.write_cmvn(sums, kind == "speaker", job.out / "cmvn.safetensors", smallest)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="features"))
