"""Compare recipes over corpora from all results records: `python -m steps.compare`.

Prints the tables, redraws RESULTS.md of each corpus folder and writes RESULTS.html at the root, unless only a part was asked for.
What is printed and all RESULTS.md come from the records alone. The HTML page also shows what the runs' folders in exp/ hold, with
speech, and is not committed. Needs neither torch nor k2; Lhotse imports torch where the page gets speech.
"""

import os
import sys
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from steps import command
from utils.core.errors import UserError
from utils.core.files import FORBIDDEN, ROOT, write_text
from utils.core.options import Parser
from utils.pipeline.config import nearest
from utils.pipeline.variants import display_name
from utils.results.comparison import system_name
from utils.results.details_page import WORST, details
from utils.results.overview import redraw
from utils.results.page import html_page
from utils.results.records import Record
from utils.results.report import BASELINE, corpus_page, markdown, report, terminal
from utils.results.store import locked, read_all


def main(arguments: Optional[Sequence[str]] = None, root: Path = ROOT) -> int:
    """Run the command line; returns the exit status.

    Args:
      arguments: default sys.argv.
      root: the repository, whose egs/ are read.
    """
    p = parser()
    options = p.parse_args(arguments)
    try:
        if options.worst < 0:
            raise UserError(f"--worst {options.worst}: a number of utterances, or 0 for none")
        every = published(root)
        if options.readme:
            for path in redraw(root, [r for _, r in every]):
                print(f"written: {path}")
            return 0
        records = chosen(every, options.split, options.corpus, options.recipe)
        baseline = options.baseline
        if baseline != BASELINE:
            shown = {display_name(r["recipe"], r["overrides"]): system_name(r) for r in records}
            baseline = shown.get(baseline, baseline)
            if baseline not in shown.values():
                _known("recipe", [baseline], {*shown})
        page = report(records, options.split, baseline)
        whole = options == p.parse_args(["--baseline", options.baseline, "--worst", str(options.worst)])
        written = []
        if whole:
            for folder in (root / "egs" / name for name in dict.fromkeys(name for name, _ in every)):
                if not os.access(folder, os.W_OK):
                    continue
                with locked(folder):
                    written.append((folder / "RESULTS.md", corpus_page(folder)))
        if options.markdown:
            written.append((options.markdown, markdown(page, f"Results on {options.split}")))
        if options.html or whole:
            text = html_page(page, f"Nuptse: results on {options.split}", details(page, _exp(root), options.worst))
            written.append((options.html or root / "RESULTS.html", text))
        try:
            for path, text in written:  # before anything is printed, which may find no reader
                write_text(path, text)
        finally:
            print(terminal(page))
        for path, _ in written:
            print(f"written: {path}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in FORBIDDEN:
            raise
        print(f"error: {error}; --html FILE and --markdown FILE write elsewhere", file=sys.stderr)
        return 1
    return 0


def parser() -> Parser:
    """The command line."""
    p = Parser(
        prog="python -m steps.compare",
        description="Compare recipes over corpora, from the records in egs/*/results.jsonl.",
        allow_abbrev=False,
    )
    p.add_argument("--split", default="test", choices=("test", "dev"), help="default test")
    p.add_argument("--corpus", action="append", metavar="NAME", help="only this corpus or folder of egs/; may be repeated")
    p.add_argument("--recipe", action="append", metavar="NAME", help="only this recipe; may be repeated")
    what = f"system that the others are compared with (default {BASELINE})"
    p.add_argument("--baseline", default=BASELINE, metavar="NAME", help=what)
    p.add_argument("--markdown", type=Path, metavar="FILE", help="also write the tables to this file")
    what = (
        "default RESULTS.html, written where nothing but --baseline or --worst is given; the page also has curves, confusions "
        "and speech from exp/ (or NUPTSE_EXP), so do not commit it"
    )
    p.add_argument("--html", type=Path, metavar="FILE", help=what)
    what = f"utterances of each system with the most errors to show and play on the page (default {WORST}; 0 for none)"
    p.add_argument("--worst", type=int, default=WORST, metavar="N", help=what)
    what = "redraw the table and the picture of README.md and README.zh-CN.md, and nothing else"
    p.add_argument("--readme", action="store_true", help=what)
    return p


def published(root: Path) -> List[Tuple[str, Record]]:
    """Every record of egs/*/, and of exp/*/ where egs/ was read-only, with the name of its folder."""
    folders = [*sorted((root / "egs").glob("*/")), *sorted(_exp(root).glob("*/"))]
    return [(folder.name, r) for folder in folders for r in read_all([folder])]


def _exp(root: Path) -> Path:
    return Path(os.environ.get("NUPTSE_EXP") or root / "exp")


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


def _known(what: str, asked: Optional[Sequence[str]], names: set) -> None:
    for name in asked or ():
        if name not in names:
            raise UserError(f"no results of {what} '{name}'{nearest(name, names)}; there are {', '.join(sorted(names))}")


if __name__ == "__main__":
    command(main)
