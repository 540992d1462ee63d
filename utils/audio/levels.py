"""Samples that are silent, on another scale, or no numbers."""

from pathlib import Path
from typing import Optional

import numpy as np

SILENCE = 1e-4  # peak of full scale (-80 dB); audio that never exceeds it is silence
COARSE = {"PCM_U8": 0.012, "PCM_S8": 0.012, "ULAW": 5e-4, "ALAW": 5e-4}  # the same for codings whose last bit is above that
LOUDEST = 2.0  # of full scale; floats beyond it are on another scale, such as that of 16-bit integers


def problem(samples: np.ndarray, silence: float, path: Path) -> Optional[str]:
    """What makes (T,) samples useless; `silence`: the largest peak that is none."""
    wrong = useless(samples, path)
    if wrong:
        return wrong
    if float(np.abs(samples).max()) < silence:
        return f"silent: {path}"
    mean = float(samples.mean(dtype=np.float64))
    if float(np.abs(samples - mean).max()) < silence:
        return f"silent: nothing but a direct current (DC) of {mean:.3g} in {path}"
    return None


def useless(samples: np.ndarray, path: Path) -> Optional[str]:
    """Why no samples of this form, (T, ...), can be used, however loud they are; None where they can."""
    if not np.isfinite(samples).all():
        return f"samples that are not numbers in {path}"
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > LOUDEST:
        return (
            f"samples up to {peak:.5g} in {path}, whose full scale is 1: another scale, such as "
            f"that of integers (32768 for 16 bits); divide them, for example with: ffmpeg -i {path} -af volume=1/32768 NEW.wav"
        )
    return None
