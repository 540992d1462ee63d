"""Pictures of results as small SVG, written by hand: text stays text, and colours follow the page's light or dark theme."""
import math
from dataclasses import dataclass
from html import escape
from typing import Dict, List, Optional, Sequence, Tuple

# Colours of light and dark pages; pages and stand-alone pictures share them.
LIGHT = "--ink:#1c1e21;--soft:#5c636e;--rule:#d5d9df;--page:#ffffff;--c0:#2f6db3;--c1:#c2611f;--c2:#2e8b62;--c3:#7d5bab;--c4:#a8892c;--c5:#64707f"
DARK = "--ink:#e6e8eb;--soft:#9aa2ad;--rule:#3a4048;--page:#16181c;--c0:#6ba6e8;--c1:#e8945a;--c2:#5fbf92;--c3:#b395dd;--c4:#d3b45c;--c5:#9aa7b8"
RULES = ("svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .soft{fill:var(--soft);font-size:11px}svg .title{font-weight:600}"
         "svg .rule{stroke:var(--rule)}svg .whisker{stroke:var(--ink);stroke-width:1.3;fill:none}svg .end{text-anchor:end}svg .mid{text-anchor:middle}")
COLOURS = 6
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

    label: str
    x: float
    y: float
    group: str


def bars(title: str, items: Sequence[Bar], width: int = 560) -> str:
    """Horizontal error-rate bars from 0 with whiskers of the 95% interval."""
    left, right, top = 12 + _text_width(items and max((b.label for b in items), key=len)), 64, 30
    axis = _axis(max((b.high for b in items), default=1.0))
    scale = (width - left - right) / axis[-1]
    height = top + ROW * len(items) + 34
    body = [_text(0, 14, title, "title")]
    for tick in axis:
        x = left + tick * scale
        body += [f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{top + ROW * len(items)}"/>',
                 _text(x, top + ROW * len(items) + 14, f"{tick:g}", "soft mid")]
    body.append(_text(left + axis[-1] * scale / 2, height - 4, "WER, % (whiskers: 95% interval)", "soft mid"))
    for i, bar in enumerate(items):
        y = top + ROW * i
        low, high = left + bar.low * scale, left + bar.high * scale
        middle = y + ROW / 2
        body += [_text(left - 8, middle + 4, bar.label, "end"),
                 f'<rect x="{left}" y="{y + 4}" width="{max(bar.value * scale, 0.5):.1f}" height="{ROW - 8}" fill="var(--c{bar.colour % COLOURS})"/>',
                 f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 3}v6M{high:.1f} {middle - 3}v6"/>',
                 _text(max(high, left + bar.value * scale) + 7, middle + 4, f"{bar.value:.1f}", "")]
    return _svg(width, height, title, body)


def scatter(title: str, points: Sequence[Point], width: int = 560, height: int = 320) -> str:
    """Error rate against real-time factor (logarithmic); a colour a group, each point named."""
    left, right, top, bottom = 44, 90, 52, 44
    low, high = math.floor(math.log10(min(p.x for p in points)) * 2) / 2, math.ceil(math.log10(max(p.x for p in points)) * 2) / 2
    high = max(high, low + 0.5)
    axis = _axis(max(p.y for p in points))

    def place(p: Point) -> Tuple[float, float]:
        return (left + (math.log10(p.x) - low) / (high - low) * (width - left - right), height - bottom - p.y / axis[-1] * (height - top - bottom))

    body = [_text(0, 14, title, "title")]
    for tick in axis:
        y = height - bottom - tick / axis[-1] * (height - top - bottom)
        body += [f'<line class="rule" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>', _text(left - 6, y + 4, f"{tick:g}", "soft end")]
    for tick in _decades(low, high):
        x = left + (math.log10(tick) - low) / (high - low) * (width - left - right)
        body += [f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{height - bottom}" y2="{height - bottom + 4}"/>',
                 _text(x, height - bottom + 16, f"{tick:g}", "soft mid")]
    body += [_text(left + (width - left - right) / 2, height - 6, "real-time factor on one core (less is faster)", "soft mid"),
             _text(left - 6, top - 8, "WER, %", "soft end")]
    groups = list(dict.fromkeys(p.group for p in points))
    body += _legend(groups, 30)
    taken: List[Tuple[float, float]] = []
    for p in sorted(points, key=lambda p: p.y):
        x, y = place(p)
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="var(--c{groups.index(p.group) % COLOURS})"/>')
        label = _free(x + 8, y + 4, taken, top)
        body.append(_text(x + 8, label, p.label, "soft"))
    return _svg(width, height, title, body)


def stacked(title: str, rows: Sequence[Tuple[str, Dict[str, float]]], width: int = 560) -> str:
    """Horizontal bars of seconds, a colour a part; the total at the end.

    Args:
      rows: (label, {part: seconds}), the same parts in every row.
    """
    parts = list(rows[0][1])
    left, right, top = 12 + _text_width(max((label for label, _ in rows), key=len)), 84, 44
    axis = _axis(max(sum(values.values()) for _, values in rows) / 60)
    scale = (width - left - right) / axis[-1]
    height = top + ROW * len(rows) + 34
    body = [_text(0, 14, title, "title"), *_legend(parts, 30)]
    for tick in axis:
        x = left + tick * scale
        body += [f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2}" y2="{top + ROW * len(rows)}"/>',
                 _text(x, top + ROW * len(rows) + 14, f"{tick:g}", "soft mid")]
    body.append(_text(left + axis[-1] * scale / 2, height - 4, "minutes", "soft mid"))
    for i, (label, values) in enumerate(rows):
        y, x = top + ROW * i, float(left)
        body.append(_text(left - 8, y + ROW / 2 + 4, label, "end"))
        for part, seconds in values.items():
            body.append(f'<rect x="{x:.1f}" y="{y + 4}" width="{seconds / 60 * scale:.1f}" height="{ROW - 8}" fill="var(--c{parts.index(part) % COLOURS})">'
                        f"<title>{escape(part)}: {duration(seconds)}</title></rect>")
            x += seconds / 60 * scale
        body.append(_text(x + 7, y + ROW / 2 + 4, duration(sum(values.values())), ""))
    return _svg(width, height, title, body)


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
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" role="img" '
            f'aria-label="{escape(title)}">' + "".join(body) + "</svg>")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{f" class={chr(34)}{kind}{chr(34)}" if kind else ""}>{escape(text)}</text>'


def _text_width(text: str) -> int:
    return round(6.8 * len(text or ""))


def _legend(names: Sequence[str], y: int) -> List[str]:
    out, x = [], 0.0
    for i, name in enumerate(names):
        out += [f'<rect x="{x:.1f}" y="{y - 9}" width="10" height="10" fill="var(--c{i % COLOURS})"/>', _text(x + 15, y, name, "soft")]
        x += 30 + _text_width(name) * 0.92
    return out


def _axis(top: float) -> List[float]:
    """Round ticks from 0 to just above `top`, at most six steps."""
    top = max(top, 1e-9)
    power = 10.0 ** math.floor(math.log10(top))
    step = next(s * power for s in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0) if s * power * 6 >= top)
    return [round(step * i, 10) for i in range(math.ceil(top / step) + 1)]


def _decades(low: float, high: float) -> List[float]:
    ticks = [m * 10.0 ** e for e in range(math.floor(low), math.ceil(high) + 1) for m in ((1, 2, 5) if high - low <= 1.5 else (1,))]
    return [t for t in ticks if low - 1e-9 <= math.log10(t) <= high + 1e-9]


def _free(x: float, y: float, taken: List[Tuple[float, float]], top: float) -> float:
    """A height at which a label covers no earlier one; remembers it."""
    while y > top and any(abs(x - tx) < 70 and abs(y - ty) < 11 for tx, ty in taken):
        y -= 11
    taken.append((x, y))
    return y
