"""Hypotheses of the sub-word lattice and of the word lattice in one list, all scored alike.

The two lattices' own scores can't be compared: one head's frames against the other's, and one n-gram order against the other.
So each hypothesis gets the sub-word head's total CTC score, over all alignments (within a beam) and pronunciations, and the
score of the training text's n-gram model.
"""

from pathlib import Path as File
from typing import Dict, List, Sequence, Tuple

import torch
from torch import Tensor

from utils.graphs import load_fsa, need_k2
from utils.lexicon import Lexicon
from utils.nbest import Path
from utils.ngram import read_arpa

SEARCH_BEAM, OUTPUT_BEAM, MAX_ACTIVE = 15.0, 8.0, 500  # of the search for a hypothesis' alignments


class Candidates:
    """Joins lists. Made in the process that uses it: k2's threads don't survive a fork."""

    def __init__(self, lang: File, lexicon: Lexicon) -> None:
        """lang: the folder of stage 2."""
        k2 = need_k2()
        self.lexicon = lexicon
        self.pronunciations = k2.arc_sort(k2.invert(load_fsa(lang / "L.pt")))  # words in, sub-word units out
        self.topology = k2.ctc_topo(len(lexicon.tokens), modified=False)
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
            if am > -torch.inf
        ]
        return sorted(joined, key=lambda p: -(p.am + lm_scale * p.lm)) or list(subword)

    def totals(self, log_probs: Tensor, hypotheses: Sequence[Tuple[int, ...]]) -> List[float]:
        """log p(words | speech) of the sub-word head for each hypothesis of word ids; -inf where no alignment was found.

        Args:
          log_probs: (T, units), blank first.
        """
        k2 = need_k2()
        scores = {(): float(log_probs[:, 0].sum())}
        said = [list(words) for words in hypotheses if words]
        if said:
            spoken = k2.add_epsilon_self_loops(k2.linear_fsa(said))
            units = k2.invert(k2.intersect(self.pronunciations, spoken, treat_epsilons_specially=False))
            units = k2.arc_sort(k2.connect(k2.top_sort(k2.connect(k2.Fsa(units.arcs)))))
            loops = k2.arc_sort(k2.add_epsilon_self_loops(units))
            graph = k2.connect(k2.compose(self.topology, loops, treat_epsilons_specially=False))
            segments = torch.tensor([[0, 0, len(log_probs)]] * len(said), dtype=torch.int32)
            dense = k2.DenseFsaVec(log_probs.float()[None], segments)
            found = k2.intersect_dense_pruned(
                k2.Fsa(graph.arcs),
                dense,
                search_beam=SEARCH_BEAM,
                output_beam=OUTPUT_BEAM,
                min_active_states=30,
                max_active_states=MAX_ACTIVE,
            )
            totals = found.get_tot_scores(log_semiring=True, use_double_scores=True).tolist()
            scores.update(zip(map(tuple, said), totals))
        return [scores[tuple(words)] for words in hypotheses]
