"""CTC through k2 graphs agrees with torch's, in value and gradient."""

import pytest
import torch

from utils.nn.ctc import consistency, ctc

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
        (loss * torch.arange(1, 6)).sum().backward()  # a weight each: a mixed-up order shows
        results[backend] = loss.detach(), logits.grad
    torch.testing.assert_close(results["k2"][0].float(), results["torch"][0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(results["k2"][1], results["torch"][1], rtol=1e-2, atol=2e-3)


def test_an_utterance_with_too_few_frames_has_infinite_loss_in_both():
    log_probs = torch.randn(2, 4, 5).log_softmax(-1)
    for backend in ("k2", "torch"):
        loss = ctc(log_probs, torch.tensor([4, 4]), [[1, 1, 1], [1, 2]], backend)  # 3 tokens and 2 repeats need 5 frames
        assert torch.isinf(loss[0]) and torch.isfinite(loss[1])


def test_consistency_is_half_the_divergences_both_ways_over_the_frames_of_each_utterance():
    logits = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    log_probs = logits.log_softmax(-1)
    found = consistency(log_probs, torch.tensor([6, 4, 6, 4]))
    for n, frames in enumerate((6, 4)):
        one, two = log_probs[n, :frames].detach(), log_probs[n + 2, :frames].detach()
        expected = ((one.exp() - two.exp()) * (one - two)).sum() / 2
        assert found[n].item() == pytest.approx(expected.item(), rel=1e-5)
    found.sum().backward()  # a view is pulled to the other, which is a constant: softmax's gradient, half the difference of the two
    half = (log_probs[:2].exp() - log_probs[2:].exp())[0] / 2
    torch.testing.assert_close(logits.grad[0], half.detach(), rtol=1e-4, atol=1e-5)
    assert not logits.grad[1, 4:].any() and not logits.grad[3, 4:].any()
