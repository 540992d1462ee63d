"""Audio that can be used but should be questioned: listed in stage 0's doubtful.tsv, and said with its share."""

import logging
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import numpy as np

from utils.core.files import write_lines

KINDS = {  # what is said of utterances of a kind, and what to do
    "clipped": "are clipped: record at a lower level, or take the audio from before it was amplified",
    "quiet": "are very quiet: look whether the right channel and the right scale were taken",
    "8 bits": "have samples of 8 bits, with audible noise: take the original if there is a better one",
    "digital silence": "are mostly digital silence: audio is lost, or padded",
    "offset": "have a strong DC offset: a defect of the recording device; a high-pass filter removes it",
    "odd file": "come from files whose header or time stamps are wrong; what could be decoded is used",
    "same audio": "have the same audio as another: a file copied under two names, or two segments at the same place",
    "speech rate": "have far more or fewer letters a second than most: look for a wrong sampling rate, or another text",
}
CLIPPED = 0.05  # share of the samples; a sine has 0.01
FLAT = 1e-4  # of full scale: samples so near the extreme are at it
QUIET = 3e-3  # peak of full scale (-50 dB)
OFFSET = 0.1  # mean, of full scale
LONGEST_PAUSE = 0.9  # share of samples that repeat the one before for `STILL` seconds or more
STILL = 0.1  # seconds
ENOUGH = 10  # utterances of a language, before the speech rate of one can be called odd
RATE = 1.8  # smallest factor between an odd speech rate and the median: 2 is 16 kHz taken for 8
SPREADS = 6.0  # and at least so many median absolute deviations of its logarithm


@dataclass(frozen=True)
class Doubt:
    """One reason to question an utterance's audio."""

    kind: str  # of KINDS
    detail: str


class Spoken(NamedTuple):
    """What is compared between utterances."""

    id: str
    split: str
    language: str
    text: str
    seconds: float
    digest: str  # of the samples


def of_samples(samples: np.ndarray, rate: int, coding: str) -> List[Doubt]:
    """Doubts about the samples of one utterance.

    Args:
      samples: (T,) float32, not silent.
      coding: in libsndfile's words.
    """
    out, peak, mean = [], float(np.abs(samples).max()), float(samples.mean(dtype=np.float64))
    share = _clipped(samples)
    if share > CLIPPED:
        out.append(Doubt("clipped", f"{share:.0%} of the samples are at the limits"))
    if peak < QUIET:
        out.append(Doubt("quiet", f"peak {20 * math.log10(peak):.0f} dB of full scale"))
    if coding in ("PCM_U8", "PCM_S8"):
        out.append(Doubt("8 bits", coding))
    share = _still(samples, round(STILL * rate))
    if share > LONGEST_PAUSE:
        out.append(Doubt("digital silence", f"{share:.0%} of the samples repeat the one before"))
    if abs(mean) > OFFSET:
        out.append(Doubt("offset", f"mean {mean:.2f} of full scale"))
    return out


def of_corpus(spoken: Sequence[Spoken]) -> Dict[str, List[Doubt]]:
    """Doubts that come from comparing utterances, by id."""
    out: Dict[str, List[Doubt]] = defaultdict(list)
    same: Dict[str, List[Spoken]] = defaultdict(list)
    for one in spoken:
        same[one.digest].append(one)
    for group in (found for found in same.values() if len(found) > 1):
        for one in group:
            other = next(o for o in group if o.id != one.id)
            out[one.id].append(
                Doubt("same audio", f"as {other.id} of {other.split}" + f" and {len(group) - 2} more" * (len(group) > 2))
            )
    languages: Dict[str, Dict[str, float]] = defaultdict(dict)
    for one in spoken:
        letters = sum(c.isalnum() for c in one.text)
        if letters:
            languages[one.language][one.id] = math.log(letters / one.seconds)
    for rates in languages.values():
        median = float(np.median(list(rates.values())))
        spread = float(np.median([abs(rate - median) for rate in rates.values()]))
        for name, rate in rates.items():
            if len(rates) >= ENOUGH and abs(rate - median) > max(math.log(RATE), SPREADS * spread):
                out[name].append(
                    Doubt("speech rate", f"{math.exp(rate):.1f} letters a second; the median is {math.exp(median):.1f}")
                )
    return out


def report(found: Dict[str, List[Doubt]], spoken: Sequence[Spoken], out: Path, final: Path, log: logging.Logger) -> None:
    """List doubts by utterance, and say how many there are of each kind.

    Args:
      found: by id.
      spoken: all utterances that are used.
      out: the partial folder.
      final: its final name.
    """
    path = out / "doubtful.tsv"
    rows = sorted((one.id, one.split, doubt.kind, doubt.detail) for one in spoken for doubt in found.get(one.id, []))
    write_lines(path, ("\t".join(row) for row in rows))
    for kind, said in KINDS.items():
        names = [row[0] for row in rows if row[2] == kind]
        if names:
            first = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
            log.warning(
                "%d of %d utterances (%.1f%%) %s. %s, all in %s",
                len(names),
                len(spoken),
                100 * len(names) / len(spoken),
                said,
                first,
                final / path.name,
            )


def _clipped(samples: np.ndarray) -> float:
    """Share of the samples of (T,) at the largest or the smallest value: without clipping, few are."""
    return sum(float(np.mean(np.abs(samples - extreme) < FLAT)) for extreme in (samples.max(), samples.min()))


def _still(samples: np.ndarray, shortest: int) -> float:
    """Share of the samples of (T,) in stretches of one value, of `shortest` samples or more."""
    edges = np.flatnonzero(np.diff(samples) != 0) + 1
    lengths = np.diff(np.concatenate(([0], edges, [len(samples)])))
    return float(lengths[lengths >= shortest].sum()) / len(samples)
