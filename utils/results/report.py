"""The report of one split: its tables and notes, as terminal text and as RESULTS.md of a corpus folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence

from utils.core.tables import Table, as_markdown, as_text
from utils.results.comparison import Cell, cells, headlines, notes, results
from utils.results.records import Record
from utils.results.result_tables import all_tables, comparison, cost, parts
from utils.results.store import read_all

BASELINE = "bpe_ctc"
MADE_BY = "Drawn from the records by `python -m steps.compare`; do not edit."


@dataclass(frozen=True)
class Report:
    """What is known of one split."""

    split: str
    baseline: str
    tables: List[Table]
    notes: List[str]
    every: List[Cell]
    final: List[Cell]  # the last decoding of each system


def report(records: Sequence[Record], split: str, baseline: str = BASELINE) -> Report:
    """Compare the records of one split; there must be some."""
    records = [r for r in records if r["split"] == split]
    every = cells(records)
    final = results(every)
    return Report(split, baseline, all_tables(every, final, split, baseline), notes(every, records), every, final)


def terminal(page: Report) -> str:
    """The tables as text."""
    return "\n\n".join([*map(as_text, page.tables), "\n".join(page.notes)])


def markdown(page: Report, title: str) -> str:
    """The tables as Markdown."""
    return "\n".join([f"# {title}", "", MADE_BY, "", *map(as_markdown, page.tables), *(f"- {n}" for n in page.notes), ""])


def corpus_page(corpus_dir: Path) -> str:
    """RESULTS.md of a corpus folder: default settings and those that are best on dev, and what the vectors bring."""
    every = read_all([corpus_dir])
    dev = [r for r in every if r["split"] == "dev"]
    blocks = [f"# Results of {corpus_dir.name}", "", MADE_BY]
    blocks += [
        "Shown are each recipe with its default settings and with the settings that are best on dev. All other records are in"
    ]
    blocks += ["`RESULTS.html`, which `.venv/bin/python -m steps.compare` writes; `egs/variants.yaml` explains the names.", ""]
    for split in ("test", "dev"):
        records = [r for r in every if r["split"] == split]
        if not records:
            continue
        shown = headlines(records, dev)
        final = results(cells(shown))
        tables = [comparison(final, split, BASELINE)]
        if split == "test":
            all_cells = cells(records)
            tables += [t for t in (parts(all_cells, results(all_cells), split), cost(final, split)) if t]
        blocks += [*map(as_markdown, tables), *(f"- {n}" for n in notes(cells(shown), shown)), ""]
    return "\n".join(blocks)
