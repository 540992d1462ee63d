"""The best path of a term's units within many spans of an index at once: the result of `scoring.advance`, several times faster.

One operation on arrays covers all frames of a state, where `advance`, which streams need, takes one a frame: the best way into
a state up to each frame is a running maximum of what enters, less the sum of the state's costs before. Costs are whole steps,
so that sums are exact.
"""

from typing import Dict, Sequence, Tuple

import numpy as np

from utils.search.scoring import UNREACHABLE

STEP = 1 / 16  # nats of a step of the sub-word head's scores; what is 16 nats below a frame's best unit is as good as never
AT_ONCE = 1 << 14  # most frames that are searched together: they stay in the cache
START_BITS = 12  # of a path's value, the lowest, tell where it began


def best_paths(
    spoken: Sequence[Sequence[int]], subword: np.ndarray, first: np.ndarray, last: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best path of any of a term's pronunciations in each of N spans of frames.

    Args:
      spoken: pronunciations, none of them empty.
      subword: (T, units) uint8, steps below the best unit of each frame.
      first, last: (N,) the first frame of each span, and the one after its last.
    Returns:
      score in nats, at most 0, and UNREACHABLE where a span is too short; first frame of the path, and the one after its last:
      (N,) each.
    """
    lengths = last - first
    score, start, end = np.full(len(first), UNREACHABLE), np.zeros(len(first), np.int64), np.zeros(len(first), np.int64)
    order = np.argsort(lengths, kind="stable")
    at = int(np.searchsorted(lengths[order], 1))
    while at < len(order):  # spans of similar lengths together
        longest = lengths[order[min(len(order) - 1, at + AT_ONCE // max(1, int(lengths[order[at]])))]]
        part = order[at : at + max(1, AT_ONCE // int(longest))]
        at += len(part)
        frames, ends_at = np.arange(int(lengths[part].max())), last[part, None] - 1
        costs, beyond = _Costs(subword.take(np.minimum(first[part, None] + frames, ends_at), 0)), frames >= lengths[part, None]
        for units in spoken:
            own, begins, ends = _of_one(units, costs, beyond)
            better = own > score[part]
            score[part[better]] = own[better]
            start[part[better]], end[part[better]] = (first[part] + begins)[better], (first[part] + ends)[better]
    return score, start, end


class _Costs:
    """Sums of the costs of units before each frame, above the bits of the start."""

    def __init__(self, steps: np.ndarray) -> None:
        """steps: (N, T, units) uint8."""
        self.steps = steps
        self.known: Dict[int, np.ndarray] = {}
        length = steps.shape[1]
        small = 255 * length < 1 << 29 - START_BITS and length < 1 << START_BITS
        self.number, self.bits, self.never = (np.int32, START_BITS, -(1 << 30)) if small else (np.int64, 24, -(1 << 60))

    def __call__(self, unit: int) -> np.ndarray:
        """(N, T + 1)"""
        if unit not in self.known:
            count, length, _ = self.steps.shape
            out = np.zeros((count, length + 1), self.number)
            np.cumsum(self.steps[:, :, unit], axis=1, dtype=self.number, out=out[:, 1:])
            out <<= self.bits
            self.known[unit] = out
        return self.known[unit]


def _of_one(units: Sequence[int], costs: _Costs, beyond: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one pronunciation. beyond: (N, T) where a shorter span has no frame."""
    count, length = beyond.shape
    never, bits = costs.never, costs.bits
    total, before, shortest = None, 0, 0
    for unit in units:
        own = costs(unit)
        if total is None:  # a path may begin in any frame; the earlier start is the larger number
            into = own[:, :-1] + (length - 1 - np.arange(length)).astype(costs.number)
        else:
            blank = costs(0)
            into = np.full((count, length), never, costs.number)
            np.add(total[:, :-1], blank[:, 1:-1], out=into[:, 1:])
            np.maximum.accumulate(into, axis=1, out=into)
            into -= blank[:, 1:]
            before_it = into if unit == before else np.maximum(into, total, out=into)
            into = np.full((count, length), never, costs.number)
            np.add(before_it[:, :-1], own[:, 1:-1], out=into[:, 1:])
        total = np.maximum.accumulate(into, axis=1, out=into)
        total -= own[:, 1:]
        shortest += 1 + (unit == before)
        before = unit
    assert total is not None
    total[beyond] = never
    total[:, : shortest - 1] = never
    best, every = total.argmax(1), np.arange(count)
    value = total[every, best]
    score = np.where(value > never, (value >> bits).astype(np.float32) * np.float32(STEP), UNREACHABLE)
    return score.astype(np.float32), length - 1 - (value & ((1 << bits) - 1)), best + 1
