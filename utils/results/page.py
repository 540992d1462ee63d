"""The results page: one HTML file that needs no network.

It begins with a picture, WER against real-time factor, and a table of all systems that can be sorted and filtered. Plotly draws
the picture; its minified script is inlined from the pip package. page.css and page.js are the rest.
"""

import importlib.util
import json
from html import escape
from pathlib import Path
from typing import Any, Dict, List

from utils.core.errors import UserError
from utils.results.comparison import Cell, against
from utils.results.pictures import COLOURS
from utils.results.report import Report
from utils.results.tables import as_html, duration, number, probability, signed, span
from utils.results.variants import overview, split_settings

HERE = Path(__file__).parent
NAMED = 8  # points with a name; the others tell theirs on hover
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"
SHELL = """<section id="overview">
<div id="plot" role="img" aria-label="Word error rate against real-time factor"></div>
<form class="filters">
<label>corpus <select id="corpus"></select></label>
<label>recipe <select id="recipe"></select></label>
<label>setting <input id="setting" type="search" placeholder="decoder, vectors, llm ..."></label>
<label>sort by <select id="sort"></select></label>
<label><input id="decodings" type="checkbox"> all decodings</label>
</form>
<p id="count" class="soft" aria-live="polite"></p>
<table id="systems"><thead></thead><tbody></tbody></table>
</section>"""


def html_page(page: Report, title: str, details: str = "") -> str:
    """The page, light or dark as the reader's system is.

    Args:
      details: HTML of what the records don't hold (`utils.results.details_page`).
    """
    tables = "\n".join(
        f"<details><summary>{escape(table.title)}</summary>{as_html(table)}</details>"
        for table in [*page.errors, *page.costs]
        if not table.title.startswith("All decodings")  # the table of systems has them
    )
    data = json.dumps(contents(page), ensure_ascii=False).replace("</", "<\\/").replace("<!--", "<\\u0021--")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{escape(title)}</title><style>{(HERE / 'page.css').read_text(encoding='utf-8')}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            '<p class="soft">The last decoding of each system, means over seeds. Hover a point or open a row for more; differences '
            f"are to {escape(page.baseline)}, by the paired bootstrap.</p>",
            SHELL,
            f"<h2>More tables</h2>\n{tables}" if tables else "",
            details,
            "<h2>Conditions</h2><ul>" + "".join(f"<li>{escape(n)}</li>" for n in page.notes) + "</ul>",
            f'<script type="application/json" id="data">{data}</script>',
            f"<script>{plotly()}</script>",
            f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
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
        "wer": cell.wer,
        "low": cell.interval[0],
        "high": cell.interval[1],
        "rtf": cell.rtf,
        "bound": cell.untimed,
        "shown": {
            "wer": number(cell.wer, 2),
            "interval": span(*cell.interval),
            "delta": f"{signed(apart.value)} {span(apart.low, apart.high)}, p {probability(apart.p)}" if apart else "–",
            "oov": number(recall),
            "rtf": "≥" * cell.untimed + number(cell.rtf, 4),
            "training": duration(training),
            "mb": number(cell.recognising_mb, 0),
        },
        "delta": apart.value if apart else None,
        "oov": recall,
        "training": training,
        "mb": cell.recognising_mb,
    }


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
