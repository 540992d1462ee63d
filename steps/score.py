"""Stage 8: error rates, recall, oracle, real-time factors of every decoding; error listings, pictures, results records.

Records are added to egs/<corpus>/results.jsonl (exp/<corpus>/ where egs/ is read-only), and RESULTS.md there is redrawn, before
the stage counts as complete. To publish again, delete the stage's folder and run it again.
"""

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lhotse import CutSet

from steps.data import told_apart
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json, read_jsonl, write_lines, write_text
from utils.core.splits import cuts_path, untranscribed
from utils.core.tables import as_text
from utils.core.versions import git_state
from utils.decode.search_weights import FILE, read_weights
from utils.features import front_end, front_ends
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.pipeline.provenance import describe, dirty_stages, real_time_factors, stages_behind
from utils.rescore.confidence import correct, quality, reliability
from utils.results import pictures
from utils.results.comparison import measure as measure_of
from utils.results.measure import measure
from utils.results.records import Record, decoding_rank, links, named_overrides, result_decoding, write
from utils.results.report import corpus_page
from utils.results.result_tables import run_table
from utils.results.store import locked, publish
from utils.text.listing import listing, percent
from utils.text.references import Cut, Row, lattice_oracle, oracle_rate, scored
from utils.text.scoring import Scores, by_speaker, characters, score, spelled


def run(job: Job) -> None:
    """Write hypotheses-, errors- (both .txt), reliability- (.svg, where words have confidences) and the record (.json) of each
    <split>-<decoding>, and wer.svg; publish the records. A split without a word in any transcript has none. Records of dev alone
    are not published, and have no pictures.
    """
    stages, here = stages_behind(job.inputs), git_state(ROOT)
    shared = {**identity(job), **describe(stages, here, job.plan.fingerprint)}
    records = [record for split in job.splits for record in judged(job, split, shared)]
    if "test" not in job.splits:
        return
    published = results_folder(job.corpus_dir, job.plan.out.parent)
    paths = publish_all(records, published)
    show(job, [r for r in records if r["split"] == "test"], shared["corpus"])
    job.log.info("%d records in %s; tables in %s", len(records), paths[0], published / "RESULTS.md")
    if not shared["git_clean"]:
        dirty = dirty_stages(stages) + ["score"] * (not here["git_clean"])
        unknown = here["git_commit"] == "unknown"
        job.log.warning(
            "made from %s (%s): the records are in a file that git ignores. For records that count, %s, delete these stages' "
            "folders and run again",
            "code of an unknown commit" if unknown else "uncommitted code",
            ", ".join(dirty),
            "take a clone with git instead of a copy" if unknown else "commit",
        )


def show(job: Job, test: List[Record], corpus: str) -> None:
    """Log the results on test, and draw wer.svg."""
    if not test:
        return
    by = measure_of(test)
    bars = [pictures.Bar(r["decoding"], r[by], *r[f"{by}_interval"]) for r in test]
    write_text(job.out / "wer.svg", pictures.wer_bars(f"{corpus}, {job.recipe}: {by.upper()} on test", bars, by.upper()))
    job.log.info("%s", as_text(run_table(test)))
    best = next(r for r in test if r["decoding"] == result_decoding(r["decoding"] for r in test))
    listed = job.plan.out / f"errors-test-{best['decoding']}.txt"
    rates = ("" if best["cer"] is None else f"CER {best['cer']:.2f}%, ") + f"WER {best['wer']:.2f}%"
    job.log.info("%s on %s test (%s, %s); errors aligned in %s", rates, corpus, job.recipe, best["decoding"], listed)


def judged(job: Job, split: str, shared: Dict[str, Any]) -> List[Record]:
    """Score every decoding of a split, write its words, its error listing and its record.

    Raises:
      UserError: no decoding, or decodings of different utterances.
    """
    cuts, heard = read_split(job.inputs["data"], split), read_json(job.inputs["lang"] / "word_counts.json")
    if not any(cut.text for cut in cuts.values()):
        for decoding, path in hypotheses(job, split):
            aligned(job, split, decoding, path, cuts, heard)
        job.log.warning(
            "%s has no word in any transcript, so there is no error rate and no record of it; what was recognised is in %s",
            split,
            job.plan.out / f"hypotheses-{split}-*.txt",
        )
        return []
    listed = job.inputs.get("rescore", Path()) / f"nbest-{split}.jsonl"
    best = {by: oracle_rate(listed, cuts, units) for by, units in (("wer", list), ("cer", characters)) if listed.exists()}
    records: List[Record] = []
    for decoding, path in hypotheses(job, split):
        rows, scores, in_characters = aligned(job, split, decoding, path, cuts, heard)
        measured = measure(scores, cuts, heard, job.config.score.bootstrap, in_characters)
        sure = {"confidence": confidence(job, split, decoding, rows)}
        lattices = {"wer": lattice_oracle(rows)} if "oracle" in rows[0] else {}
        again = rescored(job, split, decoding, (lattices or best).get("wer"))
        if measured["characters"]:
            measured["characters"]["oracle"] = (lattices or best).get("cer") if again["oracle_wer"] is not None else None
        reader = again["weights"].get("model_bytes", 0)  # the language model that read the lists
        size = {"model_mb": round(shared["model_mb"] + reader / 1e6, 3)}
        records.append({**shared, **measured, **again, **sure, **size, "split": split, "decoding": decoding})
        write(job.out / f"{split}-{decoding}.json", records[-1])
    if len({r["utterance_set"] for r in records}) != 1:
        raise UserError(
            f"the decodings of {split} are of different utterances, or there are none; delete {job.inputs['decode']} "
            f"and {job.inputs.get('rescore', 'what follows it')} and run again"
        )
    if records[0]["utterances_left_out"]:
        job.log.warning(
            "%d utterances of %s were not decoded: see left_out.tsv of the features stage",
            records[0]["utterances_left_out"],
            split,
        )
    unscored = sum(not cut.transcribed for cut in cuts.values())
    if unscored:
        job.log.warning("%d of %d utterances of %s have no transcript and are not scored", unscored, len(cuts), split)
    by = measure_of(records)
    of_speakers = by_speaker(in_characters if by == "cer" and in_characters else scores, speakers(cuts))
    found = {name: counts for name, counts in of_speakers.items() if counts[1]}
    if len(found) > 1:
        ends = [f"{percent(sum(found[name][2:]), found[name][1])} ({name})" for name in (list(found)[-1], next(iter(found)))]
        job.log.info("%s (%s): %s of %d speakers from %s to %s", split, records[-1]["decoding"], by.upper(), len(found), *ends)
    return records


def aligned(
    job: Job, split: str, decoding: str, path: Path, cuts: Dict[str, Cut], heard: Mapping[str, int]
) -> Tuple[List[Row], Scores, Optional[Scores]]:
    """Write what was recognised, as a Kaldi text file, and the error listing.

    Returns: the rows of the hypotheses that are scored, their alignments, and these in characters where those are the measure.
    """
    rows = read_jsonl(path)
    kept = scored(rows, cuts, path)
    write_lines(
        job.out / f"hypotheses-{split}-{decoding}.txt",
        (" ".join([row["id"], *row["hyp"]]) for row in sorted(rows, key=lambda row: row["id"])),
    )
    scores = score((row["id"], row["ref"], row["hyp"]) for row in kept)
    in_characters = spelled(scores.ids, scores.alignments, [cuts[name].language for name in scores.ids])
    if kept:
        write_lines(job.out / f"errors-{split}-{decoding}.txt", listing(scores, heard, speakers(cuts), in_characters))
    return kept, scores, in_characters


def speakers(cuts: Mapping[str, Cut]) -> Dict[str, str]:
    """Utterance -> speaker."""
    return {name: cut.speaker for name, cut in cuts.items()}


def confidence(job: Job, split: str, decoding: str, rows: List[Row]) -> Optional[Dict[str, float]]:
    """Quality of the words' confidences, where the decoding has some, and a picture of it: reliability-<split>-<decoding>.svg."""
    said = [(c, hit) for row in rows if "confidence" in row for c, hit in zip(row["confidence"], correct(row["ref"], row["hyp"]))]
    if not said:
        return None
    sure, right = (np.array(part, dtype=float) for part in zip(*said))
    if "test" in job.splits:  # a search over settings looks at numbers alone
        picture = pictures.reliability(f"{decoding} on {split}", reliability(sure, right))
        write_text(job.out / f"reliability-{split}-{decoding}.svg", picture)
    return quality(sure, right)


def identity(job: Job) -> Dict[str, Any]:
    """What the run is of: corpus, recipe, seed ..."""
    data = read_json(job.inputs["data"] / "summary.json")
    if "source" not in data:  # made by an earlier version, whose names left options out
        data.update(told_apart(made_with(job.inputs["data"]).data))
    return {
        "corpus": data["name"],
        "source": data["source"],
        "recipe": job.recipe,
        "overrides": named_overrides(job.overrides),
        "seed": job.config.seed,
        "normaliser": data["normaliser"],
        "parameters": read_json(job.inputs["train"] / "summary.json")["parameters"] if "train" in job.inputs else 0,
        "model_mb": round(model_bytes(job.inputs) / 1e6, 3),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def model_bytes(inputs: Mapping[str, Path]) -> int:
    """Size of the models that recognising loads: what training made, the front end's, or a ready-made recogniser's."""
    if "train" not in inputs:
        return read_json(inputs["decode"] / "summary.json")["model_bytes"]
    trained = sum(path.stat().st_size for path in inputs["train"].glob("model.*"))
    if (inputs["features"] / front_end.DESCRIPTION).exists():
        return trained + read_json(inputs["features"] / front_end.DESCRIPTION)["model_bytes"]
    return trained + front_ends.model_bytes(made_with(inputs["features"]).features)


def rescored(job: Job, split: str, decoding: str, oracle: Any) -> Dict[str, Any]:
    """The keys that differ between first pass and rescoring: weights, oracle, lattices, links.

    `weights` has those of the first pass too: `first_pass`, for each of the decoding's graphs its blank penalty and LM scale.
    """
    path = job.inputs.get("rescore", job.inputs["decode"]) / "weights.json"  # a system without rescoring may tune its decoding
    weights = read_json(path) if path.exists() else {}
    again, factors = decoding in weights, real_time_factors(job.inputs)
    found = {"graph": weights.get("graph", ""), **weights.get(decoding, {})}
    graphs = found["graph"].split("+") if again else ["lattice" if decoding == "first_pass" else decoding]
    first = read_weights(job.inputs["decode"]) if (job.inputs["decode"] / FILE).exists() else {}
    searched = {graph: [first[graph].blank_penalty, first[graph].lm_scale] for graph in graphs if graph in first}
    return {
        "weights": {**(found if again else {}), **({"first_pass": searched} if searched else {})},
        "oracle_wer": oracle if again else None,
        "lattice_density": density(job, split, found["graph"].split("+") if again else [decoding]),
        "rtf": {link: factors[link] for link in links(decoding, found["graph"]) if link in factors},
    }


def density(job: Job, split: str, graphs: Sequence[str]) -> Optional[float]:
    """Arcs a frame of all lattices that a decoding comes from; None where it comes from none."""
    path = job.inputs["decode"] / "density.json"
    found = read_json(path)[split] if path.exists() else {}
    return round(sum(found[graph] for graph in graphs), 2) if found.keys() >= set(graphs) else None


def hypotheses(job: Job, split: str) -> List[Tuple[str, Path]]:
    """(decoding, file) of every hyps-<decoding>-<split>.jsonl, along the chain."""
    found = {
        path.name[len("hyps-") : -len(f"-{split}.jsonl")]: path
        for stage in ("decode", "rescore")
        if stage in job.inputs
        for path in job.inputs[stage].glob(f"hyps-*-{split}.jsonl")
    }
    return sorted(found.items(), key=lambda item: decoding_rank(item[0]))


def read_split(data: Path, split: str) -> Dict[str, Cut]:
    """The utterances of a split by id."""
    unknown, out = untranscribed(data, split), {}
    for cut in CutSet.from_file(cuts_path(data, split)):
        said = cut.supervisions[0]
        out[cut.id] = Cut(said.text, said.language or "", said.speaker or "", cut.id not in unknown)
    return out


def results_folder(corpus_dir: Path, exp: Path) -> Path:
    """Where records go: to the corpus's folder, or beside the stages where that folder is read-only."""
    return exp if corpus_dir.is_dir() and not os.access(corpus_dir, os.W_OK) else corpus_dir


def publish_all(records: List[Record], corpus_dir: Path) -> List[Path]:
    """Add the records to a corpus folder and redraw its RESULTS.md from all records there; returns the files of records."""
    with locked(corpus_dir):
        paths = publish(records, corpus_dir)
        write_text(corpus_dir / "RESULTS.md", corpus_page(corpus_dir))
    return paths


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="score"))
