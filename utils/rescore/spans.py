"""What a hypothesis says of time: how each word's span sounds beside the other words that may stand there, and how long it is.

Spans are those of the sub-word head's forced alignment, the same way for every hypothesis, wherever it comes from; the other words are
those of the list and of the whole lattice.
"""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from utils.decode.word_lattice import WordLattice
from utils.lang.lexicon import Lexicon
from utils.nn.ctc import align, word_spans
from utils.train.grounding import Span
from utils.vectors.wordscore import MARGIN, spans_of

Spoken = Tuple[int, int, Span]  # word id, number of its units, its span in frames of the sub-word head


def aligned(log_probs: Tensor, hypotheses: Sequence[Sequence[int]], lexicon: Lexicon) -> List[List[Spoken]]:
    """The words of each hypothesis with their spans, in the first of their pronunciations; none where there are too few frames for
    them. <unk>, which has no units, is passed over.

    Args:
      log_probs: (T, units), of the sub-word head, blank first.
      hypotheses: word ids, several of one utterance.
    """
    frames = len(log_probs)
    kept = [[word for word in words if word <= len(lexicon.words)] for words in hypotheses]
    units = [[lexicon.spell(lexicon.words[word - 1]) for word in words] for words in kept]
    lengths = torch.full((len(kept),), frames)
    peaks = align(log_probs.expand(len(kept), -1, -1), lengths, [[u for word in spelled for u in word] for spelled in units])
    out = []
    for words, spelled, found in zip(kept, units, peaks):
        counts = [len(word) for word in spelled]
        spans = word_spans(found, counts, frames) if found else []
        out.append(list(zip(words, counts, spans)))
    return out


def standing(lattice: WordLattice) -> np.ndarray:
    """The words of a lattice with their spans, each once: (S, 3) of word id, first frame, the one behind the last."""
    every = np.stack((lattice.words, *lattice.spans()), 1)
    return np.unique(every[lattice.words > 0], axis=0)


def rivals(
    ratio: Tensor, columns: Dict[int, int], hypotheses: Sequence[Sequence[Spoken]], others: np.ndarray, frame_ratio: float
) -> List[float]:
    """How far the words' span scores (utils.vectors.wordscore) are below those of all words that may stand at that time.

    Of a word: its score, less the log of the sum over the words of the hypotheses and of the lattice, it among them, of which a span's
    middle lies within its span or whose span has its own middle; of a word that stands there several times the highest counts.

    Args:
      ratio: (T, W), log p(w|t) - log p(blank|t) of the word head.
      columns: word id -> column of `ratio`.
      others: (S, 3), as `standing` gives them; words without a column are passed over.
      frame_ratio: frames of the word head a frame of the spans.
    Returns:
      the sum over each hypothesis' words, natural log.
    """
    frames, number, members = len(ratio), {}, []

    def place(word: int, start: int, end: int) -> Tuple[int, int, int]:
        first = min(int(start * frame_ratio), frames - 1)
        return columns[word], first, min(max(first + 1, int(end * frame_ratio)), frames)

    for spoken in hypotheses:
        members.append([number.setdefault(place(word, *span), len(number)) for word, _, span in spoken])
    said = len(number)
    if not said:
        return [0.0] * len(hypotheses)
    for word, start, end in others.tolist():
        if word in columns:
            number.setdefault(place(word, start, end), len(number))
    column, first, last = torch.tensor(list(number)).T
    scores = spans_of(ratio, column, (first - MARGIN).clamp(min=0), (last + MARGIN).clamp(max=frames))
    middle = (first + last - 1) / 2
    inside = (middle[:, None] >= first[:said]) & (middle[:, None] < last[:said])
    around = (middle[:said] >= first[:, None]) & (middle[:said] < last[:, None])
    there = torch.where(inside | around, scores[:, None], -torch.inf).numpy()  # of each span that is said, its rivals a column
    by_word = np.full((ratio.shape[1], said), -np.inf)
    np.maximum.at(by_word, column.numpy(), there)
    shares = (scores[:said].numpy() - np.logaddexp.reduce(by_word)).tolist()
    return [sum(shares[n] for n in member) for member in members]


@dataclass(frozen=True)
class Durations:
    """How long a word of so many units is: the logarithm of its frames is normal, with a mean that is linear in that of the units."""

    bias: float
    slope: float
    spread: float

    def __call__(self, spoken: Sequence[Spoken]) -> float:
        """Log-density of the words' durations, less the highest there is: 0 where each is as long as expected."""
        units, frames = _logarithms(spoken)
        return float(-0.5 * (((frames - self.bias - self.slope * units) / self.spread) ** 2).sum())


def durations(spoken: Sequence[Spoken]) -> Durations:
    """Fit by least squares to words of aligned transcripts; where they are few, all words are as likely, however long."""
    units, frames = _logarithms(spoken)
    if len(set(units.tolist())) < 2:
        return Durations(0.0, 1.0, np.inf)
    slope, bias = np.polyfit(units, frames, 1)
    return Durations(float(bias), float(slope), float(np.std(frames - bias - slope * units)) or np.inf)


def _logarithms(spoken: Sequence[Spoken]) -> Tuple[np.ndarray, np.ndarray]:
    """Of the numbers of units and of frames."""
    units, frames = np.array([(count, end - start) for _, count, (start, end) in spoken], dtype=float).reshape(-1, 2).T
    return np.log(units), np.log(frames)
