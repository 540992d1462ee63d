"""What the benchmarks share: stages run by the driver, and the page of their records."""

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import List, Optional, Sequence

from steps.train import make_trainer
from utils import driver
from utils.config import load, view
from utils.files import ROOT, write_text
from utils.stages import Plan
from utils.tables import Table, as_markdown, number
from utils.training import Trainer


def of_model(options: Namespace) -> List[str]:
    """The arguments that name the configuration of `options`."""
    return ["--corpus", options.corpus, "--recipe", options.recipe, *(word for item in options.set for word in ("--set", item))]


def of_run(options: Namespace) -> List[str]:
    """The arguments that say how `options` has stages run."""
    return ["--nj", str(options.nj), "--threads", str(options.threads), "--device", options.device]


def must(status: int) -> None:
    """End with the status of a command that failed and has said why."""
    if status:
        sys.exit(status)


def stages_until(last: str, options: Namespace) -> None:
    """Run the stages of a configuration that don't stand yet, or end where one fails."""
    must(driver.main([*of_model(options), *of_run(options), "--stop-stage", last]))


def untrained(options: Namespace, train: Plan, folder: Path, *more: str, workers: int = 0) -> Trainer:
    """The trainer of the configuration of `options`, with `more` settings, whose files go to `folder`; `workers` make its batches."""
    config = view(load(options.recipe, ROOT / "egs" / train.out.parent.name, [*options.set, *more]))
    return make_trainer(config, train.inputs, folder, options.device, logging.getLogger("nuptse.bench"), workers)


def spread(values: Sequence[Optional[float]], digits: int = 1) -> str:
    """The mean of what the seeds have, and its range where there are several."""
    had = [value for value in values if value is not None]
    if not had:
        return number(None)
    ends = f" ({number(min(had), digits)} to {number(max(had), digits)})" if len(had) > 1 else ""
    return number(sum(had) / len(had), digits) + ends


def write_page(folder: Path, tables: Sequence[Table], drawn: str) -> None:
    """Write README.md of a folder of records.

    Args:
      tables: of which the first names the page.
      drawn: from what, and by which command.
    """
    shown = "\n".join(map(as_markdown, tables))
    write_text(folder / "README.md", f"# {tables[0].title}\n\nDrawn from {drawn}; do not edit.\n\n{shown}\n")
