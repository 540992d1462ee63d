"""Seconds of a CTC loss with its gradient through k2 and through torch, side by side: `.venv/bin/python -m tests.bench.ctc`."""

import time

import torch

from utils.nn.ctc import ctc

CASES = [  # what: utterances, frames, symbols, tokens
    ("phones, 30 s in a batch", 8, 95, 40, 40),
    ("200 units, 60 s in a batch", 15, 100, 200, 25),
    ("500 words, 60 s in a batch", 15, 50, 500, 10),
    ("5000 words, 60 s in a batch", 15, 50, 5000, 10),
]
ROUNDS = 5


def seconds(backend: str, utterances: int, frames: int, symbols: int, tokens: int) -> float:
    """Median processor seconds of forward and backward."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(utterances, frames, symbols, generator=generator, requires_grad=True)
    targets = [torch.randint(1, symbols, (tokens,), generator=generator).tolist() for _ in range(utterances)]
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        ctc(logits.log_softmax(-1), torch.full((utterances,), frames), targets, backend).sum().backward()
        took.append(time.process_time() - started)
    return sorted(took)[ROUNDS // 2]


def main() -> None:
    """Print a line a case; the ratio is what means something on a shared machine."""
    torch.set_num_threads(1)
    for what, *sizes in CASES:
        k2, own = seconds("k2", *sizes), seconds("torch", *sizes)
        print(f"{what:30} k2 {1000 * k2:7.1f} ms   torch {1000 * own:7.1f} ms   k2/torch {k2 / own:5.2f}")


if __name__ == "__main__":
    main()
