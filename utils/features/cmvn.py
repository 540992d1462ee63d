"""Mean and standard deviation of features, for normalisation: sums of each chunk, added up, and the file of the statistics."""

from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
from safetensors.numpy import save

from utils.core.files import write_bytes

STATISTICS = "cmvn.safetensors"  # in the folders of stages 1 and synthesise
Sums = Dict[str, List[Any]]  # speaker -> [frames, sum (C,), sum of squares (C,)]


def add(sums: Sums, speaker: str, features: np.ndarray) -> None:
    """Add features (T, C) of one cut to its speaker's sums."""
    x = features.astype(np.float64)
    frames, first, second = sums.get(speaker, (0, 0.0, 0.0))
    sums[speaker] = [frames + len(x), first + x.sum(0), second + np.einsum("tc,tc->c", x, x)]


def total(records: Sequence[Sums]) -> Sums:
    """Sums of several chunks, added by speaker in the order of the chunks: the same bits for any number of processes."""
    out: Sums = {}
    for record in records:
        for speaker, (frames, first, second) in record.items():
            sofar = out.setdefault(speaker, [0, np.zeros(len(first)), np.zeros(len(first))])
            out[speaker] = [sofar[0] + frames, sofar[1] + np.array(first), sofar[2] + np.array(second)]
    return out


def write_cmvn(sums: Sums, per_speaker: bool, path: Path, smallest: float) -> None:
    """Write mean and standard deviation, (C,) float32 each: of everything in `sums`, or `<speaker>/mean` ... of each speaker.

    Args:
      smallest: floor of the standard deviations.
    """
    table: Dict[str, np.ndarray] = {}
    if not per_speaker and sums:
        sums = total([{"": value} for value in sums.values()])
    for speaker, (frames, first, second) in sums.items():
        mean = first / frames
        std = np.sqrt(np.maximum(second / frames - mean**2, smallest**2))
        prefix = f"{speaker}/" if per_speaker else ""
        table[prefix + "mean"], table[prefix + "std"] = mean.astype(np.float32), std.astype(np.float32)
    write_bytes(path, save(table))
