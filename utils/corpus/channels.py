"""Channels of recordings with several: Kaldi's reco2file_and_channel, and what points to a channel of the wrong speaker."""

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple

import numpy as np
import soundfile

from utils.core.errors import UserError

DIFFERENT = 0.01  # share of the energy: more in the difference of two channels, and they are two signals (-20 dB)
SILENT = 1e-4  # energy of a channel against that of the others (-40 dB): less, and there is nothing in it
LOOKED_AT = 60.0  # seconds of a file that are compared
LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Use:
    """The part of a file of several channels that an utterance takes."""

    utterance: str
    recording: str
    text: str
    audio: Path
    channel: int
    start: float  # seconds
    end: Optional[float]  # None: the end of the file


def channel_of(rows: Dict[str, str], path: Path) -> Dict[str, int]:
    """Recording -> channel, counted from 0, of the lines `RECORDING FILE CHANNEL` of reco2file_and_channel.

    CHANNEL is a letter from A, or a number: from 0 where one line has 0, else from 1.

    Args:
      rows: recording -> rest of the line.
      path: of the table, for errors.
    Raises:
      UserError: a line of another form.
    """
    fields = {recording: value.split() for recording, value in rows.items()}
    first = 0 if any(f[-1] == "0" for f in fields.values()) else 1
    out = {}
    for recording, field in fields.items():
        letter = LETTERS.find(field[-1].upper()) if len(field[-1]) == 1 else -1
        number = int(field[-1]) - first if field[-1].isascii() and field[-1].isdecimal() else letter
        if len(field) != 2 or number < 0:
            raise UserError(
                f"{path}, recording '{recording}': '{rows[recording]}' is not FILE CHANNEL, such as 'call1 A' or 'call1 2' "
                "(B, the second channel)"
            )
        out[recording] = number
    return out


def shared(uses: Sequence[Use], log: logging.Logger) -> Dict[str, str]:
    """What is wrong with utterances that share a channel of a file, at the same time, with another recording's other text.

    Both can't be right: two recordings stand for the speakers of one file, and one channel was taken for both. Files in which a
    channel that no utterance has is a signal of its own get a warning.

    Returns: utterance -> problem.
    """
    used: Dict[Tuple[Path, int], List[Use]] = defaultdict(list)
    by_file: Dict[Path, Set[int]] = defaultdict(set)
    for use in uses:
        used[use.audio, use.channel].append(use)
        by_file[use.audio].add(use.channel)
    alone = [path for path, channels in by_file.items() if _others_differ(path, sorted(channels))]
    if alone:
        log.warning(
            "%d files have channels that differ, and not all are used (the first: %s); where every speaker has a channel, name "
            "it in reco2file_and_channel, or another speaker's words are taken for what is said in this one",
            len(alone),
            alone[0],
        )
    return {name: problem for same in used.values() for name, problem in _crossed(same).items()}


def _crossed(uses: Iterable[Use]) -> Dict[str, str]:
    """Of the uses of one channel of one file."""
    out: Dict[str, str] = {}
    running: List[Use] = []
    for one in sorted(uses, key=lambda use: use.start):
        running = [use for use in running if use.end is None or use.end > one.start]
        for other in running:
            if other.recording != one.recording and "" != other.text != one.text != "":
                for this, that in ((one, other), (other, one)):
                    what = f"recording '{that.recording}' has the same channel of {this.audio} at the same time"
                    out[this.utterance] = f"{what}, with another text; name their channels in reco2file_and_channel"
        running.append(one)
    return out


def _others_differ(path: Path, own: Sequence[int]) -> bool:
    with soundfile.SoundFile(str(path)) as audio:
        samples = audio.read(int(LOOKED_AT * audio.samplerate), dtype="float32", always_2d=True)
    energy = np.square(samples).sum(0)
    others = [c for c in range(samples.shape[1]) if c not in own and energy[c] > SILENT * energy[own].max()]
    apart = (np.square(samples[:, [c]] - samples[:, own]).sum(0) > DIFFERENT * np.maximum(energy[c], energy[own]) for c in others)
    return any(different.all() for different in apart)
