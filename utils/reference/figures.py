"""Numbers of pages, from records: what the mark behind a number says, and the number as it should be shown.

A mark names a system of a corpus, as the tables of results name it, or a cell of a table that is drawn from records:

    28.0<!-- = asterisk wordvec_hybrid -->                   error rate of its last decoding on test, mean over the seeds
    49.1<!-- = asterisk wordvec_hybrid greedy dev -->        of another decoding, on dev
    0.015<!-- = asterisk whisper_wordvec rtf -->             real-time factor; or oov, oracle, insertions, deletions (percent)
    37.5<!-- = asterisk/keywords.md; F1; clean; documents=4 -->   column `F1`, row with a cell `clean` and, below `documents`, 4

Of several tables of a page `keywords.md (2)` is the second, of columns with one title `F1 (2)`, of numbers in a cell `F1 #2`.

The number keeps the digits that the page shows behind the point.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.tables import number
from utils.pipeline.config import nearest
from utils.results.comparison import Cell, cells
from utils.results.records import DECODINGS, decoding_rank
from utils.results.store import CLEAN, read_file

KINDS = ("rtf", "oov", "oracle", "insertions", "deletions", "training")
FIGURE = re.compile(r"[+−]?\d[\d,]*(?:\.\d+)?")


def figure(mark: str, digits: int, root: Path = ROOT) -> str:
    """The number that a mark names.

    Args:
      digits: after the point.
    Raises:
      UserError: nothing, or more than one thing, is what the mark says.
    """
    value = _of_table(mark, root) if ";" in mark else _of_records(mark, root)
    return number(value, digits)


def _of_records(mark: str, root: Path) -> float:
    folder, system, *more = mark.split()
    kind = next((word for word in more if word in KINDS), "")
    split = "dev" if "dev" in more else "test"
    decoding = next((word for word in more if word in DECODINGS), "")
    for word in more:
        if word not in (kind, split, decoding):
            raise UserError(f"'{mark}': what is '{word}'? {', '.join(KINDS)}, dev, test, or a decoding")
    of_split = _cells(root / "egs" / folder / CLEAN, split)
    found = of_split.get(system, [])
    if not found:
        raise UserError(f"'{mark}': no record of that system on {split}{nearest(system, of_split)}")
    found = [c for c in found if c.corpus == folder] or found  # a corpus may be split in several ways
    if len({c.corpus for c in found}) > 1:
        raise UserError(f"'{mark}': records on {', '.join(sorted({c.corpus for c in found}))}; which is meant can't be told")
    last = max(found, key=lambda c: decoding_rank(c.decoding))
    chosen = next((c for c in found if c.decoding == decoding), None) if decoding else last
    value = _figure(chosen, kind) if chosen else None
    if value is None:
        raise UserError(f"'{mark}': its records have no such number")
    return value


def _of_table(mark: str, root: Path) -> float:
    named, column, *row = (part.strip() for part in mark.split(";"))
    page, which = re.fullmatch(r"(.*?)(?: \((\d)\))?", named).groups()  # type: ignore[union-attr]
    path = root / ("" if "/bench/" in page else "egs") / page
    if not path.is_file():
        raise UserError(f"'{mark}': there is no page {path.relative_to(root)}")
    try:
        return cell_of(_table(path.read_text(encoding="utf-8"), int(which or 0)), column, row)
    except UserError as error:
        raise UserError(f"'{mark}': {error}") from None


@lru_cache(maxsize=None)
def _cells(path: Path, split: str) -> Dict[str, List[Cell]]:
    """The records of a file, of one split, by the name of the system; read once, because that takes a second."""
    out: Dict[str, List[Cell]] = {}
    for cell in cells(r for r in read_file(path) if r["split"] == split):
        out.setdefault(cell.name, []).append(cell)
    return out


def cell_of(text: str, column: str, row: Sequence[str]) -> float:
    """A number of a table.

    Args:
      text: the page.
      column: its title, with which of several columns and numbers, see above.
      row: cells that the row must have, with or without their titles.
    Raises:
      UserError: no cell, or several different ones, are that.
    """
    place = re.fullmatch(r"(.*?)(?: \((\d)\))?(?: #(\d))?", column)
    assert place
    name, which = place[1], int(place[3] or 1)
    found = set()
    for header, cells_of_row in _rows(text):
        here = [cell for title, cell in zip(header, cells_of_row) if title == name]
        if set(row) <= {*cells_of_row, *_numbered(header, cells_of_row)}:
            found |= set(here[int(place[2]) - 1 : int(place[2])] if place[2] else here)
    if len(found) != 1:
        raise UserError(f"{len(found) or 'no'} cells are that; name more cells of the row")
    figures = FIGURE.findall(found.pop())
    if len(figures) < which:
        raise UserError(f"the cell has no number {which}")
    return float(figures[which - 1].replace("−", "-").replace(",", ""))


def _table(text: str, number: int) -> str:
    """The table of a page with a number from 1; for 0 all of the page."""
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.M)
    if number > len(tables):
        raise UserError(f"there are {len(tables)} tables")
    return tables[number - 1] if number else text


def _figure(cell: Cell, kind: str) -> Optional[float]:
    if kind == "rtf":
        return cell.rtf
    if kind == "oracle":
        return cell.oracle
    if kind == "oov":
        return cell.mean("oov_recall")
    if kind == "training":
        return cell.mean_of("seconds", "train")
    if kind:
        return 100 * cell.total(kind) / cell.total("words")
    return cell.rate


def _rows(text: str) -> Iterator[Tuple[List[str], Sequence[str]]]:
    """Header and row, of every row of every table of a page; an empty cell of the first columns repeats the one above."""
    header: List[str] = []
    above: List[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            header, above = [], []
            continue
        row = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not header:
            header = row
        elif not all(re.fullmatch(r":?-+:?", cell) for cell in row):
            labels = next((n for n, cell in enumerate(row) if cell), 0)
            row = [*above[:labels], *row[labels:]]
            above = row
            yield header, row


def _numbered(header: Sequence[str], row: Sequence[str]) -> List[str]:
    """Cells with their column, `clients=25`, which tells a number from the same one in another column."""
    return [f"{title}={cell}" for title, cell in zip(header, row)]
