"""What worker processes bring in training: how long training waits for batches, with features on the disk and in memory.

    python -m tests.bench.batches --corpus asterisk --device cuda --set loss.backend=torch [--workers 0 2 8] [--set KEY=VALUE]

Missing stages run first. Each number of processes trains a fresh model for two epochs, in turns; the first turn is not counted.
The first epoch reads features from the disk (or the system's cache), the second finds them in the processes' memory. Writes
egs/<corpus>/batches.jsonl and batches.md.
"""

import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from tests.bench.common import (
    corpus_folder,
    described,
    records_of,
    spread,
    stages_until,
    untrained,
    what,
    write_page,
    write_record,
)
from utils.core.tables import Table, as_text, grouped, number
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.train.trainer import Trainer

EPOCHS, ROUNDS = 2, 3


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--workers", type=int, nargs="+", default=[0, 2, 8], metavar="N", help="processes that make batches")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("audit", options)
    torch.set_num_threads(options.threads)
    rows = {workers: {"workers": workers, "epochs": []} for workers in options.workers}
    for turn, workers in itertools.product(range(ROUNDS + 1), options.workers):
        with tempfile.TemporaryDirectory() as folder:
            took = _epochs(untrained(options, plans["train"], Path(folder), workers=workers))
        if turn:  # the first warms up: in a GPU's first minute a step takes many times as long
            rows[workers]["epochs"].append(took)
    corpus = corpus_folder(plans)
    write_record(corpus, "batches", described(options, plans, rows.values()))
    print(as_text(draw(corpus)))


def _epochs(made: Trainer) -> List[Dict[str, float]]:
    """For each epoch its steps, its seconds, and the seconds that training waited for batches.

    Counting begins with the second batch, when the processes have started and a GPU has allocated its memory.
    """
    made.config.train.epochs = EPOCHS
    batches = made.batches()
    made.update([next(batches)], "the first step")
    counts, out = [len(made.epoch_batches(epoch)) for epoch in range(EPOCHS)], []
    counts[0] -= 1
    for steps in counts:
        started, waited = time.perf_counter(), 0.0
        for _ in range(steps):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            made.update([batch], "a step")
        if made.device.type == "cuda":
            torch.cuda.synchronize(made.device)
        out.append({"steps": steps, "seconds": time.perf_counter() - started, "waited": waited})
    return out


def draw(corpus: Path) -> Table:
    """Write batches.md of a corpus folder from batches.jsonl; returns its table."""
    rows: List[List[Any]] = []
    for record in records_of(corpus, "batches"):
        for row in record["rows"]:
            cells = []
            for epoch in range(EPOCHS):
                of = [run[epoch] for run in row["epochs"]]
                base = statistics.fmean(run[epoch]["seconds"] for run in record["rows"][0]["epochs"])
                cells += [
                    spread([1000 * one["seconds"] / one["steps"] for one in of]),
                    number(100 * statistics.fmean(one["waited"] / one["seconds"] for one in of), 0),
                    number(base / statistics.fmean(one["seconds"] for one in of), 2),
                ]
            rows.append([what(record), record["machine"], str(row["workers"]), *cells])
    header = ["corpus and recipe", "machine", "processes"]
    header += [f"{word}, {of}" for of in ("first epoch", "second epoch") for word in ("ms a step", "% waited", "speed-up")]
    caption = (
        f"Training of an untrained model, {ROUNDS} runs in turns, by how many processes make its batches; 0: the one that "
        "trains. Milliseconds a step with the range of the runs, how much of that training waited for a batch, how many times "
        "faster than with the first number of processes."
    )
    table = Table(f"Batches made ahead: {corpus.name}", caption, header, grouped(rows, 2), 3)
    write_page(corpus, "batches", [table])
    return table


if __name__ == "__main__":
    sys.exit(main())
