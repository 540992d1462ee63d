"""Stage 1: features of every cut, of copies of the training set (other speeds, noise, rooms), statistics for normalisation."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import List, Optional

from utils.core.errors import UserError
from utils.core.files import atomic_path, write_json
from utils.core.inputs import same_inputs
from utils.core.splits import SPLITS, cuts_path
from utils.core.timing import sum_timing
from utils.corpus.cuts import read_cuts
from utils.features import cmvn, extraction
from utils.features.augmentation import Augmentation, open_augmentation
from utils.features.front_end import DESCRIPTION, FrontEnd
from utils.features.front_ends import make
from utils.pipeline.contract import Job


def run(job: Job) -> None:
    """Write the features folder; chunks that an interrupted run finished are kept."""
    if not (job.out / cmvn.STATISTICS).exists():  # the last file
        config, copies = job.config.features, job.config.augment.copies
        front_end = make(config, job.config.data.sampling_rate, job.device)  # refuses bad settings before the work starts
        splits = {split: list(read_cuts(job.inputs["data"], split)) for split in SPLITS}
        chunks = extraction.chunks(splits, config.speed_perturb, copies, config.shard_size)
        augment = open_augmentation(job.config.augment, job.config.data.sampling_rate) if copies else None
        compute = partial(_compute, config=config, front_end=front_end, out=job.out, final=job.plan.out, augment=augment)
        extraction.make_missing(compute, [(chunk,) for chunk in chunks], front_end, job, "features")
        if front_end.description:
            write_json(job.out / DESCRIPTION, front_end.description)
        _finish(job, chunks, front_end.smallest_std)
    shutil.rmtree(job.out / "parts", ignore_errors=True)


def _compute(
    chunk: extraction.Chunk,
    config: SimpleNamespace,
    front_end: FrontEnd,
    out: Path,
    final: Path,
    augment: Optional[Augmentation],
) -> None:
    storage = config.storage if chunk.split == "train" else "files"  # dev and test are small, and not read in order
    extraction.compute(chunk, config, front_end, out, final, augment, storage)


def _finish(job: Job, chunks: List[extraction.Chunk], smallest: float) -> None:
    records = extraction.account(job, chunks, sum(len(chunk.cuts) for chunk in chunks))
    for split in SPLITS:
        mine = [chunk for chunk in chunks if chunk.split == split]
        kept = sum(records[chunk.name].kept for chunk in mine)
        job.log.info("%-5s %d cuts in, %d out", split, sum(len(chunk.cuts) for chunk in mine), kept)
        if not kept:
            raise UserError(f"no cut of the {split} set is left")
        with atomic_path(cuts_path(job.out, split)) as temporary, open(temporary, "wb") as stream:
            for chunk in mine:  # concatenated gzip files are a gzip file
                stream.write((job.out / "parts" / f"{chunk.name}.jsonl.gz").read_bytes())
    decoded = [records[chunk.name] for chunk in chunks if chunk.split != "train"]
    write_json(job.out / "timing.json", sum_timing((record.seconds, record.audio_seconds) for record in decoded))
    kind = job.config.features.normalise
    # global: all that the model is trained on. speaker: all audio of a speaker, in any split, at its own speed.
    used = [c for c in chunks if (c.split == "train" if kind == "global" else c.speed == 1.0 and not c.copy) and kind != "none"]
    sums = cmvn.total([records[chunk.name].sums for chunk in used])
    same_inputs(job.inputs["data"], job.out)
    cmvn.write_cmvn(sums, kind == "speaker", job.out / cmvn.STATISTICS, smallest)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="features"))
