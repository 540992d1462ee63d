"""Record commands in a terminal as an animated SVG: `docs/site/record.py --to PICTURE.svg COMMAND ...`, with the site's Python.

Each command runs in a terminal, one after another; what it writes is drawn when it was written, only that pauses of more than
`--pause` seconds are shortened to that. The picture needs no script and no font from elsewhere; where it can't move it shows the
last screen.
"""

import argparse
import os
import pty
import select
import subprocess
import time
from html import escape
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import pyte

CELL, LINE, EDGE, TOP = 8.4, 19, 16, 42  # pixels of a character, of a line, around the text, above it
STEP = 0.1  # seconds between two drawings, at least
COLOURS = {"default": "#d8dee9", "dim": "#8a94a6", "prompt": "#7fd1b9"}


class Span(NamedTuple):
    """Characters of one style, and the column of the first."""

    column: int
    text: str
    style: str


Screen = List[Tuple[Span, ...]]  # the spans of each line


def screen_of(terminal: pyte.Screen, prompts: Dict[int, str]) -> Screen:
    """What a terminal shows."""
    lines: Screen = []
    for y in range(terminal.lines):
        spans: List[Span] = []
        for x in range(terminal.columns):
            cell = terminal.buffer[y][x]
            style = "prompt" if prompts.get(y) == terminal.display[y].rstrip() else "dim" if cell.italics else "default"
            if spans and spans[-1].style == style and spans[-1].column + len(spans[-1].text) == x:
                spans[-1] = spans[-1]._replace(text=spans[-1].text + cell.data)
            else:
                spans.append(Span(x, cell.data, style))
        kept = [span._replace(text=span.text.rstrip()) for span in spans]
        lines.append(tuple(span for span in kept if span.text))
    return lines


def play(commands: List[str], width: int, height: int, pause: float) -> Tuple[List[Tuple[float, Screen]], float]:
    """Run the commands; returns (seconds, screen) wherever the screen changed, and the whole time."""
    terminal = pyte.Screen(width, height)
    stream = pyte.ByteStream(terminal)
    prompts: Dict[int, str] = {}
    frames: List[Tuple[float, Screen]] = []
    now = 0.0

    def draw() -> None:
        screen = screen_of(terminal, prompts)
        if not frames or frames[-1][1] != screen:
            frames.append((now, screen))

    for command in commands:
        prompts[terminal.cursor.y] = f"$ {command}"
        stream.feed(f"$ {command}\r\n".encode())
        draw()
        now += 0.8
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(width), "LINES": str(height), "TERM": "xterm"}
        started = subprocess.Popen(["bash", "-c", command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        last = time.monotonic()
        while True:
            ready = select.select([ours], [], [], STEP)[0]
            if ready:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # the command has ended
                    data = b""
                now += min(time.monotonic() - last, pause)
                last = time.monotonic()
                if not data:
                    break
                stream.feed(data.replace(b"\x1b[2m", b"\x1b[3m"))  # pyte knows italics, and not dim
                draw()
            elif started.poll() is not None:
                break
        if started.wait() != 0:
            raise SystemExit(f"{command}: exit status {started.returncode}")
        os.close(ours)
        stream.feed(b"\r\n")
        draw()
        now += 1.0
    return frames, now + 4.0


def drawn(frames: List[Tuple[float, Screen]], seconds: float, width: int, height: int) -> str:
    """The SVG. A line is drawn once for each time at which it has another content."""
    parts = []
    for y in range(height):
        changes: List[Tuple[float, Tuple[Span, ...]]] = []
        for at, screen in frames:
            if not changes or changes[-1][1] != screen[y]:
                changes.append((at, screen[y]))
        ends = [at for at, _ in changes[1:]] + [seconds]
        parts += [_line(spans, y, begin, end, seconds) for (begin, spans), end in zip(changes, ends) if spans]
    wide, high = 2 * EDGE + width * CELL, TOP + EDGE + height * LINE
    dots = "".join(f'<circle cx="{EDGE + 6 + 20 * n}" cy="{EDGE}" r="6" fill="#4c566a"/>' for n in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high}" width="{wide:.0f}" height="{high}" '
        'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">\n'
        "<style>text { white-space: pre }</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#1e232e"/>{dots}\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _line(spans: Tuple[Span, ...], y: int, begin: float, end: float, seconds: float) -> str:
    """A line of the terminal, shown from `begin` to `end` of every round of `seconds`."""
    text = "".join(f'<tspan x="{EDGE + s.column * CELL:.1f}" fill="{COLOURS[s.style]}">{escape(s.text)}</tspan>' for s in spans)
    steps = [(0.0, "hidden")] * (begin > 0) + [(begin, "visible")] + [(end, "hidden")] * (end < seconds)
    times, values = (";".join(words) for words in zip(*((f"{at / seconds:.4f}", value) for at, value in steps)))
    how = f'dur="{seconds:.1f}s" repeatCount="indefinite" calcMode="discrete" keyTimes="{times}" values="{values}"'
    still = "visible" if end == seconds else "hidden"  # where nothing moves
    top = TOP + (y + 0.8) * LINE
    return f'<text y="{top:.0f}" visibility="{still}">{text}<animate attributeName="visibility" {how}/></text>'


def main() -> int:
    """Run the command line; returns the exit status."""
    p = argparse.ArgumentParser(description="Record commands in a terminal as an animated SVG.")
    p.add_argument("--to", type=Path, required=True, metavar="SVG", help="the picture")
    p.add_argument("--width", type=int, default=96, help="columns (default 96)")
    p.add_argument("--height", type=int, default=14, help="lines (default 14)")
    p.add_argument("--pause", type=float, default=1.0, help="longer pauses are shortened to so many seconds (default 1)")
    p.add_argument("commands", nargs="+", metavar="COMMAND", help="a command of bash")
    options = p.parse_args()
    frames, seconds = play(options.commands, options.width, options.height, options.pause)
    options.to.write_text(drawn(frames, seconds, options.width, options.height), encoding="utf-8")
    print(f"written: {options.to}, {len(frames)} screens, {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
