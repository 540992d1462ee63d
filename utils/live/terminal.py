"""Words on a terminal: the open segment is rewritten in place, and finished ones are lines."""

import os
import unicodedata
from typing import Callable, List, Sequence

from utils.bundle.transcript import Word, joined
from utils.core.errors import printable
from utils.live.events import Command, Event, Failed, Final, Keyword, Partial

DIM, PLAIN, CLEAR = "\x1b[2m", "\x1b[0m", "\x1b[K"
CUT = "… "


class Screen:
    """Shows the events of a stream."""

    def __init__(self, write: Callable[[str], object], rewrites: bool, columns: Callable[[], int] = lambda: _columns()) -> None:
        """
        Args:
          write: takes text, and shows it at once.
          rewrites: whether lines can be rewritten: on a terminal. Elsewhere only finished segments are shown.
          columns: of the terminal, which may change.
        """
        self._write, self._rewrites, self._columns = write, rewrites, columns

    def show(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Partial) and self._rewrites:
            self._write(f"\r{partial_line(event.words, event.stable, self._columns() - 1)}{CLEAR}")
        elif isinstance(event, Final):
            text = printable(event.transcript.text)
            self._write(self._cleared() + f"{text}\n" * bool(text))
        elif isinstance(event, Failed):
            self._write(self._cleared())
        elif isinstance(event, Keyword):
            self._write(f"{self._cleared()}* {printable(event.text)} ({event.start:.1f} s, {event.probability:.0%})\n")
        elif isinstance(event, Command):
            self._write(f"{self._cleared()}> {printable(command_line(event))} ({event.confidence:.0%})\n")

    def _cleared(self) -> str:
        return f"\r{CLEAR}" if self._rewrites else ""


def command_line(event: Command) -> str:
    """An intent with its slots."""
    if event.intent is None:
        return "not a command"
    return f"{event.intent}({', '.join(f'{name}={value}' for name, value in sorted(event.slots.items()))})"


def partial_line(words: Sequence[Word], stable: int, columns: int) -> str:
    """The end of what was said, as much as fits in a line: words that may still change are dim."""
    texts = [printable(word.text) for word in words]
    first = 0
    while first < len(texts) - 1 and width(_cut(texts, first)) > columns:
        first += 1
    whole = _cut(texts, first)
    while whole and width(whole) > columns:
        whole = whole[1:]
    firm = len(joined(texts[first:stable])) + len(CUT) * (first > 0) if stable > first else 0
    firm = max(0, firm - (len(_cut(texts, first)) - len(whole)))
    return f"{whole[:firm]}{DIM}{whole[firm:]}{PLAIN}"


def width(text: str) -> int:
    """Columns that a text takes: two for Chinese characters and the like, none for marks."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(texts: List[str], first: int) -> str:
    return CUT * (first > 0) + joined(texts[first:])


def _columns() -> int:
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80
