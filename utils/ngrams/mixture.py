"""Two n-gram models mixed: linear interpolation, tuned on text, and as one static back-off model."""

import math
from dataclasses import dataclass, replace
from typing import Collection, Dict, Iterable, List, Sequence, Set, Tuple

from utils.ngrams.ngram import BOS, EOS, UNKNOWN, UNPREDICTED, Gram, NGram


@dataclass(frozen=True)
class Mixture:
    """(1 - weight) `own` + weight `other`: two models of one order, word by word.

    `other` has words of `own` and <unk>, which stands for all words that `own` lacks; the probability of <unk> is removed.
    """

    own: NGram
    other: NGram
    weight: float = 0.5

    def tuned(self, sentences: Iterable[Sequence[str]]) -> "Mixture":
        """The mixture with the weight that maximises the probability of sentences, by expectation maximisation.

        (Jelinek and Mercer 1980.) Words that `own` does not know are left out.
        """
        pairs = []
        for words in sentences:
            tokens = (BOS, *words, EOS)
            pairs += [self._pair(tokens[:i], tokens[i]) for i in range(1, len(tokens)) if (tokens[i],) in self.own.logp]
        weight = 0.5
        for _ in range(50 * bool(pairs)):
            weight = sum(weight * q / (weight * q + (1 - weight) * p) for p, q in pairs) / len(pairs)
        return replace(self, weight=min(weight, 0.99))  # so that words that only `own` has stay possible

    def static(self, listed: Collection[Gram]) -> NGram:
        """One back-off model, by static interpolation (Stolcke 2002, section 4.2).

        It has the n-grams of `own` and those of `other` that are `listed`, with the probabilities of the mixture; other n-grams
        back off. Every context sums to 1.
        """
        grams: List[Set[Gram]] = [set() for _ in range(self.own.order)]
        for gram in (*self.own.logp, *(g for g in self.other.logp if UNKNOWN not in g and g in listed)):
            grams[len(gram) - 1].add(gram)
        made = NGram(self.own.order, {}, {})
        for level in grams:
            following: Dict[Gram, List[str]] = {}
            for gram in sorted(level):
                p, q = self._pair(gram[:-1], gram[-1])
                made.logp[gram] = math.log10((1 - self.weight) * p + self.weight * q) if gram != (BOS,) else UNPREDICTED
                following.setdefault(gram[:-1], []).append(gram[-1])
            following.pop((), None)
            for context, words in following.items():
                left = 1 - sum(10 ** made.logp[context + (word,)] for word in words)
                below = 1 - sum(10 ** made.word(context[1:], word) for word in words)
                made.backoff[context] = math.log10(left / below) if left > 1e-12 and below > 1e-12 else UNPREDICTED
        return made

    def _pair(self, context: Gram, word: str) -> Tuple[float, float]:
        p = 10 ** self.own.word(context, word)
        if (word,) not in self.other.logp:
            return p, 0.0
        unknown = 10 ** self.other.word(context, UNKNOWN) if (UNKNOWN,) in self.other.logp else 0.0
        return p, 10 ** self.other.word(context, word) / (1 - unknown)
