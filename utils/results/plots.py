"""Pictures of results as small SVG, written by hand: text stays text, and colours follow the page's light or dark theme."""

import math
from dataclasses import dataclass
from html import escape
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

# Colours of light and dark pages; pages and stand-alone pictures share them.
LIGHT = (
    "--ink:#1c1e21;--soft:#5c636e;--rule:#d5d9df;--page:#ffffff;"
    "--c0:#2f6db3;--c1:#c2611f;--c2:#2e8b62;--c3:#7d5bab;--c4:#a8892c;--c5:#64707f;"
    "--c6:#c2478d;--c7:#0f8591;--c8:#b3343c;--c9:#6b7d1e;--c10:#8a5a3c;--c11:#4a4fc4;--missed:#a4262c;--put:#1c6b3c"
)
DARK = (
    "--ink:#e6e8eb;--soft:#9aa2ad;--rule:#3a4048;--page:#16181c;"
    "--c0:#6ba6e8;--c1:#e8945a;--c2:#5fbf92;--c3:#b395dd;--c4:#d3b45c;--c5:#9aa7b8;"
    "--c6:#ea86bd;--c7:#4fc4cf;--c8:#ee7f83;--c9:#b3c45a;--c10:#cf9f7c;--c11:#9a9ef0;--missed:#ff9d9d;--put:#8fdcae"
)
RULES = (
    "svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft);font-size:11px}"
    "svg .title{font-weight:600}svg .rule{stroke:var(--rule)}svg .whisker{stroke:var(--ink);stroke-width:1.3;fill:none}"
    "svg .end{text-anchor:end}svg .mid{text-anchor:middle}svg .name{font-size:11px}svg .curve{fill:none;stroke-width:1.6}"
)
COLOURS = 12
ROW = 22  # px a bar


@dataclass(frozen=True)
class Bar:
    """One error rate with its interval, percent."""

    label: str
    value: float
    low: float
    high: float
    colour: int = 0


@dataclass(frozen=True)
class Point:
    """One decoding: real-time factor and error rate (percent)."""

    recipe: str
    decoding: str
    x: float
    y: float
    result: bool = False  # the recipe's last decoding, which is named beside its mark
    bound: bool = False  # x is a lower bound


@dataclass(frozen=True)
class Series:
    """One line: (epoch, value) by rising epoch."""

    name: str
    points: Sequence[Tuple[float, float]]
    colour: int = 0
    dashed: bool = False


def bars(title: str, items: Sequence[Bar], width: int = 560) -> str:
    """Horizontal error-rate bars from 0 with whiskers of the 95% interval."""
    left, right, top = 12 + _label_width(b.label for b in items), 64, 30
    axis = _axis(max(b.high for b in items))
    scale, bottom = (width - left - right) / axis[-1], top + ROW * len(items)
    body = [_text(0, 14, title, "title"), *_across(axis, left, scale, top - 4, bottom, "WER, % (whiskers: 95% interval)")]
    for i, bar in enumerate(items):
        y, low, high = top + ROW * (i + 0.5), left + bar.low * scale, left + bar.high * scale
        body += [
            _text(left - 8, y + 4, _label(bar.label), "end"),
            _bar(left, y, max(bar.value * scale, 0.5), bar.colour),
            f'<path class="whisker" d="M{low:.1f} {y}H{high:.1f}M{low:.1f} {y - 3}v6M{high:.1f} {y - 3}v6"/>',
            _text(max(high, left + bar.value * scale) + 7, y + 4, f"{bar.value:.1f}"),
        ]
    return _svg(width, bottom + 34, title, body)


def stacked(title: str, rows: Sequence[Tuple[str, Dict[str, float]]], width: int = 560) -> str:
    """Horizontal bars of seconds, a colour a part; the total at the end.

    Args:
      rows: (label, {part: seconds}), the same parts in every row.
    """
    parts = list(rows[0][1])
    legend, top = _legend([(name, _bar(0, -4, 10, i, 10)) for i, name in enumerate(parts)], 32, width)
    left, right = 12 + _label_width(label for label, _ in rows), 84
    axis = _axis(max(sum(values.values()) for _, values in rows) / 60)
    scale, bottom = (width - left - right) / axis[-1], top + ROW * len(rows)
    body = [_text(0, 14, title, "title"), *legend, *_across(axis, left, scale, top - 4, bottom, "minutes")]
    for i, (label, values) in enumerate(rows):
        x, y = float(left), top + ROW * (i + 0.5)
        body.append(_text(left - 8, y + 4, _label(label), "end"))
        for n, (part, seconds) in enumerate(values.items()):
            body.append(_bar(x, y, seconds / 60 * scale, n, tip=f"{part}: {duration(seconds)}"))
            x += seconds / 60 * scale
        body.append(_text(x + 7, y + 4, duration(sum(values.values()))))
    return _svg(width, bottom + 34, title, body)


def scatter(title: str, points: Sequence[Point], width: int = 1120) -> str:
    """Error rate against real-time factor (logarithmic): a colour a recipe, a shape a decoding, hollow where x is a lower bound."""
    recipes, decodings = sorted({p.recipe for p in points}), list(dict.fromkeys(p.decoding for p in points))
    legend, y = _legend([(name, _bar(0, -4, 10, i, 10)) for i, name in enumerate(recipes)], 32, width)
    shapes, top = _legend([(name, _mark(i, 5, -4, "var(--soft)")) for i, name in enumerate(decodings)], y + 2, width)
    left, right, bottom = 44, width - 16, top + 170 + 26 * min(len(recipes), 10)
    low, high = math.log10(min(p.x for p in points)) - 0.08, math.log10(max(p.x for p in points)) + 0.08
    axis = _ticks(min(p.y for p in points), max(p.y for p in points))

    def across(x: float) -> float:
        return left + (math.log10(x) - low) / (high - low) * (right - left)

    def up(y: float) -> float:
        return bottom - (y - axis[0]) / (axis[-1] - axis[0]) * (bottom - top)

    body = [_text(0, 14, title, "title"), *legend, *shapes]
    for tick in axis:
        body += [_line(left, up(tick), right, up(tick)), _text(left - 8, up(tick) + 4, f"{tick:g}", "soft end")]
    for tick in _decades(low, high):
        body += [_line(across(tick), top, across(tick), bottom), _text(across(tick), bottom + 16, f"{tick:g}", "soft mid")]
    body.append(_text((left + right) / 2, bottom + 36, "real-time factor on one core", "soft mid"))
    for p in points:
        colour = f"var(--c{recipes.index(p.recipe) % COLOURS})"
        tip = f"{p.recipe} {p.decoding}: {p.y:.2f}%, {'at least ' * p.bound}{p.x:.4f}"
        body.append(_mark(decodings.index(p.decoding), across(p.x), up(p.y), colour, tip, p.bound))
    marks = [(across(p.x), up(p.y)) for p in points]
    named = [(_label(p.recipe), mark) for p, mark in zip(points, marks) if p.result]
    return _svg(width, bottom + 44, title, body + _names(named, marks, (left, top, right, bottom)))


def curves(title: str, rows: Sequence[Series], width: int = 270, height: int = 130) -> str:
    """Lines over epochs, from 0 up; what is not finite is left out.

    Args:
      height: of the field; the legend is added.
    """
    signs = [f'<path class="curve" d="M-1 -4h13" {_stroke(r)}/>' for r in rows]
    legend, top = _legend([(r.name, sign) for r, sign in zip(rows, signs)], 32, width)
    rows = [Series(r.name, [(x, y) for x, y in r.points if math.isfinite(y)], r.colour, r.dashed) for r in rows]
    axis = _axis(max((y for r in rows for _, y in r.points), default=1.0))
    last = max((x for r in rows for x, _ in r.points), default=1)
    left, right, bottom = 44, width - 12, top + height
    first, across, up = (1, (right - left) / max(last - 1, 1), height / axis[-1])
    body = [_text(0, 14, title, "title"), *legend]
    for tick in axis:
        y = bottom - tick * up
        body += [_line(left, y, right, y), _text(left - 8, y + 4, f"{tick:g}", "soft end")]
    for tick in sorted({first, *(t for t in _axis(last) if first < t <= last and t == int(t))}):
        body.append(_text(left + (tick - first) * across, bottom + 16, f"{tick:g}", "soft mid"))
    body.append(_text((left + right) / 2, bottom + 32, "epoch", "soft mid"))
    for r in rows:
        places = [(left + (x - first) * across, bottom - y * up) for x, y in r.points]
        if len(places) == 1:
            body.append(_mark(0, *places[0], f"var(--c{r.colour % COLOURS})", r.name))
        elif places:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            body.append(f'<path class="curve" d="M{path}" {_stroke(r)}><title>{escape(r.name)}</title></path>')
    return _svg(width, bottom + 40, title, body)


def reliability(title: str, points: Sequence[Tuple[float, float, float]], width: int = 300) -> str:
    """Share of right words against confidence, both from 0 to 1; a dot's area is the share of all words. The diagonal is honest.

    Args:
      points: (mean confidence, share right, share of all words) of each bin.
    """
    left, top, side = 44, 30, width - 60
    body = [_text(0, 14, title, "title"), _line(left, top + side, left + side, top)]
    for tick in (0.0, 0.5, 1.0):
        x, y = left + tick * side, top + side - tick * side
        body += [_text(left - 8, y + 4, f"{tick:g}", "soft end"), _text(x, top + side + 16, f"{tick:g}", "soft mid")]
    for said, right, share in points:
        x, y = left + said * side, top + side - right * side
        tip = f"{100 * share:.1f}% of the words: confidence {said:.2f}, right {right:.2f}"
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 20 * share**0.5:.1f}"'
        body.append(f'{dot} fill="var(--c0)" fill-opacity="0.6"><title>{escape(tip)}</title></circle>')
    body.append(_text(left + side / 2, top + side + 32, "confidence; up: share of words that are right", "soft mid"))
    return _svg(width, top + side + 44, title, body)


def standalone(svg: str) -> str:
    """An SVG with the colours inside, for a file of its own."""
    style = f"<style>svg{{{LIGHT};background:var(--page)}}@media(prefers-color-scheme:dark){{svg{{{DARK}}}}}{RULES}</style>"
    head, bracket, rest = svg.partition(">")
    return f'{head} style="padding:12px"{bracket}{style}{rest}\n'


def duration(seconds: Optional[float]) -> str:
    """12.3 s, 4 min 05 s, 1 h 05 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


def _svg(width: int, height: float, title: str, body: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="rule" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _bar(x: float, middle: float, width: float, colour: int, height: float = ROW - 8, tip: str = "") -> str:
    where = f'x="{x:.1f}" y="{middle - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {where} fill="var(--c{colour % COLOURS})"><title>{escape(tip)}</title></rect>'


def _mark(kind: int, x: float, y: float, colour: str, tip: str = "", hollow: bool = False) -> str:
    """Circle, triangle, square, diamond, cross, turned triangle, about 10 px wide."""
    shape = (
        f"M{x - 4.5:.1f} {y:.1f}a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
        f"M{x:.1f} {y - 5.5:.1f}l5.2 9h-10.4z",
        f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8z",
        f"M{x:.1f} {y - 5.8:.1f}l5.8 5.8l-5.8 5.8l-5.8 -5.8z",
        f"M{x - 1.7:.1f} {y - 5:.1f}h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
        f"M{x:.1f} {y + 5.5:.1f}l5.2 -9h-10.4z",
    )[kind % 6]
    fill = f'fill="var(--page)" stroke="{colour}" stroke-width="1.8"' if hollow else f'fill="{colour}"'
    return f'<path d="{shape}" {fill}><title>{escape(tip)}</title></path>'


def _stroke(series: Series) -> str:
    return f'stroke="var(--c{series.colour % COLOURS})"' + ' stroke-dasharray="5 3"' * series.dashed


def _names(
    named: Sequence[Tuple[str, Tuple[float, float]]],
    marks: Sequence[Tuple[float, float]],
    field: Tuple[float, float, float, float],
) -> List[str]:
    """Names beside their marks, each at the nearest place that covers no mark and no other name; a line leads to a far one.

    Args:
      marks: (x, y) of every mark.
      field: left, top, right, bottom that names must stay within.
    """
    taken, out = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks], []
    for name, (x, y) in named:
        width = 6.1 * len(name)
        places = [
            (x + side * (9 + far) - (width if side < 0 else 0), y + rise)
            for far, rises in ((0, (0,)), (0, (-12, 12)), (6, (-24, 24)), (12, (-36, 36, -48, 48, -60, 60, -72, 72)))
            for rise in rises
            for side in (1, -1)
        ]
        boxes = [(a, b - 6, a + width, b + 6) for a, b in places]
        free = [box for box in boxes if _within(box, field) and not any(_overlap(box, other) for other in taken)]
        box = (free or boxes)[0]
        taken.append(box)
        if abs(box[1] + 6 - y) > 13:
            end = box[0] if box[0] > x else box[2]
            out.append(f'<path d="M{x:.1f} {y:.1f}L{end:.1f} {box[1] + 6:.1f}" stroke="var(--soft)" stroke-width=".7"/>')
        out.append(_text(box[0], box[1] + 10, name, "name"))
    return out


def _within(box: Tuple[float, float, float, float], field: Tuple[float, float, float, float]) -> bool:
    return box[0] >= field[0] and box[1] >= field[1] - 8 and box[2] <= field[2] + 14 and box[3] <= field[3]


def _overlap(a: Tuple[float, float, float, float], b: Tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _across(axis: Sequence[float], left: float, scale: float, top: float, bottom: float, unit: str) -> List[str]:
    """Rules, ticks and the unit of a horizontal axis."""
    out = [_text(left + axis[-1] * scale / 2, bottom + 30, unit, "soft mid")]
    for tick in axis:
        x = left + tick * scale
        out += [_line(x, top, x, bottom), _text(x, bottom + 14, f"{tick:g}", "soft mid")]
    return out


def _legend(entries: Sequence[Tuple[str, str]], y: float, width: int) -> Tuple[List[str], float]:
    """(name, sign drawn at 0, 0) in lines from `y`; and where what follows may begin."""
    out, x = [], 0.0
    for name, sign in entries:
        name, advance = _label(name), 30 + 6.3 * len(_label(name))
        if x and x + advance > width:
            x, y = 0.0, y + 18
        out += [f'<g transform="translate({x:.1f} {y:.1f})">{sign}</g>', _text(x + 15, y, name, "soft")]
        x += advance
    return out, y + 16


def _label(text: str) -> str:
    return text if len(text) <= 38 else text[:37] + "…"


def _label_width(labels: Iterable[str]) -> int:
    return round(6.8 * max(len(_label(label)) for label in labels))


def _axis(top: float) -> List[float]:
    """Round ticks from 0 to just above `top`, at most six steps."""
    top = max(top, 1e-9)
    power = 10.0 ** math.floor(math.log10(top))
    step = next(s * power for s in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if s * power * 6 >= top)
    return [round(step * i, 10) for i in range(math.ceil(top / step) + 1)]


def _ticks(low: float, high: float) -> List[float]:
    """Round ticks from just below `low` to just above `high`, neither below 0."""
    step = _axis(max(high - low, 1.0))[1]
    first = max(0, math.floor(low / step))
    return [round(step * i, 10) for i in range(first, max(math.ceil(high / step), first + 1) + 1)]


def _decades(low: float, high: float) -> List[float]:
    """1, 2, 5 of each decade between two exponents."""
    ticks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    return [t for t in ticks if low <= math.log10(t) <= high]
