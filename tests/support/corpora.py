"""Small corpora: sentences of real prompts, Kaldi data directories, and recordings in the layout of yesno."""

from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List

import numpy as np
import soundfile
from scipy.signal import resample_poly

from utils.corpus import audio
from utils.corpus.manifests import Utterance

SENTENCES = [
    line.split()
    for line in """
please enter your password followed by the pound key
please enter the conference number followed by the pound key
please enter the extension of the person you are looking for
press one to hear the message again
press one to mute or unmute yourself
press two to hear the next message
press two to lock or unlock the conference
to hear the message again press one
your call cannot be completed as dialed
your call is now first in line and will be answered by the next available representative
the number you have dialed is not in service
the conference is now locked
you are currently the only person in this conference
there are currently to two too
all circuits are busy now please try your call again later
thank you
thank you thank you for calling
press press press
""".strip().splitlines()
]


def data_config(module: str, **changes: object) -> SimpleNamespace:
    """The keys below `data`, as a module of local/ gets them."""
    keys = dict(
        module=module,
        source="",
        language="en",
        normaliser="basic",
        conventions=["usual"],
        segmentation="auto",
        sampling_rate=16000,
        min_duration=0.1,
        max_duration=35.0,
        max_left_out=0.01,
        train_minutes=0,
        options={},
    )
    return SimpleNamespace(**{**keys, **changes})


def write_kaldi(folder: Path, utterances: List[Utterance], speakers: int) -> None:
    """Write wav.scp, text and utt2spk of `utterances`, dealt out to made-up speakers (the voice is one)."""
    folder.mkdir(parents=True)
    rows = sorted((f"{folder.name}{i % speakers}-{u.id}", f"{folder.name}{i % speakers}", u) for i, u in enumerate(utterances))
    for table, value in (("wav.scp", lambda u, s: u.audio), ("text", lambda u, s: u.text), ("utt2spk", lambda u, s: s)):
        (folder / table).write_text("".join(f"{i} {value(u, s)}\n" for i, s, u in rows), encoding="utf-8")


def write_prompts(folder: Path, speech: Dict[str, Utterance]) -> Path:
    """Write Kaldi data directories of real prompts: train (40 utterances, 4 speakers), dev (8, 2) and test (8, 2)."""
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "conf-"))]
    parts = {"train": prompts[:40], "dev": prompts[40:48], "test": prompts[48:56]}
    for split, part in parts.items():
        write_kaldi(folder / split, part, 4 if split == "train" else 2)
    return folder


YESNO = bytes.fromhex(  # what the recordings of yesno say, a bit a word: 0f is 0_0_0_0_1_1_1_1.wav
    "0f 11 16 22 26 27 28 29 2b 31 34 36 37 38 39 3c 3e 44 46 4a 4b 50 5a 5c 66 67 70 72 75 7a "
    "7f 80 81 83 89 97 a9 b7 ba bd c1 c7 ca cb ce d4 d6 d9 db de e1 e5 e7 ea eb f2 f4 f8 fc ff"
)


def write_yesno(folder: Path, speech: Dict[str, Utterance]) -> Path:
    """Write 60 recordings of eight words each as yesno has them: real recordings of "zero" (0) and "one" (1) at 8 kHz.

    Every word is played at its own speed (0.9 to 1.1) and level, with a short pause of its own before it, so no two are the same.
    """
    folder.mkdir(parents=True)
    words = [_without_silence(soundfile.read(str(speech[f"digits/{digit}"].audio))[0]) for digit in (0, 1)]
    rng = np.random.default_rng(0)
    for number in YESNO:
        digits = f"{number:08b}"
        pieces = []
        for digit in digits:
            word = resample_poly(words[int(digit)], 100, int(rng.integers(180, 221)))
            pieces += [np.zeros(int(rng.uniform(0.05, 0.25) * 8000)), rng.uniform(0.4, 0.9) * word]
        wave = np.concatenate([*pieces, np.zeros(1600)])
        wave += rng.normal(0, 1e-4, len(wave))  # recorded silence is never all zeros
        wave = np.pad(wave, (0, -len(wave) % 80), mode="reflect")  # whole hundredths of a second
        audio.write_wav(folder / f"{'_'.join(digits)}.wav", (32767 * wave).round().astype(np.int16), 8000)
    return folder


def _without_silence(samples: np.ndarray) -> np.ndarray:
    """A recording from where it first reaches a fiftieth of its peak to where it last does."""
    loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]
