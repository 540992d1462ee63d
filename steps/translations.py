"""Tell which Chinese pages of docs/ are older than their English twins: `python -m steps.translations`.

`page.zh.md` is the twin of `page.md`. Its front matter holds the hash of the English page that it translates (`source:`), so a
change of the English page is noticed until somebody has carried it over, and says so with `--done`. That also makes the links of
all twins lead to twins, as far as there are any, and to their headings: write a link as the English page has it.
"""

import hashlib
import re
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from steps import command
from utils.core.errors import UserError
from utils.core.files import ROOT, write_text
from utils.core.options import Parser
from utils.reference.links import anchor
from utils.reference.places import by_hand

FOLDER = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(docs/)?([\w-]*?)(?:\.zh)?(\.md)?(?:#([^)\s]+))?(?=\))")
FENCE = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
SOURCE = re.compile(r"\A---\nsource: (\w+)\n---\n")


def digest(page: Path) -> str:
    """The hash of an English page that its twin holds: the first 12 digits of its SHA-256, over lines without trailing blanks."""
    text = by_hand(page.read_text(encoding="utf-8"))  # what is drawn is drawn in both languages
    lines = [line.rstrip() for line in text.rstrip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def twins(folder: Path) -> Dict[Path, Path]:
    """English page -> its Chinese twin, of all that have one."""
    pairs = {path.with_name(path.name.replace(".zh.md", ".md")): path for path in sorted(folder.glob("*.zh.md"))}
    orphans = [twin.name for page, twin in pairs.items() if not page.exists()]
    if orphans:
        raise UserError(f"{orphans[0]} translates a page that is not there: rename or delete it")
    return pairs


def stale(folder: Path) -> List[Path]:
    """The twins whose English page has changed since they were translated, and those without a hash."""
    found = []
    for page, twin in twins(folder).items():
        held = SOURCE.match(twin.read_text(encoding="utf-8"))
        if not held or held[1] != digest(page):
            found.append(twin)
    return found


def stamp(folder: Path, name: str) -> Path:
    """Write the hash of the English page `name` into its twin, which translates it as it is now."""
    page = folder / f"{Path(name).name.split('.')[0]}.md"
    twin = page.with_suffix(".zh.md")
    for path in (page, twin):
        if not path.exists():
            raise UserError(f"{path} is not there: a page is named as docs/live.md, docs/live.zh.md or live")
    text = SOURCE.sub("", twin.read_text(encoding="utf-8"))
    write_text(twin, f"---\nsource: {digest(page)}\n---\n{text}")
    return twin


def anchors(page: Path) -> List[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return list(map(anchor, titles))


def relink(folder: Path) -> None:
    """Make the links of every twin, and of the Chinese README, lead to twins where there are any, and to their headings."""
    pairs = twins(folder)
    readme = folder.parent / "README.zh-CN.md"
    for own, twin in [*pairs.items(), *([(folder / "", readme)] if readme.exists() else [])]:
        text = twin.read_text(encoding="utf-8")
        new = LINK.sub(partial(_linked, own=own, folder=folder, pairs=pairs), text)
        if new != text:
            write_text(twin, new)


def _linked(match: "re.Match[str]", own: Path, folder: Path, pairs: Dict[Path, Path]) -> str:
    """The target of a link of the twin of `own`; another target than a page of the folder stays."""
    before, name, suffix, anchor = match.groups()
    page = folder / f"{name}.md" if suffix else own
    if bool(name) != bool(suffix) or not page.is_file():
        return match[0]
    target = pairs.get(page, page)
    for known in (anchors(page), anchors(target)):
        if anchor in known:
            anchor = anchors(target)[known.index(anchor)]
            break
    return (before or "") + (target.name if suffix else "") + (f"#{anchor}" if anchor else "")


def parser() -> Parser:
    """The options."""
    p = Parser(
        prog="python -m steps.translations", description="Tell which Chinese pages of docs/ are older than their English twins."
    )
    p.add_argument("--done", nargs="+", metavar="PAGE", default=[], help="these pages are translated as they are now")
    return p


def main(arguments: Optional[Sequence[str]] = None, folder: Path = FOLDER) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(arguments)
    for name in options.done:
        print(f"up to date: {stamp(folder, name).name}")
    if options.done:
        relink(folder)
    old = stale(folder)
    for twin in old:
        name = twin.name.partition(".")[0]
        print(f"{twin.name} is older than {name}.md: carry the change over, then python -m steps.translations --done {name}")
    missing = sorted(path.name for path in folder.glob("*.md") if not path.name.endswith(".zh.md") and path not in twins(folder))
    if missing:
        print(f"not translated: {', '.join(missing)}")
    return 1 if old else 0


if __name__ == "__main__":
    command(main)
