"""Sentences as somebody might say them at home: synthesised in many voices, in rooms, beside noises."""

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np
import soundfile

from utils.audio.noises import in_room, simulated_room, stretch
from utils.audio.resampling import resample
from utils.commands.espeak import RATE as ESPEAK_RATE
from utils.commands.espeak import Said, speak
from utils.core import download
from utils.core.errors import UserError
from utils.core.languages import family
from utils.languages.ipa import voice as voice_of
from utils.text.letters import joined
from utils.train.synthesis import VOICES, Flite

RATE = 16000  # Hz, of what is made here
ACCENTS = {  # of espeak-ng, by language, where it has several
    "en": ("en-us", "en-us-nyc", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"),
    "zh": ("cmn",),
}
SPEAKERS = (
    *("", "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8"),
    *("Alicia", "Andy", "Annie", "Gene", "Lee", "Michael", "Mike", "Reed", "adam", "belinda", "david", "edward", "linda"),
)
FLITE = 0.4  # share of English sentences that flite says
SPEEDS = (0.9, 1.0, 1.0, 1.1, 1.2)  # of playing, which changes the pitch too: one voice sounds like several
FRAME = 2048  # samples of the frames whose energy tells how loud speech and noise are
DRY = 0.4  # share of recordings without a room
QUIETEST, LOUDEST = 0.0, 25.0  # dB: ratios of speech to noise
ALONE = 0.2  # share of recordings without noise


@dataclass
class Speakers:
    """Voices of a language, and noises to hear them by."""

    language: str
    noises: Sequence[np.ndarray] = field(default_factory=list)  # (T,), at RATE
    seed: int = 0

    def say(self, sentences: Sequence[Sequence[str]]) -> List[np.ndarray]:
        """Samples (T,) float32 of each sentence, at RATE, clean, each by a voice at random. The same for each seed.

        Raises:
          UserError: espeak-ng does not run, or has no voice of the language.
        """
        draw = random.Random(f"{self.seed}/say")
        flite = self._flite()
        accents = ACCENTS.get(family(self.language), (voice_of(self.language),))
        if not accents[0]:
            raise UserError(f"espeak-ng has no voice of the language {self.language}")
        asked: List[Said] = []
        voices: List[str] = []
        for words in sentences:
            text = joined(words)
            accent, speaker = draw.choice(accents), draw.choice(SPEAKERS)
            voice = f"{accent}+{speaker}" if speaker else accent
            asked.append(Said(text, voice, draw.randint(150, 230), draw.randint(30, 70), draw.randint(30, 80)))
            voices.append(draw.choice(VOICES) if flite and draw.random() < FLITE else "")
        spoken = iter(speak([one for one, by_flite in zip(asked, voices) if not by_flite]))
        out = []
        with tempfile.TemporaryDirectory() as folder:
            for words, by_flite in zip(sentences, voices):
                if by_flite and flite:
                    path = Path(folder) / "said.wav"
                    flite.speak(words, by_flite, draw.uniform(0.75, 1.15), path)
                    samples, rate = soundfile.read(path, dtype="float32")
                else:
                    samples, rate = next(spoken), ESPEAK_RATE
                played = resample(samples, int(rate * draw.choice(SPEEDS)) // 50 * 50, RATE)
                out.append(np.pad(played, [int(RATE * draw.uniform(0.1, 0.6)) for _ in range(2)]).astype(np.float32))
        return out

    def at_home(self, recordings: Sequence[np.ndarray]) -> List[np.ndarray]:
        """Recordings as a device would have them: most in a room, and most beside a noise, at ratios from QUIETEST to LOUDEST."""
        draw = np.random.default_rng(self.seed)
        out = []
        for samples in recordings:
            heard = samples if draw.random() < DRY else in_room(samples, simulated_room(RATE, draw))
            if self.noises and draw.random() >= ALONE:
                heard = mixed(heard, stretch(self.noises, len(heard), draw), draw.uniform(QUIETEST, LOUDEST))
            out.append(heard)
        return out

    def _flite(self) -> Optional[Flite]:
        try:
            return Flite(download.folder("flite")) if self.language == "en" else None
        except UserError:  # espeak-ng has voices enough
            return None


def mixed(speech: np.ndarray, noise: np.ndarray, ratio: float) -> np.ndarray:
    """Speech and noise of the same length, at a ratio in dB, with a peak of half the scale.

    The ratio is that of the loudest frames' energies, as in the benchmark that `tests.bench.commands` repeats
    (github.com/Picovoice/speech-to-intent-benchmark, benchmark/mixer.py).
    """
    factor = np.sqrt(_loudest(speech) / max(_loudest(noise) * 10 ** (ratio / 10), 1e-12))
    both = speech + factor * noise
    return (both / (2 * max(float(np.abs(both).max()), 1e-9))).astype(np.float32)


def _loudest(samples: np.ndarray) -> float:
    """Energy of the loudest frame."""
    frames = len(samples) // FRAME
    if not frames:
        return float((samples.astype(np.float64) ** 2).sum())
    return float((samples[: frames * FRAME].reshape(frames, FRAME).astype(np.float64) ** 2).sum(1).max())
