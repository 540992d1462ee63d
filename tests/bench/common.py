"""What the benchmarks share: stages run by the driver, and the page of their records."""

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch

from steps.train import make_trainer
from utils.core.files import ROOT, read_json, write_json, write_text
from utils.core.versions import git_state, machine
from utils.pipeline import driver
from utils.pipeline.config import load, view
from utils.pipeline.stages import Plan
from utils.results.records import named_overrides, suffix
from utils.results.tables import Table, as_markdown, number
from utils.train.training import Trainer


def of_model(options: Namespace) -> List[str]:
    """The arguments that name the configuration of `options`."""
    return ["--corpus", options.corpus, "--recipe", options.recipe, *(word for item in options.set for word in ("--set", item))]


def of_run(options: Namespace) -> List[str]:
    """The arguments that say how `options` has stages run."""
    return ["--nj", str(options.nj), "--threads", str(options.threads), "--device", options.device]


def also(options: Namespace, *more: str) -> Namespace:
    """These options with `more` settings."""
    return Namespace(**{**vars(options), "set": [*options.set, *more]})


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


def write_record(options: Namespace, plans: Mapping[str, Plan], kind: str, rows: Collection[Mapping[str, Any]]) -> Path:
    """Write what was measured of the configuration of `options` on its device to the folder `kind` of its corpus.

    Returns:
      the corpus's folder.
    """
    corpus, overrides = ROOT / "egs" / plans["data"].out.parent.name, named_overrides(options.set)
    name = read_json(plans["data"].out / "summary.json")["name"]
    parts = (options.recipe, name[len(corpus.name) + 1 :], options.device.partition(":")[0], suffix(overrides))
    record = {
        "corpus": name,
        "recipe": options.recipe,
        "overrides": overrides,
        "device": options.device,
        "machine": machine(options.device),
        "torch": torch.__version__,
        "rows": list(rows),
        **git_state(ROOT),
    }
    write_json(corpus / kind / f"{'-'.join(filter(None, parts))}.json", record)
    return corpus


def records_of(corpus: Path, kind: str) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """The records of `write_record`, and how tables name their configuration."""
    for record in (read_json(path) for path in sorted((corpus / kind).glob("*.json"))):
        named = (record["corpus"], record["recipe"], suffix(record["overrides"]).replace("-", " "))
        yield " ".join(filter(None, named)), record


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
