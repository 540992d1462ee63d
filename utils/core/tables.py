"""A table as text for the terminal, as Markdown or as HTML; numbers and spans of time as text."""

import textwrap
from dataclasses import dataclass
from html import escape
from typing import FrozenSet, Iterable, List, Optional, Sequence, Tuple

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """Cells are text; '' repeats the cell above. The first `labels` columns name a row, the others hold figures."""

    title: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int
    strong: FrozenSet[Tuple[int, int]] = frozenset()  # (row, column) of the best results


def number(value: object, digits: int = 1) -> str:
    """A figure; a dash for None; with a real minus sign."""
    return ABSENT if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 1) -> str:
    """A difference, with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def span(low: float, high: float, digits: int = 1) -> str:
    """An interval: [low, high]."""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def probability(p: float) -> str:
    """p to three digits, or '<0.001'."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: Optional[float]) -> str:
    """12.3 s, 4 min 05 s, 1 h 05 min; a dash for None."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


def grouped(rows: Sequence[Sequence[str]], columns: int) -> List[List[str]]:
    """Empty every label that is the same in the row above, where all labels left of it are the same too."""
    out: List[List[str]] = []
    for i, row in enumerate(rows):
        row = list(row)
        for c in range(columns):
            if i and rows[i][: c + 1] == rows[i - 1][: c + 1]:
                row[c] = ""
        out.append(row)
    return out


def as_text(table: Table) -> str:
    """Aligned columns between rules, for a terminal."""
    lines = [list(table.header)] + [list(row) for row in table.rows]
    widths = [max(len(line[c]) for line in lines) for c in range(len(table.header))]

    def draw(line: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(w) if c < table.labels else cell.rjust(w) for c, (cell, w) in enumerate(zip(line, widths))
        ).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(
        [table.title, rule, draw(lines[0]), rule] + [draw(line) for line in lines[1:]] + [rule, *_wrapped(table.caption)]
    )


def as_markdown(table: Table) -> str:
    """A heading, a pipe table with the best results bold, the caption."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "|".join(" --- " if c < table.labels else " ---: " for c in range(len(table.header))) + "|"
    rows = [line([_marked(cell, (r, c) in table.strong) for c, cell in enumerate(row)]) for r, row in enumerate(table.rows)]
    return "\n".join(
        [f"### {table.title}", "", line(map(_marked, table.header)), rule, *rows, "", _marked(table.caption + _best(table)), ""]
    )


def as_html(table: Table) -> str:
    """A <figure> with the caption above the table.

    Every cell carries the title of its column, and every row its labels, so that a narrow page can show a row as a block.
    """
    head = "".join(f"<th{_figure(table, c)}>{escape(text)}</th>" for c, text in enumerate(table.header))
    body, above = [], [""] * len(table.header)
    for r, row in enumerate(table.rows):
        cells = []
        for c, text in enumerate(row):
            repeated = c < table.labels and not text
            shown = escape(above[c] if repeated else text)
            strong = f"<b>{shown}</b>" if (r, c) in table.strong else shown
            kind = ' class="same"' if repeated else _figure(table, c)
            cells.append(f'<td{kind} data-label="{escape(table.header[c])}">{strong}</td>')
            above[c] = above[c] if repeated else text
        body.append(f"<tr{' class=first' if r and row[0] else ''}>{''.join(cells)}</tr>")
    rows = "\n".join(body)
    return (
        f"<figure><figcaption>{escape(table.caption)}{_best(table)}</figcaption>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></figure>"
    )


def _figure(table: Table, column: int) -> str:
    return "" if column < table.labels else ' class="n"'


def _marked(text: str, strong: bool = False) -> str:
    """Text with Markdown's own characters escaped."""
    text = text.strip().replace("|", "\\|").replace("*", "\\*")
    return f"**{text}**" if strong else text


def _best(table: Table) -> str:
    return " The best of each row is bold." if table.strong else ""


def _wrapped(text: str, width: int = 110) -> List[str]:
    return textwrap.wrap(text, width)
