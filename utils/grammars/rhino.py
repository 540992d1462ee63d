"""Grammars in the form of Picovoice's Rhino (YAML): expressions of intents, slots, macros.

An expression has words, `[one, of, these]`, `(optional)`, `$slot:name` and `@macro`. A slot's value is what is said for it.
"""

import re
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.grammars.expression import NOTHING, Choice, Expression, Rule, Series, Text, Value, Written

_TOKEN = re.compile(r"\s*(?:([\[\](),])|([$@])([\w.]+)(?::(\w+))?|([^\s\[\](),$@]+))")
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth".split()
BUILT_IN: Dict[str, Sequence[str]] = {
    "pv.SingleDigitInteger": [str(n) for n in range(10)],
    "pv.TwoDigitInteger": [str(n) for n in range(100)],
    "pv.SingleDigitOrdinal": _ORDINALS[:9],
    "pv.Percent": [f"{n} percent" for n in range(101)],
    "pv.Alphabetic": [chr(n) for n in range(ord("a"), ord("z") + 1)],
}


def read(name: str, content: Mapping[str, Any], extra: Mapping[str, Sequence[str]]) -> Written:
    """The rules of a file.

    Args:
      name: of the file, for messages.
      content: the mapping below the key `context`.
      extra: slot -> values given beside the file, which replace those of the file.
    Raises:
      UserError: an expression that can't be read, a slot or macro that is not there, a macro that leads to itself.
    """
    expressions = _mapping(content.get("expressions"), f"{name}: context.expressions")
    slots = {**_mapping(content.get("slots") or {}, f"{name}: context.slots"), **extra}
    macros = _mapping(content.get("macros") or {}, f"{name}: context.macros")
    unknown = set(content) - {"expressions", "slots", "macros"}
    if unknown:
        raise UserError(f"{name}: context has the key '{sorted(unknown)[0]}'; there are expressions, slots and macros")
    reader = _Reader(name, slots, macros)
    rules: List[Rule] = []
    for intent, lines in expressions.items():
        for n, line in enumerate(_lines(lines, f"{name}: the expressions of intent {intent}"), 1):
            place = f"intent {intent}, expression {n}"
            rules.append(Rule(str(intent), place, reader.expression(line, f"{name}: {place}"), {}))
    return Written(name, rules, None, [])


class _Reader:
    """Expressions of one file, with its slots and macros."""

    def __init__(self, name: str, slots: Mapping[str, Any], macros: Mapping[str, Any]) -> None:
        self.name, self.slots, self.macros = name, slots, macros
        self.open: List[str] = []  # macros that are being read
        self.done: Dict[Tuple[str, ...], Expression] = {}

    def expression(self, line: str, place: str) -> Expression:
        tokens = list(_tokens(line, place))
        found, rest = self._series(tokens, 0, place, line, "")
        if rest < len(tokens):
            raise UserError(f"{place}: '{tokens[rest][0]}' closes nothing in \"{line}\"; take it out, or open it before")
        return found

    def _series(
        self, tokens: Sequence[Tuple[str, str, str]], n: int, place: str, line: str, closing: str
    ) -> Tuple[Expression, int]:
        items: List[Expression] = []
        while n < len(tokens) and tokens[n][0] not in ("]", ")") and not (tokens[n][0] == "," and closing):
            kind, word, name = tokens[n]
            n += 1
            if kind in ("[", "("):
                end = "]" if kind == "[" else ")"
                choices: List[Expression] = []
                while True:
                    one, n = self._series(tokens, n, place, line, end)
                    choices.append(one)
                    if n == len(tokens) or tokens[n][0] not in (",", end):
                        raise UserError(f"{place}: '{kind}' is never closed by '{end}' in \"{line}\"; add it")
                    n += 1
                    if tokens[n - 1][0] == end:
                        break
                if NOTHING in choices:
                    raise UserError(
                        f"{place}: '{kind}{end}' has an empty part in \"{line}\"; write (...) for what may be left out"
                    )
                items.append(Choice((*choices, NOTHING) if kind == "(" else tuple(choices)))
            elif kind == "$":
                items.append(self._slot(word, name or word.rpartition(".")[2], place))
            elif kind == "@":
                items.append(self._macro(word, place))
            else:
                items.append(Text(f" {word or kind} "))
        return Series(tuple(items)), n

    def _slot(self, kind: str, name: str, place: str) -> Expression:
        values = self.slots.get(kind, BUILT_IN.get(kind))
        if values is None:
            every = [*self.slots, *BUILT_IN]
            raise UserError(
                f"{place}: there is no slot '{kind}'{nearest(kind, every)}: add it below context.slots, or take one of "
                f"{', '.join(every)}"
            )
        return self._once(
            ("$", kind, name),
            lambda: Choice(
                tuple(
                    Value(name, " ".join(text.split()), self.expression(text, f"{self.name}: slot {kind}, value {n}"))
                    for n, text in enumerate(_lines(values, f"{self.name}: the values of slot {kind}"), 1)
                )
            ),
        )

    def _macro(self, name: str, place: str) -> Expression:
        if name not in self.macros:
            raise UserError(f"{place}: there is no macro '{name}'{nearest(name, self.macros)}: add it below context.macros")
        if name in self.open:
            way = " -> ".join([*self.open[self.open.index(name) :], name])
            raise UserError(f"{self.name}: macro {name} leads to itself ({way}), so its sentences have no end; take the loop out")
        self.open.append(name)
        lines = _lines(self.macros[name], f"{self.name}: macro {name}")
        made = self._once(
            ("@", name), lambda: Choice(tuple(self.expression(line, f"{self.name}: macro {name}") for line in lines))
        )
        self.open.pop()
        return made

    def _once(self, key: Tuple[str, ...], make: Callable[[], Expression]) -> Expression:
        if key not in self.done:
            self.done[key] = make()
        return self.done[key]


def _tokens(line: str, place: str) -> Iterator[Tuple[str, str, str]]:
    """Kind, word or name, name of the slot."""
    position = 0
    while line[position:].strip():
        found = _TOKEN.match(line, position)
        if found is None:
            raise UserError(
                f"{place}: '{line[position:].split()[0]}' can't be read in \"{line}\"; a slot is $kind:name, a macro @name"
            )
        mark, sign, name, slot, word = found.groups(default="")
        yield (mark, "", "") if mark else (sign, name, slot) if sign else ("word", word, "")
        position = found.end()


def _mapping(found: Any, place: str) -> Dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UserError(f"{place} must be a mapping of names to lists")
    return found


def _lines(found: Any, place: str) -> List[str]:
    if not isinstance(found, (list, tuple)) or not found:
        raise UserError(f"{place} must be a list with a line for each")
    for one in found:
        if not isinstance(one, (str, int, float)) or isinstance(one, bool):
            raise UserError(f"{place}: {one!r} is not text; put it in quotes")
    return [str(one) for one in found]
