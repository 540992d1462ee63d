"""Hits as text, CSV, JSON, and a page that plays them."""

import csv
import html
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence
from urllib.parse import quote

from utils.core.errors import printable
from utils.search.index import Hit

COLUMNS = ("term", "file", "channel", "start", "end", "probability", "score", "sure", "by", "word")
BEFORE, AFTER = 1.0, 1.0  # seconds that the page plays around a hit


def as_text(hits: Sequence[Hit]) -> str:
    """A line a hit: term, file, start, end, probability; what was heard where a hit is one of meaning."""
    lines = []
    for hit in hits:
        heard = f"\t{hit.word} (by meaning)" if hit.by == "meaning" else ""
        where = printable(hit.file) + (f" channel {hit.channel}" if hit.channel is not None else "")
        lines.append(f"{hit.term}\t{where}\t{hit.start:.2f}\t{hit.end:.2f}\t{hit.probability:.3f}{heard}\n")
    return "".join(lines)


def as_csv(hits: Sequence[Hit]) -> str:
    """A table with a header."""
    stream = io.StringIO()
    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(_rows(hits))
    return stream.getvalue()


def as_json(hits: Sequence[Hit]) -> str:
    """A list of objects."""
    return json.dumps(_rows(hits), ensure_ascii=False, indent=1) + "\n"


def as_html(hits: Sequence[Hit], paths: Mapping[str, str], folder: Path) -> str:
    """A page that needs no server and no other file than the recordings.

    Args:
      paths: of the recordings, by name.
      folder: where the page will lie; recordings are linked from there.
    """
    rows = []
    for hit in hits:
        link = quote(os.path.relpath(paths[hit.file], folder))
        part = f"#t={max(0.0, hit.start - BEFORE):.2f},{hit.end + AFTER:.2f}"
        term = hit.term + (f": {hit.word} (by meaning)" if hit.by == "meaning" else "")
        rows.append(
            f"<tr><td>{html.escape(term)}</td><td>{html.escape(printable(hit.file))}</td><td>{hit.start:.2f}</td>"
            f"<td>{hit.end:.2f}</td><td>{hit.probability:.3f}</td>"
            f'<td><audio controls preload="none" src="{html.escape(link + part)}"></audio></td></tr>'
        )
    head = "".join(f"<th>{name}</th>" for name in ("term", "file", "start (s)", "end (s)", "probability", "listen"))
    style = "body{font-family:sans-serif}td,th{padding:.2em .6em;text-align:left}audio{height:2em}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Hits</title><style>{style}</style></head>\n'
        f"<body><h1>{len(hits)} hits</h1>\n<table><tr>{head}</tr>\n" + "\n".join(rows) + "\n</table></body></html>\n"
    )


def _rows(hits: Sequence[Hit]) -> List[Dict[str, Any]]:
    return [{name: value for name, value in asdict(hit).items() if name in COLUMNS} for hit in hits]
