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
from utils.text.scoring import edits
from utils.vectors.wordscore import sequence_scores
from utils.vectors.wordvec import word_scores

SEARCH = SimpleNamespace(beam=20.0, output_beam=30.0, max_active=10000)
PATHS, FLAT = 500, 0.25  # paths sampled from a lattice, and the factor of its scores while sampling
MOST = 40  # sentences of a lattice
PENALTIES = (0.0, -1.0)  # added to the blank penalty in searches: the lists of all of them are joined
WORDS_PENALTY = 4.0  # of the blank in the search of the word head
PRONUNCIATIONS = 12  # most ways to say a sentence
IMPOSSIBLE = -1e4


@dataclass
class Scored:
    """Sentences that may have been said, and what speaks for each."""

    sentences: List[Tuple[int, ...]]  # word ids
    units: np.ndarray  # (S,) log p by the sub-word head
    words: np.ndarray  # (S,) CTC score of the word vectors, against blanks only; zeros without a word head
    free: float  # log p of the sub-word head's best path without any grammar
    frames: int


def search(evidence: Evidence, graphs: Graphs, rows: Rows, table: Rows, weights: Weights) -> Scored:
    """The sentences that either head finds, scored by both.

    Args:
      rows: the grammar's words; their scores are normalised together with those of `table`, the bundle's vocabulary.
    """
    units = torch.from_numpy(evidence.subword).float()
    words = _word_log_probs(evidence, rows, table)
    found: Dict[Tuple[int, ...], None] = {}
    for more in PENALTIES:
        found.update(dict.fromkeys(_sentences(_penalised(units, weights.blank_penalty + more), graphs.units)))
    if graphs.words is not None and len(words):
        found.update(dict.fromkeys(_sentences(_penalised(words, WORDS_PENALTY), graphs.words)))
    sentences, penalised = list(found), _penalised(units, weights.blank_penalty)
    by_words = np.zeros(len(sentences))
    if sentences and graphs.words is not None and len(words):
        paths = [Hypothesis(sentence, 0.0, 0.0, (), 0) for sentence in sentences]
        every = {n: n - 1 for n in range(1, len(rows.words) + 1)}
        by_words = np.array(sequence_scores(_penalised(words, weights.word_blank_penalty), paths, every))
    by_units = _unit_scores(penalised, [[rows.spoken[word - 1] for word in sentence] for sentence in sentences])
    return Scored(sentences, by_units, by_words, float(penalised.amax(-1).sum()) if len(penalised) else 0.0, len(units))


def read(
    scored: Scored, evidence: Evidence, recogniser: Recogniser, rows: Rows, weights: Weights
) -> Tuple[np.ndarray, np.ndarray]:
    """Totals (S,) of all sentences, and log p by Whisper's decoder (S,), NaN where it did not score.

    Sentences that it did not score have no total: minus infinity.
    """
    totals = scored.units + weights.word * scored.words
    by_decoder = np.full(len(totals), np.nan)
    if weights.decoder and evidence.features is not None and len(totals):
        best = np.argsort(-totals, kind="stable")[: weights.read]
        spelled = [[rows.words[word - 1] for word in scored.sentences[n]] for n in best]
        found = recogniser.decoder_scores(evidence.features, spelled)
        if found is not None:
            by_decoder[best] = found
            totals = np.where(np.isnan(by_decoder), -np.inf, totals + weights.decoder * np.nan_to_num(by_decoder))
    return totals, by_decoder


def agreement(evidence: Evidence, words: Sequence[str], recogniser: Recogniser) -> float:
    """How much of a sentence is in what Whisper's decoder itself would write: 1 - edits / length of the longer one."""
    assert evidence.features is not None  # the decoder has scored
    own = recogniser.decoder_words(evidence.features, beam=1) or []
    return 1 - edits(words, own) / max(edits(words, []), edits(own, []))  # in characters where those are counted


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
    ways = [
        (n, [u for word in way for u in word])
        for n, words in enumerate(spoken)
        for way in islice(product(*words), PRONUNCIATIONS)
    ]
    if not ways:
        return out
    losses = F.ctc_loss(
        log_probs[:, None].expand(-1, len(ways), -1),
        torch.tensor([unit for _, way in ways for unit in way], dtype=torch.int64),
        torch.full((len(ways),), len(log_probs)),
        torch.tensor([len(way) for _, way in ways]),
        reduction="none",
    ).tolist()
    for (n, _), loss in zip(ways, losses):
        out[n] = max(out[n], -loss if np.isfinite(loss) else IMPOSSIBLE)
    return out
