"""Stage 4: what would fail in training, and what cannot be recognised afterwards."""

from functools import partial
from typing import Any, Dict, List, Tuple

import numpy as np
from safetensors import safe_open

from utils.core.errors import UserError
from utils.core.files import read_json, write_json, write_lines, write_text
from utils.core.splits import EVALUATION, SPLITS
from utils.corpus import ranking
from utils.corpus.cuts import read_cuts
from utils.features.loading import features_of
from utils.lang import audit
from utils.lang.feasibility import INFEASIBLE, Head, Need, needs
from utils.lang.lexicon import Lexicon, read_lexicon, training_lexicon
from utils.pipeline.contract import Job

TRAINED_ON = ("train", "synthesised")
SHOWN = 20  # of a long list, in the readable report; report.json has all


def run(job: Job) -> None:
    """Write infeasible.tsv, report.json and report.md; raise UserError where too many utterances cannot be aligned."""
    model = job.config.model
    heads = [Head("subword", model.subword_subsampling)] * model.subword_head
    heads += [Head("word", model.word_subsampling)] * (model.word_head != "none")
    lex = read_lexicon(job.inputs["lang"])
    features, shards = job.inputs["features"], job.config.features.shards
    cuts = {split: list(read_cuts(features, split, shards=shards)) for split in SPLITS}
    rows = {split: needs(cuts[split], lex, heads) for split in SPLITS}
    if "synthesise" in job.inputs:
        cuts["synthesised"] = list(read_cuts(job.inputs["synthesise"], "train"))
        rows["synthesised"] = needs(cuts["synthesised"], training_lexicon(job.inputs), heads)
    report: Dict[str, Any] = {
        "utterances": {split: len(found) for split, found in cuts.items()},
        "infeasible": {split: [vars(row) for row in found if not row.feasible] for split, found in rows.items()},
        "oov": {split: audit.oov(cuts[split], lex.word_id) for split in EVALUATION},
        "words_per_second": audit.speaking_rate(audit.unperturbed(cuts["train"])),
        "frames_per_symbol": {h.name: audit.frames_a_symbol([r for r in rows["train"] if r.head == h.name]) for h in heads},
        "frame_seconds": {head.name: head.subsampling * job.config.features.frame_shift for head in heads},
        "homophones": audit.homophones(lex),
        "dev": ranking.fitness(audit.unperturbed(cuts["train"]), cuts["dev"], partial(features_of, folder=features)),
    }
    report["close"], report["close_pairs"] = _close(job, lex)
    # Validation needs finite losses too; for the test set they are only reported.
    write_lines(
        job.out / INFEASIBLE,
        (f"{r.id}\t{r.frames}\t{r.needed}\t{r.head}" for split in rows if split != "test" for r in rows[split] if not r.feasible),
    )
    write_json(job.out / "report.json", report)
    write_text(job.out / "report.md", _readable(report, job))
    _judge(job, report, {split: [row for row in found if not row.feasible] for split, found in rows.items()})


def _close(job: Job, lex: Lexicon) -> Tuple[List[Any], int]:
    with safe_open(str(job.inputs["vectors"] / "table.safetensors"), framework="numpy") as table:
        if "meaning" not in table.keys():
            return [], 0
        vectors, known = (table.get_tensor(part)[: len(lex.words)] for part in ("meaning", "known"))
    counts = read_json(job.inputs["lang"] / "word_counts.json")
    return audit.close_vectors(lex.words, vectors, known, counts, job.config.audit.close)


def _judge(job: Job, report: Dict[str, Any], infeasible: Dict[str, List[Need]]) -> None:
    """Log the findings; raise UserError where too many training utterances are infeasible, or all of train or dev."""
    for split in EVALUATION:
        o = report["oov"][split]
        job.log.info(
            "%s: %d of %d words (%.1f%%) are not in the training text",
            split,
            o["oov_tokens"],
            o["tokens"],
            100 * o["oov_tokens"] / max(o["tokens"], 1),
        )
    for warning in _warnings(report, job.config.audit.close):
        job.log.warning("%s", warning)
    trained_on = [row for split in TRAINED_ON for row in infeasible.get(split, [])]
    total = sum(report["utterances"].get(split, 0) for split in TRAINED_ON)
    _judge_split("training", trained_on, total, job.config.audit.max_infeasible, job)
    _judge_split("dev", infeasible["dev"], report["utterances"]["dev"], 1.0, job)


def _judge_split(name: str, infeasible: List[Need], total: int, most: float, job: Job) -> None:
    """Warn of infeasible cuts; raise UserError where they are more than the share `most`, or all there are."""
    lost = len({row.id for row in infeasible})
    if not lost:
        return
    first = "".join(f"\n  {row.id}: {row.frames} frames, {row.needed} needed ({row.head} head)" for row in infeasible[:5])
    check = (
        "Check that these transcripts belong to their audio. If they do: longer units (lang.units, lang.size), slower copies "
        "(features.speed_perturb)"
    )
    if lost == total:
        raise UserError(
            f"none of the {total} {name} cuts can be aligned: all have fewer frames than CTC needs, so "
            f"{'there is nothing to train on' if name == 'training' else 'no checkpoint could be judged'}. All are in "
            f"{job.out / INFEASIBLE}; the first:{first}\n{check}, or a lower model.subword_subsampling or model.word_subsampling"
        )
    if lost > most * total:
        raise UserError(
            f"{lost} of {total} {name} cuts have fewer frames than CTC needs ({lost / total:.1%}; audit.max_infeasible allows "
            f"{most:.1%}). All are in {job.out / INFEASIBLE}; the first:{first}\n{check}, or leave them out with "
            f"--set audit.max_infeasible={min(1.0, np.ceil(1000 * lost / total) / 1000):g}"
        )
    job.log.warning("%d of %d %s cuts can't be aligned and are left out (%s)", lost, total, name, job.plan.out / INFEASIBLE)


def _warnings(report: Dict[str, Any], close: float) -> List[str]:
    out = ranking.faults(report["dev"])
    for head, frames in report["frames_per_symbol"].items():
        if frames["p10"] < audit.FEWEST_FRAMES:
            out.append(
                f"one training utterance in ten has {frames['p10']:.1f} or fewer frames of "
                f"{1000 * report['frame_seconds'][head]:.0f} ms for each {'word' if head == 'word' else 'sub-word unit'}: "
                "hard to learn; CTC works well with two or more"
            )
    if report["close"]:
        out.append(
            f"{report['close_pairs']} pairs of words have vectors closer than audit.close={close:g}: "
            + ", ".join(f"{a}/{b}" for a, b, _ in report["close"][:5])
        )
    if report["homophones"]:
        out.append(
            f"{len(report['homophones'])} groups of words have the same units; only the language model tells them apart: "
            + ", ".join("/".join(group) for group in report["homophones"][:5])
        )
    return out


def _readable(report: Dict[str, Any], job: Job) -> str:
    lines = [
        f"# Audit of {job.corpus}",
        "",
        "## CTC feasibility",
        "",
        "An utterance of S symbols, R of them equal to the one before, needs S + R frames. Cuts with fewer on any head:",
        "",
    ]
    for split, rows in report["infeasible"].items():
        lines.append(f"- {split}: {len({r['id'] for r in rows})} of {report['utterances'][split]}")
        lines += [f"  - {r['id']}: {r['frames']} frames, {r['needed']} needed ({r['head']})" for r in rows[:SHOWN]]
        lines += [f"  - and {len(rows) - SHOWN} more (report.json)"] if len(rows) > SHOWN else []
    rate = report["words_per_second"]
    lines += [
        "",
        "## Speaking rate against subsampling",
        "",
        f"Training speech at its own speed: {rate['mean']:.2f} words a second; by utterance "
        + ", ".join(f"{k[1:]}%: {v:.2f}" for k, v in rate.items() if k != "mean")
        + ".",
        "",
        "| head | ms a frame | frames a symbol, fastest 1% | fastest 10% | median | utterances under 2 |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for head, f in report["frames_per_symbol"].items():
        lines.append(
            f"| {head} | {1000 * report['frame_seconds'][head]:.0f} | {f['p1']:.2f} | {f['p10']:.2f} | {f['p50']:.2f} "
            f"| {100 * f['few']:.1f}% |"
        )
    lines += ["", "## Words that the training text lacks", ""]
    for split, o in report["oov"].items():
        lines.append(
            f"- {split}: {o['oov_tokens']} of {o['tokens']} words ({100 * o['oov_tokens'] / max(o['tokens'], 1):.1f}%), "
            f"{o['oov_types']} of {o['types']} types: {_some(o['words'])}"
        )
    lines += [
        "",
        "## Words that are hard to tell apart",
        "",
        f"- same sub-word units: {_some(['/'.join(g) for g in report['homophones']])}",
        f"- {report['close_pairs']} pairs with a cosine above {job.config.audit.close:g} between their vectors: "
        + _some([f"{a}/{b} ({cosine:.2f})" for a, b, cosine in report["close"]]),
    ]
    found = _warnings(report, job.config.audit.close)
    return "\n".join(lines + (["", "## Warnings", "", *(f"- {w}" for w in found)] if found else [])) + "\n"


def _some(items: List[str]) -> str:
    return (", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")) or "none"


if __name__ == "__main__":
    import sys

    from utils.pipeline.driver import main

    sys.exit(main(only="audit"))
