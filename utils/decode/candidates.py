"""One n-best list of the hypotheses of the sub-word lattice, of the word lattice, and of proposals, all scored in the same way.

The scores of the two lattices can't be compared: they come from different heads and n-gram orders. So each hypothesis gets the
total CTC score of the sub-word head, over all alignments and pronunciations, and the score of the n-gram model of the training
text.
"""

import math
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.sparse import csr_matrix
from torch import Tensor

from utils.lang.hypothesis import Hypothesis
from utils.lang.lexicon import Lexicon
from utils.lang.ngram import NGram

Ends = List[Tuple[int, int]]  # CTC states in which a hypothesis may end, and their labels
# A chain of states: their labels, whether the state before leads here, and whether the one before that does.
Block = Tuple[np.ndarray, np.ndarray, np.ndarray]
SCALED_EVERY = 8  # frames; together with the two bounds below this avoids denormal numbers, which are slow
FLOOR = -40.0  # log-probabilities are clamped to it
NEGLIGIBLE = 1e-60  # smaller shares of the total probability become 0
BLANK: Block = (np.array([0]), np.array([False]), np.array([False]))


class Candidates:
    """Joins n-best lists."""

    def __init__(self, lm: NGram, lexicon: Lexicon) -> None:
        """lm: of the words of `lexicon`."""
        self.lexicon, self.lm = lexicon, lm
        self.blocks: Dict[int, List[Block]] = {}

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

        CTC's forward recursion (Graves et al. 2006) over the states of all hypotheses at once, rescaled every few frames.

        Args:
          log_probs: (T, units), blank first.
        """
        trie = Trie(self.lexicon, self.blocks)
        ends = [trie.ends(tuple(words)) for words in hypotheses]
        labels, step = trie.steps()
        probabilities = log_probs.double().clamp(min=FLOOR).exp().numpy()
        alpha, scale = np.zeros(len(labels)), 0.0
        alpha[0] = 1.0
        for t, row in enumerate(probabilities):
            alpha = step @ alpha
            alpha *= row[labels]
            if t % SCALED_EVERY == 0 or t + 1 == len(probabilities):
                mass = alpha.sum()
                if mass == 0.0:
                    return [-np.inf] * len(ends)
                alpha /= mass
                alpha[alpha < NEGLIGIBLE] = 0.0
                scale += math.log(mass)
        shares = (sum(alpha[state] for state, _ in found) for found in ends)
        return [float(scale + math.log(share)) if share > 0 else -np.inf for share in shares]


class Trie:
    """CTC states of several hypotheses; common prefixes share states. State 0 is the blank before the first word."""

    def __init__(self, lexicon: Lexicon, spoken: Dict[int, List[Block]]) -> None:
        """spoken: pronunciations of words, a cache that this fills."""
        self.lexicon = lexicon
        self.pronunciations = spoken
        self.blocks: List[Block] = [BLANK]
        self.size = 1
        self.arcs: List[Tuple[int, int]] = []  # between blocks: to, from
        self.nodes: List[Ends] = [[(0, 0)]]  # by prefix; the first is the empty one
        self.longer: Dict[Tuple[int, int], int] = {}  # prefix, next word -> prefix

    def ends(self, words: Tuple[int, ...]) -> Ends:
        """States in which these words are complete: the blank after them, and the last unit of the last word's pronunciations."""
        node = 0
        for word in words:
            if (node, word) not in self.longer:
                last = [self._add(block, self.nodes[node]) for block in self._spoken(word)]
                self.longer[node, word] = len(self.nodes)
                self.nodes.append([self._add(BLANK, last), *last])
            node = self.longer[node, word]
        return self.nodes[node]

    def steps(self) -> Tuple[np.ndarray, csr_matrix]:
        """The labels of all states, and a matrix (states, states): 1 where the row's state may follow the column's."""
        labels, one, two = (np.concatenate(part) for part in zip(*self.blocks))
        every, ones, twos = np.arange(self.size), np.nonzero(one)[0], np.nonzero(two)[0]
        to, source = np.array(self.arcs, dtype=np.int64).reshape(-1, 2).T
        rows = np.concatenate((every, ones, twos, to))
        columns = np.concatenate((every, ones - 1, twos - 2, source))
        return labels, csr_matrix((np.ones(len(rows)), (rows, columns)), (self.size,) * 2)

    def _spoken(self, word: int) -> List[Block]:
        """Pronunciations of a word: units with a blank between any two."""
        if word not in self.pronunciations:
            spoken = self.lexicon.pronunciations[self.lexicon.words[word - 1]]
            self.pronunciations[word] = [_block(units) for units in dict.fromkeys(map(tuple, spoken))]
        return self.pronunciations[word]

    def _add(self, block: Block, before: Ends) -> Tuple[int, int]:
        """Add states after those of `before` (except where the label would repeat); returns the last state and its label."""
        labels = block[0]
        first, last = int(labels[0]), int(labels[-1])
        self.arcs += [(self.size, state) for state, label in before if label != first]
        self.blocks.append(block)
        self.size += len(labels)
        return self.size - 1, last


def _block(units: Sequence[int]) -> Block:
    labels = np.zeros(2 * len(units) - 1, dtype=np.int64)
    labels[::2] = units
    one, two = np.arange(len(labels)) > 0, np.zeros(len(labels), dtype=bool)
    two[2::2] = labels[2::2] != labels[:-2:2]  # different units need no blank between them
    return labels, one, two
