"""What a single setting may be: its type, and its range or choices. Errors name what is allowed and the nearest allowed value.

Standard library only.
"""

import difflib
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Iterable, Optional, Tuple

from utils.core.errors import UserError

NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


@dataclass(frozen=True)
class Key:
    """Type and allowed values of a key; numbers are from `low` to `high`, with the ends unless they are open."""

    kind: type  # str, int, float, bool or list
    low: Optional[float] = None
    high: Optional[float] = None
    open_low: bool = False  # greater than `low`, not equal
    open_high: bool = False
    odd: bool = False
    choices: Tuple[Any, ...] = ()
    word: str = ""  # that a number may also be
    item: Optional["Key"] = None  # of a list: what its items may be
    filled: bool = False  # whether a list needs an item
    once: bool = False  # whether an item may occur only once in a list

    def allowed(self) -> str:
        """What the key may be, in words."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.item is not None:
            inner = self.item.allowed()
            return f"a list{', not empty' * self.filled}, each item {inner}{', each once' * self.once}"
        name = "an odd whole number" if self.odd else NAMES[self.kind]
        low = "" if self.low is None else f"{'greater than' if self.open_low else 'at least'} {self.low:g}"
        high = "" if self.high is None else f"{'less than' if self.open_high else 'at most'} {self.high:.15g}"
        ends = " and ".join(filter(None, (low, high)))
        return (f"{name}, {ends}" if ends else name) + f", or {self.word}" * bool(self.word)

    def fits(self, value: Any) -> bool:
        """Whether a value of the right type is allowed."""
        if self.word and value == self.word:
            return True
        if self.choices:
            return value in self.choices
        if self.item is not None:
            repeated = self.once and len(set(value)) < len(value)
            return all(map(self.item.fits, value)) and not repeated and (bool(value) or not self.filled)
        if self.kind not in (int, float):
            return True
        above = self.low is None or value > self.low or (value == self.low and not self.open_low)
        below = self.high is None or value < self.high or (value == self.high and not self.open_high)
        return above and below and not (self.odd and value % 2 == 0)

    def nearest(self, value: Any) -> Optional[Any]:
        """The allowed value that is closest to a value of the right type; None where there is no telling."""
        if self.choices and self.kind is not str:
            return min(self.choices, key=lambda choice: abs(choice - value))
        if self.choices:
            return next(iter(difflib.get_close_matches(value, self.choices, 1)), None)
        if self.item is not None:
            items = [x if self.item.fits(x) else self.item.nearest(x) for x in value]
            return list(dict.fromkeys(items)) if None not in items and (items or not self.filled) else None
        if self.kind not in (int, float):
            return None
        near = value
        if self.low is not None and value <= self.low:
            near = self.low if not self.open_low else self._inside(self.low, 1)
        if self.high is not None and value >= self.high:
            near = self.high if not self.open_high else self._inside(self.high, -1)
        near = self.kind(near)
        return near + 1 if self.odd and near % 2 == 0 else near

    def _inside(self, end: float, sign: int) -> float:
        """A round number close to an open end: 0.01 above, or as far below."""
        return end + sign * (1 if self.kind is int else 0.01)


def whole(low: float = 0, high: Optional[float] = None, odd: bool = False) -> Key:
    """A whole number."""
    return Key(int, low, high, odd=odd)


def number(low: Optional[float] = 0, high: Optional[float] = None, open_low: bool = False, open_high: bool = False) -> Key:
    """A finite number."""
    return Key(float, low, high, open_low, open_high)


def number_or(word: str, low: float = 0) -> Key:
    """A finite number, or one word."""
    return Key(float, low, word=word)


def positive(high: Optional[float] = None) -> Key:
    """A number greater than 0."""
    return number(0, high, open_low=True)


def one_of(*choices: Any) -> Key:
    """One of a few words, or numbers."""
    return Key(type(choices[0]), choices=choices)


def items(item: Key, filled: bool = False) -> Key:
    """A list, each item once."""
    return Key(list, item=item, filled=filled, once=True)


def like(default: Any) -> Key:
    """What an option of a corpus may be: anything of the type of its default in corpus.yaml."""
    return Key(type(default), item=like(default[0]) if isinstance(default, list) and default else None)


def accepted(key: str, known: Key, value: Any, where: str) -> Any:
    """The value of a key in its type.

    Args:
      known: what the key may be.
      value: as YAML has it.
      where: file or option that it comes from, for the error.
    Raises:
      UserError: wrong type, or a value that is not allowed; names the key, what is allowed, and the nearest allowed value.
    """
    value = _typed(known, value)
    if not _is_typed(known, value):
        quotes = "; put it in quotes" if known.kind is str and not isinstance(value, (dict, list)) else ""
        raise UserError(f"{where}: {key} must be {known.allowed()}, not {value!r}{quotes}")
    if not known.fits(value):
        near = known.nearest(value)
        hint = "" if near is None else f"; the nearest allowed value is {key}={near}"
        raise UserError(f"{where}: {key}={value} is not allowed: it must be {known.allowed()}{hint}")
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' for the known name closest to a mistyped one, or ''."""
    known = list(known)
    match = difflib.get_close_matches(name, known, 1, 0.5)
    if not match:  # the right last part in a wrong group
        match = [k for k in known if k.split(".")[-1] == name.split(".")[-1]][:1]
    return f" (did you mean '{match[0]}'?)" if match else ""


def _typed(known: Key, value: Any) -> Any:
    """A value as the type of its key, where it is written differently: 3 for 3.0, and 1e-3, which YAML reads as text."""
    if known.item is not None and isinstance(value, list):
        return [_typed(known.item, each) for each in value]
    if known.kind is float and type(value) in (int, str):
        with suppress(ValueError):
            return float(value)
    return value


def _is_typed(known: Key, value: Any) -> bool:
    if known.item is not None:
        return isinstance(value, list) and all(_is_typed(known.item, each) for each in value)
    if known.kind is float:
        return (type(value) is float and math.isfinite(value)) or (known.word != "" and value == known.word)
    return type(value) is known.kind
