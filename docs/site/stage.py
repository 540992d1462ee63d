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
sys.path.insert(0, str(ROOT))
from steps import translations  # noqa: E402

FENCE = re.compile(r"(^ *```.*?^ *```$)", re.M | re.S)
IMAGE = re.compile(r'<img src="([^"]*)" alt="([^"]*)" width="(\d+)">')  # of HTML, whose addresses MkDocs would leave as they are
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?")
RENAMED = {"README.md": "repository.md", "README.zh-CN.md": "repository.zh.md"}  # index.md is the home page already


def place(path: Path) -> str:
    """Where a file of the repository lies in the site, relative to its root."""
    name = path.relative_to(ROOT).as_posix()
    return RENAMED.get(name, name.removeprefix("docs/"))


def twin_of(path: Path) -> Path:
    """The English page of a Chinese one; another page is its own."""
    return path.with_name(path.name.replace(".zh-CN.md", ".md").replace(".zh.md", ".md"))


def stage(path: Path, folder: Path, done: Set[Path]) -> None:
    """Copy a file, and what it links to, into `folder`; links of a Markdown page are rewritten.

    Headings of a Chinese page get the anchors of its English twin: a link from any page leads to both, and stays where the
    reader changes the language.
    """
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
        name, anchor = match.groups()
        linked = Path(os.path.normpath(path.parent / name)) if name else path
        if not linked.is_file() or ROOT not in linked.parents:
            return match[0]
        if name:
            found.append(linked)
            shown = twin_of(linked) if linked.name.startswith("README.zh") else linked  # the site finds the language itself
            name = os.path.relpath(place(shown), Path(place(path)).parent)
        if anchor and twin_of(linked) != linked and anchor in translations.anchors(linked):
            anchor = translations.anchors(twin_of(linked))[translations.anchors(linked).index(anchor)]
        return name + (f"#{anchor}" if anchor else "")

    anchors = iter(translations.anchors(twin_of(path)) if twin_of(path) != path else ())
    parts = FENCE.split(path.read_text(encoding="utf-8"))
    for number in range(0, len(parts), 2):
        text = LINK.sub(rewritten, IMAGE.sub(r'![\2](\1){ width="\3" }', parts[number]))
        if twin_of(path) != path:
            text = re.sub(r"^(#+ .*)$", lambda match: f"{match[1]} {{#{next(anchors)}}}", text, flags=re.M)
        parts[number] = text
    text = "".join(parts)
    if path.relative_to(ROOT).parts[0] == "egs":  # tables of results have many words, and explain few
        boost = "search: {boost: 0.1}\n"
        text = f"---\n{boost}{text[4:]}" if text.startswith("---\n") else f"---\n{boost}---\n\n{text}"
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
    shutil.copyfile(ROOT / "docs" / "site" / "site.css", folder / "site.css")
    rows = re.findall(r"^\| ([^|]*[^ |]) +\|", (ROOT / "docs" / "glossary.zh.md").read_text(encoding="utf-8"), re.M)
    terms = sorted({term.strip() for row in rows for term in row.split(",")})
    (folder.parent / "terms.txt").write_text("\n".join(terms) + "\n", encoding="utf-8")  # that jieba leaves whole, for the search
    return 0


if __name__ == "__main__":
    sys.exit(main())
