"""Acoustically grounded word vectors: the words' vectors against the stretches of speech in which they were said.

CTC shows the word vectors one or two frames of a word, where its peak is. Here k2 aligns the words, and the mean of the frames of a
word's whole span, its segment, is told from the segments of other words, and the word's vector from those of other words, both ways
(the multi-view contrastive loss of He, Wang and Livescu 2017, as a softmax). Two neighbouring words are also taken for one, spelled
and pronounced on end: words that the text doesn't have, said in real speech.
"""

from itertools import accumulate, groupby
from pathlib import Path
from typing import Iterable, List, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.files import write_lines
from utils.graphs import need_k2
from utils.losses import supervision_segments
from utils.nbest import arc_edges

Span = Tuple[int, int]  # first frame, and the one behind the last


@torch.no_grad()
def align(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> List[List[Span]]:
    """k2's forced alignment: the frames of each symbol on the best CTC path; none for an utterance that has too few frames.

    Args:
      log_probs: (N, T, V), symbol 0 is blank.
      lengths: (N,), frames of each utterance.
      targets: N sequences of symbols from 1 to V - 1.
    """
    k2 = need_k2("alignments")
    order, segments = supervision_segments(lengths)
    graph = k2.ctc_graph([list(targets[i]) for i in order.tolist()], modified=False, device=log_probs.device)
    dense = k2.DenseFsaVec(log_probs.detach().float(), segments)
    best = k2.shortest_path(k2.intersect_dense(graph, dense, output_beam=10.0, max_arcs=2**30), use_double_scores=True)
    edges, labels = arc_edges(best).tolist(), best.labels.tolist()
    out: List[List[Span]] = [[] for _ in targets]
    for n, start, end in zip(order.tolist(), edges, edges[1:]):
        frame = 0
        for symbol, run in groupby(labels[start : end - 1]):  # without the arc to the final state
            begin, frame = frame, frame + len(list(run))
            if symbol:
                out[n].append((begin, frame))
    return out


def word_spans(peaks: Sequence[Span], units: Sequence[int], frames: int) -> List[Span]:
    """Where each word begins and ends, from where its units peak: neighbours part in the middle of the blanks between them.

    Args:
      peaks: frames of each unit of the utterance, in order; one at least.
      units: how many of them each word has.
      frames: of the utterance; before the first and behind the last word there may be silence: a word's outer end is as far
        from its peaks as these are from each other on average.
    """
    edges = [0, *accumulate(units)]
    first, last = [peaks[e][0] for e in edges[:-1]], [peaks[e - 1][1] for e in edges[1:]]
    reach = max(1, round((last[-1] - first[0]) / len(peaks)))
    middles = [(end + start) // 2 for end, start in zip(last, first[1:])]
    # a pause between two words belongs to neither
    starts = [max(0, first[0] - reach), *(max(m, f - reach) for m, f in zip(middles, first[1:]))]
    ends = [*(min(m, e + reach) for m, e in zip(middles, last)), min(frames, last[-1] + reach)]
    return [(start, max(end, start + 1)) for start, end in zip(starts, ends)]


def segments(frames: Tensor, spans: Sequence[Sequence[Span]]) -> Tensor:
    """The mean direction of the frames of each span, at the frames' own length.

    Args:
      frames: (N, T, dim), all of one length: the scale of the cosines.
      spans: of each of N utterances.
    Returns:
      (S, dim), utterance by utterance.
    """
    rows = [(n, start, end) for n, row in enumerate(spans) for start, end in row]
    utterance, start, end = torch.tensor(rows, dtype=torch.int64, device=frames.device).view(-1, 3).T
    sums = F.pad(frames.cumsum(1), (0, 0, 1, 0))
    return F.normalize(sums[utterance, end] - sums[utterance, start], dim=-1) * frames[0, 0].norm()


def contrast(said: Tensor, vectors: Tensor, targets: Tensor, offsets: Tensor) -> Tensor:
    """Each segment told from other words, and each word from other segments: the mean of both cross-entropies, in nats.

    Args:
      said: (S, dim), segments, as long as the scale of the cosines.
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
    """Neighbours as one word, two by two from the word numbered `first` on: spans by utterance, and the ids of the two words."""
    both = [zip(row[first::2], row[first + 1 :: 2]) for row in spans]
    pairs = [pair for row in words for pair in zip(row[first::2], row[first + 1 :: 2])]
    return [[(one[0], two[1]) for one, two in row] for row in both], pairs


def write_ctm(path: Path, rows: Iterable[Tuple[str, float, float, str]]) -> None:
    """NIST's format, a word a line: utterance, channel 1, start and duration in seconds, word."""
    write_lines(path, (f"{name} 1 {start:.2f} {duration:.2f} {word}" for name, start, duration, word in rows))
