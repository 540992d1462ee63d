"""Weights of the first pass: those that `auto` finds beside a full grid, and what was tried beside a penalty and a scale.

    python -m tests.bench.first_pass --corpus speechocean762 --recipe whisper_wordvec [--graph word_lattice] [--set KEY=VALUE] \\
        [--speech NAME --speech-set KEY=VALUE]

Word errors of the best paths on dev: of the corpus, or half of another corpus's speech (see unlike_speech.py). The network runs
once. Beside a blank penalty and an LM scale it tries, each with both searched for anew as `auto` does: log-probabilities minus a
share of the log of each symbol's mean posterior in training (label priors; Huang et al. 2024, less peaky CTC), a bonus for every
word of the graph, and a scale of all log-probabilities. Missing stages run first. Writes egs/<corpus>/first_pass.jsonl and
first_pass.md.
"""

import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from steps.decode import make_decoder
from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from tests.bench.unlike_speech import add_speech_options, halves_of, write_features
from utils.core.files import read_json
from utils.core.tables import Table, as_text, grouped, number
from utils.corpus.cuts import read_cuts
from utils.decode.first_pass import ONE_BEST, FirstPassDecoder, best_paths, lattices, lattices_of_words, scaled
from utils.decode.search_weights import AUTO, HEADS, SearchWeights, find
from utils.pipeline import driver
from utils.pipeline.config import view
from utils.pipeline.contract import Job
from utils.pipeline.stages import Plan
from utils.text.scoring import edits
from utils.train.dataset import ordered_batches
from utils.vectors.wordvec import word_scores

PENALTIES = [0.5 * n for n in range(9)]
SCALES = [round(0.1 * n, 1) for n in range(2, 13)]
SHARES = (0.3, 0.5, 0.7)  # of the log of the prior
BONUSES = (-0.5, 0.5, 1.0)  # natural log, for a word
TEMPERATURES = (0.7, 0.85, 1.2)  # factors of all log-probabilities
PRIOR_SECONDS = 900.0  # of training speech that priors are measured on
FLOOR = 1e-5  # of a prior


@dataclass
class Stored:
    """A batch of dev: what the network said of it."""

    cuts: Sequence[Any]
    log_probs: Tensor  # (N, T, symbols), blank first
    lengths: Tensor  # (N,)


@dataclass(frozen=True)
class Way:
    """How the first pass is changed, besides a penalty and a scale."""

    name: str
    value: float
    log_probs: Callable[[Tensor], Tensor] = lambda x: x
    graph: Callable[[Any], Any] = lambda graph: graph
    penalty: Any = AUTO


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    add_speech_options(p, required=False)
    p.add_argument("--graph", choices=HEADS, default="lattice", help="of the sub-word head (default), or of the word head")
    p.add_argument("--no-neighbours", action="store_true", help="the grid alone")
    return driver.with_plans(p, arguments, _run)


def _run(options: Namespace, plans: Dict[str, Plan]) -> None:
    stages_until("train", options)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        features, name = plans["features"].out, ""
        if options.speech:
            new, halves = halves_of(options, plans)
            features, name = Path(folder) / "features", read_json(new["data"].out / "summary.json")["name"]
            write_features(features, plans["features"].out, new["features"].out, halves)
        rows, seconds, words = _measured(options, plans, features, Path(folder))
    about = {"speech": name, "graph": options.graph, "seed": plans["train"].config["seed"], "words": words}
    record = described(options, plans, rows, **about, dev_seconds=round(seconds, 1))
    write_record(corpus_folder(plans), "first_pass", {**record, "model": plans["train"].fingerprint})
    for table in draw(corpus_folder(plans)):
        print(as_text(table))


def _measured(
    options: Namespace, plans: Mapping[str, Plan], features: Path, folder: Path
) -> Tuple[List[Dict[str, Any]], float, int]:
    """The rows of the record, seconds of dev, and its reference words."""
    decoder, graph = _decoder(options, plans, features, folder), options.graph
    dev = [_stored(decoder, graph, cuts) for cuts in ordered_batches(read_cuts(features, "dev"), decoder.batch_seconds())]
    audio = sum(cut.duration for batch in dev for cut in batch.cuts)
    words = sum(len(cut.supervisions[0].text.split()) for batch in dev for cut in batch.cuts)
    rows: List[Dict[str, Any]] = []

    def search(way: Way) -> None:
        started = time.process_time()
        head = HEADS[graph]
        config = SimpleNamespace(
            blank_penalty=SimpleNamespace(**{head: way.penalty}), first_lm_scale=SimpleNamespace(**{head: AUTO})
        )
        tried = find(graph, config, lambda wanted: [_errors(decoder, graph, dev, weights, way) for weights in wanted])
        best, errors = next(iter(tried.items()))
        took = time.process_time() - started
        row = {"way": way.name, "value": way.value, "weights": [best.blank_penalty, best.lm_scale], "errors": errors}
        rows.append({**row, "searches": len(tried), "rtf": round(took / audio, 5)})
        print(rows[-1], flush=True)

    plain = Way("none", 0.0)
    rows.append(
        {"way": "without", "value": 0.0, "weights": [0.0, 1.0], "errors": _errors(decoder, graph, dev, SearchWeights(), plain)}
    )
    search(Way("auto", 0.0))
    if not options.no_neighbours:
        prior = _log_prior(decoder, graph, list(read_cuts(plans["features"].out, "train")))
        for share in SHARES:
            search(Way("label priors", share, partial(torch.sub, other=share * prior)))
        search(Way("label priors, no penalty", SHARES[1], partial(torch.sub, other=SHARES[1] * prior), penalty=0.0))
        for bonus in BONUSES:
            search(Way("word bonus", bonus, graph=partial(_with_bonus, bonus=bonus)))
        for factor in TEMPERATURES:
            search(Way("scale of log-probabilities", factor, partial(torch.mul, factor)))
    grid = {(p, s): _errors(decoder, graph, dev, SearchWeights(p, s), plain) for p in PENALTIES for s in SCALES}
    best = min(grid, key=lambda pair: (grid[pair], pair))
    rows.append({"way": "grid", "value": 0.0, "weights": list(best), "errors": grid[best], "searches": len(grid)})
    rows[-1]["all"] = [[p, s, n] for (p, s), n in grid.items()]
    return rows, audio, words


def _decoder(options: Namespace, plans: Mapping[str, Plan], features: Path, out: Path) -> FirstPassDecoder:
    plan = plans["decode"]
    given = {key: getattr(options, key) for key in ("corpus", "recipe", "nj", "threads", "device")}
    inputs = {**plan.inputs, "features": features}
    return make_decoder(Job(view(plan.config), out, inputs, corpus_dir=corpus_folder(plans), overrides=(), plan=plan, **given))


@torch.no_grad()
def _stored(decoder: FirstPassDecoder, graph: str, cuts: Sequence[Any]) -> Stored:
    """Run the network on a batch."""
    output, _ = decoder.network_output(cuts, Path("none"))
    if graph == "lattice":
        return Stored(cuts, output.subword, output.subword_lengths)
    assert decoder.table is not None
    return Stored(cuts, word_scores(output.frames, output.blank, *decoder.table).log_softmax(-1), output.word_lengths)


def _log_prior(decoder: FirstPassDecoder, graph: str, cuts: Sequence[Any]) -> Tensor:
    """Log of each symbol's mean posterior in frames of training speech: (symbols,)."""
    chosen = cuts[:: max(1, round(sum(cut.duration for cut in cuts) / PRIOR_SECONDS))]
    total, frames = torch.zeros(()), 0
    for batch in ordered_batches(chosen, decoder.batch_seconds()):
        one = _stored(decoder, graph, batch)
        for row, length in zip(one.log_probs, one.lengths.tolist()):
            total, frames = total + row[:length].exp().sum(0), frames + length
    return (total / frames).clamp(min=FLOOR).log()


def _with_bonus(graph: Any, bonus: float) -> Any:
    """A graph with `bonus` added to the score of every word."""
    graph, labels = graph.clone(), graph.aux_labels
    if isinstance(labels, torch.Tensor):
        words = (labels > 0).float()
    else:
        splits = labels.shape.row_splits(1).long()
        total = torch.cat((torch.zeros(1), (labels.values > 0).float().cumsum(0)))
        words = total[splits[1:]] - total[splits[:-1]]
    graph.scores = graph.scores + bonus * words
    return graph


def _errors(decoder: FirstPassDecoder, name: str, dev: Sequence[Stored], weights: SearchWeights, way: Way) -> int:
    """Word errors of the best paths of dev."""
    search = lattices if name == "lattice" else lattices_of_words
    graph, wrong = way.graph(scaled(decoder.graphs[name], weights.lm_scale)), 0
    for batch in dev:
        log_probs = way.log_probs(batch.log_probs).clone()
        log_probs[..., 0] -= weights.blank_penalty
        paths = best_paths(search(log_probs, batch.lengths, graph, decoder.config, ONE_BEST))
        pairs = zip(batch.cuts, map(decoder.lexicon.ids_to_words, paths))
        wrong += sum(edits(cut.supervisions[0].text.split(), words) for cut, words in pairs)
    return wrong


def draw(corpus: Path) -> List[Table]:
    """Write first_pass.md of a corpus folder from first_pass.jsonl; returns its tables."""
    records = records_of(corpus, "first_pass")
    found, tried = [], []
    for record in records:
        labels = [what(record) + (f" on {record['speech']}" if record["speech"] else ""), HEADS[record["graph"]]]
        by_way = {row["way"]: row for row in record["rows"]}
        without, auto, grid = (by_way[way] for way in ("without", "auto", "grid"))

        def cells(row: Mapping[str, Any], words: int = record["words"]) -> List[str]:
            return [*(number(value, 2) for value in row["weights"]), number(100 * row["errors"] / words)]

        cost = 100 * (auto["errors"] / grid["errors"] - 1) if grid["errors"] else 0.0
        shown = [str(record["seed"]), str(record["words"]), cells(without)[-1]]
        found.append(
            [*labels, *shown, *cells(auto), *cells(grid), number(cost), str(auto["searches"]), number(100 * auto["rtf"], 2)]
        )
        ways = [row for row in record["rows"] if row["way"] not in ("without", "grid")]
        for row in ways if len(ways) > 1 else ():  # those of --no-neighbours have `auto` alone
            change = str(row["errors"] - auto["errors"]) if row is not auto else "0"
            value = number(row["value"], 2) if row is not auto else ""
            tried.append([*labels, row["way"], value, *cells(row), str(row["errors"]), change.replace("-", "−")])
    tables = [
        Table(
            f"Weights of the first pass: {corpus.name}",
            "Word error rate of the best paths on dev, percent: without (penalty 0, scale 1), with the blank penalty and the LM "
            "scale that `auto` finds, and with the best of a full grid (penalties 0 to 4 by 0.5, scales 0.2 to 1.2 by 0.1); how "
            "many errors more `auto` makes than the grid, percent; its searches, and their processor time in percent of the "
            "audio. The grid is fitted to dev; `auto` keeps near usual values.",
            [
                "corpus and recipe",
                "head",
                "seed",
                "words",
                "without",
                "penalty",
                "scale",
                "auto",
                "grid's penalty",
                "scale",
                "grid",
            ]
            + ["errors more", "searches", "time"],
            grouped(found, 1),
            2,
        ),
        Table(
            "Beside a penalty and a scale",
            "Each with the penalty and the scale searched for anew; errors on dev, and their difference from `auto`. Label "
            "priors: the share of each symbol's log prior that is subtracted; word bonus: for every word, natural log.",
            ["corpus and recipe", "head", "tried", "value", "penalty", "scale", "WER", "errors", "difference"],
            grouped(tried, 3),
            4,
        ),
    ]
    tables = [table for table in tables if table.rows]
    write_page(corpus, "first_pass", tables)
    return tables


if __name__ == "__main__":
    sys.exit(main())
