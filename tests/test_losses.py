"""CTC through k2 graphs agrees with torch's, in value and gradient."""

import pytest
import torch

from utils.nn.ctc import ctc

k2 = pytest.importorskip("k2")


def _case(seed: int, longest: int, symbols: int, tokens: int):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, longest, symbols, generator=generator)
    lengths = torch.tensor([longest, longest - 7, longest, longest - 3, longest - 1])  # not sorted
    targets = [torch.randint(1, symbols, (tokens - n,), generator=generator).tolist() for n in range(5)]
    return logits, lengths, targets


@pytest.mark.parametrize("seed, longest, symbols, tokens", [(0, 40, 12, 9), (1, 25, 4, 8), (2, 60, 300, 5)])
def test_k2_and_torch_give_the_same_loss_and_gradient(seed, longest, symbols, tokens):
    results = {}
    for backend in ("k2", "torch"):
        logits, lengths, targets = _case(seed, longest, symbols, tokens)
        logits.requires_grad_()
        loss = ctc(logits.log_softmax(-1), lengths, targets, backend)
        (loss * torch.arange(1, 6)).sum().backward()  # different weights, so that a wrong order is noticed
        results[backend] = loss.detach(), logits.grad
    torch.testing.assert_close(results["k2"][0].float(), results["torch"][0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(results["k2"][1], results["torch"][1], rtol=1e-2, atol=2e-3)


def test_an_utterance_with_too_few_frames_has_infinite_loss_in_both():
    log_probs = torch.randn(2, 4, 5).log_softmax(-1)
    for backend in ("k2", "torch"):
        loss = ctc(log_probs, torch.tensor([4, 4]), [[1, 1, 1], [1, 2]], backend)  # 3 tokens and 2 repeats need 5 frames
        assert torch.isinf(loss[0]) and torch.isfinite(loss[1])
