"""Small automata over words: rules become one acceptor whose arcs carry a word and the slots that it completes.

All automata here have no loops and no empty arcs. States are numbers, and the start is 0.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, FrozenSet, Hashable, Iterable, Iterator, List, Mapping, Sequence, Set, Tuple

from utils.core.errors import UserError
from utils.grammars.expression import AnyOrder, Choice, Expression, Rule, Series, Text, Value

Mark = Tuple[str, Any]  # slot, value; an intent's has an empty name
Marks = Tuple[Mark, ...]  # sorted: their order says nothing
Letter = Tuple[str, Marks]
MOST_ARCS = 300_000

_BLANK = " "


@dataclass
class Automaton:
    """An acceptor of words, with marks."""

    arcs: List[List[Tuple[str, Marks, int]]] = field(default_factory=lambda: [[]])  # by state: word, marks, destination
    ends: List[Set[Marks]] = field(default_factory=lambda: [set()])  # by state: the marks of each way to end there

    def state(self) -> int:
        """A new state."""
        self.arcs.append([])
        self.ends.append(set())
        return len(self.arcs) - 1

    @property
    def size(self) -> int:
        """Number of arcs."""
        return sum(map(len, self.arcs))

    @property
    def words(self) -> List[str]:
        """All words, in the order of the arcs."""
        return list(dict.fromkeys(word for row in self.arcs for word, _, _ in row))

    def order(self) -> List[int]:
        """States after all that they lead to."""
        done: Dict[int, None] = {}
        stack: List[Tuple[int, Iterator[int]]] = [(0, iter(sorted({d for _, _, d in self.arcs[0]})))]
        seen = {0}
        while stack:
            state, rest = stack[-1]
            nxt = next((d for d in rest if d not in seen), None)
            if nxt is None:
                done[state] = None
                stack.pop()
            else:
                seen.add(nxt)
                stack.append((nxt, iter(sorted({d for _, _, d in self.arcs[nxt]}))))
        return list(done)

    def counts(self) -> Dict[int, int]:
        """Ways from each state to an end."""
        found: Dict[int, int] = {}
        for state in self.order():
            found[state] = len(self.ends[state]) + sum(found[d] for _, _, d in self.arcs[state])
        return found


def of_rules(rules: Iterable[Rule], normalise: Callable[[str], str], blanks: bool, counted: Mapping[int, str] = {}) -> Automaton:
    """The acceptor of some rules' sentences, deterministic over words with their marks, minimal.

    Args:
      normalise: a word as it is written -> words as the model has them, joined by blanks; nothing for a mark.
      blanks: whether the language separates words by blanks; if not, each piece of text stands by itself.
      counted: number -> how it is said too where it counts something: 两 for 2.
    Raises:
      UserError: a grammar of more than MOST_ARCS arcs.
    """
    pieces = _Pieces({str(number): said for number, said in counted.items()})
    for rule in rules:
        fixed = [((slot, _plain(value)), 1) for slot, value in rule.slots.items()]
        end = pieces.expression(rule.expression, pieces.link(0, _BLANK), blanks)
        pieces.finals[end] = _sorted([("", rule.intent), *(mark for mark, _ in fixed)])
    return minimal(deterministic(pieces.words(normalise), marked=True))


def deterministic(automaton: Automaton, marked: bool) -> Automaton:
    """The subset construction (Rabin and Scott 1959) over words with their marks, or over words alone, without any mark.

    Raises:
      UserError: more than MOST_ARCS arcs.
    """
    made = Automaton()
    numbers: Dict[FrozenSet[int], int] = {frozenset([0]): 0}
    waiting, total = [frozenset([0])], 0
    while waiting:
        subset = waiting.pop()
        source = numbers[subset]
        reached: Dict[Letter, Set[int]] = {}
        for state in sorted(subset):
            made.ends[source] |= automaton.ends[state] if marked else {()} if automaton.ends[state] else set()
            for word, marks, destination in automaton.arcs[state]:
                reached.setdefault((word, marks if marked else ()), set()).add(destination)
        for (word, marks), states in reached.items():
            following = frozenset(states)
            if following not in numbers:
                numbers[following] = made.state()
                waiting.append(following)
            made.arcs[source].append((word, marks, numbers[following]))
        total += len(reached)
        if total > MOST_ARCS:
            raise UserError(
                f"the grammar needs a graph of more than {MOST_ARCS} arcs; give fewer optional parts, or split it into several"
            )
    return made


def minimal(automaton: Automaton) -> Automaton:
    """States from which the same can follow become one (for automata without loops: Revuz 1992). States are renumbered."""
    same: Dict[int, int] = {}
    classes: Dict[Hashable, int] = {}
    rows: List[Tuple[FrozenSet[Tuple[str, Marks, int]], Set[Marks]]] = []
    for state in automaton.order():
        row = frozenset((word, marks, same[d]) for word, marks, d in automaton.arcs[state])
        key = (row, frozenset(automaton.ends[state]))
        if key not in classes:
            classes[key] = len(rows)
            rows.append((row, automaton.ends[state]))
        same[state] = classes[key]
    last = len(rows) - 1  # the start is the last of the order
    made = Automaton([], [])
    for row, ends in reversed(rows):
        made.arcs.append(sorted(((word, marks, last - d) for word, marks, d in row), key=repr))
        made.ends.append(ends)
    return made


def readings(automaton: Automaton, words: Sequence[str]) -> Set[Marks]:
    """The marks of each way to read a sentence; empty where the automaton doesn't accept it."""
    found: Dict[int, Set[Marks]] = {0: {()}}
    for word in words:
        reached: Dict[int, Set[Marks]] = {}
        for state, before in found.items():
            for said, marks, destination in automaton.arcs[state]:
                if said == word:
                    reached.setdefault(destination, set()).update(_sorted([*one, *marks]) for one in before)
        found = reached
    return {_sorted([*before, *marks]) for state, every in found.items() for before in every for marks in automaton.ends[state]}


def two_readings(automaton: Automaton, most: int, limit: int = 200_000) -> Tuple[List[List[str]], bool]:
    """Sentences that can be read in two ways: pairs of paths with the same words and, in the end, other marks.

    A path of pairs of states holds what marks one path has that the other lacks (the delay of Béal and Carton 2002; here
    without an order).

    Args:
      most: how many sentences, the shortest first.
      limit: of pairs that are looked at.
    Returns:
      the sentences, and whether all pairs were looked at.
    """
    start = (0, 0, (), ())  # type: Tuple[int, int, Marks, Marks]
    came: Dict[Tuple[int, int, Marks, Marks], Any] = {start: None}
    waiting, found = [start], []  # type: List[Tuple[int, int, Marks, Marks]], List[List[str]]
    for pair in waiting:
        first, second, left, right = pair
        if any(_difference([*left, *a], [*right, *b]) != ((), ()) for a in automaton.ends[first] for b in automaton.ends[second]):
            found.append(_way(came, pair))
            if len(found) == most:
                return found, True
        by_word: Dict[str, List[Tuple[Marks, int]]] = {}
        for word, marks, destination in automaton.arcs[second]:
            by_word.setdefault(word, []).append((marks, destination))
        for word, marks, destination in automaton.arcs[first]:
            for others, other in by_word.get(word, ()):
                rest = _difference([*left, *marks], [*right, *others])
                following = (destination, other, *rest)
                if following not in came:
                    came[following] = (pair, word)
                    waiting.append(following)
        if len(waiting) > limit:
            return found, False
    return found, True


def _way(came: Mapping[Any, Any], pair: Any) -> List[str]:
    words: List[str] = []
    while came[pair] is not None:
        pair, word = came[pair]
        words.append(word)
    return words[::-1]


def _difference(first: Sequence[Mark], second: Sequence[Mark]) -> Tuple[Marks, Marks]:
    a, b = Counter(first), Counter(second)
    return _sorted((a - b).elements()), _sorted((b - a).elements())


def _sorted(marks: Iterable[Mark]) -> Marks:
    return tuple(sorted(marks, key=repr))


def _plain(value: Any) -> Any:
    """A value that can be a part of a key: lists as tuples."""
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


class _Pieces:
    """An automaton of pieces of text, blanks, marks and empty arcs, as rules are written (Thompson 1968)."""

    def __init__(self, also: Mapping[str, str]) -> None:
        self.also = also  # a text -> another that is said for it
        self.arcs: List[List[Tuple[Any, int]]] = [[]]  # by state: None, text, or a mark; destination
        self.finals: Dict[int, Marks] = {}

    def link(self, state: int, label: Any) -> int:
        """A new state after `state`."""
        self.arcs.append([])
        self.arcs[state].append((label, len(self.arcs) - 1))
        return len(self.arcs) - 1

    def expression(self, found: Expression, state: int, blanks: bool) -> int:
        """Add what an expression says after a state; returns the state behind it."""
        if isinstance(found, Text) and found.text.strip() in self.also:
            texts = (found.text, self.also[found.text.strip()])
            ends = [self._text(text if blanks else f" {text} ", self.link(state, None)) for text in texts]
            return self._joined(ends)
        if isinstance(found, Text):
            return self._text(found.text if blanks else f" {found.text} ", state)
        if isinstance(found, Series):
            for item in found.items:
                state = self.expression(item, state, blanks)
            return state
        if isinstance(found, Value):
            return self.link(self.expression(found.body, state, blanks), (found.slot, _plain(found.value)))
        if isinstance(found, Choice):
            ends = [self.expression(item, self.link(state, None), blanks) for item in found.items]
            return self._joined(ends)
        assert isinstance(found, AnyOrder)
        reached = {0: state}  # set of parts that were said, as bits -> state
        for said in range((1 << len(found.items)) - 1):
            for n, item in enumerate(found.items):
                if not said >> n & 1:
                    end = self.expression(item, self.link(reached[said], None), blanks)
                    following = said | 1 << n
                    if following in reached:
                        self.arcs[end].append((None, reached[following]))
                    else:
                        reached[following] = self.link(end, None)
        return reached[(1 << len(found.items)) - 1]

    def _text(self, text: str, state: int) -> int:
        for n, word in enumerate(text.split()):
            state = self.link(state, _BLANK) if n or text[0].isspace() else state
            state = self.link(state, word)
        return self.link(state, _BLANK) if text and text[-1].isspace() else state

    def _joined(self, ends: Sequence[int]) -> int:
        self.arcs.append([])
        for end in ends:
            self.arcs[end].append((None, len(self.arcs) - 1))
        return len(self.arcs) - 1

    def words(self, normalise: Callable[[str], str]) -> Automaton:
        """The automaton of whole words: pieces between two blanks are joined in every way that there is."""
        made = Automaton()
        numbers: Dict[Tuple[int, Marks], int] = {(0, ()): 0}
        waiting = [(0, ())]  # type: List[Tuple[int, Marks]]
        for start in waiting:
            source = numbers[start]
            seen: Set[Tuple[int, str, Marks]] = set()
            stack: List[Tuple[int, str, Marks]] = [(start[0], "", start[1])]
            while stack:
                here = stack.pop()
                if here in seen:
                    continue
                seen.add(here)
                state, text, marks = here
                if state in self.finals:
                    _add(made, source, normalise(text).split() if text else [], marks, self.finals[state], None)
                for label, destination in self.arcs[state]:
                    if label is None:
                        stack.append((destination, text, marks))
                    elif isinstance(label, tuple):
                        stack.append((destination, text, _sorted([*marks, label])))
                    elif label != _BLANK:
                        stack.append((destination, text + label, marks))
                    elif not text:
                        stack.append((destination, "", marks))
                    else:
                        said = normalise(text).split()
                        if not said:
                            stack.append((destination, "", marks))
                            continue
                        if (destination, ()) not in numbers:
                            numbers[destination, ()] = made.state()
                            waiting.append((destination, ()))
                        _add(made, source, said, marks, (), numbers[destination, ()])
        return made


def _add(made: Automaton, source: int, words: Sequence[str], marks: Marks, final: Marks, destination: Any) -> None:
    """Arcs of some words from a state; with `destination` None, to an end with the marks `final`."""
    if not words:
        made.ends[source].add(_sorted([*marks, *final]))
        return
    for word in words[:-1]:
        following = made.state()
        made.arcs[source].append((word, (), following))
        source = following
    if destination is None:
        destination = made.state()
        made.ends[destination].add(final)
    made.arcs[source].append((words[-1], marks, destination))
