"""A trained model on speech unlike its training's: what the weights of the first pass bring, and where they must be found.

    python -m tests.bench.unlike_speech --corpus speechocean762 --recipe whisper_wordvec --speech kaldi_dir \\
        --speech-set data.source=FOLDER --speech-set data.options.name=common_voice-en [--set seed=1] [--add-words]

The speech is another corpus of egs/, all of its utterances. Half of it is the dev set, half the test set: whole speakers where
there are ten or more, else utterances, chosen by the SHA-1 of their names. The model decodes and rescores the test half with
weights of the first pass and of rescoring that come from the dev half, or from the dev set of the model's own corpus, as for a
user who has no transcripts of the new speech; each with the weights of the first pass found and without (penalty 0, scale 1).
Missing stages run first. Writes egs/<corpus>/unlike_speech.jsonl and unlike_speech.md.
"""

import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lhotse.cut import MonoCut
from safetensors.numpy import load_file, save_file

from steps import add_words
from tests.bench.common import (
    also,
    corpus_folder,
    described,
    must,
    of_model,
    records_of,
    spread,
    stages_until,
    write_page,
    write_record,
)
from utils.core.errors import UserError
from utils.core.files import ROOT, atomic_path, read_json, read_jsonl, write_lines
from utils.core.parallel import in_fork
from utils.core.splits import EVALUATION, SPLITS, cuts_path
from utils.core.tables import Table, as_text, grouped, number, probability, signed, span
from utils.corpus.cuts import read_cuts
from utils.corpus.manifests import chosen_by_name, write_manifest
from utils.decode.search_weights import FILE, HEADS, read_weights
from utils.features.cmvn import STATISTICS
from utils.lang.lexicon import read_lexicon
from utils.pipeline import contract, driver
from utils.pipeline.config import made_with
from utils.pipeline.stages import Plan
from utils.pipeline.variants import display_name
from utils.results.records import decoding_rank
from utils.text.scoring import difference, error_rate, interval, oracle, score

SPEAKERS = 10  # from that many on, whole speakers are in one half
KEYS = [f"decode.{key}.{head}" for key in ("blank_penalty", "first_lm_scale") for head in HEADS.values()]
FOUND = [f"{key}=auto" for key in KEYS]
WITHOUT = [f"{key}={float('scale' in key)}" for key in KEYS]
WAYS = {"found": FOUND, "without": WITHOUT}
Rates = Mapping[str, Any]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    add_speech_options(p, required=True)
    p.add_argument("--add-words", action="store_true", help="add the words of the speech that the training text lacks")
    return driver.with_plans(p, arguments, _run)


def add_speech_options(p: ArgumentParser, required: bool) -> None:
    """The options that name the new speech."""
    p.add_argument("--speech", required=required, metavar="NAME", help="the corpus to recognise, a folder of egs/")
    p.add_argument("--speech-set", action="append", default=[], metavar="KEY=VALUE", help="a setting of that corpus")


def _run(options: Namespace, plans: Dict[str, Plan]) -> None:
    if "propose" in plans:
        raise UserError("rescore.attention.beam needs the audio of the own dev set beside that of the new speech: not done here")
    stages_until("train", options)
    new, halves = halves_of(options, plans)
    how: List[str] = []
    if options.add_words:
        how, name = ["its words added"], "speech-" + new["features"].fingerprint
        unseen = {word for cuts in halves.values() for cut in cuts for word in cut.supervisions[0].text.split()}
        with tempfile.TemporaryDirectory() as folder:
            write_lines(Path(folder) / "words", sorted(unseen - set(read_lexicon(plans["lang"].out).words)))
            must(add_words.main([*of_model(options), "--pack", name, "--file", str(Path(folder) / "words")]))
        options = also(options, f"decode.packs=[{name}]")
    rows: List[Dict[str, Any]] = []
    for source in ("own", "new"):
        dev = halves["dev"] if source == "new" else list(read_cuts(plans["features"].out, "dev"))
        for way, settings in WAYS.items():
            run = driver.planned_stages(also(options, *settings), ROOT)[1]
            speech = plans["features"].out.with_name(f"unlike-{new['features'].fingerprint}-{source}")
            write_features(speech, plans["features"].out, new["features"].out, {"dev": dev, "test": halves["test"]})
            decoded = _recognise(options, run, speech)
            rows.append({"dev": source, "weights": way, **_measured(decoded, run["lang"].out)})
            print({k: v for k, v in rows[-1].items() if k != "decodings"}, flush=True)
    settings = [item for item in options.set if not item.startswith("decode.packs=")]
    about = {
        "speech": read_json(new["data"].out / "summary.json")["name"],
        "how_added": how,
        "seed": plans["train"].config["seed"],
    }
    sizes = {half: {"utterances": len(cuts), "seconds": round(sum(c.duration for c in cuts), 1)} for half, cuts in halves.items()}
    record = described(Namespace(**{**vars(options), "set": settings}), plans, rows, **about, halves=sizes)
    write_record(corpus_folder(plans), "unlike_speech", {**record, "model": plans["train"].fingerprint})
    for table in draw(corpus_folder(plans)):
        print(as_text(table))


def halves_of(options: Namespace, plans: Mapping[str, Plan]) -> Tuple[Dict[str, Plan], Dict[str, List[MonoCut]]]:
    """The stages data and features of the new speech, with the model's front end; its halves.

    Raises:
      UserError: the corpus's own settings ask for another front end.
    """
    asked = Namespace(**{**vars(options), "corpus": options.speech, "set": options.speech_set})
    stages_until("features", asked)
    new = driver.planned_stages(asked, ROOT)[1]
    trained, other = (vars(made_with(each["features"].out).features) for each in (plans, new))
    unlike = [key for key in trained if key != "speed_perturb" and trained[key] != other[key]]
    if unlike:
        raise UserError(f"the model's features differ in {', '.join(unlike)}: give --speech-set features.{unlike[0]}=...")
    once = {cut.id for split in SPLITS for cut in read_cuts(new["data"].out, split)}  # without copies at other speeds
    cuts = [cut for split in SPLITS for cut in read_cuts(new["features"].out, split) if cut.id in once]
    speakers = {cut.supervisions[0].speaker for cut in cuts}
    whole = len(speakers) >= SPEAKERS
    dev = chosen_by_name(speakers if whole else {cut.id for cut in cuts}, (len(speakers) if whole else len(cuts)) // 2)
    halves: Dict[str, List[MonoCut]] = {half: [] for half in EVALUATION}
    for cut in cuts:
        halves["dev" if (cut.supervisions[0].speaker if whole else cut.id) in dev else "test"].append(cut)
    return new, halves


def write_features(out: Path, trained: Path, new: Path, cuts: Mapping[str, Sequence[MonoCut]]) -> None:
    """A features folder with these cuts; normalised by the speech that the model was trained on, or each speaker's own."""
    out.mkdir(exist_ok=True)
    for path in trained.iterdir():
        if path.is_file() and path.name not in (STATISTICS, *(cuts_path(out, split).name for split in SPLITS)):
            shutil.copyfile(path, out / path.name)
    with atomic_path(out / STATISTICS) as temporary:
        save_file({**load_file(new / STATISTICS), **load_file(trained / STATISTICS)}, str(temporary))
    for split in EVALUATION:
        write_manifest(cuts_path(out, split), cuts[split])


def _recognise(options: Namespace, run: Mapping[str, Plan], speech: Path) -> Dict[str, Path]:
    """Run decode and rescore on another features folder; their folders, which are in it."""
    folders: Dict[str, Path] = {"features": speech}
    for name in ("decode", "rescore"):
        own = run[name]
        plan = replace(own, out=speech / own.out.name, inputs={**own.inputs, **folders})
        given = {key: getattr(options, key) for key in ("recipe", "nj", "threads", "device")}
        where = {"corpus": options.corpus, "corpus_dir": corpus_folder(run), "overrides": ()}
        in_fork(f"{name} of the new speech", partial(contract.make, plan, **where, **given))
        folders[name] = plan.out
    return folders


def _measured(folders: Mapping[str, Path], lang: Path) -> Dict[str, Any]:
    """Weights of the first pass; rates of every decoding on the test half, and of the best hypotheses in the lists."""
    vocabulary = set(read_lexicon(lang).words)
    found: Dict[str, Any] = {}
    for path in (path for stage in ("decode", "rescore") for path in folders[stage].glob("hyps-*-test.jsonl")):
        scores = score((row["id"], row["ref"], row["hyp"]) for row in read_jsonl(path))
        counts = {key: int(getattr(scores, key).sum()) for key in ("deletions", "insertions", "substitutions")}
        found[path.name[len("hyps-") : -len("-test.jsonl")]] = {
            "wer": round(error_rate(scores.errors, scores.words), 3),
            "wer_interval": [round(edge, 3) for edge in interval(scores.errors, scores.words)],
            **{key: round(100 * n / int(scores.words.sum()), 3) for key, n in counts.items()},
            "utterance_errors": scores.errors.tolist(),
        }
    lists = read_jsonl(folders["rescore"] / "nbest-test.jsonl")
    best = oracle((row["id"], row["ref"], [p["words"] for p in row["paths"]]) for row in lists)
    words = {row["id"]: len(row["ref"]) for row in lists}
    unseen = sum(word not in vocabulary for row in lists for word in row["ref"])
    weights = {graph: [w.blank_penalty, w.lm_scale] for graph, w in read_weights(folders["decode"]).items()}
    return {
        "first_pass": {graph: weights[graph] for graph in HEADS if graph in read_json(folders["decode"] / FILE)},
        "oracle_wer": round(100 * sum(best.values()) / sum(words.values()), 3),
        "oov_rate": round(100 * unseen / sum(words.values()), 3),
        "utterance_words": [words[name] for name in sorted(words)],
        "decodings": {name: found[name] for name in sorted(found, key=decoding_rank)},
    }


def draw(corpus: Path) -> List[Table]:
    """Write the page; returns its tables."""
    records = records_of(corpus, "unlike_speech")
    tables = [rates(records, corpus.name), errors_by_kind(records), with_and_without(records)]
    write_page(corpus, "unlike_speech", tables)
    return tables


def rates(records: Sequence[Rates], corpus: str) -> Table:
    """WER of every decoding."""
    decodings = sorted({name for record in records for row in record["rows"] for name in row["decodings"]}, key=decoding_rank)
    cells = []
    for labels, own in _grouped(records).items():
        cell = [*labels, str(len(own)), spread([row["oov_rate"] for row in own])]
        for graph in HEADS:
            pairs = [row["first_pass"][graph] for row in own if graph in row["first_pass"]]
            cell.append(", ".join(spread([pair[n] for pair in pairs], 2) for n in (0, 1)) if pairs else number(None))
        cell += [spread([row["decodings"].get(name, {}).get("wer") for row in own]) for name in decodings]
        cells.append([*cell, spread([row["oracle_wer"] for row in own])])
    caption = (
        "WER on half of another corpus's speech; means over seeds, and their range. dev: where weights of the first pass and of "
        "rescoring come from, the other half of that speech (new) or the dev set of the model's corpus (own). Weights of the "
        "first pass: blank penalty, LM scale; found on that dev set, or without (0, 1). OOV: out-of-vocabulary words in percent "
        "of the reference. Oracle: the best hypotheses in the lists."
    )
    header = ["speech", "recipe", "added", "dev", "weights", "seeds", "OOV", "sub-word", "word", *decodings, "oracle"]
    return Table(f"Speech unlike the training's: models of {corpus}", caption, header, grouped(cells, 4), 5)


def errors_by_kind(records: Sequence[Rates]) -> Table:
    """Deletions, insertions and substitutions of the first pass and of the last decoding."""
    cells = []
    for labels, own in _grouped(records).items():
        for name in ("lattice", "word_lattice", list(own[0]["decodings"])[-1]):
            found = [row["decodings"][name] for row in own if name in row["decodings"]]
            if found:
                kinds = [spread([rate[key] for rate in found]) for key in ("deletions", "insertions", "substitutions")]
                cells.append([*labels, name, spread([rate["wer"] for rate in found]), *kinds])
    header = ["speech", "recipe", "added", "dev", "weights", "decoding", "WER", "deletions", "insertions", "substitutions"]
    return Table(
        "Deletions against insertions", "In percent of the reference's words, means over seeds.", header, grouped(cells, 5), 6
    )


def with_and_without(records: Sequence[Rates]) -> Table:
    """The paired difference that the found weights make, errors summed over seeds."""
    groups, cells = _grouped(records), []
    for labels, own in groups.items():
        if labels[-1] != "found":
            continue
        beside = (*labels[:-1], "without")
        others = groups[beside]
        words = np.sum([row["utterance_words"] for row in own], axis=0)
        for name in (name for name in own[0]["decodings"] if name != "greedy"):  # greedy words have no weights
            here, there = (np.sum([row["decodings"][name]["utterance_errors"] for row in rows], axis=0) for rows in (own, others))
            delta = difference(here, there, words)
            wers = [number(error_rate(errors, words)) for errors in (there, here)]
            cells.append([*labels[:-1], name, *wers, signed(delta.value), span(delta.low, delta.high), probability(delta.p)])
    caption = (
        "The paired bootstrap over utterances, errors summed over the seeds: difference in points, 95% interval, two-sided p."
    )
    header = ["speech", "recipe", "added", "dev", "decoding", "without", "found", "Δ", "Δ interval", "p"]
    return Table("With the weights found and without", caption, header, grouped(cells, 4), 5)


def _grouped(records: Sequence[Rates]) -> Dict[Tuple[str, ...], List[Rates]]:
    """(speech, recipe, added, dev, weights) -> the rows of all seeds."""
    found: Dict[Tuple[str, ...], List[Rates]] = {}
    for record in records:
        name = display_name(record["recipe"], record["overrides"])
        for row in record["rows"]:
            labels = (record["speech"], name, ", ".join(record["how_added"]) or "no words", row["dev"], row["weights"])
            found.setdefault(labels, []).append(row)
    return found


if __name__ == "__main__":
    sys.exit(main())
