"""The pages of results: tables and pictures of a set of records, as terminal text, Markdown or one HTML file."""
from dataclasses import dataclass
from html import escape
from typing import List, Optional, Sequence

from utils import plots
from utils.comparison import Cell, against, cells, notes, results
from utils.records import LINKS, MEASURED, Record
from utils.tables import ABSENT, Table, as_html, as_markdown, as_text, grouped, number, probability, signed, span

BASELINE = "bpe_ctc"
PARTS = {"preparation": ("data", "features", "lang", "vectors", "audit"), "training": ("train",), "decoding": ("decode",), "rescoring": ("rescore",)}
MADE_BY = "Drawn from the records by `python -m steps.compare`; do not edit."

RATES = ("WER", "95% interval", "ins", "del", "sub", "OOV recall", "IV recall", "oracle", "RTF")
RATES_CAPTION = ("All but RTF in percent. OOV and IV recall: recognised reference words, of those that the training text doesn't have and of those "
                 "that it has. Oracle: the best path of each n-best list. RTF: seconds a second of audio on one core, all links of the decoding.")


@dataclass(frozen=True)
class Report:
    """Tables, notes and pictures of one split."""

    split: str
    tables: List[Table]
    notes: List[str]
    pictures: List[str]  # SVG


def report(records: Sequence[Record], split: str, baseline: str = BASELINE) -> Report:
    """Compare the records of one split; `records` of others are passed over, and there must be some."""
    records = [r for r in records if r["split"] == split]
    every = cells(records)
    final = results(every)
    tables = [_matrix(final, split, baseline), _against(final, split, baseline), _decodings(every, split), _by_language(final, split), *_cost(final)]
    return Report(split, [t for t in tables if t], notes(every, records), _pictures(every, final))


def run_table(records: Sequence[Record]) -> Table:
    """The decodings of one run on one split."""
    every = cells(records)
    return Table(f"{every[0].system}, seed {every[0].seeds[0]}, on {every[0].corpus} {records[0]['split']}", RATES_CAPTION,
                 ["decoding", *RATES], [[c.decoding, *_rates(c)] for c in every], 1)


def terminal(page: Report) -> str:
    """All tables as text."""
    return "\n\n".join([*map(as_text, page.tables), "\n".join(page.notes)])


def markdown_page(pages: Sequence[Report], title: str) -> str:
    """A Markdown page."""
    return "\n".join([f"# {title}", "", MADE_BY, "", *(block for page in pages for block in _blocks(page, page.tables))])


def readme_block(page: Report) -> str:
    """What goes into README: the comparison and its conditions."""
    return "\n".join(_blocks(page, [t for t in page.tables if t.title.startswith("Recipes")]))


def html_page(page: Report, title: str) -> str:
    """One self-contained page, light or dark as the reader's system is."""
    style = (f":root{{color-scheme:light dark;{plots.LIGHT}}}@media(prefers-color-scheme:dark){{:root{{{plots.DARK}}}}}{plots.RULES}"
             "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:1180px;margin:2.5rem auto;padding:0 1.25rem}"
             "h1{font-size:1.5rem;margin:0 0 .3rem}p,li,figcaption{color:var(--soft);max-width:52rem}figure{margin:2.2rem 0}"
             "figcaption{margin-bottom:.6rem}figcaption b{color:var(--ink)}.wide{overflow-x:auto}"
             "table{border-collapse:collapse;border-top:1.5px solid var(--ink);border-bottom:1.5px solid var(--ink);font-size:13.5px}"
             "th{font-weight:600;text-align:left;border-bottom:1px solid var(--ink);vertical-align:bottom}"
             "th,td{padding:.25rem .7rem;white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums}"
             ".first td{border-top:1px solid var(--rule)}.pictures{display:flex;flex-wrap:wrap;gap:2.2rem;margin:2.2rem 0}"
             "svg{max-width:100%;height:auto}code{font-size:.92em}")
    tables = [as_html(t) for t in page.tables]
    remarks = "".join(f"<li>{escape(n)}</li>" for n in page.notes)
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><h1>{escape(title)}</h1>"
            f"<p>Drawn from the records in egs/*/results by <code>python -m steps.compare</code>.</p>\n"
            + "\n".join(tables[:2]) + f'\n<div class="pictures">{"".join(page.pictures)}</div>\n' + "\n".join(tables[2:])
            + f"\n<ul>{remarks}</ul></body></html>\n")


def _blocks(page: Report, tables: Sequence[Table]) -> List[str]:
    return [*map(as_markdown, tables), *(f"- {n}" for n in page.notes), ""]


def _matrix(final: Sequence[Cell], split: str, baseline: str) -> Optional[Table]:
    """Corpora x recipes as they stand, without overrides."""
    plain = [c for c in final if c.plain]
    systems = sorted({c.system for c in plain}, key=lambda s: (s == baseline, s))
    if len(systems) < 2:
        return None
    rows, strong = [], set()
    for i, corpus in enumerate(dict.fromkeys(c.corpus for c in plain)):
        here = {c.system: c for c in plain if c.corpus == corpus}
        strong.add((i, 1 + systems.index(min(here.values(), key=lambda c: c.mean("wer")).system)))
        rows.append([corpus, *(_entry(here[s], here.get(baseline)) if s in here else ABSENT for s in systems)])
    caption = ("Mean over seeds, their number in brackets where it isn't one; the best of each corpus is bold in print. "
               f"*: differs from {baseline} on the same utterances and seeds (paired bootstrap, p < 0.05).")
    return Table(f"WER on {split}, %", caption, ["corpus", *systems], rows, 1, frozenset(strong))


def _entry(cell: Cell, baseline: Optional[Cell]) -> str:
    apart = against(cell, baseline) if baseline and baseline is not cell else None
    seeds = f" ({len(cell.seeds)})" if len(cell.seeds) > 1 else ""
    return number(cell.mean("wer")) + ("*" if apart and apart.p < 0.05 else "") + seeds + _mark(cell)


def _against(final: Sequence[Cell], split: str, baseline: str) -> Table:
    """Each system's result beside the baseline's."""
    chinese = any(c.mean("cer") is not None for c in final)
    rows = []
    for cell in final:
        base = next((c for c in final if c.corpus == cell.corpus and c.system == baseline), None)
        apart = against(cell, base) if base and base is not cell else None
        values = [r["wer"] for r in cell.records]
        rows.append([cell.corpus, cell.system + _mark(cell), cell.decoding, " ".join(map(str, cell.seeds)), number(cell.mean("wer"), 2),
                     f"{number(min(values), 2)} to {number(max(values), 2)}" if len(values) > 1 else ABSENT, span(*cell.interval),
                     signed(apart.value, 2) if apart else ABSENT, span(apart.low, apart.high) if apart else ABSENT,
                     probability(apart.p) if apart else ABSENT, *([number(cell.mean("cer"), 2)] if chinese else [])])
    header = ["corpus", "recipe", "decoding", "seeds", "WER", "over seeds", "95% interval", f"Δ {baseline}", "Δ interval", "p",
              *(["CER"] if chinese else [])]
    caption = ("Each recipe with the last decoding of its chain: mean WER over the seeds and its range; 95% bootstrap interval over utterances; "
               f"Δ: difference to {baseline}, with interval and two-sided p of the paired bootstrap, on the utterances and seeds that both have. "
               "Intervals speak of other utterances, the range of other seeds.")
    return Table(f"Recipes on {split}", caption, header, grouped(rows, 1), 4)


def _decodings(every: Sequence[Cell], split: str) -> Table:
    """Every decoding there is."""
    rows = [[c.corpus, c.system + _mark(c), c.decoding, str(len(c.seeds)), *_rates(c)] for c in every]
    return Table(f"All decodings on {split}", f"Means over seeds. {RATES_CAPTION}", ["corpus", "recipe", "decoding", "seeds", *RATES],
                 grouped(rows, 2), 3)


def _rates(c: Cell) -> List[str]:
    return [number(c.mean("wer"), 2), span(*c.interval),
            *(number(100.0 * c.mean(k) / c.mean("words")) for k in ("insertions", "deletions", "substitutions")),
            number(c.mean("oov_recall")), number(c.mean("iv_recall")), number(c.mean("oracle_wer"), 2), number(c.rtf, 4)]


def _by_language(final: Sequence[Cell], split: str) -> Optional[Table]:
    """A corpus of several languages, language by language, beside those trained on one language and scored on the same utterances."""
    rows, sets = [], set()
    for cell in final:
        for language in cell.records[0]["by_language"]:
            parts = [r["by_language"][language] for r in cell.records]
            sets.add((parts[0]["utterance_set"], language, _normaliser(cell, language)))
            rows.append([language, cell.corpus, cell.system + _mark(cell), str(len(parts)), str(parts[0]["words"]),
                         number(sum(p["wer"] for p in parts) / len(parts), 2), span(*parts[0]["wer_interval"]) if len(parts) == 1 else ABSENT])
    if not rows:
        return None
    for cell in final:
        for name, language, normaliser in sets:
            if (name, normaliser) == (cell.records[0]["utterance_set"], _normaliser(cell, language)):
                rows.append([language, cell.corpus, cell.system + _mark(cell), str(len(cell.seeds)), str(cell.records[0]["words"]),
                             number(cell.mean("wer"), 2), span(*cell.interval) if len(cell.seeds) == 1 else ABSENT])
    header = ["language", "trained on", "recipe", "seeds", "words", "WER", "95% interval"]
    caption = "Trained on several languages together, and apart where the same utterances were scored."
    return Table(f"Languages on {split}", caption, header, grouped(sorted(rows), 1), 3)


def _cost(final: Sequence[Cell]) -> List[Table]:
    """Time and memory by stage, real-time factor by link, size."""
    names = [[c.corpus, c.system + _mark(c)] for c in final]
    seconds = [[c.mean_of("seconds", stage) for stage in MEASURED] for c in final]
    memory = [[c.mean_of("peak_memory_mb", stage) for stage in MEASURED] for c in final]
    links = [link for link in LINKS if any(link in r["rtf"] for c in final for r in c.records)]
    factors = [[c.mean_of("rtf", link) for link in links] for c in final]
    head = ["corpus", "recipe"]
    return [
        Table("Seconds by stage", "Wall time, mean over seeds; stages that recipes share are counted with each.", head + [*MEASURED, "all", "M parameters"],
              grouped([n + [*map(number, s), plots.duration(sum(v or 0 for v in s)), number((c.mean("parameters") or 0) / 1e6, 2)]
                       for c, n, s in zip(final, names, seconds)], 1), 2),
        Table("Peak memory by stage, MB", "Of the largest process, mean over seeds.", head + [*MEASURED],
              grouped([n + [number(v, 0) for v in m] for n, m in zip(names, memory)], 1), 2),
        Table("Real-time factor by link", "Of each recipe's last decoding: seconds a second of audio on one core.", head + [*links, "all"],
              grouped([n + [*(number(v, 4) for v in f), number(c.rtf, 4)] for c, n, f in zip(final, names, factors)], 1), 2)]


def _pictures(every: Sequence[Cell], final: Sequence[Cell]) -> List[str]:
    out = []
    for corpus in dict.fromkeys(c.corpus for c in final):
        here = [c for c in final if c.corpus == corpus]
        out.append(plots.bars(f"{corpus}: WER by recipe", [plots.Bar(c.system, c.mean("wer"), *c.interval) for c in here]))
        points = [plots.Point(c.decoding, c.rtf, c.mean("wer"), c.system) for c in every if c.corpus == corpus and c.rtf]
        if points:
            out.append(plots.scatter(f"{corpus}: WER against real-time factor", points))
        out.append(plots.stacked(f"{corpus}: time by stage", [
            (c.system, {part: sum(c.mean_of("seconds", s) or 0 for s in stages) for part, stages in PARTS.items()}) for c in here]))
    return out


def _normaliser(cell: Cell, language: str) -> str:
    """The part of a normaliser's id that speaks of one language: en-1 of basic-en-1+fr-1."""
    name, _, versions = cell.records[0]["normaliser"].partition("-")
    return name + "".join(f"-{v}" for v in versions.split("+") if v.partition("-")[0] == language)


def _mark(cell: Cell) -> str:
    return " †" if cell.dirty else ""
