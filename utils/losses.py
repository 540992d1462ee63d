"""CTC (Graves et al. 2006) through k2 graphs, or through torch where k2 has no wheel."""

from typing import Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.graphs import need_k2


def ctc(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]], backend: str) -> Tensor:
    """Negative log-likelihood of each utterance, in nats.

    Args:
      log_probs: (N, T, V), symbol 0 is blank.
      lengths: (N,), frames of each utterance.
      targets: N sequences of symbols from 1 to V - 1.
      backend: 'k2' or 'torch'.
    Returns:
      (N,); infinite where an utterance has too few frames.
    """
    return _k2_ctc(log_probs, lengths, targets) if backend == "k2" else _torch_ctc(log_probs, lengths, targets)


def _k2_ctc(log_probs: Tensor, lengths: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    k2 = need_k2("k2 losses (loss.backend=k2)", "set loss.backend=torch to train without it")
    order, segments = supervision_segments(lengths)
    dense = k2.DenseFsaVec(log_probs.float(), segments)
    graph = k2.ctc_graph([list(targets[i]) for i in order.tolist()], modified=False, device=log_probs.device)
    # what lies e^-20 below the best path adds nothing to the sum in float32
    lattice = k2.intersect_dense(graph, dense, output_beam=20.0, max_arcs=2**30)
    totals = lattice.get_tot_scores(log_semiring=True, use_double_scores=True)
    return -totals[torch.argsort(order)]


def supervision_segments(lengths: Tensor) -> Tuple[Tensor, Tensor]:
    """lengths: (N,), frames -> the utterances' order, longest first, and their rows in it, (N, 3), as k2 wants them."""
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


def consistency(log_probs: Tensor, lengths: Tensor) -> Tensor:
    """How far the two views of each utterance are from saying the same (CR-CTC: Yao et al. 2024, equation 3), in nats.

    Args:
      log_probs: (2N, T, V), the first views of N utterances, then their second views.
      lengths: (2N,), frames of each.
    Returns:
      (N,): half the sum over frames of the Kullback-Leibler divergences both ways; each pulls one view to the other, which stands
      still.
    """
    one, two = log_probs.float().chunk(2)
    frames = (torch.arange(log_probs.shape[1], device=log_probs.device) < lengths[: len(one), None])[..., None]
    toward = (F.kl_div(a, b.detach(), reduction="none", log_target=True) for a, b in ((one, two), (two, one)))
    return sum((part * frames).sum((1, 2)) for part in toward) / 2
