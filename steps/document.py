"""Draw what pages show of the code and of records: `python -m steps.document`.

Settings come from recipes/base.yaml and the schema, options from the parsers of the commands, numbers of results from records.
They stand in marked places of README.md, docs/ and egs/*/README.md (utils/reference/places.py); Chinese pages take
docs/site/chinese.yaml too.
With `--check` it writes nothing, and its exit status is 1 where a page is not as it would be drawn.
"""

import importlib
import re
import sys
from functools import lru_cache, partial
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence

from steps import command
from utils.bundle import opening as bundle
from utils.core.errors import UserError
from utils.core.files import ROOT, write_text
from utils.core.options import Parser
from utils.pipeline import driver
from utils.reference import options, records, settings
from utils.reference.chinese import Chinese, Language, english
from utils.reference.figures import figure
from utils.reference.measured import measured
from utils.reference.places import BLOCK, drawn
from utils.spotting import opening as spotting
from utils.watching import opening as watching

RUN, BUNDLE, KEYWORDS, WATCHING = "run", "bundle", "keywords-of", "watching"
SHARED = {  # options that several commands have
    RUN: "Options of a corpus and recipe",
    BUNDLE: "Options of a bundle",
    KEYWORDS: "Options of keywords to listen for",
    WATCHING: "Options of what is wanted beside words",
}
# Commands -> the sets of options above that are theirs too.
COMMANDS = {
    "add_words": (RUN,),
    "distil": (RUN,),
    "sweep": (RUN,),
    "ngrams": (),
    "noises": (),
    "compare": (),
    "recognise": (BUNDLE,),
    "index": (BUNDLE,),
    "find": (BUNDLE,),
    "keywords": (BUNDLE,),
    "spot": (BUNDLE, KEYWORDS),
    "commands": (BUNDLE,),
    "listen": (BUNDLE, KEYWORDS, WATCHING),
    "serve": (BUNDLE, KEYWORDS, WATCHING),
    "seal": (),
    "document": (),
    "translations": (),
}


def parser() -> Parser:
    """The options."""
    p = Parser(prog="python -m steps.document", description="Draw what pages show of the code and of records.")
    p.add_argument("--check", action="store_true", help="write nothing; exit status 1 where a page is out of date")
    return p


@lru_cache(maxsize=None)
def every_command() -> Dict[str, options.Command]:
    """The commands whose options are drawn, and the options that they share."""
    shared = {name: Parser() for name in (BUNDLE, KEYWORDS, WATCHING)}
    for name, add in ((BUNDLE, bundle.add_options), (KEYWORDS, spotting.add_options), (WATCHING, watching.add_options)):
        add(shared[name])
    parsers = {RUN: driver.parser(stages=False), **shared}
    about = {
        RUN: "Which corpus, recipe and settings are meant, and what computes.",
        BUNDLE: "The trained model, how it is opened, and what with.",
        KEYWORDS: "Which keywords, and when they count.",
        WATCHING: "Commands of a grammar, after a wake word.",
    }
    out = {name: options.Command(SHARED[name], about[name], parsers[name]) for name in parsers}
    out[WATCHING] = options.Command(SHARED[WATCHING], about[WATCHING], parsers[WATCHING], (KEYWORDS,))
    runs = "Run the stages of a recipe on a corpus; a single one by its module, such as steps.train, with the same options."
    out["run.sh"] = options.Command("./egs/CORPUS/run.sh", runs, driver.parser(stages=True), ())
    for name, shares in COMMANDS.items():
        module = sys.modules[__name__] if name == "document" else importlib.import_module(f"steps.{name}")
        line = re.sub(r": `[^`]*`|\.? See docs/.*", "", (module.__doc__ or "").splitlines()[0]).rstrip(".") + "."
        out[name] = options.Command(f"python -m steps.{name}", line, module.parser(), shares)
        if name == "seal":
            out["keygen"] = options.Command(f"python -m steps.{name} keygen", "Make a key.", module.keygen_parser())
    return out


def pages(root: Path = ROOT) -> List[Path]:
    """The pages that may have marked places."""
    hand = [*sorted((root / "docs").glob("*.md")), *sorted((root / "egs").glob("*/README.md"))]
    return [*(root / name for name in ("README.md", "README.zh-CN.md")), *hand]


def texts(root: Path = ROOT) -> Dict[Path, str]:
    """The pages with marked places, as they should be.

    Raises:
      UserError: a mark that can't be read; a text without Chinese.
    """
    base = (ROOT / "recipes" / "base.yaml").read_text(encoding="utf-8")
    commands, found, chinese = every_command(), measured(), Chinese()

    def blocks(language: Language) -> Mapping[str, Callable[[Sequence[str]], str]]:
        return {
            "settings": partial(settings.tables, base, measured=found, language=language),
            "options": partial(options.tables, commands=commands, language=language),
            "record": partial(records.keys, language=language),
            "scores": records.scores,
        }

    out = {}
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        language = chinese if ".zh" in page.name else english
        try:
            out[page] = drawn(text, blocks(language), figure)
        except UserError as error:
            raise UserError(f"{page.relative_to(root)}: {error}") from None
    _complete("settings", settings.groups_of(base), out)
    _complete("options", list(commands), out)
    chinese.check()
    return out


def _complete(kind: str, names: Sequence[str], found: Mapping[Path, str]) -> None:
    """Raise UserError where English pages do not have each of these once."""
    marks = [m for page, text in found.items() if ".zh" not in page.name for m in BLOCK.finditer(text) if m["kind"] == kind]
    there = [name for mark in marks for name in mark["what"].split()]
    wrong = [name for name in names if there.count(name) != 1]
    if wrong:
        raise UserError(f"{', '.join(wrong)}: must be in one block '<!-- {kind}: ... -->' of docs/, and in no other")


def main(arguments: Optional[Sequence[str]] = None, root: Path = ROOT) -> int:
    """Run the command line; returns the exit status."""
    given = parser().parse_args(arguments)
    try:
        made = texts(root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    old = 0
    for path, text in made.items():
        if path.read_text(encoding="utf-8") == text:
            continue
        old += 1
        if given.check:
            print(f"{path.name} is out of date: run python -m steps.document")
        else:
            write_text(path, text)
            print(f"written: {path}")
    if not old:
        print("every page is up to date")
    return 1 if old and given.check else 0


if __name__ == "__main__":
    command(main)
