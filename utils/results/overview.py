"""The overview of results in README.md and README.zh-CN.md: a table of at most eight systems, and one picture."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import yaml

from utils.core.errors import UserError
from utils.core.files import write_text
from utils.core.tables import ABSENT, Table, as_markdown, number, span
from utils.pipeline.variants import FILE
from utils.results.comparison import Cell, cells, results
from utils.results.pictures import Point, wer_against_rtf
from utils.results.records import Record

CORPORA = ("asterisk-en", "speechocean762", "aishell_sample")
PICTURE = Path("docs") / "pictures" / "results.svg"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
PAGES = {"README.md": "en", "README.zh-CN.md": "zh"}


@dataclass(frozen=True)
class Shown:
    """A row of the overview."""

    name: str
    what: Dict[str, str]  # by language of the page: en, zh
    download: Dict[str, str]


@lru_cache(maxsize=None)
def overview() -> Tuple[Shown, ...]:
    """The rows of the overview, in the order of egs/variants.yaml."""
    return tuple(Shown(entry["recipe"], entry["what"], entry["download"]) for entry in _file()["overview"])


def redraw(root: Path, records: Sequence[Record]) -> List[Path]:
    """Write the picture, and the block between the markers of each README that is there; returns what was written.

    Args:
      root: the repository.
      records: of which the clean ones of the split test are drawn.
    Raises:
      UserError: there is no clean record, or a page lacks the markers.
    """
    found = shown_cells(records)
    if not any(found.values()):
        raise UserError(f"no committed results on test of {' or '.join(CORPORA)}: the README shows no others")
    pages = {root / name: language for name, language in PAGES.items() if (root / name).exists()}
    texts = {path: replaced(path, block(found, language)) for path, language in pages.items()}
    texts[root / PICTURE] = picture(found)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return list(texts)


def shown_cells(records: Sequence[Record]) -> Dict[str, Dict[str, Cell]]:
    """Corpus -> name of a system in the overview -> its last decoding on test, from clean records."""
    clean = [r for r in records if r["split"] == "test" and r["git_clean"]]
    last = results(cells(clean))
    names = [shown.name for shown in overview()]
    return {corpus: {c.name: c for c in last if c.corpus == corpus and c.name in names} for corpus in CORPORA}


def block(found: Dict[str, Dict[str, Cell]], language: str) -> str:
    """The picture and the table, as Markdown."""
    words = _file()["words"][language]
    rows = [row for shown in overview() if (row := _row(shown, found, language))]
    table = as_markdown(Table("", words["caption"], [h.format(*CORPORA) for h in words["header"]], rows, 2))
    return f"![{words['alt']}]({PICTURE.as_posix()})\n\n" + table.partition("\n\n")[2]


def picture(found: Dict[str, Dict[str, Cell]]) -> str:
    """Error rate against real-time factor of the same systems, as SVG."""
    panels: Dict[str, List[Point]] = {corpus: [] for corpus in CORPORA if found[corpus]}
    for corpus, points in panels.items():
        for shown in overview():
            cell = found[corpus].get(shown.name)
            if cell and cell.rtf:
                points.append(Point(shown.name, cell.rtf, cell.rate, *cell.interval, cell.measure.upper()))
    return wer_against_rtf(panels)


def replaced(page: Path, text: str) -> str:
    """A page with the text between its markers replaced.

    Raises:
      UserError: the page lacks the markers.
    """
    old = page.read_text(encoding="utf-8")
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{page} has no block between {BEGIN} and {END}; put both lines where the results belong")
    return f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}"


def _row(shown: Shown, found: Dict[str, Dict[str, Cell]], language: str) -> Optional[List[str]]:
    here = [found[corpus].get(shown.name) for corpus in CORPORA]
    if not any(here):
        return None
    rates = [f"{number(c.rate)} {span(*c.interval)}" if c else ABSENT for c in here]
    timed = next(c for c in here if c)
    return [f"`{shown.name}`", shown.what[language], *rates, "≥" * timed.untimed + number(timed.rtf, 3), shown.download[language]]


def _file() -> Dict[str, Any]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
