"""What a manifest says of the features of a cut, and how storage rounds them."""

import base64
import zlib
from typing import Any, Tuple

import lilcom
import numpy as np
from lhotse import Features, LilcomChunkyWriter
from lhotse.cut import MonoCut
from lhotse.features.compression import lilcom_compress_chunked
from lhotse.utils import fastcopy

from utils.features.front_end import FrontEnd

STEPS = (1, 2, 4, 16, 64)  # of a difference, in 2 ** tick_power


def described(cut: MonoCut, shape: Tuple[int, ...], front_end: FrontEnd, kind: str, path: str, key: Any) -> MonoCut:
    """The cut with a description of its features.

    Args:
      shape: (T, C), of the features.
      kind, path, key: Lhotse's storage_type, storage_path and storage_key.
    """
    return fastcopy(
        cut,
        features=Features(
            type=front_end.name,
            num_frames=shape[0],
            num_features=shape[1],
            frame_shift=front_end.frame_shift,
            sampling_rate=front_end.sampling_rate,
            start=cut.start,
            duration=cut.duration,
            channels=cut.channel,
            storage_type=kind,
            storage_path=path,
            storage_key=key,
        ),
    )


def rounded(features: np.ndarray, tick_power: int) -> np.ndarray:
    """Features (T, C) as they come back from a file of stage 1: within half of 2 ** tick_power; how, depends on its chunks.

    Rounding once more changes nothing.
    """
    own = features.copy()  # lilcom writes into what it gets
    parts = lilcom_compress_chunked(own, tick_power=tick_power, chunk_size=LilcomChunkyWriter.CHUNK_SIZE)
    return np.concatenate([lilcom.decompress(part) for part in parts])


def compressed(features: np.ndarray, tick_power: int) -> Tuple[bytes, str]:
    """Features (T, C) by lilcom in one piece, as Lhotse's Shar has them, and what else `restored` needs to give `rounded`.

    Of more than one chunk, lilcom in one piece rounds otherwise than in chunks. Their difference, roughly, is as good as itself:
    it is enough that chunks are rounded to the same. That takes a tenth to a fifth of the room.
    """
    exact = rounded(features, tick_power)
    data = lilcom.compress(features.copy(), tick_power=tick_power)
    whole = lilcom.decompress(data)
    if np.array_equal(whole, exact):
        return data, ""
    for steps in STEPS:
        difference = np.round((exact - whole) * steps / 2.0**tick_power)
        text = f"{steps} {tick_power} {_text(difference.astype(np.int8).T)}"
        if np.abs(difference).max() < 128 and np.array_equal(restored(data, text), exact):
            return data, text
    return data, f"0 0 {_text(exact.astype(np.float32).T)}"  # coefficients of the prediction that are on an edge


def restored(data: bytes, more: str) -> np.ndarray:
    """The features (T, C) of which `compressed` gave `data` and `more`, rounded."""
    whole = lilcom.decompress(data)
    if not more:
        return whole
    (steps, tick_power), text = map(int, more.split()[:2]), more.split()[2]
    content = zlib.decompress(base64.b64decode(text))
    if not steps:
        return np.frombuffer(content, np.float32).reshape(whole.T.shape).T.copy()
    difference = np.frombuffer(content, np.int8).reshape(whole.T.shape).T
    return rounded(whole + difference.astype(np.float32) * np.float32(2.0**tick_power / steps), tick_power)


def _text(numbers: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(numbers).tobytes(), 9)).decode()
