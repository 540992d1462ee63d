"""Sentences of a grammar that fit a recording, and their scores."""

from dataclasses import dataclass
from itertools import islice, product
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from utils.bundle.evidence import Evidence, Rows
from utils.bundle.recogniser import Recogniser
from utils.commands.graph import Graphs
from utils.commands.weights import Weights
from utils.decode.first_pass import lattices
from utils.decode.nbest import nbest
from utils.lang.hypothesis import Hypothesis
from utils.vectors.wordscore import sequence_scores
from utils.vectors.wordvec import word_scores

SEARCH = SimpleNamespace(beam=20.0, output_beam=30.0, max_active=10000)
PATHS, FLAT = 500, 0.25  # paths sampled from a lattice, and the factor of its scores while sampling
MOST = 40  # sentences of a lattice
PENALTIES = (3.0, 2.0)  # of the blank in searches of the sub-word head: the lists of all of them are joined
WORDS_PENALTY = 4.0  # of the blank in the search of the word head
PRONUNCIATIONS = 12  # most ways to say a sentence
IMPOSSIBLE = -1e4
Sentence = Tuple[int, ...]  # word ids


@dataclass(frozen=True)
class Heads:
    """What both heads say of one recording, for the words of a grammar."""

    units: Tensor  # (T, units), log-probabilities, blank first
    words: Tensor  # (T2, 1 + W), log-probabilities, blank first; (0, 0) without a word head
    spoken: List[List[List[int]]]  # of each word its pronunciations

    def sentences(self, graphs: Graphs) -> List[Sentence]:
        """The sentences that either head finds."""
        found: Dict[Sentence, None] = {}
        for penalty in PENALTIES:
            found.update(dict.fromkeys(_sentences(_penalised(self.units, penalty), graphs.units)))
        if graphs.words is not None and len(self.words):
            found.update(dict.fromkeys(_sentences(_penalised(self.words, WORDS_PENALTY), graphs.words)))
        return list(found)

    def by_units(self, sentences: Sequence[Sentence], penalty: float) -> np.ndarray:
        """log p of sentences (S,) by CTC, each by its best pronunciation."""
        return _unit_scores(_penalised(self.units, penalty), [[self.spoken[word - 1] for word in one] for one in sentences])

    def by_words(self, sentences: Sequence[Sentence], penalty: float) -> np.ndarray:
        """CTC scores of the word vectors (S,), against blanks only; zeros without a word head."""
        if not len(self.words) or not sentences:
            return np.zeros(len(sentences))
        paths = [Hypothesis(sentence, 0.0, 0.0, (), 0) for sentence in sentences]
        every = {n: n - 1 for n in range(1, len(self.spoken) + 1)}
        return np.array(sequence_scores(_penalised(self.words, penalty), paths, every))

    def free(self, penalty: float) -> float:
        """log p of the sub-word head's best path without any grammar."""
        return float(_penalised(self.units, penalty).amax(-1).sum()) if len(self.units) else 0.0

    def free_units(self, penalty: float) -> List[int]:
        """The units of that path."""
        best = _penalised(self.units, penalty).argmax(-1) if len(self.units) else torch.zeros(0, dtype=torch.int64)
        return [unit for unit in best.unique_consecutive().tolist() if unit]

    def units_of(self, sentence: Sentence) -> List[int]:
        """A sentence's units, each word in its first pronunciation."""
        return [unit for word in sentence for unit in self.spoken[word - 1][0]]


def heads(evidence: Evidence, rows: Rows, table: Rows) -> Heads:
    """Both heads for a grammar's words, `rows`; the word head is normalised over these and `table`, the bundle's vocabulary."""
    return Heads(torch.from_numpy(evidence.subword).float(), _word_log_probs(evidence, rows, table), rows.spoken)


@dataclass
class Scored:
    """Sentences that may have been said, and what speaks for each."""

    sentences: List[Sentence]
    units: np.ndarray  # (S,) log p by the sub-word head
    words: np.ndarray  # (S,) CTC score of the word vectors, against blanks only; zeros without a word head
    free: float  # log p of the sub-word head's best path without any grammar
    heads: Heads


def search(evidence: Evidence, graphs: Graphs, rows: Rows, table: Rows, weights: Weights) -> Scored:
    """The sentences that either head finds, scored by both; `rows`, `table`: see `heads`."""
    both = heads(evidence, rows, table)
    found = both.sentences(graphs)
    units, words = both.by_units(found, weights.blank_penalty), both.by_words(found, weights.word_blank_penalty)
    return Scored(found, units, words, both.free(weights.blank_penalty), both)


def read(
    scored: Scored, evidence: Evidence, recogniser: Recogniser, rows: Rows, weights: Weights
) -> Tuple[np.ndarray, np.ndarray]:
    """Totals (S,) of all sentences, and log p by Whisper's decoder (S,), NaN where it did not score.

    Sentences that it did not score have no total: minus infinity.
    """
    lengths = np.array([len(sentence) for sentence in scored.sentences])
    totals = scored.units + weights.word * scored.words + weights.bonus * lengths
    by_decoder = np.full(len(totals), np.nan)
    if weights.decoder and evidence.features is not None and len(totals):
        best = np.argsort(-totals, kind="stable")[: weights.read]
        spelled = [[rows.words[word - 1] for word in scored.sentences[n]] for n in best]
        found = recogniser.decoder_scores(evidence.features, spelled)
        if found is not None:
            by_decoder[best] = found
            totals = np.where(np.isnan(by_decoder), -np.inf, totals + weights.decoder * np.nan_to_num(by_decoder))
    return totals, by_decoder


def _sentences(log_probs: Tensor, graph: Any) -> List[Tuple[int, ...]]:
    """Sentences of a lattice, the best first."""
    if not len(log_probs):
        return []
    lattice = lattices(log_probs[None], torch.tensor([len(log_probs)]), graph, SEARCH)
    if not lattice.num_arcs:
        return []
    return [path.words for path in nbest(lattice, PATHS, FLAT, 0.0)[0][:MOST]]


def _penalised(log_probs: Tensor, penalty: float) -> Tensor:
    """With a penalty of the blank, the first column."""
    return torch.cat((log_probs[:, :1] - penalty, log_probs[:, 1:]), 1) if len(log_probs) else log_probs


def _word_log_probs(evidence: Evidence, rows: Rows, table: Rows) -> Tensor:
    """(T, 1 + W): blank, the grammar's words; normalised over these and the vocabulary."""
    if not len(evidence.frames) or not rows.vectors.any():
        return torch.zeros(0, 0)
    vectors, bias = (torch.from_numpy(np.concatenate(both)) for both in ((rows.vectors, table.vectors), (rows.bias, table.bias)))
    scores = word_scores(torch.from_numpy(evidence.frames), torch.from_numpy(evidence.blank), vectors, bias)
    return scores.log_softmax(-1)[:, : 1 + len(rows.words)]


def _unit_scores(log_probs: Tensor, spoken: Sequence[Sequence[Sequence[Sequence[int]]]]) -> np.ndarray:
    """log p of sentences by CTC, each by its best pronunciation.

    Args:
      log_probs: (T, units).
      spoken: of each sentence the words, of each word its pronunciations.
    """
    out = np.full(len(spoken), IMPOSSIBLE)
    ways = [(n, way) for n, words in enumerate(spoken) for way in _ways(words)]
    for (n, _), score in zip(ways, _way_scores(log_probs, [way for _, way in ways])):
        out[n] = max(out[n], score)
    return out


def best_way(log_probs: Tensor, words: Sequence[Sequence[Sequence[int]]]) -> List[int]:
    """The units of a sentence as it was most likely pronounced; arguments as in `_unit_scores`."""
    ways = _ways(words)
    return ways[int(np.argmax(_way_scores(log_probs, ways)))]


def _ways(words: Sequence[Sequence[Sequence[int]]]) -> List[List[int]]:
    return [[unit for word in way for unit in word] for way in islice(product(*words), PRONUNCIATIONS)]


def _way_scores(log_probs: Tensor, ways: Sequence[Sequence[int]]) -> List[float]:
    """log p of sequences of units by CTC."""
    if not ways:
        return []
    losses = F.ctc_loss(
        log_probs[:, None].expand(-1, len(ways), -1),
        torch.tensor([unit for way in ways for unit in way], dtype=torch.int64),
        torch.full((len(ways),), len(log_probs)),
        torch.tensor([len(way) for way in ways]),
        reduction="none",
    ).tolist()
    return [-loss if np.isfinite(loss) else IMPOSSIBLE for loss in losses]
