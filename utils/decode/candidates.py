"""One n-best list of the hypotheses of the sub-word lattice, of the word lattice, and of proposals, all scored in the same way.

The scores of the two lattices can't be compared: they come from different heads and n-gram orders. So each hypothesis gets the
total CTC score of the sub-word head, over all alignments and pronunciations, and the score of the n-gram model of the training
text.
"""

import math
from dataclasses import dataclass
from functools import partial
from operator import eq
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
from scipy.sparse import csr_matrix
from torch import Tensor

from utils.lang.hypothesis import Hypothesis
from utils.lang.lexicon import Lexicon
from utils.ngrams.ngram import NGram

SCALED_EVERY = 8  # frames; together with the two bounds below this avoids denormal numbers, which are slow
FLOOR = -40.0  # log-probabilities are clamped to it
NEGLIGIBLE = 1e-60  # smaller shares of the total probability become 0


@dataclass(frozen=True)
class Spoken:
    """CTC states of a word: those of each of its pronunciations, then the blank after it. They are numbered from 0."""

    labels: np.ndarray  # (S,)
    to: np.ndarray  # (A,), moves between its states: where each leads,
    source: np.ndarray  # (A,), and whence
    begins: np.ndarray  # (P,), the first state of each pronunciation
    ends: np.ndarray  # (1 + P,), where the word is complete: the blank, and the last state of each pronunciation
    frames: int  # that it takes at least


class Candidates:
    """Joins n-best lists."""

    def __init__(self, lm: NGram, lexicon: Lexicon) -> None:
        """lm: of the words of `lexicon`."""
        self.lexicon, self.lm = lexicon, lm
        self.spoken: Dict[int, Spoken] = {}  # of the words so far

    def join(
        self,
        subword: Sequence[Hypothesis],
        word: Sequence[Hypothesis],
        log_probs: Tensor,
        frame_ratio: float,
        lm_scale: float,
        proposed: Sequence[Tuple[int, ...]] = (),
    ) -> List[Hypothesis]:
        """All hypotheses in one list, best first by `am + lm_scale * lm`.

        Hypotheses without an alignment in the sub-word head are dropped; if that leaves none, `subword` is returned unchanged.

        Args:
          subword, word: n-best lists of the two lattices of one utterance; times of `word` are frames of the word head.
          log_probs: (T, units), of the sub-word head, blank first.
          frame_ratio: frames of the word head a frame of the sub-word head.
          proposed: word ids of further hypotheses, whose times are not known.
        """
        times: Dict[Tuple[int, ...], Tuple[int, ...]] = {}
        for path in subword:
            times.setdefault(path.words, path.starts)
        for path in word:
            times.setdefault(path.words, tuple(min(int(s / frame_ratio), len(log_probs) - 1) for s in path.starts))
        for words in proposed:
            times.setdefault(words, ())
        every = list(times)
        joined = [
            Hypothesis(words, am, self.lm.sentence(self.lexicon.ids_to_words(words)), times[words], len(log_probs))
            for words, am in zip(every, self.totals(log_probs, every))
            if am > -np.inf
        ]
        return sorted(joined, key=lambda p: -(p.am + lm_scale * p.lm)) or list(subword)

    def totals(self, log_probs: Tensor, hypotheses: Sequence[Tuple[int, ...]]) -> List[float]:
        """log p(words | speech) of the sub-word head for each hypothesis of word ids; -inf if there is no alignment.

        CTC's forward recursion (Graves et al. 2006) over the states of all hypotheses at once, rescaled every few frames. States
        that no path has reached yet, or that all probable ones have left, are skipped.

        Args:
          log_probs: (T, units), blank first.
        """
        trie = Trie(hypotheses, self._spoken)
        labels, steps = trie.labels, trie.steps()
        probabilities = log_probs.double().clamp(min=FLOOR).exp().numpy()
        alpha, scale = np.zeros(len(labels)), 0.0
        alpha[0] = 1.0
        first = last = 0  # of the states that are not 0
        edges = sorted({0, *range(1, len(probabilities), SCALED_EVERY), len(probabilities)})
        for begin, end in zip(edges, edges[1:]):
            here = slice(first, trie.reached(last, end - begin))
            step, own = _rows(steps, here), labels[here]
            for row in probabilities[begin:end]:
                alpha[here] = (step @ alpha) * row.take(own)
            mass = alpha[here].sum()
            if mass == 0.0:
                return [-np.inf] * len(hypotheses)
            alpha[here] /= mass
            scale += math.log(mass)
            there = np.flatnonzero(alpha[here] >= NEGLIGIBLE)
            alpha[here][alpha[here] < NEGLIGIBLE] = 0.0
            first, last = first + int(there[0]), first + int(there[-1])
        shares = np.add.reduceat(alpha[trie.ends], trie.first_ends)[trie.nodes].tolist()
        return [float(scale + math.log(share)) if share > 0 else -np.inf for share in shares]

    def _spoken(self, word: int) -> Spoken:
        if word not in self.spoken:
            self.spoken[word] = spoken(self.lexicon.pronunciations[self.lexicon.words[word - 1]])
        return self.spoken[word]


class Trie:
    """CTC states of several hypotheses; common prefixes share states. State 0 is the blank before the first word."""

    def __init__(self, hypotheses: Sequence[Tuple[int, ...]], spoken_of: Callable[[int], Spoken]) -> None:
        """hypotheses: of word ids."""
        longer: Dict[Tuple[int, int], int] = {}  # prefix, next word -> prefix; the empty one is 0
        parents, words, before = [0], [BLANK], [0]  # by prefix: the one without its last word, that word, frames before it
        nodes = []
        for hypothesis in hypotheses:
            node = 0
            for word in hypothesis:
                found = longer.get((node, word))
                if found is None:
                    found = longer[node, word] = len(words)
                    parents.append(node)
                    before.append(before[node] + words[node].frames)
                    words.append(spoken_of(word))
                node = found
            nodes.append(node)
        order = np.argsort(before, kind="stable")  # so that the states which paths are in at a time are close to each other
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self.before = np.array(before)[order]  # ascending
        least = np.array([words[n].frames for n in order.tolist()])
        self.after = np.maximum.accumulate(self.before + least)  # frames that the prefixes until each take at least, at most
        self.nodes = place[np.array(nodes, np.int64)]  # (N,), the prefix that each hypothesis is
        self.words, self.parents = [words[n] for n in order.tolist()], place[np.array(parents)[order]]
        self.labels = np.concatenate([one.labels for one in self.words])  # (S,), of all states
        self.begin = _starts([len(one.labels) for one in self.words])  # the first state of each prefix
        self.end_counts = np.array([len(one.ends) for one in self.words])
        self.first_ends = _starts(self.end_counts)
        self.ends = self._states("ends")  # in which prefixes are complete; those of prefix n from first_ends[n] on

    def reached(self, state: int, frames: int) -> int:
        """Where the states end that may be reached from some up to `state` in so many frames."""
        prefix = int(np.searchsorted(self.begin, state, "right")) - 1
        prefixes = int(np.searchsorted(self.before, self.after[prefix] + frames))
        return int(self.begin[prefixes]) if prefixes < len(self.begin) else len(self.labels)

    def steps(self) -> csr_matrix:
        """A matrix (S, S): 1 where the row's state may follow the column's."""
        begins, counts = self._states("begins"), np.array([len(one.begins) for one in self.words])
        # Each first state of a prefix follows each end of the prefix before, unless the label would repeat.
        ends = self.end_counts[self.parents]
        pairs = counts * ends
        place = np.arange(pairs.sum()) - np.repeat(_starts(pairs), pairs)
        ends = np.repeat(ends, pairs)
        to = begins[np.repeat(_starts(counts), pairs) + place // ends]
        source = self.ends[np.repeat(self.first_ends[self.parents], pairs) + place % ends]
        differ = self.labels[to] != self.labels[source]
        rows = np.concatenate((self._states("to"), to[differ]))
        columns = np.concatenate((self._states("source"), source[differ]))
        return csr_matrix((np.ones(len(rows)), (rows, columns)), (len(self.labels),) * 2)

    def _states(self, name: str) -> np.ndarray:
        """A field of all prefixes' last words, as numbers of all states."""
        parts = [getattr(one, name) for one in self.words]
        return np.concatenate(parts) + np.repeat(self.begin, list(map(len, parts)))


def _rows(matrix: csr_matrix, rows: slice) -> csr_matrix:
    """Some rows of a matrix; its own slices copy them."""
    places = matrix.indptr[rows.start : rows.stop + 1]
    own = slice(places[0], places[-1])
    return csr_matrix((matrix.data[own], matrix.indices[own], places - places[0]), (len(places) - 1, matrix.shape[1]))


def _starts(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts)[:-1]))


def spoken(pronunciations: Sequence[Sequence[int]]) -> Spoken:
    """The states of a word with these pronunciations: units with a blank between any two, which different ones do not need."""
    labels, to, source, begins, ends = [], [], [], [], []  # type: List[int], List[int], List[int], List[int], List[int]
    for units in dict.fromkeys(map(tuple, pronunciations)):
        begins.append(len(labels))
        for n, unit in enumerate(units):
            state = len(labels) + bool(n)  # after a blank
            if n:
                labels.append(0)
                to += [state - 1, state - 1, state]
                source += [state - 2, state - 1, state - 1]
                if unit != units[n - 1]:
                    to.append(state)
                    source.append(state - 2)
            labels.append(unit)
            to.append(state)
            source.append(state)
        ends.append(len(labels) - 1)
    blank = len(labels)
    to, source = to + [blank] * (1 + len(ends)), source + [blank] + ends
    frames = min((len(units) + sum(map(eq, units, units[1:])) for units in pronunciations), default=0)
    a = partial(np.array, dtype=np.int64)
    return Spoken(a(labels + [0]), a(to), a(source), a(begins), a([blank] + ends), frames)


BLANK = spoken([])
