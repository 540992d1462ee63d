"""The results page: one HTML file that needs no network.

It begins with a picture, WER against real-time factor, and a table of all systems that can be sorted and filtered. Plotly draws
the picture; its minified script is inlined from the pip package. page.html, page.css and page.js are the rest.
"""

import importlib.util
import json
from html import escape
from pathlib import Path
from typing import Any, Dict, List

from utils.core.errors import UserError
from utils.core.tables import as_html, duration, number, probability, signed, span
from utils.pipeline.provenance import MEASURED
from utils.pipeline.variants import split_settings
from utils.results.comparison import Cell, against
from utils.results.overview import overview
from utils.results.pictures import COLOURS
from utils.results.records import LINKS
from utils.results.report import Report

HERE = Path(__file__).parent
NAMED = 8  # points with a name; the others tell theirs on hover
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"


def html_page(page: Report, title: str, details: str = "") -> str:
    """The page, light or dark as the reader's system is.

    Args:
      details: HTML of what the records don't hold (`utils.results.details_page`).
    """
    tables = "\n".join(
        f"<details><summary>{escape(table.title)}</summary>{as_html(table)}</details>"
        for table in page.tables
        if not table.title.startswith("All decodings")  # the table of systems has them
    )
    data = json.dumps(contents(page), ensure_ascii=False).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title><style>{_asset('page.css')}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            '<p class="soft">Last decoding of each system, means over seeds. Hover a point or open a row for more; differences '
            f"are to {escape(page.baseline)}, by the paired bootstrap.</p>",
            _asset("page.html"),
            f"<h2>More tables</h2>\n{tables}" if tables else "",
            details,
            "<h2>Conditions</h2><ul>" + "".join(f"<li>{escape(n)}</li>" for n in page.notes) + "</ul>",
            f'<script type="application/json" id="data">{data}</script>',
            f"<script>{plotly()}</script>",
            f"<script>{_asset('page.js')}</script>",
            "</body></html>\n",
        ]
    )


def contents(page: Report) -> Dict[str, Any]:
    """What page.js shows: a row for each system and decoding, and which systems have a name in the picture."""
    return {
        "baseline": page.baseline,
        "colours": COLOURS,
        "named": [shown.name for shown in overview()][:NAMED],
        "rows": [_row(cell, page) for cell in page.every],
    }


def _row(cell: Cell, page: Report) -> Dict[str, Any]:
    first = cell.records[0]
    base = next((c for c in page.final if c.corpus == cell.corpus and c.system == page.baseline), None)
    apart = against(cell, base) if base and base is not cell else None
    named, left = split_settings(first["overrides"])
    training = cell.mean_of("seconds", "train")
    recall = cell.mean("oov_recall")
    return {
        "corpus": cell.corpus,
        "recipe": first["recipe"],
        "name": cell.name,
        "what": "; ".join([*(v.what for v in named), *left]),
        "settings": first["overrides"],
        "decoding": cell.decoding,
        "last": cell in page.final,
        "seeds": len(cell.seeds),
        "measure": cell.measure.upper(),
        "rate": cell.rate,
        "wer": cell.wer,
        "low": cell.interval[0],
        "high": cell.interval[1],
        "rtf": cell.rtf,
        "bound": cell.untimed,
        "shown": {
            "wer": number(cell.wer, 2),
            "interval": span(*cell.interval),
            "delta": f"{signed(apart.value)} {span(apart.low, apart.high)}, p {probability(apart.p)}" if apart else "–",
            "cer": number(cell.mean("cer"), 2),
            "oov": number(recall),
            "rtf": "≥" * cell.untimed + number(cell.rtf, 4),
            "training": duration(training),
            "mb": number(cell.recognising_mb, 0),
        },
        "stages": [
            [s, duration(cell.mean_of("seconds", s)), number(cell.mean_of("peak_memory_mb", s), 0)]
            for s in _known(cell, "seconds")
        ],
        "links": [[link, number(cell.mean_of("rtf", link), 4)] for link in _known(cell, "rtf")],
        "delta": apart.value if apart else None,
        "cer": cell.mean("cer"),
        "oov": recall,
        "training": training,
        "mb": cell.recognising_mb,
    }


def _known(cell: Cell, key: str) -> List[str]:
    """The items of a mapping that a record has: stages by `seconds`, in the order of the run, or links by `rtf`."""
    order = {"seconds": MEASURED, "rtf": LINKS}[key]
    return [item for item in order if any(item in r[key] for r in cell.records)]


def _asset(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def plotly() -> str:
    """The minified script of the plotly package, without importing the package.

    Raises:
      UserError: the package is not installed.
    """
    spec = importlib.util.find_spec("plotly")
    folders: List[str] = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.exists():
            return path.read_text(encoding="utf-8").replace("</script", "<\\/script")
    raise UserError("the results page needs the package plotly; run utils/setup.sh again")
