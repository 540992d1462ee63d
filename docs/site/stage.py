"""Lay the pages of the site out: `python docs/site/stage.py FOLDER`, which docs/build.sh calls before MkDocs.

The site has docs/ at its root, and every page of the repository that a page links to (findings of a corpus, the README) beside
it; links between them are rewritten. A target that is missing is left as it is, and `mkdocs build --strict` refuses it.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import List, Set

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
RENAMED = {"README.md": "repository.md", "README.zh-CN.md": "repository.zh.md"}  # index.md is the home page already


def place(path: Path) -> str:
    """Where a file of the repository lies in the site, relative to its root."""
    name = path.relative_to(ROOT).as_posix()
    return RENAMED.get(name, name.removeprefix("docs/"))


def stage(path: Path, folder: Path, done: Set[Path]) -> None:
    """Copy a file, and what it links to, into `folder`; links of a Markdown page are rewritten."""
    if path in done:
        return
    done.add(path)
    target = folder / place(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".md":
        shutil.copyfile(path, target)
        return
    found: List[Path] = []

    def rewritten(match: "re.Match[str]") -> str:
        linked = Path(os.path.normpath(path.parent / match[1]))
        if not linked.is_file() or ROOT not in linked.parents:
            return match[1]
        found.append(linked)
        return os.path.relpath(place(linked), Path(place(path)).parent)

    parts = FENCE.split(path.read_text(encoding="utf-8"))
    text = "".join(part if number % 2 else LINK.sub(rewritten, part) for number, part in enumerate(parts))
    target.write_text(text, encoding="utf-8")
    for linked in found:
        stage(linked, folder, done)


def main() -> int:
    """Run the command line; returns the exit status."""
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    done: Set[Path] = set()
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file() and "site" not in path.relative_to(ROOT / "docs").parts and path.suffix not in (".sh", ".py"):
            stage(path, folder, done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
