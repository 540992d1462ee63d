"""How well spoken commands are understood: a public benchmark of orders to a coffee machine, in the noise of a kitchen.

    python -m tests.bench.commands --bundle BUNDLE --commands FOLDER [--others FOLDER,...] [--whisper] [--name "tuned to ..."]
    python -m tests.bench.commands --commands FOLDER --write-half HALF

FOLDER has `clean/`, `label.json`, `grammar.yaml` and the noise, `kitchen.*`, as github.com/Picovoice/speech-to-intent-benchmark
publishes them; tests.bench.home_commands makes such folders in Mandarin. As there, the noise is mixed in at 6 to 24 dB (the ratio
of the loudest frames' energies), and a command counts where its intent and all its slots are right; here none may be added
either. Controls: without word vectors, without Whisper's decoder, without both, and Whisper's own text read by the same grammar.
Folders of --others have what is no command: it is to be rejected. Writes egs/<corpus>/commands.jsonl and commands.md, <corpus>
being that of the bundle, after each ratio and each folder of --others; what a record of the same commit and bundle has is not
measured again. --write-half copies half of the recordings, split by the CRC-32 of their names, to a folder for
`steps.commands train --recordings`; --half measures on the other half.
"""

import argparse
import json
import math
import random
import shutil
import sys
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence

import numpy as np
import torch

from tests.bench.common import configuration, records_of, what, write_page, write_record
from utils.audio.given import MEDIA
from utils.audio.noises import samples_of
from utils.bundle.evidence import Evidence
from utils.commands.recognise import Commands
from utils.commands.scoring import Scored, search
from utils.commands.speech import RATE, mixed
from utils.commands.training import LABELS, meaning_of
from utils.core.errors import UserError
from utils.core.files import ROOT, files_in, write_json
from utils.core.options import Parser, positive
from utils.core.tables import Table, as_text, number, span
from utils.core.versions import git_state, machine
from utils.grammars.grammar import Command

TOGETHER = 16  # recordings a batch
RATIOS = (24, 21, 18, 15, 12, 9, 6)  # dB
CLEAN = "clean"
PUBLISHED: Dict[str, Sequence[float]] = {  # of 619 commands, at RATIOS
    "Picovoice Rhino (published)": (0.99, 0.99, 0.99, 0.99, 0.98, 0.97, 0.96),
    "Microsoft LUIS (published)": (0.93, 0.93, 0.92, 0.91, 0.90, 0.89, 0.86),
    "IBM Watson (published)": (0.96, 0.95, 0.95, 0.93, 0.89, 0.84, 0.72),
    "Amazon Lex (published)": (0.88, 0.87, 0.87, 0.87, 0.85, 0.84, 0.80),
    "Google Dialogflow (published)": (0.83, 0.82, 0.81, 0.80, 0.78, 0.78, 0.70),
}
SYSTEMS: Dict[str, Dict[str, Any]] = {  # name -> changed weights
    "units + word vectors + decoder": {},
    "units + decoder": {"word": 0.0},
    "units + word vectors": {"decoder": 0.0},
    "units": {"word": 0.0, "decoder": 0.0},
}
WHISPER = "Whisper's text, read by the grammar"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = Parser(prog="python -m tests.bench.commands", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    p.add_argument("--bundle", type=Path)
    p.add_argument("--commands", required=True, type=Path, metavar="FOLDER")
    p.add_argument("--others", default="", metavar="FOLDER,...")
    p.add_argument("--most", type=positive, default=500, help="recordings of each of these folders, and commands")
    p.add_argument("--name", default="", help="what was done to the bundle, for the tables")
    p.add_argument("--ratios", default=",".join(map(str, (CLEAN, *RATIOS))), metavar="RATIO,...")
    p.add_argument("--whisper", action="store_true", help="read what Whisper itself writes, too")
    p.add_argument("--half", action="store_true", help="only the recordings that --write-half leaves out")
    p.add_argument(
        "--write-half", type=Path, metavar="FOLDER", help="copy half of the recordings and their labels there, and stop"
    )
    options = p.parse_args(arguments)
    torch.set_num_threads(1)
    labels = json.loads((options.commands / LABELS).read_text(encoding="utf-8"))
    if options.write_half:
        return _write_half(options, labels)
    if not options.bundle:
        raise UserError("--bundle is missing: name a bundle's folder")
    commands = Commands.open(options.commands / "grammar.yaml", options.bundle)
    corpus = ROOT / "egs" / commands.recogniser.manifest.corpus.split("-")[0]
    names = [name for name in sorted(labels) if not (options.half and _is_first_half(name))]
    names = sorted(random.Random(0).sample(names, min(options.most, len(names))))
    record = _begun(corpus, _record(options, commands), len(names))
    clean = [samples_of(_audio(options.commands / "clean", name), RATE) for name in names]
    noise = samples_of(_audio(options.commands, "kitchen"), RATE)
    for word in options.ratios.split(","):
        ratio = None if word == CLEAN else int(word)
        if all(row["ratio"] != (CLEAN if ratio is None else ratio) for row in record["rows"]):
            sounds = _noisy(clean, noise, ratio)
            record["rows"] += _measured(commands, sounds, [labels[name] for name in names], ratio, options.whisper)
            _save(corpus, record)
    for folder in map(Path, filter(None, options.others.split(","))):
        if all(row["others"] != folder.name for row in record["rejected"]):
            record["rejected"].append(_rejected(commands, folder, options.most))
            _save(corpus, record)
    for table in draw(corpus):
        print(as_text(table))
    return 0


def _is_first_half(name: str) -> bool:
    return zlib.crc32(name.encode()) % 2 == 0


def _write_half(options: argparse.Namespace, labels: Mapping[str, Any]) -> int:
    """Copy the first half of the recordings, with their labels."""
    first = {name: label for name, label in labels.items() if _is_first_half(name)}
    options.write_half.mkdir(parents=True)
    for name in first:
        shutil.copy(_audio(options.commands / "clean", name), options.write_half)
    write_json(options.write_half / LABELS, first)
    return 0


def _begun(corpus: Path, record: Dict[str, Any], count: int) -> Dict[str, Any]:
    """The record with what was measured before by the same commit, with the same bundle and as many commands."""
    for other in records_of(corpus, "commands"):
        same = all(other.get(key) == record[key] for key in ("git_commit", "model", "weights"))
        if configuration(other) == configuration(record) and same and all(row["of"] == count for row in other["rows"]):
            return other
    return record


def _save(corpus: Path, record: Mapping[str, Any]) -> None:
    write_record(corpus, "commands", record)
    draw(corpus)
    print(*record["rows"][-1:], *record["rejected"][-1:], sep="\n", file=sys.stderr, flush=True)


def _audio(folder: Path, name: str) -> Path:
    return next(path for path in files_in(folder) if path.stem == name)


def _noisy(clean: Sequence[np.ndarray], noise: np.ndarray, ratio: Optional[int]) -> List[np.ndarray]:
    """The recordings with noise from a random place; ratio: dB, or None for none."""
    if ratio is None:
        return list(clean)
    draw = np.random.default_rng(ratio)
    starts = [draw.integers(len(noise) - len(samples)) for samples in clean]
    return [mixed(samples, noise[start : start + len(samples)], ratio) for samples, start in zip(clean, starts)]


def _measured(
    commands: Commands, sounds: Sequence[np.ndarray], labels: Sequence[Mapping[str, Any]], ratio: Optional[int], whisper: bool
) -> Iterator[Dict[str, Any]]:
    """A row for each system, without rejection; of the first, how many it would reject. They choose among the same sentences."""
    began = time.process_time()
    evidence = commands.recogniser.evidence([(samples, RATE) for samples in sounds], features=True)
    found = [search(one, commands.graphs, commands.rows, commands.table, commands.weights) for one in evidence]
    before, audio = time.process_time() - began, sum(map(len, sounds)) / RATE

    def row(name: str, find: Callable[[Scored, Evidence], Optional[Command]]) -> Dict[str, Any]:
        began = time.process_time()
        right = [find(*one) == meaning_of(label) for one, label in zip(zip(found, evidence), labels)]
        rtf = (before + time.process_time() - began) / audio
        return {"ratio": CLEAN if ratio is None else ratio, "system": name, "right": sum(right), "of": len(right), "rtf": rtf}

    rejected: List[bool] = []

    def first(scored: Scored, one: Evidence) -> Optional[Command]:
        """The first system's choice, whether it is rejected or not."""
        answer = commands.chosen(scored, one)
        rejected.append(answer.command is None)
        return answer.command or (answer.alternatives[0][0] if answer.alternatives else None)

    own = row(next(iter(SYSTEMS)), first)
    yield {**own, "rejected": sum(rejected)}
    for name, changed in list(SYSTEMS.items())[1:]:
        system = commands.weighed(replace(commands.weights, **changed))
        yield row(name, lambda scored, one: system.chosen(scored, one, reject=False).command)  # noqa: B023 - called at once
    if whisper and evidence[0].features is not None:
        text = commands.recogniser.decoder_words
        yield row(WHISPER, lambda _, one: commands.grammar.meaning(text(one.features) or []))


def _rejected(commands: Commands, folder: Path, most: int) -> Dict[str, Any]:
    """How many recordings of a folder are told from commands."""
    paths = [path for path in files_in(folder) if path.suffix.lower() in MEDIA]
    chosen = sorted(random.Random(0).sample(paths, min(most, len(paths))))
    rejected, seconds = 0, 0.0
    for first in range(0, len(chosen), TOGETHER):
        sounds = [samples_of(path, RATE) for path in chosen[first : first + TOGETHER]]
        answers = commands.recognise_many([(samples, RATE) for samples in sounds])
        rejected += sum(answer.command is None for answer in answers)
        seconds += sum(map(len, sounds)) / RATE
    return {"others": folder.name, "rejected": rejected, "of": len(chosen), "minutes": seconds / 60}


def _record(options: argparse.Namespace, commands: Commands) -> Dict[str, Any]:
    manifest = commands.recogniser.manifest
    return {
        "corpus": manifest.corpus,
        "recipe": manifest.recipe,
        "language": manifest.language,
        "overrides": [],
        "speech": ", ".join(filter(None, (options.name, "half of the recordings" * options.half))),
        "device": "cpu",
        "machine": machine("cpu"),
        "torch": torch.__version__,
        "rows": [],
        "rejected": [],
        "model": manifest.model,
        "weights": json.loads(json.dumps(asdict(commands.weights))),
        **git_state(ROOT),
    }


def draw(corpus: Path) -> List[Table]:
    """Write commands.md; returns its tables."""
    records = records_of(corpus, "commands")
    tables = [table for record in records for table in _tables(record)]
    heads = [f"{ratio} dB" for ratio in RATIOS]
    published = [[name, *(number(100 * share, 0) for share in shares)] for name, shares in PUBLISHED.items()]
    caption = "The published figures, of all 619 recordings of the benchmark; the share of commands understood, in %."
    if any(record.get("language", "en") == "en" for record in records):
        tables.append(Table("Published", caption, ["system", *heads], published, 1))
    write_page(corpus, "commands", tables)
    return tables


def _tables(record: Mapping[str, Any]) -> Iterator[Table]:
    bundle = f"{what(record)}{', ' * bool(record['speech'])}{record['speech']}"
    ratios = list(dict.fromkeys(row["ratio"] for row in record["rows"]))
    found = {(row["system"], row["ratio"]): row for row in record["rows"]}
    rows = []
    for name in dict.fromkeys(row["system"] for row in record["rows"]):
        own = [found[name, ratio] for ratio in ratios]
        rows.append([name, *(_share(row["right"], row["of"]) for row in own), number(own[0]["rtf"], 2)])
    heads = [ratio if ratio == CLEAN else f"{ratio} dB" for ratio in ratios]
    caption = (
        f"{record['rows'][0]['of']} recordings; commands with intent and all slots right, in %, with their 95% interval "
        "(Wilson 1927). None of them was in training."
    )
    yield Table(f"Commands: {bundle}", caption, ["system", *heads, "real-time factor"], rows, 1)
    passed = [
        (f"commands, {head}", found[next(iter(SYSTEMS)), ratio]["rejected"], found[next(iter(SYSTEMS)), ratio]["of"])
        for head, ratio in zip(heads, ratios)
    ]
    others = [(other["others"], other["rejected"], other["of"]) for other in record["rejected"]]
    shown = [[name, str(of), _share(count, of)] for name, count, of in (*passed, *others)]
    yield Table(
        f"Rejected: {bundle}",
        "Recordings of which the first system says that they are no command, in %.",
        ["recordings", "number", "rejected"],
        shown,
        1,
    )


def _share(count: int, of: int) -> str:
    """A share in %, and its interval (Wilson 1927) at 95%."""
    z = 1.96
    middle, half = (count + z * z / 2) / (of + z * z), z / (of + z * z) * math.sqrt(count * (of - count) / of + z * z / 4)
    return f"{number(100 * count / of)} {span(100 * (middle - half), 100 * (middle + half))}"


if __name__ == "__main__":
    sys.exit(main())
