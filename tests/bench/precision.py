"""What half precision brings: errors on dev after trainings in fp32, bf16 and, on a GPU, fp16; speed and memory of their steps.

    python -m tests.bench.precision --corpus asterisk --device cuda --set loss.backend=torch [--seeds 0 1 2] [--set KEY=VALUE]

Missing stages run first. Steps of all precisions are timed in turns on the same batches, which are in memory already. Writes
egs/<corpus>/precision.jsonl and precision.md.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from tests.bench.common import (
    also,
    corpus_folder,
    described,
    must,
    of_model,
    of_run,
    records_of,
    spread,
    stages_until,
    untrained,
    what,
    write_page,
    write_record,
)
from utils.core.files import ROOT, read_json, read_jsonl
from utils.core.memory import gpu_peak
from utils.core.tables import Table, as_text, grouped, number
from utils.nn.model import parameters
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.train.dataset import collate
from utils.train.trainer import Trainer

PRECISIONS = ("fp32", "bf16", "fp16")
BATCHES, ROUNDS = 8, 7


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2], metavar="N", help="of whole trainings; none: steps alone")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("audit", options)
    rows: Dict[str, Dict[str, Any]] = {
        name: {"precision": name, "trained": []} for name in PRECISIONS if options.device != "cpu" or name != "fp16"
    }
    for seed in options.seeds:
        for name, row in rows.items():
            row["trained"].append({"seed": seed, **_trained(also(options, f"seed={seed}", f"train.precision={name}"))})
    for name, steps in _steps(options, plans["train"], list(rows)).items():  # last: a process that has used a GPU must not fork
        rows[name].update(steps)
    corpus = corpus_folder(plans)
    write_record(corpus, "precision", described(options, plans, rows.values()))
    print(as_text(draw(corpus)))


def _trained(options) -> Dict[str, Any]:  # noqa: ANN001
    """Train, unless that is done, and return the dev errors of the best epoch."""
    must(driver.main([*of_model(options), *of_run(options), "--stage", "train", "--stop-stage", "train"]))
    folder = driver.planned_stages(options, ROOT)[1]["train"].out
    best = read_json(folder / "summary.json")["best"][0]["file"]
    rows = [row for row in read_jsonl(folder / "curves.jsonl") if best == f"epoch-{row['epoch']:04d}.safetensors"]
    return {key: value for row in rows for key, value in row.items() if key.endswith("_error")}


def _steps(options, train: Plan, precisions: Sequence[str]) -> Dict[str, Dict[str, float]]:  # noqa: ANN001
    """Precision -> median seconds of a step, seconds of speech in a second, and the GPU memory of a step, without weights,
    gradients and the optimiser's state.
    """
    torch.set_num_threads(options.threads)
    out: Dict[str, Dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainers = {name: untrained(options, train, Path(folder) / name, f"train.precision={name}") for name in precisions}
        one = next(iter(trainers.values()))
        groups = one.epoch_batches(0)
        groups = sorted(groups, key=lambda cuts: -sum(cut.duration for cut in cuts))[:BATCHES]
        speech = sum(cut.duration for cuts in groups for cut in cuts)
        batches = [collate(cuts, one.features, one.lexicon, one.augment) for cuts in groups]
        seconds: Dict[str, List[List[float]]] = {name: [] for name in precisions}
        for turn in range(ROUNDS + 1):
            for name, made in trainers.items():
                if made.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(made.device)
                before = gpu_peak(made.device)
                took = [_seconds(made, batch) for batch in batches]
                if turn:  # the first warms up
                    seconds[name].append(took)
                    out[name] = {"parameters": parameters(made.model), "step_gpu_memory_mb": gpu_peak(made.device) - before}
    for name in precisions:
        each = [statistics.median(took) for took in zip(*seconds[name])]
        out[name].update(step_seconds=statistics.fmean(each), speech_a_second=speech / sum(each))
    return out


def _seconds(made: Trainer, batch: Any) -> float:
    """Wall time of one step of the optimiser, until its loss is back from the device."""
    started = time.perf_counter()
    made.update([batch], "a step")
    if made.device.type == "cuda":
        torch.cuda.synchronize(made.device)
    return time.perf_counter() - started


def draw(corpus: Path) -> Table:
    """Write precision.md of a corpus folder from precision.jsonl; returns its table."""
    rows = []
    for record in records_of(corpus, "precision"):
        base = record["rows"][0]
        for row in record["rows"]:
            trained = row["trained"]
            heads = [spread([one.get(f"dev_{head}_error") for one in trained]) for head in ("subword", "word")]
            rows.append(
                [
                    what(record),
                    record["machine"],
                    row["precision"],
                    str(len(trained)),
                    *heads,
                    number(row["parameters"] / 1e6, 1),
                    number(row["step_gpu_memory_mb"] or None, 0),
                    number(1000 * row["step_seconds"], 1),
                    number(base["step_seconds"] / row["step_seconds"], 2),
                    number(row["speech_a_second"], 0),
                ]
            )
    header = ["corpus and recipe", "machine", "precision", "seeds", "sub-word error", "word error", "M parameters", "GPU MB"]
    header += ["ms a step", "speed-up", "speech a second"]
    caption = (
        "Whole trainings, means over seeds with their range: greedy error on dev of each head at the best epoch, percent. "
        "Steps of the optimiser on the longest batches, in turns: memory of the GPU beside weights, gradients and the "
        "optimiser's state, median milliseconds, how many times faster than in the first precision, seconds of speech in a "
        "second."
    )
    table = Table(f"Precision of training: {corpus.name}", caption, header, grouped(rows, 2), 3)
    write_page(corpus, "precision", [table])
    return table


if __name__ == "__main__":
    sys.exit(main())
