"""Lists of keywords as tables for people, JSON, and CSV."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence

from utils.core.errors import printable
from utils.core.tables import Table, as_text, duration, number
from utils.keywords.documents import Document
from utils.keywords.ranking import Keyword

PLACES = 5  # of a keyword that a table shows; one where a document has several files
COLUMNS = ("file", "rank", "keyword", "score", "confidence", "count", "salience", "coherence", "start", "end", "starts")


@dataclass(frozen=True)
class Found:
    """A document and its keywords, the best first."""

    document: Document
    keywords: List[Keyword]


def tables(lists: Sequence[Found]) -> str:
    """A table for each document."""
    return "\n\n".join(_table(found) for found in lists) + "\n"


def as_json(lists: Sequence[Found]) -> str:
    """Everything that is known: a list of documents."""
    return json.dumps([_value(found) for found in lists], ensure_ascii=False, indent=1) + "\n"


def as_csv(lists: Sequence[Found]) -> str:
    """A line a keyword; start and end are those of the most certain place."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for found in lists:
        for rank, one in enumerate(found.keywords, 1):
            best = max(one.occurrences, key=lambda place: place.probability)
            figures = [_rounded(value) for value in (one.score, one.confidence, one.count, one.salience, one.coherence)]
            starts = " ".join(str(_rounded(place.start)) for place in one.occurrences if place.start is not None)
            name = printable(best.file or found.document.name)
            writer.writerow([name, rank, one.text, *figures, _rounded(best.start), _rounded(best.end), starts])
    return out.getvalue()


def _table(found: Found) -> str:
    document = found.document
    said = f", {duration(document.seconds)}" if document.seconds is not None else ""
    title = f"{printable(document.name)}: {document.words} words{said}"
    if not found.keywords:
        return f"{title}\nno keywords: all its words are among the most frequent of the language" if document.words else title
    rows = [
        [one.text, number(one.score, 2), number(one.confidence, 2), number(one.count, 1), number(one.coherence, 2), _places(one)]
        for one in found.keywords
    ]
    return as_text(Table(title, "", ["keyword", "score", "confidence", "count", "coherence", "at"], rows, 1))


def _places(one: Keyword) -> str:
    """Where it was said, in minutes and seconds."""
    places = [
        f"{printable(place.file)} {int(place.start) // 60}:{int(place.start) % 60:02d}".strip()
        for place in one.occurrences
        if place.start is not None
    ]
    shown = PLACES if not any(place.file for place in one.occurrences) else 1
    return ", ".join(places[:shown]) + f" and {len(places) - shown} more" * (len(places) > shown)


def _value(found: Found) -> Dict[str, Any]:
    document = found.document
    about = {"file": printable(document.name), "language": document.language, "seconds": _rounded(document.seconds)}
    return {
        **about,
        "words": document.words,
        "remarks": document.remarks,
        "keywords": [
            {
                "text": one.text,
                **{key: _rounded(getattr(one, key)) for key in ("score", "confidence", "count", "salience", "coherence")},
                "occurrences": [
                    {
                        "start": _rounded(place.start),
                        "end": _rounded(place.end),
                        "probability": _rounded(place.probability),
                        **({"file": printable(place.file)} if place.file else {}),
                    }
                    for place in one.occurrences
                ],
            }
            for one in found.keywords
        ],
    }


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(float(value), 4)
