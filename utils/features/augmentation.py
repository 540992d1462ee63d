"""Copies of the training set as other microphones, rooms and lines would have them, mostly by Lhotse's transforms.

What a copy gets follows from the utterance's id and the copy's number, not from the order of the work.
"""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Sequence

import numpy as np
from lhotse.audio.mixer import AudioMixer, audio_energy
from lhotse.augmentation import Compress, Narrowband, Volume

from utils.audio.noises import Recordings, chance, in_room, noise_files, simulated_room, stretch
from utils.executors.reopened import Reopened

MP3 = (0.6, 0.95)  # levels of compression, of 1 at most
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz


@dataclass
class Augmentation(Reopened):
    """The settings of the group `augment`, with what its folders hold."""

    settings: SimpleNamespace
    rate: int  # Hz
    noises: Sequence[np.ndarray]  # (T,) float32 each
    rooms: Sequence[np.ndarray]  # (T,) float32 each, impulse responses; none: they are simulated

    def __call__(self, samples: np.ndarray, name: str) -> np.ndarray:
        """A copy of `samples` (1, S) float32, of the same shape; name: of the copy, from which chance follows."""
        draw = chance(name)
        decibels = draw.uniform(*self.settings.volume)
        echoing, noisy, coded = draw.uniform(size=3)
        samples = Volume(10 ** (decibels / 20))(samples, self.rate)
        if echoing < self.settings.rooms:
            samples = self._reverberated(samples, draw)
        if self.noises and noisy < self.settings.noisy:
            samples = mixed(
                samples, stretch(self.noises, samples.shape[1], draw)[None], draw.uniform(*self.settings.snr), self.rate
            )
        if coded < self.settings.coded:
            samples = self._coded(samples, draw)
        return np.clip(samples, -1, 1).astype(np.float32)

    def _reverberated(self, samples: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        room = self.rooms[draw.integers(len(self.rooms))] if self.rooms else simulated_room(self.rate, draw)
        return reverberated(samples, room)

    def _coded(self, samples: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        telephone, level = draw.random() < 0.5, draw.uniform(*MP3)
        if telephone and self.rate > 8000 or self.rate not in MP3_RATES:
            return by_telephone(samples, self.rate)
        return as_mp3(samples, self.rate, level)


def open_augmentation(settings: SimpleNamespace, rate: int) -> Augmentation:
    """Find what the group `augment` names.

    Raises:
      UserError: a folder without audio, or a file that can't be decoded or is cut short.
    """
    noises = Recordings(noise_files(Path(settings.noise), "train"), rate) if settings.noise else []
    folder = settings.impulse_responses  # of several microphones in a file the first: their mean is no room
    rooms = Recordings(noise_files(Path(folder)), rate, first=True) if folder else []
    return Augmentation(settings, rate, noises, rooms).opened_by(open_augmentation, settings, rate)


def reverberated(samples: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Speech (1, S) in a room with the impulse response (T,), as loud as before."""
    heard = in_room(samples[0], room)[None]
    return heard * np.sqrt((samples**2).mean() / max(float((heard**2).mean()), 1e-12))


def by_telephone(samples: np.ndarray, rate: int) -> np.ndarray:
    """Speech (1, S) over a line of 8 kHz with mu-law coding (ITU-T G.711)."""
    return Narrowband("mulaw", rate, True)(samples, rate)


def as_mp3(samples: np.ndarray, rate: int, level: float) -> np.ndarray:
    """Speech (1, S) coded as MP3 and back, as long as before; rate: one of `MP3_RATES`; level: of compression, 1 at most."""
    coded = Compress("mp3", level)(samples, rate)
    return np.pad(coded, [(0, 0), (0, max(0, samples.shape[1] - coded.shape[1]))])[:, : samples.shape[1]]


def mixed(speech: np.ndarray, noise: np.ndarray, ratio: float, rate: int) -> np.ndarray:
    """Speech and noise, (1, S) each, at a ratio of their energies over the whole utterance in dB."""
    mixer = AudioMixer(speech, rate, reference_energy=audio_energy(speech))
    mixer.add_to_mix(noise, snr=ratio)
    return mixer.mixed_audio
