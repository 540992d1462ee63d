"""Candidates: the words and phrases of a document, each with how often it was probably said and where."""

from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import AbstractSet, Dict, Iterator, List, Optional, Sequence, Tuple

from utils.keywords.documents import Document, Slot

LONGEST = 4  # words of a phrase
LEAST = 0.01  # posterior of a place of a phrase that counts
READINGS = 3  # alternatives of a place that make phrases
REPEATED = 2.0  # expected count from which a phrase stands for itself inside longer ones

Phrase = Tuple[str, ...]


@dataclass(frozen=True)
class Occurrence:
    """A place where a phrase was probably said."""

    probability: float
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
    whole: float = 0.0  # expected count of places where the words around it are stop words, or none

    @property
    def count(self) -> float:
        """How often it was said, as expected from the posteriors."""
        return sum(one.probability for one in self.occurrences)

    @property
    def confidence(self) -> float:
        """Probability that it was said at all, where the places are independent."""
        return 1.0 - prod(1.0 - one.probability for one in self.occurrences)


def candidates(document: Document, stop_words: AbstractSet[str]) -> List[Candidate]:
    """Words and phrases of up to `LONGEST` words without a stop word, in the order of the document.

    A phrase is all that lies between stop words, punctuation or pauses at one place at least, or is said `REPEATED` times.
    """
    found: Dict[Phrase, Candidate] = {}
    position = 0
    for number, run in enumerate(document.runs):
        file = document.files[number] if document.files else ""
        content = [[option for option in slot.words[: READINGS + 1] if _of_content(option[0], stop_words)] for slot in run]
        first = [bool(options) and options[0] == slot.words[0] for options, slot in zip(content, run)]
        for at in range(len(run)):
            for size in range(1, min(LONGEST, len(run) - at) + 1):
                if not content[at + size - 1]:
                    break
                whole = not (at and first[at - 1]) and not (at + size < len(run) and first[at + size])
                for phrase, probability in _readings(content[at : at + size]):
                    one = found.setdefault(phrase, Candidate(phrase))
                    one.occurrences.append(_occurrence(run[at : at + size], phrase, probability, position + at, file))
                    one.whole += probability * whole
        position += len(run)
    return [one for one in found.values() if len(one.phrase) == 1 or one.whole > 0 or one.count >= REPEATED]


def _of_content(word: str, stop_words: AbstractSet[str]) -> bool:
    return len(word) > 1 and not word[0].isdecimal() and word not in stop_words


def _readings(options: Sequence[Sequence[Tuple[str, float]]]) -> Iterator[Tuple[Phrase, float]]:
    for path in product(*options):
        probability = prod(p for _, p in path)
        if probability >= LEAST:
            yield tuple(word for word, _ in path), probability


def _occurrence(slots: Sequence[Slot], phrase: Phrase, probability: float, position: int, file: str) -> Occurrence:
    shown = [slot.shown if slot.shown and word == slot.words[0][0] else word for slot, word in zip(slots, phrase)]
    return Occurrence(probability, position, slots[0].start, slots[-1].end, " ".join(shown), file)
