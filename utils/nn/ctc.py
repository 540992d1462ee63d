"""CTC (Graves et al. 2006) through k2 graphs, or through torch where k2 cannot be installed."""

from itertools import groupby
from typing import List, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.core.frames import Span
from utils.lang.fsa import arc_edges
from utils.lang.graphs import need_k2


def ctc(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]], backend: str) -> Tensor:
    """Negative log-likelihood of each utterance, in nats.

    Args:
      log_probs: (N, T, V), symbol 0 is blank.
      lengths: (N,), frames of each utterance.
      targets: N sequences of symbols from 1 to V - 1.
      backend: 'k2' or 'torch'.
    Returns:
      (N,); infinite for an utterance with too few frames.
    """
    return _k2_ctc(log_probs, lengths, targets) if backend == "k2" else _torch_ctc(log_probs, lengths, targets)


def _k2_ctc(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    k2 = need_k2("k2 losses (loss.backend=k2)", "set loss.backend=torch to train without it")
    order, segments = supervision_segments(lengths)
    dense = k2.DenseFsaVec(log_probs.float(), segments)
    graph = k2.ctc_graph([list(targets[i]) for i in order.tolist()], modified=False, device=log_probs.device)
    # paths more than e^20 less likely than the best one add nothing to the sum in float32
    lattice = k2.intersect_dense(graph, dense, output_beam=20.0, max_arcs=2**30)
    totals = lattice.get_tot_scores(log_semiring=True, use_double_scores=True)
    return -totals[torch.argsort(order)]


def supervision_segments(lengths: Tensor) -> Tuple[Tensor, Tensor]:
    """k2's supervision segments of a padded batch.

    Args:
      lengths: (N,), frames of each utterance.
    Returns:
      the order of the utterances, longest first (N,); the segments in this order, (N, 3): utterance, first frame, frames.
    """
    order = torch.argsort(lengths, descending=True, stable=True)
    return order, torch.stack((order, torch.zeros_like(order), lengths[order]), 1).to(torch.int32).cpu()


def _torch_ctc(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    symbols = torch.tensor([s for target in targets for s in target], device=log_probs.device)
    return F.ctc_loss(
        log_probs.float().transpose(0, 1),
        symbols,
        lengths.to(log_probs.device),
        torch.tensor([len(target) for target in targets], device=log_probs.device),
        reduction="none",
    )


def greedy(log_probs: Tensor, lengths: Tensor) -> List[List[int]]:
    """Best symbol of each frame, repeats merged, blanks (0) removed. log_probs: (N, T, V); lengths: (N,), frames."""
    best = log_probs.argmax(-1).cpu()
    return [[s for s in torch.unique_consecutive(row[:n]).tolist() if s] for row, n in zip(best, lengths.tolist())]


@torch.no_grad()
def align(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> List[List[Span]]:
    """Forced alignment by k2: the frames of each symbol on the best CTC path; empty for an utterance with too few frames.

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
