"""Hypotheses of the sub-word lattice and of the word lattice in one list, all scored alike.

The two lattices' own scores can't be compared: one head's frames against the other's, and one n-gram order against the other.
So each hypothesis gets the sub-word head's total CTC score, over all alignments and pronunciations, and the score of
the training text's n-gram model.
"""

from pathlib import Path as File
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.sparse import csr_matrix
from torch import Tensor

from utils.lexicon import Lexicon
from utils.nbest import Path
from utils.ngram import read_arpa


class Candidates:
    """Joins n-best lists."""

    def __init__(self, lang: File, lexicon: Lexicon) -> None:
        """lang: the folder of stage 2."""
        self.lexicon = lexicon
        self.pronunciations = [[tuple(units) for units in lexicon.pronunciations[word]] for word in lexicon.words]
        self.lm = read_arpa(lang / "lm.arpa")

    def join(
        self, subword: Sequence[Path], word: Sequence[Path], log_probs: Tensor, frame_ratio: float, lm_scale: float
    ) -> List[Path]:
        """One list of what either has, best first by `am + lm_scale * lm`.

        Dropped is what the sub-word head finds no alignment for; where that is all, `subword` comes back as it is.

        Args:
          subword, word: n-best lists of the two lattices of one utterance; times of `word` are frames of the word head.
          log_probs: (T, units), of the sub-word head, blank first.
          frame_ratio: frames of the word head a frame of the sub-word head.
        """
        times: Dict[Tuple[int, ...], Tuple[int, ...]] = {}
        for path in subword:
            times.setdefault(path.words, path.starts)
        for path in word:
            times.setdefault(path.words, tuple(min(int(s / frame_ratio), len(log_probs) - 1) for s in path.starts))
        every = list(times)
        joined = [
            Path(words, am, self.lm.sentence(self.lexicon.ids_to_words(words)), times[words], len(log_probs))
            for words, am in zip(every, self.totals(log_probs, every))
            if am > -np.inf
        ]
        return sorted(joined, key=lambda p: -(p.am + lm_scale * p.lm)) or list(subword)

    def totals(self, log_probs: Tensor, hypotheses: Sequence[Tuple[int, ...]]) -> List[float]:
        """log p(words | speech) of the sub-word head for each hypothesis of word ids; -inf where there is no alignment.

        CTC's forward recursion (Graves et al. 2006) over the states of all hypotheses at once, scaled frame by frame.

        Args:
          log_probs: (T, units), blank first.
        """
        trie = Trie(self.pronunciations)
        ends = [trie.ends(tuple(words)) for words in hypotheses]
        step, labels = trie.matrix(), np.array(trie.labels)
        probabilities = log_probs.double().exp().numpy()
        alpha, scale = np.zeros(len(labels)), 0.0
        alpha[0] = 1.0
        for row in probabilities:
            alpha = (step @ alpha) * row[labels]
            mass = alpha.sum()
            if mass == 0.0:
                return [-np.inf] * len(ends)
            alpha, scale = alpha / mass, scale + np.log(mass)
        with np.errstate(divide="ignore"):
            return [float(scale + np.log(alpha[states].sum())) for states in ends]


class Trie:
    """CTC states of several hypotheses, which share those of a common beginning. State 0 is the blank before the first word."""

    def __init__(self, pronunciations: Sequence[Sequence[Tuple[int, ...]]]) -> None:
        """pronunciations: of each word id, from 1."""
        self.pronunciations = pronunciations
        self.labels: List[int] = [0]
        self.arcs: List[Tuple[int, int]] = [(0, 0)]  # to, from
        self.nodes: Dict[Tuple[int, ...], List[int]] = {(): [0]}

    def ends(self, words: Tuple[int, ...]) -> List[int]:
        """States in which these words have been said: the blank behind them, and the last unit of each pronunciation."""
        if words not in self.nodes:
            before = self.ends(words[:-1])
            last = [self._word(units, before) for units in dict.fromkeys(self.pronunciations[words[-1] - 1])]
            self.nodes[words] = [self._state(0, last), *last]
        return self.nodes[words]

    def matrix(self) -> csr_matrix:
        """(states, states), 1 where the second may be followed by the first."""
        rows, columns = zip(*self.arcs)
        return csr_matrix((np.ones(len(rows)), (rows, columns)), (len(self.labels),) * 2)

    def _word(self, units: Tuple[int, ...], before: Sequence[int]) -> int:
        """The states of one pronunciation behind the states `before`; returns that of its last unit."""
        state = self._state(units[0], [b for b in before if self.labels[b] != units[0]])
        for last, unit in zip(units, units[1:]):
            blank = self._state(0, [state])
            state = self._state(unit, [blank, state] if unit != last else [blank])
        return state

    def _state(self, label: int, before: Sequence[int]) -> int:
        state = len(self.labels)
        self.labels.append(label)
        self.arcs += [(state, state), *((state, b) for b in before)]
        return state
