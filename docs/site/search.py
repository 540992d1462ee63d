"""Let the search of each language find the pages of that language: `python docs/site/search.py SITE`, after MkDocs.

mkdocs-static-i18n leaves one index of all languages. Here the Chinese pages get an index of their own, in zh/search, relative to
zh/. Material's worker, which splits Chinese words that are searched for, leaves the last character out and stops at one that no
page has; its two lines are mended.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List

MENDED = {  # of Material's segment(query, index)
    r"for\(let (\w)=(\w)\+1;\1<(\w)\.length;\1\+\+\)\3\.slice\(\2,\1\)in": (
        r"for(let \1=\2+1;\1<=\3.length;\1++)\3.slice(\2,\1)in"
    ),
    r"let (\w)=(\w)\+(\w)\[\2\];\3\[\1\]&&\1<(\w)\.length-1&&\((\w)\[(\w)\+\+\]=\1\)": (
        r"let \1=\2+(\3[\2]||1);\1<\4.length&&(\5[\6++]=\1)"
    ),
}


def split(index: Dict[str, Any], language: str = "zh") -> List[Dict[str, Any]]:
    """The index of the other pages, and that of the pages below `language`/, which also has those without a translation."""
    docs = index["docs"]
    own = [
        {**doc, "location": doc["location"][len(language) + 1 :]} for doc in docs if doc["location"].startswith(f"{language}/")
    ]
    others = [doc for doc in docs if not doc["location"].startswith(f"{language}/")]
    translated = {doc["location"].partition("#")[0] for doc in own}
    own += [doc for doc in others if doc["location"].partition("#")[0] not in translated]
    return [{**index, "docs": others}, {**index, "docs": own}]


def rebased(html: str) -> str:
    """A page below zh/ whose search has zh/ for its root."""
    changed, count = re.subn(r'(<script id="__config" type="application/json">.*?"base": ")\.\./?', r"\1", html, flags=re.S)
    if not count:
        raise SystemExit("error: a Chinese page has no setting `base`; docs/site/search.py expects another version of Material")
    return re.sub(r'("base": ")"', r'\1."', changed, count=1)


def mended(worker: str) -> str:
    """The script of the search with `MENDED`."""
    for old, new in MENDED.items():
        worker, count = re.subn(old, new, worker)
        if count != 1:
            raise SystemExit("error: the search of this version of Material is another; see MENDED in docs/site/search.py")
    return worker


def main() -> int:
    """Run the command line; returns the exit status."""
    site = Path(sys.argv[1])
    file = site / "search" / "search_index.json"
    english, chinese = (json.dumps(one, ensure_ascii=False) for one in split(json.loads(file.read_text("utf-8"))))
    file.write_text(english, "utf-8")
    (site / "zh" / "search").mkdir(exist_ok=True)
    (site / "zh" / "search" / "search_index.json").write_text(chinese, "utf-8")
    for page in (site / "zh").rglob("*.html"):
        page.write_text(rebased(page.read_text("utf-8")), "utf-8")
    (worker,) = (site / "assets" / "javascripts" / "workers").glob("search.*.min.js")
    worker.write_text(mended(worker.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
