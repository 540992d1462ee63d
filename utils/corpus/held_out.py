"""Splits that a corpus doesn't have, held out of train: large enough to rank models by, and by speaker where speakers allow it.

A split gets 5 to 10% of the corpus: with at least 100 utterances and ten minutes, where 10% of the corpus is as much. Whole
speakers are held out where there are ten or more, and where a fifth of them say enough; otherwise utterances are. Everything is
chosen by the SHA-1 of its name, so that every machine chooses the same.
"""

import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence

import soundfile

from utils.core.errors import UserError
from utils.corpus.manifests import Utterance, name_digest

UTTERANCES, SECONDS = 100, 600.0  # that a split has at least, where `most` of the corpus is as much
LEAST = 0.5  # of `most`: the share of the corpus that is enough, where it has as many utterances and seconds
SPEAKERS = 10  # from that many on, whole speakers may be held out
LUMPS = 1.5  # times `most`, which a split of whole speakers may have
FEW = 0.2  # at most this share of the speakers makes a split: many small ones would leave train the large ones alone
FILES = 10_000  # whose headers are read
GUESS = 5.0  # seconds of an utterance, where no header can be read


class Size(NamedTuple):
    """What a split has."""

    utterances: int
    seconds: float

    def reaches(self, other: "Size") -> bool:
        """Whether it has as many utterances and seconds as another."""
        return self.utterances >= other.utterances and self.seconds >= other.seconds - 1e-6


def check_share(most: float) -> None:
    """Raises UserError for a data.options.held_out that is no share of train."""
    if not 0 < most < 0.5:
        raise UserError(f"data.options.held_out={most}: a share of train, more than 0 and less than 0.5")


def hold_out(utterances: Sequence[Utterance], splits: Sequence[str], most: float, log: logging.Logger) -> List[Utterance]:
    """The same utterances, some of train moved to each of `splits`, which is logged.

    Args:
      most: the largest share of train that a split gets.
    """
    out, seconds = list(utterances), _durations([u for u in utterances if u.split == "train"])
    whole, who = _size(list(seconds), seconds), {u.speaker for u in utterances if u.split == "train"}
    least, largest = (Size(round(share * whole.utterances), share * whole.seconds) for share in (LEAST * most, LUMPS * most))
    enough = Size(
        max(1, round(min(max(least.utterances, UTTERANCES), most * whole.utterances))),
        min(max(least.seconds, SECONDS), most * whole.seconds),
    )
    few = max(1, round(FEW * len(who))) if len(who) >= SPEAKERS else 0
    for split in splits:
        train = [u for u in out if u.split == "train"]
        if not train:
            return out  # stage 0 says why no utterance is usable
        whole_speakers = _speakers(train, seconds, few, least, enough, largest)
        ids = set(whole_speakers or _single(train, seconds, enough))
        size = _size(list(ids), seconds)
        how = f"all that {len({u.speaker for u in train if u.id in ids})} of {len(who)} speakers say"
        if not whole_speakers:
            why = "they are too few" if not few else "some say most of it"
            how = (
                f"chosen one by one from {len(who)} speakers, as {why}: the speakers are in train too, so error rates are lower "
                "than those of other speakers"
            )
        minutes = size.seconds / 60
        log.info("%s: %d utterances of train are held out, %.1f minutes, %s", split, size.utterances, minutes, how)
        out = [replace(u, split=split) if u.split == "train" and u.id in ids else u for u in out]
    return out


def _speakers(
    train: Sequence[Utterance], seconds: Dict[str, float], few: int, least: Size, enough: Size, largest: Size
) -> List[str]:
    """The utterances of at most `few` speakers: enough, or as many as fit below `largest`; none where these are not `least`."""
    said: Dict[str, List[str]] = defaultdict(list)
    for u in train:
        said[u.speaker].append(u.id)
    chosen: List[str] = []
    for speaker in sorted(said, key=name_digest):
        size = _size([*chosen, *said[speaker]], seconds)
        if few and largest.reaches(size):
            chosen, few = [*chosen, *said[speaker]], few - 1
            if size.reaches(enough):
                break
    return chosen if _size(chosen, seconds).reaches(least) else []


def _single(train: Sequence[Utterance], seconds: Dict[str, float], enough: Size) -> List[str]:
    """Utterances that are enough; where the first ones by digest are short, up to `LUMPS` times as many as asked for."""
    ids = sorted((u.id for u in train), key=name_digest)
    chosen: List[str] = []
    time = 0.0
    while len(chosen) < max(1, min(LUMPS * enough.utterances, len(ids) // 2)) and not Size(len(chosen), time).reaches(enough):
        chosen.append(ids[len(chosen)])
        time += seconds[chosen[-1]]
    return chosen


def _size(ids: Sequence[str], seconds: Dict[str, float]) -> Size:
    return Size(len(ids), sum(seconds[i] for i in ids))


def _durations(utterances: Sequence[Utterance]) -> Dict[str, float]:
    """Seconds of each utterance, by its span or by the header of its file; of many files, some are read, and tell the others."""
    paths = list(dict.fromkeys(u.audio for u in utterances if u.end is None))
    files = {path: _of_file(path) for path in paths[:: -(-len(paths) // FILES) or 1]}
    known = [seconds for seconds in files.values() if seconds is not None]
    usual = sum(known) / len(known) if known else GUESS
    return {u.id: max((files.get(u.audio) or usual) - u.start if u.end is None else u.end - u.start, 0.0) for u in utterances}


def _of_file(path: Path) -> Optional[float]:
    """Seconds of a file; None for one of another format, or damaged, which is found later."""
    try:
        return soundfile.info(str(path)).duration
    except (RuntimeError, OSError):
        return None
