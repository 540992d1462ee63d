"""Draw the table of corpora x recipes from all results records: `python -m steps.compare`.

Prints it, and writes RESULTS.md and RESULTS.html at the root unless only a part was asked for. What is printed, RESULTS.md and
README come from the records alone. The page also shows what the runs' folders in exp hold, with speech, and stays out of git.
Needs neither torch nor k2, but where the page gets speech Lhotse brings torch in.
"""

import os
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import ROOT, write_text
from utils.pipeline.config import nearest
from utils.pipeline.driver import Parser
from utils.results.comparison import system_name
from utils.results.details_page import WORST, details
from utils.results.records import Record
from utils.results.report import BASELINE, Report, html_page, markdown_page, readme_block, report, terminal
from utils.results.store import read_all

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def main(arguments: Optional[Sequence[str]] = None, root: Path = ROOT) -> int:
    """Run the command line; returns the exit status.

    Args:
      arguments: default sys.argv.
      root: the repository, whose egs/ are read.
    """
    p = Parser(
        prog="python -m steps.compare",
        description="Compare recipes over corpora, from the records in egs/*/results.jsonl.",
        allow_abbrev=False,
    )
    p.add_argument("--split", default="test", choices=("test", "dev"), help="default test")
    p.add_argument("--corpus", action="append", metavar="NAME", help="only this corpus or folder of egs/; may be repeated")
    p.add_argument("--recipe", action="append", metavar="NAME", help="only this recipe; may be repeated")
    p.add_argument(
        "--baseline", default=BASELINE, metavar="NAME", help=f"recipe that the others are tested against (default {BASELINE})"
    )
    p.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="default RESULTS.md, written where nothing but --baseline or --worst is given",
    )
    p.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="default RESULTS.html, likewise; the page has curves, confusions and speech from exp/ (or NUPTSE_EXP) besides, "
        "so keep it out of git as RESULTS.html is",
    )
    p.add_argument(
        "--worst",
        type=int,
        default=WORST,
        metavar="N",
        help=f"utterances of each system with the most errors to show and play on the page (default {WORST}; 0 for none)",
    )
    p.add_argument(
        "--readme", action="store_true", help="redraw the block of README.md between its results markers, and nothing else"
    )
    options = p.parse_args(arguments)
    try:
        if options.worst < 0:
            raise UserError(f"--worst {options.worst}: a number of utterances, or 0 for none")
        every = published(root)
        records = chosen(every, options.split, options.corpus, options.recipe)
        if options.baseline != BASELINE:
            _known("recipe", [options.baseline], {system_name(r) for r in records})
        if options.readme:
            dev = [r for _, r in every if r["split"] == "dev"]
            redraw(root / "README.md", readme_block(committed(records), dev, options.split, options.baseline))
            print("redrawn: the results in README.md")
            return 0
        page = report(records, options.split, options.baseline)
        print(terminal(page))
        whole = options == p.parse_args(["--baseline", options.baseline, "--worst", str(options.worst)])
        for path, default, text in (
            (options.markdown, "RESULTS.md", lambda: markdown_page([page], f"Results on {options.split}")),
            (options.html, "RESULTS.html", lambda: _html(page, root, options.worst)),
        ):
            path = path or (root / default if whole else None)
            if path:
                write_text(path, text())
                print(f"written: {path}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def published(root: Path) -> List[Tuple[str, Record]]:
    """Every record of egs/*/, with the name of its folder."""
    return [(folder.name, r) for folder in sorted((root / "egs").glob("*/")) for r in read_all([folder])]


def chosen(
    every: Sequence[Tuple[str, Record]], split: str, corpora: Optional[List[str]], recipes: Optional[List[str]]
) -> List[Record]:
    """The records of a split, of some corpora (by name or folder of egs/) and recipes; None for all.

    Raises:
      UserError: there are none; the text says what to run or which names there are.
    """
    found = [(folder, r) for folder, r in every if r["split"] == split]
    if not found:
        raise UserError(f"no results on {split} yet: run ./egs/asterisk/run.sh (stages 0 to 8) and compare again")
    _known("corpus", corpora, {name for folder, r in found for name in (folder, r["corpus"])})
    _known("recipe", recipes, {r["recipe"] for _, r in found})
    kept = [
        r
        for folder, r in found
        if (not corpora or folder in corpora or r["corpus"] in corpora) and (not recipes or r["recipe"] in recipes)
    ]
    if not kept:
        raise UserError(f"no results of {', '.join(recipes or [])} on {', '.join(corpora or [])}; run it, or ask for less")
    return kept


def committed(records: List[Record]) -> List[Record]:
    """Those of clean trees: README shows nothing that the repository doesn't hold the record of."""
    clean = [r for r in records if r["git_clean"]]
    if not clean:
        raise UserError(
            "all records are of uncommitted code (results.dirty.jsonl), and README shows none of those; commit and run again"
        )
    return clean


def redraw(readme: Path, text: str) -> None:
    """Replace what stands between the markers."""
    old = readme.read_text(encoding="utf-8") if readme.exists() else ""
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UserError(f"{readme} has no block between {BEGIN} and {END}; put both lines where the results belong")
    write_text(readme, f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}")


def _html(page: Report, root: Path, worst: int) -> str:
    """The page with what the runs' folders hold."""
    exp = Path(os.environ.get("NUPTSE_EXP") or root / "exp")
    return html_page(page, f"Nuptse: results on {page.split}", details(page, exp, worst))


def _known(what: str, asked: Optional[Sequence[str]], names: set) -> None:
    for name in asked or ():
        if name not in names:
            raise UserError(f"no results of {what} '{name}'{nearest(name, names)}; there are {', '.join(sorted(names))}")


if __name__ == "__main__":
    sys.exit(main())
