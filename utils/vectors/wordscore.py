"""Scores of hypotheses by the word head: of each word in its time span, or of the whole sequence."""

from typing import Dict, List, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.lang.hypothesis import Hypothesis

MARGIN = 2  # frames added on both sides of a span, because the times come from the sub-word head


def span_scores(ratio: Tensor, paths: Sequence[Hypothesis], rows: Dict[int, int], frame_ratio: float) -> List[float]:
    """Sum over the words of a path of a log-likelihood ratio: the word once within its span, against blanks only.

    The word may take any run of frames of its span: log sum over runs [a, b] of sum_{t=a..b} (log p(w|t) - log p(blank|t)),
    computed by the recursion f_t = ratio_t + log(1 + exp f_{t-1}), log sum_t exp f_t.

    Args:
      ratio: (T, W), log p(w|t) - log p(blank|t) of the words that occur in the paths.
      paths: hypotheses of one utterance.
      rows: word id -> column of `ratio`; a word without a column adds 0.
      frame_ratio: frames of the word head a frame of the path's times.
    Returns:
      a score for each path, natural log.
    """
    frames = len(ratio)
    spans: Dict[Tuple[int, int, int], int] = {}
    members: List[List[int]] = []
    for path in paths:
        edges = [int(s * frame_ratio) for s in path.starts] + [frames]
        member = []
        for word, start, end in zip(path.words, edges, edges[1:]):
            if word not in rows:
                continue
            key = (rows[word], max(0, min(start, frames - 1) - MARGIN), min(frames, max(end, start + 1) + MARGIN))
            member.append(spans.setdefault(key, len(spans)))
        members.append(member)
    if not spans:
        return [0.0] * len(paths)
    scores = spans_of(ratio, *torch.tensor(list(spans)).T).tolist()
    return [sum(scores[s] for s in member) for member in members]


def arc_scores(ratio: Tensor, columns: Tensor, starts: Tensor, ends: Tensor, frame_ratio: float) -> Tensor:
    """As `span_scores`, of single words.

    Args:
      ratio: (T, W), as in `span_scores`.
      columns: (A,), of `ratio`; -1 for a word without a column, which gets 0.
      starts, ends: (A,), first frame of each word and the frame after its last.
      frame_ratio: frames of the word head a frame of `starts` and `ends`.
    Returns:
      (A,), natural log.
    """
    scores, frames = torch.zeros(len(columns)), len(ratio)
    there = columns >= 0
    if there.any():
        first = ((starts[there] * frame_ratio).long().clamp(max=frames - 1) - MARGIN).clamp(min=0)
        last = torch.maximum((ends[there] * frame_ratio).long(), (starts[there] * frame_ratio).long() + 1) + MARGIN
        spans, place = torch.stack((columns[there], first, last.clamp(max=frames)), 1).unique(dim=0, return_inverse=True)
        scores[there] = spans_of(ratio, *spans.T)[place]
    return scores


def spans_of(ratio: Tensor, columns: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """The recursion of `span_scores` for S spans: columns of `ratio`, first frames, frames after the last -> (S,)."""
    longest = int((ends - starts).max())
    place = starts[:, None] + torch.arange(longest)  # (S, longest)
    inside = place < ends[:, None]
    values = ratio[place.clamp(max=len(ratio) - 1), columns[:, None]]
    total = torch.full((len(columns),), -torch.inf)
    f = torch.full((len(columns),), -torch.inf)
    for t in range(longest):
        f = torch.where(inside[:, t], values[:, t] + F.softplus(f), -torch.inf)
        total = torch.logaddexp(total, f)
    return total


def sequence_scores(log_probs: Tensor, paths: Sequence[Hypothesis], rows: Dict[int, int]) -> List[float]:
    """log p(words | speech) by CTC with the word head, minus the log-probability of blanks only.

    Args:
      log_probs: (T, 1 + W), blank first, then the words that occur in the paths.
      rows: word id -> column of the words in `log_probs`, from 0; words without a column are skipped.
    """
    targets = [[rows[w] + 1 for w in path.words if w in rows] for path in paths]
    frames, floor = len(log_probs), float(log_probs[:, 0].sum())
    losses = F.ctc_loss(
        log_probs[:, None].expand(-1, len(paths), -1),
        torch.tensor([s for t in targets for s in t], dtype=torch.int64),
        torch.full((len(paths),), frames),
        torch.tensor([len(t) for t in targets]),
        reduction="none",
    )
    finite = losses[torch.isfinite(losses)]
    losses = torch.where(torch.isfinite(losses), losses, finite.max() + 20 if len(finite) else torch.tensor(0.0))
    return (-losses - floor).tolist()
