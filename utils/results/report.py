"""The pages of results: tables and pictures of a set of records, as terminal text, Markdown or one HTML file."""

from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Dict, List, Sequence

from utils.results import plots
from utils.results.comparison import Cell, cells, headlines, notes, results
from utils.results.records import Record, decoding_rank
from utils.results.result_tables import all_tables
from utils.results.store import read_all
from utils.results.tables import Table, as_html, as_markdown, as_text

BASELINE = "bpe_ctc"
PARTS = {
    "preparation": ("data", "features", "lang", "synthesise", "vectors", "audit"),
    "training": ("train",),
    "decoding": ("decode",),
    "rescoring": ("rescore",),
}
MADE_BY = "Drawn from the records by `python -m steps.compare`; do not edit."
STYLE = f"""
:root{{color-scheme:light dark;{plots.LIGHT}}}
@media(prefers-color-scheme:dark){{:root{{{plots.DARK}}}}}
{plots.RULES}
body{{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page)}}
body{{max-width:1180px;margin:2.5rem auto;padding:0 1.25rem}}
h1{{font-size:1.5rem;margin:0 0 .3rem}}
h2{{font-size:1.05rem;margin:2.2rem 0 .8rem}}
p,li,figcaption{{color:var(--soft);max-width:52rem}}
code{{font-size:.92em}}
figure{{margin:2.2rem 0}}
figcaption{{margin-bottom:.6rem}}
figcaption b{{color:var(--ink)}}
.wide{{overflow-x:auto}}
table{{border-collapse:collapse;border-top:1.5px solid var(--ink);border-bottom:1.5px solid var(--ink);font-size:13.5px}}
th{{font-weight:600;text-align:left;border-bottom:1px solid var(--ink)}}
th,td{{padding:.25rem .7rem;white-space:nowrap}}
.n{{text-align:right;font-variant-numeric:tabular-nums}}
.first td{{border-top:1px solid var(--rule)}}
h3{{font-size:1rem;margin:1.6rem 0 .4rem}}
h4{{font-size:.8rem;margin:0 0 .4rem}}
summary{{cursor:pointer;padding:.3rem 0}}
details{{border-top:1px solid var(--rule)}}
.side{{display:flex;flex-wrap:wrap;gap:.5rem 1.6rem;margin:.5rem 0 1.2rem}}
.side p{{margin:.2rem 0;font-size:13.5px}}
.side td{{padding:.1rem .5rem .1rem 0;border:0}}
.side table,.worst table{{border:0}}
.worst{{border-top:1px solid var(--rule);padding:.7rem 0 1rem}}
.worst p{{margin:.2rem 0;color:var(--ink);max-width:none}}
.worst th{{border:0;padding:.15rem .9rem .15rem 0;font-weight:400;color:var(--soft)}}
.worst td{{vertical-align:top;white-space:normal;padding:.15rem .9rem .15rem 0}}
.worst .who{{color:var(--soft);width:17rem}}
.worst audio{{display:block;height:2.2rem;margin:.4rem 0;max-width:100%}}
.soft{{color:var(--soft)}}
del{{color:var(--missed)}}
ins{{color:var(--put);font-weight:600}}
.pictures{{display:flex;flex-wrap:wrap;gap:1rem 3rem}}
.pictures svg{{display:block;max-width:100%;height:auto;margin-bottom:1.4rem}}
"""


@dataclass(frozen=True)
class Report:
    """Tables and notes of one split, and what pictures are drawn from."""

    split: str
    baseline: str
    tables: List[Table]
    notes: List[str]
    every: List[Cell]
    final: List[Cell]  # each system's last decoding


def report(records: Sequence[Record], split: str, baseline: str = BASELINE) -> Report:
    """Compare the records of one split; `records` of others are passed over, and there must be some."""
    records = [r for r in records if r["split"] == split]
    every = cells(records)
    final = results(every)
    return Report(split, baseline, all_tables(every, final, split, baseline), notes(every, records), every, final)


def terminal(page: Report) -> str:
    """The tables of error rates as text; what stages cost is left to the written pages."""
    return "\n\n".join([*(as_text(t) for t in page.tables if t.title.endswith((page.split, "%"))), "\n".join(page.notes)])


def markdown_page(pages: Sequence[Report], title: str) -> str:
    """A Markdown page."""
    return "\n".join([f"# {title}", "", MADE_BY, "", *(block for page in pages for block in _blocks(page, page.tables))])


def corpus_page(corpus_dir: Path) -> str:
    """RESULTS.md of a corpus folder, from its records."""
    every = read_all([corpus_dir])
    return markdown_page([report(every, split) for split in ("test", "dev")], f"Results of {corpus_dir.name}")


def readme_block(records: Sequence[Record], dev: Sequence[Record], split: str, baseline: str) -> str:
    """What goes into README: the comparisons and their conditions.

    Args:
      records: of `split`; dev: of dev, which says of each recipe which of many settings is shown.
    """
    whole, short = report(records, split, baseline), report(headlines(records, dev), split, baseline)
    tables = [t for t in short.tables if t.title.startswith("Recipes")]
    tables += [t for t in whole.tables if t.title.startswith("What the vectors")]
    note = "Of each recipe, as it stands and with the settings that are best on dev; RESULTS.md has all others."
    return "\n".join(_blocks(replace(short, notes=[note, *short.notes]), tables))


def html_page(page: Report, title: str, details: str = "") -> str:
    """One self-contained page, light or dark as the reader's system is.

    Args:
      details: HTML of what the records don't hold (`utils.results.details_page`).
    """
    tables = [as_html(t) for t in page.tables]
    lead = 1 + next(i for i, t in enumerate(page.tables) if t.title.startswith("Cost"))
    pictures = "\n".join(
        f'<section><h2>{escape(corpus)}, {page.split}</h2><div class="pictures">{"".join(svgs)}</div></section>'
        for corpus, svgs in _pictures(page).items()
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            "<p>Drawn from the records in egs/ by <code>python -m steps.compare</code>."
            + " What follows the tables comes from the runs' own folders." * bool(details)
            + "</p>",
            *tables[:lead],
            pictures,
            *tables[lead:],
            details,
            "<ul>" + "".join(f"<li>{escape(n)}</li>" for n in page.notes) + "</ul></body></html>\n",
        ]
    )


def _blocks(page: Report, tables: Sequence[Table]) -> List[str]:
    return [*map(as_markdown, tables), *(f"- {n}" for n in page.notes), ""]


def _pictures(page: Report) -> Dict[str, List[str]]:
    """Corpus -> bars, time, scatter, as SVG."""
    out: Dict[str, List[str]] = {}
    for corpus in dict.fromkeys(c.corpus for c in page.final):
        here = [c for c in page.final if c.corpus == corpus]
        rates = [plots.Bar(c.system, c.mean("wer"), *c.interval, 5 if c.system == page.baseline else 0) for c in here]
        out[corpus] = [plots.bars("WER by recipe", rates), plots.stacked("Time by stage", [(c.system, _time(c)) for c in here])]
        timed = sorted((c for c in page.every if c.corpus == corpus and c.rtf), key=lambda c: decoding_rank(c.decoding))
        if timed:
            points = [plots.Point(c.system, c.decoding, c.rtf, c.mean("wer"), c in here, c.untimed) for c in timed]
            title = "WER (%) against real-time factor, all decodings, each recipe's last one named"
            bound = " (hollow: at least this, the front end was not timed)" if any(p.bound for p in points) else ""
            out[corpus].append(plots.scatter(title + bound, points))
    return out


def _time(cell: Cell) -> Dict[str, float]:
    return {part: sum(cell.mean_of("seconds", stage) or 0 for stage in stages) for part, stages in PARTS.items()}
