"""A grammar: what it accepts, what a sentence of it means, and what is wrong with it."""

import random
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from utils.core.errors import UserError
from utils.core.languages import in_characters
from utils.core.yaml_files import read_mapping
from utils.grammars import rhino, templates
from utils.grammars.automaton import Automaton, Marks, deterministic, minimal, of_rules, readings, two_readings
from utils.grammars.expression import Rule, Written
from utils.languages.rules import rules as rules_of

AMBIGUOUS = ("refuse", "first")
SHOWN = 5


@dataclass(frozen=True)
class Command:
    """What a sentence means."""

    intent: str
    slots: Mapping[str, Any]

    def __str__(self) -> str:
        slots = ", ".join(f"{name}={value}" for name, value in sorted(self.slots.items()))
        return f"{self.intent}({slots})"


def read_grammar(path: Path, extra: Mapping[str, Sequence[str]] = {}) -> Written:
    """Read a grammar file in Rhino's form or Home Assistant's.

    Args:
      extra: slot (or list) -> values, in place of those of the file.
    Raises:
      UserError: no such file, another form, and what `rhino.read` and `templates.read` raise.
    """
    content = read_mapping(path)
    if "context" in content:
        if not isinstance(content["context"], dict):
            raise UserError(f"{path}: context must be a mapping with expressions and slots")
        found = replace(rhino.read(path.name, content["context"], extra), language=content.get("language"))
    elif "intents" in content:
        found = templates.read(path.name, content, extra)
    else:
        raise UserError(
            f"{path} is not a grammar: it needs the key 'context' with 'expressions' (Picovoice's Rhino), or 'intents' (Home "
            f"Assistant's sentence templates); it has {', '.join(map(str, content)) or 'nothing'}"
        )
    if not found.rules:
        raise UserError(f"{path} has no sentence that could be said" + "".join(f"\n  {remark}" for remark in found.remarks))
    return found


@dataclass
class Grammar:
    """A grammar in the words of a model."""

    written: Written
    normalise: Callable[[str], str]  # that of transcripts
    language: str
    ambiguous: str = "refuse"  # or first: of several readings, that of the rule that comes first

    def __post_init__(self) -> None:
        """Build it. Raises UserError: too large; no words; a slot twice in a sentence; a sentence with two readings (refuse)."""
        assert self.ambiguous in AMBIGUOUS
        self.automaton: Automaton = self._of(self.written.rules)
        self.acceptor: Automaton = self._acceptor()
        if not self.automaton.words:
            raise UserError(f"{self.name} has no words: nothing could be said")
        if self.automaton.ends[0]:
            silent = next(place for place, _ in self._places([]))
            raise UserError(
                f"{self.name}: {silent} may be said without a word, so silence would mean it; make a part of it necessary"
            )
        self._check_slots()
        if self.ambiguous == "refuse":
            found, _ = self.ambiguities(1)
            if found:
                raise UserError(f"{self.name}: {found[0]}; take one of them out, or choose the first (--ambiguous first)")

    @property
    def name(self) -> str:
        """Of the file."""
        return self.written.name

    @property
    def words(self) -> List[str]:
        """All words that can be said."""
        return sorted(self.acceptor.words)

    @cached_property
    def count(self) -> int:
        """Number of sentences."""
        return self.acceptor.counts()[0]

    def meaning(self, words: Sequence[str]) -> Optional[Command]:
        """What a sentence means; None where the grammar doesn't accept it. Of several readings, the first rule's."""
        found = readings(self.automaton, words)
        if len(found) > 1:
            found = self._first(words)
        return None if not found else _command(next(iter(found)))

    def ambiguities(self, most: int) -> Tuple[List[str], bool]:
        """Some sentences with two readings, each with them and their places; and whether all of the grammar was looked at."""
        found, all_seen = two_readings(self.automaton, most)
        return [self._told(words) for words in found], all_seen

    def sentences(self, count: int, seed: int = 0) -> Iterator[Tuple[List[str], Command]]:
        """Random sentences, each intent equally likely; the same with each call.

        At each word, a way is as likely as the square root of the number of sentences that it leads to: long sentences have far
        more variants than short ones, which would hardly occur otherwise.
        """
        draw = random.Random(seed)
        intents = sorted({rule.intent for rule in self.written.rules})
        for _ in range(count):
            automaton, totals = self._of_intent[draw.choice(intents)]
            state, words, marks = 0, [], []  # type: int, List[str], List[Any]
            while True:
                arcs, ends = automaton.arcs[state], sorted(automaton.ends[state], key=repr)
                weights = [*(totals[destination] ** 0.5 for _, _, destination in arcs), *(1.0 for _ in ends)]
                (chosen,) = draw.choices(range(len(weights)), weights)
                if chosen >= len(arcs):
                    yield words, _command((*marks, *ends[chosen - len(arcs)]))
                    break
                word, own, state = arcs[chosen]
                words.append(word)
                marks += own

    @cached_property
    def _of_intent(self) -> Dict[str, Tuple[Automaton, Dict[int, int]]]:
        """The sentences of each intent, and how many there are from each state."""
        made = {}
        for intent in {rule.intent for rule in self.written.rules}:
            automaton = self._of([rule for rule in self.written.rules if rule.intent == intent])
            made[intent] = automaton, automaton.counts()
        return made

    def _of(self, rules: Sequence[Rule]) -> Automaton:
        return of_rules(rules, self.normalise, not in_characters(self.language), rules_of(self.language).counted)

    def _acceptor(self) -> Automaton:
        """The automaton without marks; deterministic unless that is too large."""
        try:
            return minimal(deterministic(self.automaton, marked=False))
        except UserError:
            nothing: Marks = ()
            arcs = [[(word, nothing, destination) for word, _, destination in row] for row in self.automaton.arcs]
            return minimal(Automaton(arcs, [{nothing} if ends else set() for ends in self.automaton.ends]))

    def _check_slots(self) -> None:
        """Raises UserError for a slot that one sentence has twice."""
        before: Dict[int, Set[str]] = {0: set()}
        for state in reversed(self.automaton.order()):
            for _, marks, destination in self.automaton.arcs[state]:
                self._no_repeat(before[state], marks)
                before.setdefault(destination, set()).update(before[state], (slot for slot, _ in marks))
            for marks in self.automaton.ends[state]:
                self._no_repeat(before[state], [mark for mark in marks if mark[0]])

    def _no_repeat(self, before: Set[str], marks: Any) -> None:
        names = [slot for slot, _ in marks]
        twice = sorted(before.intersection(names)) or sorted({name for name in names if names.count(name) > 1})
        if twice:
            rule = next((r.place for r in self.written.rules if self._has_twice(r, twice[0])), "a rule")
            raise UserError(f"{self.name}: {rule} has the slot '{twice[0]}' twice in one sentence; give one of them another name")

    def _has_twice(self, rule: Rule, slot: str) -> bool:
        automaton = self._of([rule])
        most: Dict[int, int] = {}
        for state in automaton.order():
            ways = [most[d] + sum(name == slot for name, _ in marks) for _, marks, d in automaton.arcs[state]]
            ends = [sum(name == slot for name, _ in marks) for marks in automaton.ends[state]]
            most[state] = max([*ways, *ends], default=0)
        return most[0] > 1

    def _places(self, words: Sequence[str]) -> Iterator[Tuple[str, Marks]]:
        """The readings of a sentence by each rule, in the order of the file."""
        for rule in self.written.rules:
            automaton = self._of([rule])
            for marks in sorted(readings(automaton, words), key=repr):
                yield rule.place, marks

    def _first(self, words: Sequence[str]) -> Set[Marks]:
        return {next(self._places(words))[1]}

    def _told(self, words: Sequence[str]) -> str:
        different: Dict[Marks, str] = {}
        for place, marks in self._places(words):
            different.setdefault(marks, place)
        told = " or ".join(f"{_command(marks)} ({place})" for marks, place in list(different.items())[:SHOWN])
        return f'"{" ".join(words)}" is {told}'


def _command(marks: Marks) -> Command:
    intent = next(value for slot, value in marks if not slot)
    return Command(intent, {slot: value for slot, value in marks if slot})
