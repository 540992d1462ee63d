"""Stage 5: train the acoustic model."""

import torch
from lhotse.utils import fix_random_seed

from utils.contract import Job
from utils.curves import draw
from utils.dataset import Features, read_cuts
from utils.graphs import need_k2
from utils.hidden_states import load_pretrained
from utils.lexicon import read_lexicon
from utils.trained import make_model
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


if __name__ == "__main__":
    import sys

    from utils.driver import main

    sys.exit(main(only="train"))
