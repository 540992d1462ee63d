"""A table, written as text for the terminal, Markdown or HTML."""

import textwrap
from dataclasses import dataclass
from html import escape
from typing import FrozenSet, Iterable, List, Sequence, Tuple

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """Cells are ready text; '' continues the cell above. The first `labels` columns name a row, the others are numbers."""

    title: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int
    strong: FrozenSet[Tuple[int, int]] = frozenset()  # (row, column) of the best results


def number(value: object, digits: int = 1) -> str:
    """A figure for a cell; a dash for None; a real minus sign."""
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


def grouped(rows: Sequence[Sequence[str]], columns: int) -> List[List[str]]:
    """Empty a label that the row above has too, as long as all labels left of it are equal."""
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
    """A <figure> with the caption above the table, as papers have it."""

    def cell(tag: str, text: str, r: int, c: int) -> str:
        kind = "" if c < table.labels else ' class="n"'
        return f"<{tag}{kind}>{'<b>' * ((r, c) in table.strong)}{escape(text)}{'</b>' * ((r, c) in table.strong)}</{tag}>"

    head = "".join(cell("th", text, -1, c) for c, text in enumerate(table.header))
    body = "\n".join(
        f"<tr{' class=first' if r and row[0] else ''}>" + "".join(cell("td", text, r, c) for c, text in enumerate(row)) + "</tr>"
        for r, row in enumerate(table.rows)
    )
    return (
        f"<figure><figcaption><b>{escape(table.title)}.</b> {escape(table.caption)}{_best(table)}</figcaption>\n"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div></figure>'
    )


def _marked(text: str, strong: bool = False) -> str:
    """Text in Markdown, nothing of which is taken for markup."""
    text = text.strip().replace("|", "\\|").replace("*", "\\*")
    return f"**{text}**" if strong else text


def _best(table: Table) -> str:
    return " The best of each row is bold." if table.strong else ""


def _wrapped(text: str, width: int = 110) -> List[str]:
    return textwrap.wrap(text, width)
