"""The registry of what scores a hypothesis. A new score is one entry of SCORES, and what computes it.

A hypothesis's total is its acoustic score plus the weighted sum of its scores, natural log. The weights are tuned on dev.
Rescoring is a chain of decodings: each has the scores of the decodings before it, its own, and those that belong to all.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import AbstractSet, Callable, Dict, FrozenSet, List, Optional, Tuple

from utils.ngrams.ngram import UNKNOWN


@dataclass(frozen=True)
class Kinds:
    """Words that are counted apart. Somebody added a word because it is likely; a proposed one is not: hence two kinds."""

    added: AbstractSet[str] = frozenset()  # by vocabulary packs
    unknown: AbstractSet[str] = frozenset((UNKNOWN,))  # neither in the trained model's vocabulary nor in a pack


@dataclass(frozen=True)
class Available:
    """What a run can score hypotheses with."""

    config: SimpleNamespace  # the group `rescore`
    word_head: bool  # there are sub-word lattices, which the word head can rescore
    kinds: FrozenSet[str] = frozenset()  # of proposed, unknown, added: which of these hypotheses and words there may be


@dataclass(frozen=True)
class Score:
    """One score of a hypothesis."""

    name: str
    usual: float  # the weight that other corpora ask for: where tuning starts
    spread: float  # how far apart their weights are
    there: Callable[[Available], bool] = lambda available: True
    of_word: Optional[Callable[[str, Kinds], float]] = None  # for counts: the score is the sum over the words
    signed: bool = False  # whether the weight may be negative
    of_arcs: bool = False  # whether the arcs of a word lattice have it too
    decoding: str = ""  # the decoding that it completes; "" for a score that all decodings have
    title: str = ""  # the decoding's column in tables
    links: Tuple[str, ...] = ()  # the timed links that it takes
    # module:function that makes a model which scores only the best paths; its settings are the group rescore.<name>
    rescorer: str = ""


def _with(kind: str) -> Callable[[Available], bool]:
    return lambda available: kind in available.kinds


# `usual` and `spread` come from the dev sets of speechocean762 and asterisk, over recipes, seeds and links. Every unit of a
# hypothesis costs it probability, in the acoustic models and in an attention decoder; the numbers of words and of letters make up
# for that.
SCORES: List[Score] = [
    Score("lm", 1.5, 0.7, of_arcs=True, decoding="lm", title="n-gram LM", links=("nbest",)),
    Score(
        "word",
        1.5,
        1.0,
        lambda available: available.word_head,
        of_arcs=True,
        decoding="wordvec",
        title="word vectors",
        links=("word_score",),
    ),
    Score("penalty", 0.0, 2.0, of_word=lambda word, kinds: 1, signed=True, of_arcs=True),
    Score("letters", 0.8, 0.6, of_word=lambda word, kinds: 0 if word == UNKNOWN else len(word), signed=True, of_arcs=True),
    # (1 + 1 / r) / 2 where the hypothesis is also the r-th best that the attention decoder found by itself
    Score("proposed", 8.0, 8.0, _with("proposed"), signed=True, links=("proposals",)),
    Score("unknown", -2.0, 6.0, _with("unknown"), lambda word, kinds: word in kinds.unknown, signed=True, of_arcs=True),
    Score("added", 3.0, 4.0, _with("added"), lambda word, kinds: word in kinds.added, signed=True, of_arcs=True),
    Score(
        "word_lm",
        1.0,
        0.5,
        lambda available: available.config.word_lm.source != "none",
        decoding="word_lm",
        title="word LM",
        links=("word_lm",),
        rescorer="utils.rescore.lm_rescorers:word_lm",
    ),
    Score(
        "attention",
        1.5,
        0.8,
        lambda available: available.config.attention.paths > 0,
        decoding="attention",
        title="attention decoder",
        links=("attention",),
        rescorer="utils.rescore.lm_rescorers:attention",
    ),
    Score(
        "llm",
        1.5,
        0.7,
        lambda available: available.config.llm.path != "",
        decoding="llm",
        title="language model",
        links=("llm",),
        rescorer="utils.rescore.lm_rescorers:language_model",
    ),
]


@dataclass(frozen=True)
class Decoding:
    """One result of rescoring."""

    name: str
    title: str  # its column in tables
    links: Tuple[str, ...]  # the timed links that it adds


WHOLE_LATTICE = Decoding("whole_lattice", "whole lattice", ("whole_lattice",))  # best path of the lattice itself, not of a list


def decodings() -> List[Decoding]:
    """Every decoding of rescoring, along the chain: of n-best lists, of whole lattices, of lists that rescorers scored."""
    ends = [s for s in _chain() if s.decoding]
    found = [Decoding(s.decoding, s.title, s.links) for s in ends]
    first = sum(not s.rescorer for s in ends)
    return [*found[:first], WHOLE_LATTICE, *found[first:]]


def links() -> Tuple[str, ...]:
    """The timed links of rescoring, in order: what all lists need, then decoding by decoding."""
    return (*_shared_links(), *(link for decoding in decodings() for link in decoding.links))


def links_of(decoding: str) -> Tuple[str, ...]:
    """The timed links of one decoding of n-best lists: its own, and those of the decodings before it."""
    chain = _chain()
    before = chain[: [s.decoding for s in chain].index(decoding) + 1]
    return (*_shared_links(), *(link for s in before if s.decoding for link in s.links))


def weighed(available: Available) -> Dict[str, Tuple[str, ...]]:
    """The decodings of n-best lists that a run has, along the chain, with the names of the scores that each weighs."""
    there = [s for s in _chain() if s.there(available)]
    return {
        last.decoding: tuple(s.name for n, s in enumerate(there) if n <= end or not s.decoding)
        for end, last in enumerate(there)
        if last.decoding
    }


def _chain() -> List[Score]:
    """All scores; those of rescorers, which score the best paths of the others, last."""
    return sorted(SCORES, key=lambda s: bool(s.rescorer))


def _shared_links() -> Tuple[str, ...]:
    return tuple(link for s in SCORES if not s.decoding for link in s.links)
