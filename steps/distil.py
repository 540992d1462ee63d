"""Teach an encoder on filter banks to give the frames of a frozen encoder, such as Whisper's; training begins from it.

Both have their features from stage 1, of the same corpora; transcripts are not used, and dev only to show how far it came:

./egs/speechocean762/run.sh --recipe whisper_wordvec --stop-stage features
./egs/speechocean762/run.sh --recipe stream_wordvec --stop-stage features
python -m steps.distil --corpus speechocean762 --recipe stream_wordvec --out student.safetensors \\
    --pair exp/speechocean762/features-OURS exp/speechocean762/features-WHISPERS
./egs/speechocean762/run.sh --recipe stream_wordvec --set train.init=student.safetensors
"""

import logging
import shutil
from typing import Dict, Optional, Sequence

import torch
from lhotse.utils import fix_random_seed

from steps import command
from utils.core.errors import UserError
from utils.core.options import Parser
from utils.nn.model import make_encoder, parameters
from utils.pipeline import driver
from utils.pipeline.config import made_with, view
from utils.pipeline.stages import Plan
from utils.train.distillation import Distillation, Pairs, Student

log = logging.getLogger("nuptse")


def parser() -> Parser:
    """The options."""
    p = driver.parser(stages=False)
    p.add_argument(
        "--pair",
        action="append",
        nargs=2,
        required=True,
        metavar=("OURS", "THEIRS"),
        help="folders of stage 1 of one corpus: with filter banks, and with the frames of the frozen encoder; may be repeated",
    )
    p.add_argument("--out", required=True, metavar="FILE", help="where the student's weights go, for train.init")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    return driver.with_plans(parser(), arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    if "train" not in plans or options.recipe == "gmm_hmm":
        raise UserError(f"recipe {options.recipe} trains no network; take stream_wordvec")
    if plans["train"].config["train"]["accumulate"] > 1:
        raise UserError("a student takes one batch in a step: leave train.accumulate at 1")
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    config, path = view(plans["train"].config), options.here / options.out
    folders = [(options.here / ours, options.here / theirs) for ours, theirs in options.pair]
    shares = config.train.cache_gb / (2 * len(folders))
    pairs = [Pairs.of_folders(ours, theirs, shares) for ours, theirs in folders]
    ours, theirs = (made_with(folder).features for folder in folders[0])
    rate = round(ours.frame_shift * config.model.subword_subsampling / theirs.frame_shift)
    widths = [next(iter(cuts)).num_features for cuts in (pairs[0].ours["train"], pairs[0].theirs.values())]
    fix_random_seed(config.seed)
    student = Student(make_encoder(config.model, widths[0], ours.frame_shift), widths[1], rate)
    hours = sum(cut.duration for one in pairs for cut in one.ours["train"]) / 3600
    log.info("%d weights learn %d columns of %s from %.1f hours", parameters(student), widths[1], theirs.front_end, hours)
    work = path.with_name(f"{path.name}.partial")
    explained = Distillation(student, pairs, config, work, log).run(path, {"teacher": f"{theirs.front_end} {theirs.model}"})
    shutil.rmtree(work)
    print(f"{path}: explains {explained:.1%} of the teacher's frames on dev; train with --set train.init={path}")


if __name__ == "__main__":
    command(main)
