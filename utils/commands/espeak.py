"""Sentences said by espeak-ng, in many voices of a language.

It runs in a process of its own, which is this file run as a module: its library has one state for all threads, and its licence is
the GNU General Public License, version 3 or later.
"""

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Iterable, Iterator, List, Sequence

import numpy as np

from utils.core.errors import UserError
from utils.core.files import ROOT

RATE = 22050  # Hz, of its samples
_RETRIEVAL, _SPEED, _PITCH, _RANGE = 2, 1, 3, 4  # of its speak_lib.h: output mode, parameters


@dataclass(frozen=True)
class Said:
    """A sentence, and how it is to be said."""

    text: str
    voice: str  # such as en-us+f2: a language, and one of its variants
    speed: int = 175  # words a minute
    pitch: int = 50  # 0 to 99
    pitch_range: int = 50


def speak(sentences: Sequence[Said]) -> List[np.ndarray]:
    """Samples of each sentence, (T,) float32, at RATE.

    Raises:
      UserError: espeak-ng is not installed, does not run, or lacks a voice.
    """
    asked = "".join(json.dumps(asdict(one)) + "\n" for one in sentences).encode()
    done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, input=asked, capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"it ended with status {done.returncode}"
        raise UserError(f"espeak-ng can't say the sentences ({reason}): run utils/setup.sh, which installs it (espeakng-loader)")
    out, place = [], 0
    for _ in sentences:
        count = int.from_bytes(done.stdout[place : place + 8], "little")
        place += 8
        out.append(np.frombuffer(done.stdout, "<i2", count, place).astype(np.float32) / 32768)
        place += 2 * count
    return out


def _synthesised(sentences: Iterable[Said]) -> Iterator[bytes]:
    """Samples of 16 bits, by the library, in this process."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    parts: List[bytes] = []

    def heard(samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int) -> int:
        if samples and count:
            parts.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = kind(heard)
    if library.espeak_Initialize(_RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0) != RATE:
        sys.exit("its data can't be loaded")
    library.espeak_SetSynthCallback(callback)
    for one in sentences:
        if library.espeak_SetVoiceByName(one.voice.encode()):
            sys.exit(f"it has no voice {one.voice}")
        for parameter, value in ((_SPEED, one.speed), (_PITCH, one.pitch), (_RANGE, one.pitch_range)):
            library.espeak_SetParameter(parameter, value, 0)
        text = one.text.encode()
        parts.clear()
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, 1, None, None)  # from a position in characters; UTF-8
        library.espeak_Synchronize()
        yield b"".join(parts)


if __name__ == "__main__":
    for samples in _synthesised(Said(**json.loads(line)) for line in sys.stdin.buffer.read().decode().splitlines()):
        sys.stdout.buffer.write((len(samples) // 2).to_bytes(8, "little") + samples)
