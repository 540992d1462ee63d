"""Stage 5: train the acoustic model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Dict

import torch
from lhotse.utils import fix_random_seed
from safetensors.torch import load_file

from utils.config import made_with
from utils.contract import Job
from utils.curves import draw
from utils.dataset import Features, read_cuts
from utils.files import read_json
from utils.graphs import need_k2
from utils.hidden_states import load_pretrained, make_front
from utils.lexicon import Lexicon, read_lexicon
from utils.model import Model, build, load
from utils.training import Trainer


def run(job: Job) -> None:
    """Write model.safetensors, summary.json, curves."""
    config = job.config
    torch.set_num_threads(job.threads)
    torch.set_flush_denormal(True)  # they cost far more than they weigh
    if config.loss.backend == "k2":
        need_k2("k2 losses (loss.backend=k2)", "set loss.backend=torch to train without it")
    if config.loss.grounding.weight:
        need_k2("alignments (loss.grounding.weight)", "set it to 0 to train without them")
    left_out = [line.split("\t")[0] for line in (job.inputs["audit"] / "infeasible.tsv").read_text().splitlines()]
    train_cuts, dev_cuts = (
        read_cuts(job.inputs["features"], "train", left_out),
        read_cuts(job.inputs["features"], "dev", left_out),
    )
    lexicon = read_lexicon(job.inputs["lang"])
    fix_random_seed(config.seed)
    model = make_model(config.model, lexicon, job.inputs, next(iter(train_cuts)).num_features)
    if config.model.finetune:
        load_pretrained(model.front, job.inputs["features"])
    Trainer(
        model,
        lexicon,
        Features(job.inputs["features"], config.train.cache_gb),
        train_cuts,
        dev_cuts,
        config,
        job.out,
        job.device,
        job.log,
    ).run()
    torch.set_flush_denormal(False)  # numpy warns of it where it is imported, and draw does
    draw(job.out / "curves.jsonl", job.out / "curves.svg")


def make_model(config: SimpleNamespace, lexicon: Lexicon, inputs, num_mel_bins: int) -> Model:  # noqa: ANN001
    """A fresh model for the word-vector table and the units in the folders `inputs`."""
    table = load_file(str(inputs["vectors"] / "table.safetensors"))
    dim = read_json(inputs["vectors"] / "provenance.json")["dim"]
    front, width = make_front(inputs["features"], num_mel_bins, config.finetune, config.dropout)
    return build(config, width, len(lexicon.tokens) + 1, len(lexicon.words), table, dim, front)


def trained_model(folder: Path, inputs: Dict[str, Path], lexicon: Lexicon) -> Model:
    """The model of a finished training, to be used.

    Args:
      folder: of the stage train.
      inputs: the folders that it was made from, by stage.
    """
    bins = next(iter(read_cuts(inputs["features"], "dev"))).num_features
    model = make_model(made_with(folder).model, lexicon, inputs, bins)
    load(model, folder / "model.safetensors")
    return model.eval()


if __name__ == "__main__":
    import sys

    from utils.driver import main

    sys.exit(main(only="train"))
