"""Stage 8: error rates, recall, oracle, real-time factors of every decoding; error listings, pictures, results records.

Records are added to egs/<corpus>/results.jsonl, and RESULTS.md there is redrawn, before the stage counts as complete. To publish
again, delete the stage's folder and run it again.
"""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lhotse import CutSet

from utils.core.errors import UserError
from utils.core.files import ROOT, read_json, read_jsonl, write_lines, write_text
from utils.core.splits import EVALUATION, cuts_path
from utils.core.tables import as_text
from utils.core.versions import git_state
from utils.decode.search_weights import FILE, read_weights
from utils.features import front_end, front_ends
from utils.pipeline.config import made_with
from utils.pipeline.contract import Job
from utils.pipeline.provenance import describe, dirty_stages, real_time_factors, stages_behind
from utils.rescore.confidence import correct, quality, reliability
from utils.results import pictures
from utils.results.measure import Cut, lattice_oracle, measure, oracle_rate
from utils.results.records import Record, decoding_rank, links, named_overrides, result_decoding, write
from utils.results.report import corpus_page
from utils.results.result_tables import run_table
from utils.results.store import locked, publish
from utils.text.listing import listing


def run(job: Job) -> None:
    """Write <split>-<decoding>.json, errors-<split>-<decoding>.txt, wer.svg, and where words have confidences
    reliability-<split>-<decoding>.svg; publish the records.
    """
    stages, here = stages_behind(job.inputs), git_state(ROOT)
    shared = {**identity(job), **describe(stages, here, job.plan.fingerprint)}
    records = [record for split in EVALUATION for record in judged(job, split, shared)]
    test = [r for r in records if r["split"] == "test"]
    bars = [pictures.Bar(r["decoding"], r["wer"], *r["wer_interval"]) for r in test]
    write_text(job.out / "wer.svg", pictures.wer_bars(f"{shared['corpus']}, {job.recipe}: WER on test", bars))
    paths = publish_all(records, job.corpus_dir)
    job.log.info("%s", as_text(run_table(test)))
    best = next(r for r in test if r["decoding"] == result_decoding(r["decoding"] for r in test))
    listed = job.plan.out / f"errors-test-{best['decoding']}.txt"
    what = (best["wer"], best["corpus"], job.recipe, best["decoding"], listed)
    job.log.info("WER %.2f%% on %s test (%s, %s); errors aligned in %s", *what)
    job.log.info("%d records in %s; tables in %s", len(records), paths[0], job.corpus_dir / "RESULTS.md")
    if not shared["git_clean"]:
        dirty = dirty_stages(stages) + ["score"] * (not here["git_clean"])
        job.log.warning(
            "made from uncommitted code (%s): the records are in a file that git ignores. For records that count, "
            "commit, delete these stages' folders and run again",
            ", ".join(dirty),
        )


def judged(job: Job, split: str, shared: Dict[str, Any]) -> List[Record]:
    """Score every decoding of a split, write its record and its error listing.

    Raises:
      UserError: no decoding, or decodings of different utterances.
    """
    cuts, heard = read_split(job.inputs["data"], split), read_json(job.inputs["lang"] / "word_counts.json")
    listed = job.inputs.get("rescore", Path()) / f"nbest-{split}.jsonl"
    best = oracle_rate(listed, cuts) if listed.exists() else None
    records: List[Record] = []
    for decoding, path in hypotheses(job, split):
        rows = read_jsonl(path)
        scores, measured = measure(rows, cuts, heard, job.config.score.bootstrap, path)
        write_lines(job.out / f"errors-{split}-{decoding}.txt", listing(scores, heard))
        sure = {"confidence": confidence(job, split, decoding, path)}
        again = rescored(job, split, decoding, lattice_oracle(rows) if "oracle" in rows[0] else best)
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
    return records


def confidence(job: Job, split: str, decoding: str, path: Path) -> Optional[Dict[str, float]]:
    """Quality of the words' confidences, where the decoding has some, and a picture of it: reliability-<split>-<decoding>.svg."""
    said = [
        (c, hit)
        for row in read_jsonl(path)
        if "confidence" in row
        for c, hit in zip(row["confidence"], correct(row["ref"], row["hyp"]))
    ]
    if not said:
        return None
    sure, right = (np.array(part, dtype=float) for part in zip(*said))
    picture = pictures.reliability(f"{decoding} on {split}", reliability(sure, right))
    write_text(job.out / f"reliability-{split}-{decoding}.svg", picture)
    return quality(sure, right)


def identity(job: Job) -> Dict[str, Any]:
    """What the run is of: corpus, recipe, seed ..."""
    data = read_json(job.inputs["data"] / "summary.json")
    return {
        "corpus": data["name"],
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
    """id -> (normalised text, language) of a split."""
    return {
        cut.id: (cut.supervisions[0].text, cut.supervisions[0].language or "") for cut in CutSet.from_file(cuts_path(data, split))
    }


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
