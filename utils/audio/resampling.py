"""Resampling in NumPy, with the filter of torchaudio's `resample`, which stage 1 uses: the same numbers to rounding errors."""

import math
from functools import lru_cache
from typing import Tuple

import numpy as np

ZEROS = 6  # of the sinc function to each side, torchaudio's lowpass_filter_width
ROLLOFF = 0.99  # of the cut-off frequency
BLOCK = 2**20  # products that are in memory at once


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """samples: (T,) float32 at `rate` Hz -> (ceil(T * wanted / rate),) float32 at `wanted` Hz."""
    if rate == wanted or not len(samples):
        return samples
    taps, kernel = _filter(rate // math.gcd(rate, wanted), wanted // math.gcd(rate, wanted))
    new, step = len(kernel), rate // math.gcd(rate, wanted)
    reach = kernel.shape[1]
    blocks = -(-len(samples) // step)
    padded = np.pad(samples, (reach, blocks * step - len(samples) + 2 * reach))
    out = np.empty((blocks, new), dtype=np.float32)
    at_once = max(1, BLOCK // kernel.size)
    for first in range(0, blocks, at_once):
        starts = np.arange(first, min(first + at_once, blocks)) * step + reach
        out[first : first + at_once] = np.einsum("bnk,nk->bn", padded[starts[:, None, None] + taps], kernel)
    return out.reshape(-1)[: -(-len(samples) * wanted // rate)]


class Resampling:
    """`resample` of samples that come bit by bit: the same numbers, those near the end a little later."""

    def __init__(self, rate: int, wanted: int) -> None:
        """Rates in Hz."""
        self._rates, common = (rate, wanted), math.gcd(rate, wanted)
        self._step, self._new = rate // common, wanted // common
        reach = math.ceil(ZEROS * self._step / (min(self._step, self._new) * ROLLOFF)) + 1
        self._blocks = -(-reach // self._step)  # blocks of `_step` samples to each side that an output may depend on
        self._held = np.zeros(0, np.float32)
        self._before = 0  # blocks in `_held` whose outputs were given

    def __call__(self, samples: np.ndarray, last: bool = False) -> np.ndarray:
        """samples: (T,) float32 more -> the outputs that no later sample changes; with `last`, all that are left."""
        if self._rates[0] == self._rates[1]:
            return samples
        self._held = np.concatenate((self._held, samples))
        ready = -(-len(self._held) // self._step) if last else len(self._held) // self._step - self._blocks
        if ready <= self._before:
            return np.zeros(0, np.float32)
        end = len(self._held) if last else (ready + self._blocks) * self._step
        out = resample(self._held[:end], *self._rates)[self._before * self._new : ready * self._new]
        gone = max(ready - self._blocks, 0)
        self._held, self._before = self._held[gone * self._step :].copy(), ready - gone
        return out


@lru_cache(maxsize=8)
def _filter(old: int, new: int) -> Tuple[np.ndarray, np.ndarray]:
    """Rates without a common factor -> the samples that each of `new` outputs needs, and their weights: (new, K) each."""
    base = min(old, new) * ROLLOFF
    width = math.ceil(ZEROS * old / base)
    middle = np.arange(new) * old / new
    taps = np.floor(middle).astype(np.int64)[:, None] + np.arange(-width, width + 2)
    t = np.clip((taps - middle[:, None]) * (base / old), -ZEROS, ZEROS)
    kernel = np.sinc(t) * np.cos(t * np.pi / ZEROS / 2) ** 2 * (base / old)
    return taps, kernel.astype(np.float32)
