"""What a hypothesis says of time: how each word's span sounds beside the other words that the list has there, and how long it is.

Spans are those of the sub-word head's forced alignment, the same way for every hypothesis, wherever it comes from.
"""

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from utils.grounding import Span, align, word_spans
from utils.lexicon import Lexicon
from utils.wordscore import MARGIN, spans_of

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


def rivals(ratio: Tensor, columns: Dict[int, int], hypotheses: Sequence[Sequence[Spoken]], frame_ratio: float) -> List[float]:
    """How far the words' span scores (utils.wordscore) are below those of all words that the hypotheses have at that time.

    Of a word: its score, less the log of the sum over the words, it among them, of which a span's middle lies within its span or
    whose span has its own middle; of a word that stands there several times the highest counts.

    Args:
      ratio: (T, W), log p(w|t) - log p(blank|t) of the word head.
      columns: word id -> column of `ratio`.
      frame_ratio: frames of the word head a frame of the spans.
    Returns:
      the sum over each hypothesis' words, natural log.
    """
    frames, number, members = len(ratio), {}, []
    for spoken in hypotheses:
        edges = ((columns[word], int(start * frame_ratio), int(end * frame_ratio)) for word, _, (start, end) in spoken)
        members.append([number.setdefault((column, a, max(a + 1, b)), len(number)) for column, a, b in edges])
    if not number:
        return [0.0] * len(hypotheses)
    column, first, last = torch.tensor(list(number)).T
    first, last = first.clamp(max=frames - 1), last.clamp(max=frames)
    scores = spans_of(ratio, column, (first - MARGIN).clamp(min=0), (last + MARGIN).clamp(max=frames))
    middle = (first + last - 1) / 2
    inside = (middle[None] >= first[:, None]) & (middle[None] < last[:, None])
    there = torch.where(inside | inside.T, scores[:, None], -torch.inf).numpy()  # of each span's rivals, a column
    by_word = np.full((ratio.shape[1], len(number)), -np.inf)
    np.maximum.at(by_word, column.numpy(), there)
    shares = (scores.numpy() - np.logaddexp.reduce(by_word)).tolist()
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
