"""Stage 5: train the acoustic model, in one process or in several that share the batches of each step.

./egs/NAME/run.sh --world-size 4
torchrun --nproc_per_node 4 -m steps.train --corpus NAME
"""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Mapping, Optional, Tuple

import torch
from lhotse import CutSet
from lhotse.utils import fix_random_seed

from utils.core.device import check_device
from utils.core.files import ROOT, read_jsonl, write_text
from utils.core.versions import git_state, tool_version
from utils.corpus.cuts import read_cuts
from utils.distributed.group import Group, join, leave, named_errors, own_log
from utils.distributed.launch import launch
from utils.features.loading import encodes
from utils.lang.feasibility import infeasible
from utils.lang.graphs import need_k2
from utils.lang.lexicon import training_lexicon
from utils.lang.units import with_words_beyond
from utils.pipeline.config import leaves
from utils.pipeline.contract import Job, logged, settings
from utils.pipeline.stages import hashed
from utils.results.pictures import training_curves
from utils.train.dataset import Features
from utils.train.initial import begin_from
from utils.train.models import make_model
from utils.train.pretrained_layers import UpperLayers, load_pretrained
from utils.train.trainer import Trainer

WORKERS = 8  # most processes that make batches for a GPU


def run(job: Job) -> None:
    """Write model.safetensors, summary.json, curves.jsonl, curves.svg; with grounding also train.ctm and dev.ctm."""
    config = job.config
    if config.loss.backend == "k2":
        need_k2("k2 losses (loss.backend=k2)", "set loss.backend=torch to train without it")
    if config.loss.grounding.weight:
        need_k2("alignments (loss.grounding.weight)", "set it to 0 to train without them")
    if job.place.publishes:
        _say_what_is_shared(job)
    if job.place.rank is None:
        launch(lambda place: _train_together(replace(job, place=place)), job.place.size, lambda rank: _log_of(job.out, rank))
    elif job.place.size > 1:
        _train_together(job)
    else:
        _train(job, Group())
    if job.place.publishes:
        write_text(job.out / "curves.svg", training_curves(read_jsonl(job.out / "curves.jsonl")))


def _train(job: Job, group: Group) -> None:
    here = group.place.local_size  # processes that share this machine
    torch.set_num_threads(max(1, job.threads // here))
    torch.set_flush_denormal(True)  # denormal numbers are slow, and as good as 0
    forks = job.device.startswith("cuda") and not encodes(job.inputs["features"])  # a loaded encoder does not survive a fork
    workers = min(max(1, job.nj // here), WORKERS) if forks else 0
    trainer = make_trainer(job.config, job.inputs, job.out, job.device, job.log, workers, group)
    trainer.watch = job.watch or trainer.watch
    trainer.run()
    torch.set_flush_denormal(False)  # numpy, which drawing imports, warns of it


def _train_together(job: Job) -> None:
    """Train as one of several processes."""
    place, own = job.place, _log_of(job.out, job.place.rank or 0)
    job = replace(job, device=place.device(job.device))
    with named_errors(place, job.out):
        check_device(job.device)
        group = join(place, _about(job), job.device, own)
        names = [f"rank {rank} of {group.size}: {who}" for rank, who in enumerate(group.who())]
        if group.rank == 0:
            for name in names:
                job.log.info(name)
            _train(job, group)
        else:
            own_log(job.log)
            with logged(job.log, own):
                job.log.info(names[group.rank])
                _train(job, group)
        leave()


def _log_of(folder: Path, rank: int) -> Path:
    return folder / (f"log-rank-{rank}.txt" if rank else "log.txt")


def _about(job: Job) -> Dict[str, str]:
    """What must be the same in all processes that train together."""
    return {
        **{f"setting {key}": str(value) for key, value in leaves(hashed(job.plan.config)).items()},
        **{f"version of {tool}": tool_version(tool) for tool in job.plan.stage.tools},
        **{name.replace("_", " "): str(value) for name, value in git_state(ROOT).items()},
        "fingerprint": job.plan.fingerprint,  # of all that the stage is made from
    }


def _say_what_is_shared(job: Job) -> None:
    """Log how many batches a step has, and which unfinished training differs in that alone."""
    size, batches = job.place.size, job.config.train.accumulate
    if size > 1:
        job.log.info(
            "%d processes x %d batches in a step: the model of one process with train.accumulate=%d",
            size,
            batches // size,
            batches,
        )
        job.log.info("later commands find it by --world-size %d or --set train.accumulate=%d", size, batches)
    if (job.out / "checkpoints").is_dir():
        return
    mine = _by_batches(job.out)
    for path in sorted(job.out.parent.glob("train-*.partial/config.yaml")):
        theirs = _by_batches(path.parent)
        if theirs[1] == mine[1] and theirs[0] != mine[0]:
            job.log.info(
                "%s is the same training with %d batches in a step: not continued here, as its steps are others; to continue it, "
                "let processes x train.accumulate be %d",
                path.parent.name,
                theirs[0],
                theirs[0],
            )


def _by_batches(folder: Path) -> Tuple[int, Dict[str, Any]]:
    """Batches in a step of a training, and its other settings."""
    found = settings(folder)
    return found["train"].pop("accumulate", 1), found


def make_trainer(
    config: SimpleNamespace,
    inputs: Mapping[str, Path],
    out: Path,
    device: str,
    log: logging.Logger,
    workers: int = 0,
    group: Optional[Group] = None,
) -> Trainer:
    """A trainer with an untrained model.

    Args:
      config: the keys that the stage declares.
      inputs: stage name -> its finished folder.
      workers: processes that make batches.
      group: the processes that train together; those of one machine share the memory for features.
    """
    left_out = infeasible(inputs["audit"])
    train_cuts, dev_cuts = (read_cuts(inputs["features"], split, left_out, config.features.shards) for split in ("train", "dev"))
    lexicon = with_words_beyond(training_lexicon(inputs), dev_cuts)
    synthesised = inputs.get("synthesise")
    if synthesised:
        train_cuts = CutSet.from_cuts([*train_cuts, *read_cuts(synthesised, "train", left_out)])
    fix_random_seed(config.seed)
    model = make_model(config.model, lexicon, inputs, next(iter(train_cuts)).num_features)
    if isinstance(model.front, UpperLayers):
        load_pretrained(model.front, inputs["features"])
    if config.train.init:
        taken = begin_from(model, Path(config.train.init), lexicon, inputs["vectors"])
        log.info("train.init=%s: taken are %s; the rest begins fresh", config.train.init, taken)
    group = group or Group()
    features = Features(inputs["features"], config.train.cache_gb / group.place.local_size, synthesised)
    return Trainer(model, lexicon, features, train_cuts, dev_cuts, config, out, device, log, workers, group)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="train"))
