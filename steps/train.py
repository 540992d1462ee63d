"""Stage 5: train the acoustic model."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Mapping

import torch
from lhotse import CutSet
from lhotse.utils import fix_random_seed

from utils.core.files import read_jsonl, write_text
from utils.corpus.cuts import read_cuts
from utils.features.loading import encodes
from utils.lang.feasibility import infeasible
from utils.lang.graphs import need_k2
from utils.lang.lexicon import training_lexicon
from utils.pipeline.contract import Job
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
    torch.set_num_threads(job.threads)
    torch.set_flush_denormal(True)  # denormal numbers are slow, and as good as 0
    if config.loss.backend == "k2":
        need_k2("k2 losses (loss.backend=k2)", "set loss.backend=torch to train without it")
    if config.loss.grounding.weight:
        need_k2("alignments (loss.grounding.weight)", "set it to 0 to train without them")
    forks = job.device.startswith("cuda") and not encodes(job.inputs["features"])  # a loaded encoder does not survive a fork
    trainer = make_trainer(config, job.inputs, job.out, job.device, job.log, min(job.nj, WORKERS) if forks else 0)
    trainer.watch = job.watch or trainer.watch
    trainer.run()
    torch.set_flush_denormal(False)  # numpy, which drawing imports, warns of it
    write_text(job.out / "curves.svg", training_curves(read_jsonl(job.out / "curves.jsonl")))


def make_trainer(
    config: SimpleNamespace, inputs: Mapping[str, Path], out: Path, device: str, log: logging.Logger, workers: int = 0
) -> Trainer:
    """A trainer with an untrained model.

    Args:
      config: the keys that the stage declares.
      inputs: stage name -> its finished folder.
      workers: processes that make batches.
    """
    left_out = infeasible(inputs["audit"])
    train_cuts, dev_cuts = (read_cuts(inputs["features"], split, left_out, config.features.shards) for split in ("train", "dev"))
    lexicon, synthesised = training_lexicon(inputs), inputs.get("synthesise")
    if synthesised:
        train_cuts = CutSet.from_cuts([*train_cuts, *read_cuts(synthesised, "train", left_out)])
    fix_random_seed(config.seed)
    model = make_model(config.model, lexicon, inputs, next(iter(train_cuts)).num_features)
    if isinstance(model.front, UpperLayers):
        load_pretrained(model.front, inputs["features"])
    if config.train.init:
        taken = begin_from(model, Path(config.train.init), lexicon, inputs["vectors"])
        log.info("train.init=%s: taken are %s; the rest begins fresh", config.train.init, taken)
    features = Features(inputs["features"], config.train.cache_gb, synthesised)
    return Trainer(model, lexicon, features, train_cuts, dev_cuts, config, out, device, log, workers)


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="train"))
