"""Acoustic grounding: a contrastive loss between the vectors of words and the segments of speech in which they are said.

CTC trains a word's vector on one or two frames, where the word's peak is. Here k2 aligns the words, and the mean of all frames
of a word is its segment. A segment must be closer to the vector of its word than to those of other words, and the vector closer
to this segment than to those of other words (the multi-view contrastive loss of He, Wang and Livescu 2017, as a softmax). Two
neighbouring words also count as one, with joined spelling and pronunciation: new words, said in real speech.
"""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.nn.ctc import Span
from utils.vectors.wordvec import WordVectors


def grounding(
    frames: Tensor,
    spans: List[List[Span]],
    words: Sequence[Sequence[int]],
    vectors: Tensor,
    places: Tensor,
    offsets: Tensor,
    space: WordVectors,
    joined_weight: float,
) -> Tensor:
    """The loss of a batch, in nats: `contrast` of its words and, with a weight, of neighbouring words joined in pairs.

    Args:
      frames: (N, T, dim), of the word head.
      spans: the frames that each word of each utterance takes.
      words: ids of each utterance's words.
      vectors: (W, dim), of the words of this step (see `choose_words`), which `offsets` (W,) belong to.
      places: (S,), the row of `vectors` of each word that is said, utterance by utterance.
      space: makes vectors of joined words.
    """
    loss = contrast(segments(frames, spans), vectors, places, offsets)
    spans, pairs = joined(spans, words, int(torch.randint(2, ())))
    if joined_weight and pairs:
        types = {pair: n for n, pair in enumerate(dict.fromkeys(pairs), len(vectors))}
        more = space.joined(*(torch.tensor(list(types), device=frames.device) - 1).T)
        places = torch.tensor([types[pair] for pair in pairs], device=frames.device)
        every, offsets = torch.cat((vectors, more)), torch.cat((offsets, offsets.new_zeros(len(more))))
        loss = loss + joined_weight * contrast(segments(frames, spans), every, places, offsets)
    return loss


def segments(frames: Tensor, spans: Sequence[Sequence[Span]]) -> Tensor:
    """The mean direction of the frames of each span, with the length of a frame vector.

    Args:
      frames: (N, T, dim), vectors whose length is the scale of the cosines.
      spans: of each of N utterances.
    Returns:
      (S, dim), utterance by utterance.
    """
    rows = [(n, start, end) for n, row in enumerate(spans) for start, end in row]
    utterance, start, end = torch.tensor(rows, dtype=torch.int64, device=frames.device).view(-1, 3).T
    sums = F.pad(frames.cumsum(1), (0, 0, 1, 0))
    return F.normalize(sums[utterance, end] - sums[utterance, start], dim=-1) * frames[0, 0].norm()


def contrast(said: Tensor, vectors: Tensor, targets: Tensor, offsets: Tensor) -> Tensor:
    """The mean of two cross-entropies, in nats: of a segment's word among all words, and of a word's segment among all segments.

    Other segments of the same word are left out.

    Args:
      said: (S, dim), segments; their length is the scale of the cosines.
      vectors: (W, dim), unit length.
      targets: (S,), the row of the word that each segment is.
      offsets: (W,), added to the scores of the words (see `choose_words`).
    """
    scores = said @ vectors.T
    word = F.cross_entropy(scores + offsets, targets)
    same = targets[:, None] == targets
    others = scores.T[targets].masked_fill(same & ~torch.eye(len(targets), dtype=torch.bool, device=same.device), -torch.inf)
    return (word + F.cross_entropy(others, torch.arange(len(targets), device=same.device))) / 2


def joined(
    spans: Sequence[Sequence[Span]], words: Sequence[Sequence[int]], first: int
) -> Tuple[List[List[Span]], List[Tuple[int, int]]]:
    """Pairs of neighbouring words, from word number `first` on: the spans of pairs by utterance, and the ids of their words."""
    both = [zip(row[first::2], row[first + 1 :: 2]) for row in spans]
    pairs = [pair for row in words for pair in zip(row[first::2], row[first + 1 :: 2])]
    return [[(one[0], two[1]) for one, two in row] for row in both], pairs
