"""Pictures as SVG text, drawn with matplotlib, which is imported only where something is drawn.

The same values give the same bytes: identifiers come from a fixed salt, and no date is written. Text stays text.
"""

import io
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterator, List, Mapping, Sequence, Tuple

COLOURS = ("#2f6db3", "#c2611f", "#2e8b62", "#7d5bab", "#a8892c", "#c2478d", "#0f8591", "#64707f")  # readable on white
STYLE = {
    "svg.hashsalt": "nuptse",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Bar:
    """One error rate with its 95% interval, percent."""

    label: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Point:
    """A system's error rate (percent, with its 95% interval) and real-time factor."""

    label: str
    rtf: float
    rate: float
    low: float
    high: float
    measure: str = "WER"  # or CER


def training_curves(rows: Sequence[Mapping[str, float]]) -> str:
    """Losses of training and dev, and greedy errors on dev, over steps.

    Args:
      rows: of curves.jsonl: `step`, and keys that end in `_loss` or `_error`; those of dev start with `dev_`.
    """
    with drawn(9, 3.2) as (figure, out):
        left, right = figure.subplots(1, 2)
        for axes, ending, title in ((left, "_loss", "loss per token (nats)"), (right, "_error", "greedy error on dev (%)")):
            for key in sorted({k for row in rows for k in row if k.endswith(ending)}):
                points = [(row["step"], row[key]) for row in rows if key in row and math.isfinite(row[key])]
                if points:
                    axes.plot(*zip(*points), label=_curve(key, ending), linewidth=1, marker="." if len(points) == 1 else None)
            axes.set(xlabel="step", title=title, ylim=(0, None))
            if axes.lines:
                axes.legend()
        right.set_ylim(0, 105)
    return out[0]


def wer_bars(title: str, bars: Sequence[Bar], measure: str = "WER") -> str:
    """Horizontal bars of error rates from 0, with their intervals; measure: WER or CER."""
    with drawn(6, 0.9 + 0.28 * len(bars)) as (figure, out):
        axes = figure.subplots()
        for n, bar in enumerate(bars):
            axes.barh(n, bar.value, color=COLOURS[0], height=0.65)
            axes.plot([bar.low, bar.high], [n, n], color="#1c1e21", linewidth=1.2)
            axes.annotate(f"{bar.value:.1f}", (max(bar.high, bar.value), n), (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"{measure} (%), with 95% interval", title=title)
        axes.set_xlim(0, 1.15 * max((b.high for b in bars), default=0) or 1)
    return out[0]


def reliability(title: str, points: Sequence[Tuple[float, float, float]]) -> str:
    """Share of correct words against confidence; the diagonal is perfect calibration.

    Args:
      points: (mean confidence, share correct, share of all words) of each bin; a dot's area is the share of all words.
    """
    with drawn(3.4, 3.4) as (figure, out):
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="#64707f", linewidth=0.8)
        if points:
            said, right, share = zip(*points)
            axes.scatter(said, right, s=[20 + 800 * s for s in share], color=COLOURS[0], alpha=0.6)
        axes.set(
            xlabel="confidence", ylabel="share of words that are correct", title=title, xlim=(-0.05, 1.05), ylim=(-0.05, 1.05)
        )
        axes.set_aspect("equal")
    return out[0]


def wer_against_rtf(panels: Mapping[str, Sequence[Point]]) -> str:
    """Error rate against real-time factor (logarithmic), one panel per corpus; colours and numbers name systems."""
    labels = list(dict.fromkeys(point.label for points in panels.values() for point in points))
    with drawn(9, 4.2) as (figure, out):
        for axes, (corpus, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
            for point in points:
                n = labels.index(point.label)
                colour = COLOURS[n % len(COLOURS)]
                axes.plot([point.rtf] * 2, [point.low, point.high], color=colour, linewidth=1.2)
                axes.plot(point.rtf, point.rate, "o", color=colour, markersize=13)
                axes.annotate(str(n + 1), (point.rtf, point.rate), ha="center", va="center", color="white", fontweight="bold")
            rate = f"{points[0].measure if points else 'WER'} (%)"
            axes.set(xscale="log", ylim=(0, None), title=corpus, xlabel="real-time factor on one core", ylabel=rate)
            ticks = [t for t in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if _spans(points, t)]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
        names = [f"{n + 1} {label}" for n, label in enumerate(labels)]
        handles = [_handle(n) for n in range(len(labels))]
        figure.legend(handles, names, loc="outside lower center", ncols=4)
    return out[0]


def _spans(points: Sequence[Point], tick: float) -> bool:
    return min(p.rtf for p in points) / 1.8 <= tick <= 1.8 * max(p.rtf for p in points)


def _handle(n: int) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=COLOURS[n % len(COLOURS)], marker="o", linestyle="")


def _curve(key: str, ending: str) -> str:
    """The legend of a curve: dev_subword_loss -> dev, sub-words."""
    name = key[: -len(ending)]
    split, head = ("dev", name[4:]) if name.startswith("dev_") else ("train", name)
    return ", ".join(
        part for part in (split, {"subword": "sub-words", "word": "words"}.get(head, head.replace("_", " "))) if part
    )


@contextmanager
def drawn(width: float, height: float) -> Iterator[Tuple[Any, List[str]]]:
    """A figure of inches; when the block has ended, the list has its SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    out: List[str] = []
    with matplotlib.rc_context({**STYLE, "axes.prop_cycle": matplotlib.cycler(color=COLOURS)}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, out
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        out.append(stream.getvalue())
