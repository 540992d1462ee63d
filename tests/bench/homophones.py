"""Homophones among the wrong characters of Mandarin, in every decoding of a run, from the first pass to the last rescoring.

    python -m tests.bench.homophones --corpus aishell_sample --recipe whisper_wordvec [--set K=V]

Missing stages run first. Writes egs/<corpus>/homophones.jsonl and homophones.md.
"""

import sys
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import kaldialign

from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from utils.core.files import read_jsonl
from utils.core.tables import Table, as_text, number
from utils.lang.mandarin import is_chinese, runs
from utils.languages.pinyin import syllable_units
from utils.pipeline import driver
from utils.pipeline.config import made_with
from utils.pipeline.stages import Plan
from utils.results.records import DECODINGS
from utils.text.scoring import GAP, characters

SPLIT = "test"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    return driver.with_plans(driver.parser(stages=False), arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("rescore", options)
    rows = []
    for decoding in DECODINGS:
        for stage in ("rescore", "decode"):
            path = plans[stage].out / f"hyps-{decoding}-{SPLIT}.jsonl" if stage in plans else Path()
            if path.is_file():
                rows.append({"decoding": decoding, **measured((row["ref"], row["hyp"]) for row in read_jsonl(path))})
                break
    corpus = corpus_folder(plans)
    write_record(corpus, "homophones", described(options, plans, rows, seed=made_with(plans["train"].out).seed))
    print(as_text(draw(corpus)))


def measured(sentences: Iterable[Tuple[Sequence[str], Sequence[str]]]) -> Dict[str, int]:
    """Counts over pairs of reference and recognised words.

    Returns:
      characters of the references, errors, substitutions of one Chinese character by another, and how many of these have the
      syllable and tone of the right one (same), or its syllable with another tone (tone). A character is read in its sentence.
    """
    counts = dict.fromkeys(("characters", "errors", "wrong", "same", "tone"), 0)
    for said, recognised in sentences:
        left, right = characters(said), characters(recognised)
        spoken = readings(left), readings(right)
        at = [0, 0]
        counts["characters"] += len(left)
        for one, other in kaldialign.align(left, right, GAP):
            counts["errors"] += one != other
            if GAP not in (one, other) and one != other:
                ours, theirs = spoken[0][at[0]], spoken[1][at[1]]
                counts["wrong"] += bool(ours and theirs)
                counts["same"] += bool(ours) and ours == theirs
                counts["tone"] += bool(ours and theirs) and ours != theirs and toneless(ours) == toneless(theirs)
            at[0] += one != GAP
            at[1] += other != GAP
    return counts


def readings(sentence: Sequence[str]) -> List[Tuple[str, ...]]:
    """Initial and final of every character as it is read in the sentence; nothing for what is not Chinese."""
    from pypinyin import Style, pinyin

    out: List[Tuple[str, ...]] = []
    for run in runs("".join(character if is_chinese(character) else f" {len(out)} " for character in sentence)):
        if is_chinese(run):
            syllables = pinyin(run, style=Style.TONE3, neutral_tone_with_five=True, errors="ignore")
            whole = len(syllables) == len(run)  # otherwise pypinyin lacks a character, and which one isn't said
            out += [syllable_units(syllable) for syllable, *_ in syllables] if whole else [()] * len(run)
        else:
            out += [()] * len(run.split())
    return out


def toneless(units: Sequence[str]) -> Tuple[str, ...]:
    """Units without tones."""
    return tuple(unit.rstrip("12345") for unit in units)


def draw(corpus: Path) -> Table:
    """Write homophones.md from homophones.jsonl; returns its table."""
    rows = [_row(record, row) for record in records_of(corpus, "homophones") for row in record["rows"]]
    header = ["configuration", "seed", "decoding", "CER", "wrong", "homophones", "same but for the tone", "others"]
    caption = (
        "Wrong characters on test: substitutions of one Chinese character by another, by how the two are pronounced in their "
        "sentences (pypinyin): homophones have syllable and tone in common. In brackets percent of the wrong characters."
    )
    table = Table("Homophones", caption, header, rows, 3)
    write_page(corpus, "homophones", [table])
    return table


def _row(record: Mapping[str, Any], row: Mapping[str, Any]) -> List[str]:
    def share(count: int) -> str:
        return f"{count} ({number(100 * count / max(row['wrong'], 1), 0)})"

    others = row["wrong"] - row["same"] - row["tone"]
    rate = number(100 * row["errors"] / row["characters"], 1)
    names = [what(record), str(record["seed"]), row["decoding"], rate, str(row["wrong"])]
    return [*names, share(row["same"]), share(row["tone"]), share(others)]


if __name__ == "__main__":
    sys.exit(main())
