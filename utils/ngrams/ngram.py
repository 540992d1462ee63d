"""Back-off n-gram models in memory, read and written as ARPA files."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence, Set, Tuple

from utils.core.errors import UserError
from utils.core.files import write_lines

BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"
Gram = Tuple[str, ...]
UNPREDICTED = -99.0  # ARPA's log10 probability of <s>


@dataclass(frozen=True)
class NGram:
    """A back-off model: `logp[g]` of the n-grams it lists, `backoff[h]` of their contexts; both in log10."""

    order: int
    logp: Dict[Gram, float]
    backoff: Dict[Gram, float]

    def word(self, context: Gram, word: str) -> float:
        """log10 P(word | context); the context may be longer than the model uses. Raises KeyError for an unknown word."""
        context = context[max(0, len(context) - self.order + 1) :]
        penalty = 0.0
        while context and context + (word,) not in self.logp:
            penalty += self.backoff.get(context, 0.0)
            context = context[1:]
        return penalty + self.logp[context + (word,)]

    def sentence(self, words: Sequence[str]) -> float:
        """Natural log of P(words </s> | <s>)."""
        tokens = (BOS, *words, EOS)
        return math.log(10) * sum(self.word(tokens[max(0, i - self.order + 1) : i], tokens[i]) for i in range(1, len(tokens)))

    def shortened(self, order: int) -> "NGram":
        """The part of the model with a lower order; its contexts sum to 1 too."""
        order = min(order, self.order)
        logp = {gram: p for gram, p in self.logp.items() if len(gram) <= order}
        return NGram(order, logp, {gram: p for gram, p in self.backoff.items() if len(gram) < order})

    def with_words(
        self,
        words: Sequence[str],
        share: float,
        frequency: Mapping[str, float] = {},
        like: Mapping[str, Mapping[str, float]] = {},
    ) -> "NGram":
        """The model with added words, which the text does not have.

        Args:
          share: of the unigrams' probability, which all added words get together.
          frequency: they divide it in proportion to these; a word without one counts as the mean of the others.
          like: added word -> words of the model, with weights that sum to 1: it occurs in their contexts and is followed by what
            follows them. Other added words are equally likely in every context.
        """
        known = [frequency[word] for word in words if word in frequency]
        usual = sum(known) / len(known) if known else 1.0
        weights = {word: frequency.get(word, usual) for word in words}
        total = sum(weights.values())
        shares = {word: share * weight / total for word, weight in weights.items()}
        model = self._with_alike({word: own for word, own in shares.items() if word in like}, like)
        return model._with_unigrams({word: own for word, own in shares.items() if word not in like})

    def _with_unigrams(self, shares: Mapping[str, float]) -> "NGram":
        """Add words with these shares of the unigrams' probability, and no longer n-grams.

        The part that n-grams get from the unigrams by interpolation shrinks with these, so every context still sums to 1.
        """
        if not shares:
            return self
        logp: Dict[Gram, float] = {}
        left = math.log10(1 - sum(shares.values()))
        for gram, old in sorted(self.logp.items(), key=lambda item: len(item[0])):
            if len(gram) == 1:
                logp[gram] = old + left if old > UNPREDICTED else old
            else:
                change = 10 ** logp[gram[1:]] - 10 ** self.logp[gram[1:]]
                logp[gram] = math.log10(10**old + 10 ** self.backoff[gram[:-1]] * change)
        return NGram(self.order, {**logp, **{(word,): math.log10(share) for word, share in shares.items()}}, self.backoff)

    def _with_alike(self, shares: Mapping[str, float], like: Mapping[str, Mapping[str, float]]) -> "NGram":
        """Add words that share the probability of the words that they are like.

        In every context, the probability of a word of the model is divided between it and the added words like it, in
        proportion to their unigrams, so every context still sums to 1. As a context, an added word is the mean of the words
        that it is like.
        """
        if not shares:
            return self
        gives: Dict[
            str, Dict[str, float]
        ] = {}  # word of the model -> added word like it -> the share of its probability that this one gets
        for word, share in shares.items():
            for other, weight in like[word].items():
                gives.setdefault(other, {})[word] = share * weight / 10 ** self.logp[(other,)]
        for got in gives.values():
            total = 1 + sum(got.values())
            got.update({word: part / total for word, part in got.items()})
        logp = {
            gram: old + math.log10(1 - sum(gives[gram[-1]].values())) if gram[-1] in gives else old
            for gram, old in self.logp.items()
        }
        new: Dict[Gram, Set[str]] = {}  # context -> added words with a probability there
        for gram in self.logp:
            new.setdefault(gram[:-1], set()).update(gives.get(gram[-1], ()))
        for context, words in new.items():
            for word in words:
                p = sum(gives[other][word] * 10 ** self.word(context, other) for other in like[word])
                logp[context + (word,)] = math.log10(p)
        if self.order == 1:
            return NGram(1, logp, self.backoff)
        before, backoff = NGram(self.order, dict(logp), self.backoff), dict(self.backoff)
        following: Dict[str, List[str]] = {}
        for gram in logp:
            if len(gram) == 2:
                following.setdefault(gram[0], []).append(gram[1])
        for word in shares:
            backoff[(word,)] = math.log10(sum(part * 10 ** self.backoff.get((other,), 0.0) for other, part in like[word].items()))
            for last in {last for other in like[word] for last in following.get(other, ())}:
                chances = (part * 10 ** before.word((other,), last) for other, part in like[word].items())
                logp[(word, last)] = math.log10(sum(chances))
        return NGram(self.order, logp, backoff)

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Perplexity, including </s>. Unknown words are skipped and end the context, as in SRILM."""
        total, predicted = 0.0, 0
        for words in sentences:
            context: Gram = (BOS,)
            for word in (*words, EOS):
                if (word,) not in self.logp:
                    context = ()
                    continue
                total += self.word(context, word)
                predicted += 1
                context += (word,)
        return 10 ** (-total / predicted) if predicted else math.nan


def write_arpa(model: NGram, path: Path) -> None:
    """Write a sorted ARPA file, so that equal models give equal bytes."""
    write_lines(path, arpa(model))


def arpa(model: NGram) -> List[str]:
    """The lines of a sorted ARPA file."""
    grams: List[List[Gram]] = [[] for _ in range(model.order)]
    for gram in model.logp:
        grams[len(gram) - 1].append(gram)
    lines = ["\\data\\"] + [f"ngram {n}={len(g)}" for n, g in enumerate(grams, 1)]
    for n, listed in enumerate(grams, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram in sorted(listed):
            line = f"{model.logp[gram]:.7f}\t{' '.join(gram)}"
            lines.append(f"{line}\t{model.backoff[gram]:.7f}" if gram in model.backoff else line)
    return [*lines, "", "\\end\\"]


def read_arpa(path: Path) -> NGram:
    """Read an ARPA file; raises UserError, which names the first line that is not valid."""
    with path.open(encoding="utf-8") as stream:
        return of_arpa(stream, str(path))


def of_arpa(lines: Iterable[str], where: str) -> NGram:
    """The model that the lines of an ARPA file hold; where: their file, for errors."""
    logp: Dict[Gram, float] = {}
    backoff: Dict[Gram, float] = {}
    n, order = 0, 0
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("ngram ") or line in ("\\data\\", "\\end\\"):
            continue
        if line.startswith("\\") and line.endswith("-grams:"):
            n = int(line[1 : -len("-grams:")])
            order = max(order, n)
            continue
        fields = line.split()
        try:
            gram = tuple(fields[1 : n + 1])
            logp[gram] = float(fields[0])
            if len(fields) == n + 2:
                backoff[gram] = float(fields[n + 1])
            if n == 0 or len(gram) < n or len(fields) > n + 2:
                raise ValueError
        except (ValueError, IndexError):
            raise UserError(f"{where}, line {number}: not a line of an ARPA file: {line}") from None
    if not order:
        raise UserError(f"{where} holds no n-grams")
    return NGram(order, logp, backoff)
