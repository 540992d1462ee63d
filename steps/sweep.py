"""A search over settings: trials on dev, the best of them as a YAML file. See docs/tuning.md.

python -m steps.sweep --corpus asterisk rescoring.yaml
python -m steps.sweep --corpus asterisk --recipe bpe_ctc --trials 100 --jobs 4 --study /shared/study training.yaml
"""

import argparse
import logging
import math
import os
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from steps import command
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.options import Parser, positive
from utils.core.parallel import results
from utils.core.versions import tool_version
from utils.executors import choice
from utils.pipeline import config as configuration
from utils.pipeline import driver
from utils.pipeline.place import find_place
from utils.pipeline.stages import Plan
from utils.sweep.report import BEST
from utils.sweep.search import conclude, make_trials
from utils.sweep.space import Space, read_space
from utils.sweep.trials import Sweep, prepare

log = logging.getLogger("nuptse")


def parser() -> Parser:
    """The options."""
    p = driver.parser(stages=False, trains=True)
    choice.add_options(p)
    p.description = "Search over settings by the error rate on dev. See docs/tuning.md."
    p.add_argument("space", metavar="SPACE.yaml", help="keys, each with a range {low: 1, high: 9} or a list of choices")
    p.add_argument("--trials", type=positive, default=40, metavar="N", help="trials of the study, all runs together (default 40)")
    p.add_argument(
        "--jobs", type=positive, default=1, metavar="N", help="trials at a time; they share --nj and --threads (default 1)"
    )
    p.add_argument("--study", metavar="FOLDER", help="where the study is kept (default: sweep-SPACE beside the stages)")
    p.add_argument("--sampler", choices=("tpe", "random"), default="tpe", help="how settings are chosen (default tpe)")
    p.add_argument("--no-pruning", dest="prune", action="store_false", help="train every trial to its last epoch")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 2 where the sweep cannot go on, 130 after a signal."""
    try:
        return driver.with_plans(parser(), arguments, _search)
    except KeyboardInterrupt:
        log.error("interrupted; the same command goes on with the trials that are not complete")
        return 130


def _search(options: argparse.Namespace, plans: Dict[str, Plan]) -> None:
    place = find_place(options.world_size, options.device, False)
    choice.check(options)
    overrides = [*options.set, *getattr(options, "trained_with", [])]
    config = configuration.load(options.recipe, options.corpus_dir, overrides)
    path = options.here / options.space
    space = read_space(path, config)
    exp = plans["data"].out.parent
    folder = options.here / options.study if options.study else exp / f"sweep-{path.stem}"
    first = space.drawn(config)
    sweep = Sweep(
        folder=folder,
        space=space,
        about=_about(options, space, config, plans),
        recipe=options.recipe,
        corpus_dir=options.corpus_dir,
        overrides=overrides,
        exp=exp,
        run={**{key: max(1, getattr(options, key) // options.jobs) for key in ("nj", "threads")}, "device": options.device},
        place=place,
        options=options,
        trials=options.trials,
        sampler=options.sampler,
        first=first,
        warmup=max(2, math.ceil(config["train"]["epochs"] / 4)) if options.prune else None,
        ordinary=driver.run_command(
            options.recipe, ROOT / options.corpus_dir, options.here, "--config", _as_seen(ROOT / folder / BEST, options.here)
        ),
    )
    study = sweep.study()
    log.info("study: %s (%d of %d trials begun)", folder, len(study.trials()), options.trials)
    if not first:
        log.info("the recipe's own settings are not in the space, so they are no trial")
    driver.preload()
    some = first or study.draw([], "random", sweep.refuse)
    if some is None:
        raise UserError(f"{path}: no settings of the space are a configuration; of the first: {sweep.refuse(space.lowest())}")
    prepare(sweep, sweep.plans(some))
    if options.jobs == 1:
        make_trials(sweep)
    else:
        for _ in results(lambda number: make_trials(sweep), [(n,) for n in range(options.jobs)], options.jobs, "trials"):
            pass
    conclude(sweep)


def _about(options: argparse.Namespace, space: Space, config: Dict[str, Any], plans: Dict[str, Plan]) -> Dict[str, Any]:
    """What all processes of a study must agree on: the configuration, the space, the data, the code and its tools."""
    searched = space.about()
    settings = {key: value for key, value in configuration.leaves(config).items() if key not in searched}
    stages = {}
    for name, keys in space.behind(plans).items():
        tools = [f"{tool} {tool_version(tool)}" for tool in plans[name].stage.tools]
        version = ", ".join([f"version {plans[name].stage.version}", *tools])
        stages[name] = version if keys else plans[name].fingerprint
    given = {"corpus": options.corpus_dir.name, "recipe": options.recipe}
    return {**given, "space": searched, "settings": settings, "stages": stages}


def _as_seen(path: Path, here: Path) -> str:
    """A path as it is typed in `here`."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(here) if here in path.parents else path)


if __name__ == "__main__":
    command(main)
