"""Where sound comes from while it is heard: a microphone, or a file played at its own speed."""

import math
import queue
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, List, Optional, Union

import numpy as np

from utils.audio.recordings import recording
from utils.core.errors import UserError

BLOCK = 0.05  # seconds


@dataclass(frozen=True)
class Sound:
    """One channel of sound, as it comes."""

    name: str
    rate: int  # Hz
    blocks: Iterator[np.ndarray]  # (T,) float32 from -1 to 1
    remarks: List[str] = field(default_factory=list)  # complete once all blocks came


@contextmanager
def microphone(device: Optional[Union[int, str]] = None) -> Iterator[Sound]:
    """What a microphone hears from when the first block is asked for, without an end.

    Args:
      device: its number, or a part of its name; None: the usual one.
    Raises:
      UserError: the package sounddevice is missing, or the microphone can't be opened.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise UserError(
            f"a microphone needs the package sounddevice and PortAudio ({error}): .venv/bin/python -m pip install sounddevice, "
            "and on Debian apt-get install libportaudio2; --file plays a recording instead"
        ) from None
    heard: "queue.SimpleQueue[np.ndarray]" = queue.SimpleQueue()
    remarks: List[str] = []

    def take(samples: np.ndarray, frames: int, at: Any, status: Any) -> None:
        if status and not remarks:
            remarks.append(f"some sound was lost ({status}): this machine is too slow, or does too much besides")
        heard.put(samples[:, 0].copy())

    try:
        about = sounddevice.query_devices(device, "input")
        rate = int(about["default_samplerate"])
        size = int(BLOCK * rate)
        opened = sounddevice.InputStream(rate, size, device, channels=1, dtype="float32", callback=take)
    except (sounddevice.PortAudioError, ValueError) as error:
        others = ", ".join(str(one["name"]) for one in sounddevice.query_devices() if one["max_input_channels"]) or "none"
        raise UserError(f"the microphone can't be opened: {error}; microphones here: {others}") from None

    def blocks() -> Iterator[np.ndarray]:
        with opened:
            while True:
                yield heard.get()

    try:
        yield Sound(str(about["name"]), rate, blocks(), remarks)
    finally:
        opened.close()


@contextmanager
def played(path: Path, speed: float = 1.0) -> Iterator[Sound]:
    """A file of audio or video, its channels mixed, in blocks that come when they would be heard.

    Args:
      speed: seconds of it that are played in one second; infinity: as fast as it is read.
    Raises:
      UserError: the file can't be read.
    """
    with recording(path) as audio:

        def blocks() -> Iterator[np.ndarray]:
            began, heard, size = time.monotonic(), 0, max(1, int(BLOCK * audio.rate))
            for block in audio.blocks:
                mixed = block.mean(1, dtype=np.float32)
                for start in range(0, len(mixed), size):
                    part = mixed[start : start + size]
                    heard += len(part)
                    if not math.isinf(speed):
                        time.sleep(max(0.0, began + heard / (audio.rate * speed) - time.monotonic()))
                    yield part

        yield Sound(path.name, audio.rate, blocks(), audio.remarks)
