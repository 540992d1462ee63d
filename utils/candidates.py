"""Hypotheses of the sub-word lattice and of the word lattice in one list, all scored alike.

The two lattices' own scores can't be compared: one head's frames against the other's, and one n-gram order against the other.
So each hypothesis gets the sub-word head's total CTC score, over all alignments and pronunciations, and the score of
the training text's n-gram model.
"""

import math
from pathlib import Path as File
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.sparse import csr_matrix
from torch import Tensor

from utils.lexicon import Lexicon
from utils.nbest import Path
from utils.unknown import language_model

Ends = List[Tuple[int, float]]  # CTC states in which a hypothesis may end, each with the probability of ending there


class Candidates:
    """Joins n-best lists."""

    def __init__(self, lang: File, lexicon: Lexicon) -> None:
        """lang: the folder of stage 2."""
        self.lexicon = lexicon
        self.lm = language_model(lang, lexicon.unknown)

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
        trie = Trie(self.lexicon)
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
            return [float(scale + np.log(sum(alpha[state] * share for state, share in found))) for found in ends]


class Trie:
    """CTC states of several hypotheses, which share those of a common beginning. State 0 is the blank before the first word."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.labels: List[int] = [0]
        self.arcs: List[Tuple[int, int, float]] = [(0, 0, 1.0)]  # to, from, probability
        self.nodes: Dict[Tuple[int, ...], Ends] = {(): [(0, 1.0)]}

    def ends(self, words: Tuple[int, ...]) -> Ends:
        """Where these words have been said: in the blank behind them, or in the last unit of one of the pronunciations."""
        if words not in self.nodes:
            before = self.ends(words[:-1])
            if words[-1] == self.lexicon.unknown_id:
                last = self._unknown(before)
            else:
                spoken = self.lexicon.pronunciations[self.lexicon.words[words[-1] - 1]]
                last = [(self._word(units, before), 1.0) for units in dict.fromkeys(map(tuple, spoken))]
            self.nodes[words] = [(self._state(0, last), 1.0), *last]
        return self.nodes[words]

    def matrix(self) -> csr_matrix:
        """(states, states): with which probability the second may be followed by the first."""
        rows, columns, values = zip(*self.arcs)
        return csr_matrix((values, (rows, columns)), (len(self.labels),) * 2)

    def _word(self, units: Tuple[int, ...], before: Ends) -> int:
        """The states of one pronunciation behind those of `before`; returns that of its last unit."""
        state = self._state(units[0], before)
        for unit in units[1:]:
            state = self._state(unit, [(self._state(0, [(state, 1.0)]), 1.0), (state, 1.0)])
        return state

    def _unknown(self, before: Ends) -> Ends:
        """States of any sequence of units, as `Lexicon.unit_model` has it: one a unit, and a blank between any two."""
        units, end = self.lexicon.unit_model
        first, stop = len(self.labels), math.exp(end)
        states = {unit: self._state(unit, [(b, share * math.exp(score)) for b, share in before]) for unit, score in units.items()}
        blank = self._state(0, [(state, 1.0) for state in states.values()])
        for unit, score in units.items():
            others = (state for state in range(first, blank + 1) if self.labels[state] != unit)
            self.arcs += [(states[unit], state, math.exp(score) * (1 - stop)) for state in others]
        return [(state, stop) for state in states.values()]

    def _state(self, label: int, before: Ends) -> int:
        """A new state that may follow itself, and those of `before` that are of another label."""
        state = len(self.labels)
        self.labels.append(label)
        self.arcs += [(state, state, 1.0), *((state, b, share) for b, share in before if self.labels[b] != label)]
        return state
