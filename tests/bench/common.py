"""What the benchmarks share: stages run by the driver; records, a line each in egs/<corpus>/<benchmark>.jsonl; their page."""

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Tuple

import torch

from steps.train import make_trainer
from utils.core.device import check_device
from utils.core.files import ROOT, read_json, read_jsonl, write_jsonl, write_text
from utils.core.tables import Table, as_markdown, number
from utils.core.versions import git_state, machine
from utils.pipeline import driver
from utils.pipeline.config import load, view
from utils.pipeline.stages import Plan
from utils.pipeline.variants import display_name
from utils.results.records import named_overrides
from utils.results.store import locked
from utils.train.trainer import Trainer


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
    """Exit with the status of a command that failed; it has printed the reason."""
    if status:
        sys.exit(status)


def stages_until(last: str, options: Namespace) -> None:
    """Run the stages of a configuration that are not complete; exit where one fails."""
    must(driver.main([*of_model(options), *of_run(options), "--stop-stage", last]))


def untrained(options: Namespace, train: Plan, folder: Path, *more: str, workers: int = 0) -> Trainer:
    """A trainer of an untrained model with the configuration of `options` and `more` settings; its files go to `folder`.

    Raises:
      UserError: torch cannot use the device.
    """
    check_device(options.device)
    config = view(load(options.recipe, ROOT / "egs" / train.out.parent.name, [*options.set, *more]))
    return make_trainer(config, train.inputs, folder, options.device, logging.getLogger("nuptse.bench"), workers)


def described(options: Namespace, plans: Mapping[str, Plan], rows: Collection[Mapping[str, Any]], **more: Any) -> Dict[str, Any]:
    """A record: the configuration of `options`, the machine, the code, and what was measured."""
    return {
        "corpus": read_json(plans["data"].out / "summary.json")["name"],
        "recipe": options.recipe,
        "overrides": named_overrides(options.set),
        **more,
        "device": options.device,
        "machine": machine(options.device),
        "torch": torch.__version__,
        "rows": list(rows),
        **git_state(ROOT),
    }


def write_record(corpus: Path, kind: str, record: Mapping[str, Any]) -> None:
    """Add a record to the benchmark `kind` of a corpus folder, replacing the one of the same configuration."""
    with locked(corpus):
        kept = [other for other in records_of(corpus, kind) if configuration(other) != configuration(record)]
        write_jsonl(corpus / f"{kind}.jsonl", sorted([*kept, record], key=configuration))


def records_of(corpus: Path, kind: str) -> List[Dict[str, Any]]:
    """The records of a benchmark, sorted by configuration; of two records of one configuration (after a merge) the later line."""
    path = corpus / f"{kind}.jsonl"
    found = {configuration(record): record for record in (read_jsonl(path) if path.exists() else ())}
    return [found[key] for key in sorted(found)]


def configuration(record: Mapping[str, Any]) -> Tuple[str, ...]:
    """What tells a record from the others of its benchmark."""
    parts = (record["corpus"], record.get("recipe", ""), " ".join(record["overrides"]), " ".join(record.get("how_added", ())))
    more = (
        record.get("device", "cpu").partition(":")[0],
        record.get("speech", ""),
        record.get("graph", ""),
        record.get("trial", ""),
        str(record.get("minutes", "")),
    )
    return (*parts, str(record.get("seed", "")), *more)


def what(record: Mapping[str, Any]) -> str:
    """How tables name the configuration of a record."""
    return f"{record['corpus']} {display_name(record['recipe'], record['overrides'])}"


def corpus_folder(plans: Mapping[str, Plan]) -> Path:
    """The corpus folder of a run."""
    return ROOT / "egs" / plans["data"].out.parent.name


def spread(values: Sequence[Optional[float]], digits: int = 1) -> str:
    """Mean over the seeds that have a value, with the range where they differ."""
    had = [value for value in values if value is not None]
    if not had:
        return number(None)
    ends = f" ({number(min(had), digits)} to {number(max(had), digits)})" if min(had) < max(had) else ""
    return number(sum(had) / len(had), digits) + ends


def write_page(corpus: Path, kind: str, tables: Sequence[Table], notes: Sequence[str] = ()) -> None:
    """Write egs/<corpus>/<kind>.md; the first table names the page."""
    made = f"Drawn from `{kind}.jsonl` by `python -m tests.bench.{kind}`; do not edit."
    shown = "\n".join(map(as_markdown, tables))
    write_text(corpus / f"{kind}.md", f"# {tables[0].title}\n\n{made}\n\n{shown}" + "".join(f"\n{note}\n" for note in notes))
