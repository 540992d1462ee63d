"""What a sentence template says, whatever the form of the file: words, sequences, choices, slots."""

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence, Tuple, Union

MOST_IN_ANY_ORDER = 8  # parts that may come in any order: the graph has 2^n states for n of them


@dataclass(frozen=True)
class Text:
    """A piece of text. Blanks inside and at the ends separate words; without one, a piece continues the word before it."""

    text: str


@dataclass(frozen=True)
class Series:
    """One after another."""

    items: Tuple["Expression", ...]


@dataclass(frozen=True)
class Choice:
    """One of these; `NOTHING` among them makes it optional."""

    items: Tuple["Expression", ...]


@dataclass(frozen=True)
class AnyOrder:
    """All of these, in any order."""

    items: Tuple["Expression", ...]


@dataclass(frozen=True)
class Value:
    """A slot's value, and what is said for it."""

    slot: str
    value: Any  # as the answer gives it
    body: "Expression"


Expression = Union[Text, Series, Choice, AnyOrder, Value]
NOTHING = Series(())


@dataclass(frozen=True)
class Rule:
    """A sentence template of an intent."""

    intent: str
    place: str  # for messages: the intent, and which of its templates
    expression: Expression
    slots: Mapping[str, Any]  # that the answer has whatever is said


@dataclass(frozen=True)
class Written:
    """A grammar file, read."""

    name: str  # of the file
    rules: Sequence[Rule]
    language: Optional[str]  # that the file names
    remarks: Sequence[str]  # what of the file is left out, and why
