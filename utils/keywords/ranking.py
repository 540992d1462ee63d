"""Ranking: the score of a candidate is its expected count x its salience x its coherence, each with a weight found on dev."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence

import numpy as np

from utils.keywords.background import Background
from utils.keywords.candidates import Candidate, Occurrence, Phrase, candidates
from utils.keywords.coherence import coherence
from utils.keywords.documents import Document
from utils.text.letters import joined


@dataclass(frozen=True)
class Weights:
    """What a score is made with, found on dev data: docs/keywords.md says on which."""

    count: float  # exponent of how often a phrase was said, where it was
    salience: float  # exponent of its words' mean salience
    length: float  # exponent of its number of words
    whole: float  # exponent of the share of its places where it is all that lies between stop words
    coherence: float  # natural log of the factor of a cosine of 1
    elsewhere: float = 0.0  # exponent of how often a word is said elsewhere, by which odds rise: see `candidates`
    certainty: float = 1.0  # exponent of the probability that it was said
    stop_words: int = 150  # the most frequent words of the language, which no keyword has


TEXT = Weights(count=0.75, salience=0.75, length=0.3, whole=0.5, coherence=1.0)
# Where punctuation is missing, long phrases are often no phrases.
SPEECH = Weights(count=1.0, salience=0.5, length=0.0, whole=0.25, coherence=2.0, elsewhere=2.0)


@dataclass(frozen=True)
class Keyword:
    """A word or phrase that a document is about."""

    text: str
    score: float  # to be compared within a document
    confidence: float  # probability that it was said
    count: float  # how often, as expected
    salience: float  # bits by which its words are more frequent here than in the language, on average
    coherence: Optional[float]  # cosine with the other candidates; None where there are no vectors
    occurrences: List[Occurrence]


def keywords(
    document: Document,
    background: Background,
    vectors: Mapping[str, np.ndarray] = {},
    top: int = 10,
    weights: Optional[Weights] = None,
) -> List[Keyword]:
    """The best keywords of a document, the best first; none of a document of stop words.

    Args:
      vectors: of words, as `word_vectors` gives them; none: without coherence.
      weights: None for SPEECH where the document is a recording, else TEXT.
    """
    weights = weights or (TEXT if document.seconds is None else SPEECH)
    stop_words = frozenset(background.most_frequent(weights.stop_words))
    found = candidates(document, stop_words, weights.elsewhere)
    return ranked(found, saliences(found, document, background), vectors, top, weights)


def saliences(found: Sequence[Candidate], document: Document, background: Background) -> List[float]:
    """Mean over a candidate's words of log2(share of the running words here / share in the language), at least 0."""
    shares = background.shares(list({word for one in found for word in one.phrase}))
    counts: Dict[str, float] = defaultdict(float)
    for one in found:
        if len(one.phrase) == 1:
            counts[one.phrase[0]] = one.weight
    here = {word: max(counts[word], 1.0) / max(document.words, 1) for word in shares}
    bits = {word: max(math.log2(here[word] / share), 0.0) for word, share in shares.items()}
    return [sum(bits[word] for word in one.phrase) / len(one.phrase) for one in found]


def ranked(
    found: Sequence[Candidate], salient: Sequence[float], vectors: Mapping[str, np.ndarray], top: int, weights: Weights
) -> List[Keyword]:
    """The best of the candidates, the best first; parts of better ones that are hardly said without them are left out."""
    scores = [_score(one, bits, weights) for one, bits in zip(found, salient)]
    fits = coherence(found, scores, vectors) if vectors else [None] * len(found)
    known = [fit for fit in fits if fit is not None]
    usual = sum(known) / len(known) if known else 0.0
    scores = [score * math.exp(weights.coherence * (usual if fit is None else fit)) for score, fit in zip(scores, fits)]
    order = sorted(range(len(found)), key=lambda n: (-scores[n], found[n].phrase))
    kept: List[int] = []
    for n in order:
        if len(kept) == top:
            break
        if scores[n] > 0 and not any(_covered(found[n], found[other]) for other in kept):
            kept.append(n)
    return [
        Keyword(_shown(found[n]), scores[n], found[n].confidence, found[n].count, salient[n], fits[n], found[n].occurrences)
        for n in kept
    ]


def _score(one: Candidate, bits: float, weights: Weights) -> float:
    said, count = one.certainty, one.weight
    score = said**weights.certainty * (count / said) ** weights.count * bits**weights.salience
    return score * len(one.phrase) ** weights.length * ((one.whole + 0.5) / (count + 0.5)) ** weights.whole


def _covered(one: Candidate, better: Candidate) -> bool:
    """Whether a candidate is a part of a better one, and is hardly said without it."""
    return _within(one.phrase, better.phrase) and one.weight <= better.weight + 0.5


def _within(part: Phrase, whole: Phrase) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def _shown(one: Candidate) -> str:
    """The way in which it is most often written."""
    ways: Dict[str, float] = defaultdict(float)
    for place in one.occurrences:
        ways[place.shown] += place.probability
    return joined(max(ways, key=lambda way: ways[way]).split())
