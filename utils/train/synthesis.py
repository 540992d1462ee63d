"""Synthesised speech for training: flite (Black and Lenzo 2001) says words that the training text lacks.

So the acoustic model is trained on more words than the corpus has. Neither the decoding lexicon nor the n-grams get these words.

flite is taken from the PATH, or else from Debian's packages flite and libflite1, unpacked without root. It speaks English.
"""

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Iterator, List, Sequence, Tuple

from lhotse import MonoCut, Recording, SupervisionSegment

from utils.core import download
from utils.core.errors import UserError
from utils.executors.reopened import Reopened

VOICES = ("awb", "kal16", "rms", "slt")  # three men from Scotland and the USA (kal16 by diphones), and a woman
LENGTHS = (3, 9)  # words an utterance
STRETCH = (0.85, 1.25)  # factor of the voice's own durations
SPEEDS = (0.9, 1.0, 1.1, 1.2)  # changes speed and pitch, so that one voice sounds like several
PACKAGES = ("flite", "libflite1")
Utterance = Tuple[str, List[str], str, float, float]  # id, words, voice, stretch of the durations, speed


class Flite(Reopened):
    """The program flite and its libraries."""

    def __init__(self, downloads: Path) -> None:
        """downloads: where Debian's packages go. Raises UserError if there is neither flite nor apt, or flite lacks a voice."""
        self.program, self.environment = shutil.which("flite") or "", dict(os.environ)
        if not self.program:
            if not download.has_apt():
                raise UserError(
                    "synthesis.utterances needs flite, and neither it nor apt-get was found: install it, or set that to 0"
                )
            program, libraries = download.debian_packages(PACKAGES, downloads)
            self.program = str(program / "usr" / "bin" / "flite")
            folders = [str(path) for path in (libraries / "usr" / "lib").iterdir()]
            self.environment["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
        voices = self._run("-lv").partition(":")[2].split()
        lacking = [voice for voice in VOICES if voice not in voices]
        if lacking:
            raise UserError(
                f"{self.program} has no voice {', '.join(lacking)} (it has {', '.join(voices)}): "
                "install Debian's flite, or take this one from the PATH"
            )
        self.opened_by(Flite, downloads)

    def speak(self, words: Sequence[str], voice: str, stretch: float, path: Path) -> None:
        """Write an utterance, 16 kHz, 16 bit. Raises UserError, which names the words, if flite fails."""
        self._run("-voice", voice, "--setf", f"duration_stretch={stretch:.2f}", "-t", " ".join(words), "-o", str(path))
        if not path.is_file():
            raise UserError(f"flite wrote nothing for '{' '.join(words)}'")

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([self.program, *arguments], env=self.environment, text=True, capture_output=True)
        if done.returncode:
            said = done.stderr.strip()[:300]
            raise UserError(f"{self.program} {' '.join(arguments)} ended with status {done.returncode}: {said}")
        return done.stdout


def sentences(count: int, new: Sequence[str], known: Sequence[str], share: float, seed: int) -> Iterator[Utterance]:
    """Random utterances to synthesise. Each depends on its number and the seed alone.

    Args:
      new: words that the training text lacks; each word of an utterance is one of them with the probability `share`.
      known: the other words are drawn from these.
    """
    for n in range(count):
        draw = random.Random(f"{seed}/{n}")
        words = [draw.choice(new if draw.random() < share else known) for _ in range(draw.randint(*LENGTHS))]
        yield f"flite-{seed}-{n:06d}", words, draw.choice(VOICES), draw.uniform(*STRETCH), draw.choice(SPEEDS)


def spoken(flite: Flite, utterance: Utterance, folder: Path) -> MonoCut:
    """Speak one of `sentences` into a file of `folder`; returns its cut. A voice at one speed counts as a speaker."""
    name, words, voice, stretch, speed = utterance
    path, text = folder / f"{name}.wav", " ".join(words)
    flite.speak(words, voice, stretch, path)
    recording = Recording.from_file(path, recording_id=name)
    recording = recording if speed == 1.0 else recording.perturb_speed(speed)
    speaker = f"flite-{voice}-{speed:g}"
    segment = SupervisionSegment(name, recording.id, 0.0, recording.duration, 0, text, "en", speaker, custom={"raw": text})
    return MonoCut(name, 0.0, recording.duration, 0, [segment], recording=recording)
