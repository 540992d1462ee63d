"""Candidates: the words and phrases of a document, each with how often it was probably said and where."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import AbstractSet, Dict, Iterator, List, Optional, Sequence, Tuple

from utils.keywords.documents import Document, Slot

LONGEST = 4  # words of a phrase
LEAST = 0.01  # weight of a place of a phrase that counts
READINGS = 3  # alternatives of a place that make phrases
REPEATED = 2.0  # weight from which a phrase stands for itself inside longer ones

Phrase = Tuple[str, ...]
Option = Tuple[str, float, float]  # word, posterior, weight


@dataclass(frozen=True)
class Occurrence:
    """A place where a phrase was probably said."""

    probability: float  # as the recogniser has it
    weight: float  # the same, as the whole document has it: what counts in the ranking
    position: int  # words of the document before it
    start: Optional[float]  # seconds
    end: Optional[float]
    shown: str  # how the text writes it
    file: str  # of a document of several


@dataclass
class Candidate:
    """A phrase that may be a keyword."""

    phrase: Phrase
    occurrences: List[Occurrence] = field(default_factory=list)
    whole: float = 0.0  # weight of the places where the words around it are stop words, or none

    @property
    def count(self) -> float:
        """How often it was said, as expected from the posteriors."""
        return sum(one.probability for one in self.occurrences)

    @property
    def confidence(self) -> float:
        """Probability that it was said at all, where the places are independent."""
        return 1.0 - prod(1.0 - one.probability for one in self.occurrences)

    @property
    def weight(self) -> float:
        """`count` of the weights."""
        return sum(one.weight for one in self.occurrences)

    @property
    def certainty(self) -> float:
        """`confidence` of the weights."""
        return 1.0 - prod(1.0 - one.weight for one in self.occurrences)


def candidates(document: Document, stop_words: AbstractSet[str], elsewhere: float = 0.0) -> List[Candidate]:
    """Words and phrases of up to `LONGEST` words without a stop word, in the order of the document.

    A phrase is all that lies between stop words, punctuation or pauses at one place at least, or is said `REPEATED` times.

    What a document says elsewhere it more probably says here too (a cache: Kuhn and De Mori 1990). So weights come of odds that
    are multiplied by (1 + expected count elsewhere)^`elsewhere`: a word that comes again rises, recognised or alternative.
    """
    found: Dict[Phrase, Candidate] = {}
    position = 0
    for number, (run, weighed_run) in enumerate(zip(document.runs, _weighed(document, stop_words, elsewhere))):
        file = document.files[number] if document.files else ""
        content = [
            [option for option in options[: READINGS + 1] if _of_content(option[0], stop_words)] for options in weighed_run
        ]
        first = [bool(options) and options[0][0] == slot.words[0][0] for options, slot in zip(content, run)]
        for at in range(len(run)):
            for size in range(1, min(LONGEST, len(run) - at) + 1):
                if not content[at + size - 1]:
                    break
                whole = not (at and first[at - 1]) and not (at + size < len(run) and first[at + size])
                for phrase, probability, weight in _readings(content[at : at + size]):
                    one = found.setdefault(phrase, Candidate(phrase))
                    slots = run[at : at + size]
                    shown, (start, end) = _shown(slots, phrase), (slots[0].start, slots[-1].end)
                    one.occurrences.append(Occurrence(probability, weight, position + at, start, end, shown, file))
                    one.whole += weight * whole
        position += len(run)
    return [one for one in found.values() if len(one.phrase) == 1 or one.whole > 0 or one.weight >= REPEATED]


def _weighed(document: Document, stop_words: AbstractSet[str], elsewhere: float) -> List[List[List[Option]]]:
    """What may have been said at each place of each run: words with their posteriors, and with their weights."""
    counts: Dict[str, float] = defaultdict(float)
    for run in document.runs:
        for slot in run:
            for word, p in slot.words:
                if word not in stop_words:
                    counts[word] += p

    def of(slot: Slot) -> List[Option]:
        raised = [p * (1.0 + max(counts.get(word, 0.0) - p, 0.0)) ** elsewhere for word, p in slot.words]
        total = sum(raised) + max(1.0 - sum(p for _, p in slot.words), 0.0)
        return [(word, p, weight / total) for (word, p), weight in zip(slot.words, raised)]

    return [[of(slot) for slot in run] for run in document.runs]


def _of_content(word: str, stop_words: AbstractSet[str]) -> bool:
    return len(word) > 1 and not word[0].isdecimal() and word not in stop_words


def _readings(options: Sequence[Sequence[Option]]) -> Iterator[Tuple[Phrase, float, float]]:
    for path in product(*options):
        probability, weight = prod(p for _, p, _ in path), prod(w for *_, w in path)
        if weight >= LEAST:
            yield tuple(word for word, *_ in path), probability, weight


def _shown(slots: Sequence[Slot], phrase: Phrase) -> str:
    return " ".join(slot.shown if slot.shown and word == slot.words[0][0] else word for slot, word in zip(slots, phrase))
