"""What train shares with dev and test: audio, which makes error rates too low without a sign, and sentences."""

import logging
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

from utils.core.splits import EVALUATION


class Spoken(NamedTuple):
    """A usable utterance: its text, and where its audio is."""

    id: str
    split: str
    text: str
    digest: str  # of the samples
    audio: Path
    channel: int
    start: float  # seconds
    end: float


def warn(spoken: Sequence[Spoken], log: logging.Logger) -> None:
    """Log which utterances of dev and test have their audio in train, and how many sentences are in two splits."""
    shared = _in_train(spoken)
    texts = {split: {s.text for s in spoken if s.split == split} for split in ("train", "dev")}
    for split in EVALUATION:
        own = [s for s in spoken if s.split == split]
        leaked = sorted((s.id, shared[s.id]) for s in own if s.id in shared)
        if leaked:
            pairs = ", ".join(f"{one} has that of {other}" for one, other in leaked[:5])
            said = "%s: %d of %d utterances have audio that train has too (%s): the error rate of %s will be too low"
            log.warning(said, split, len(leaked), len(own), pairs, split)
        for other in ("train", "dev") if split == "test" else ("train",):
            known = sum(s.text in texts[other] for s in own if s.text)
            if known:
                part = 100 * known / len(own)
                log.info("%s: %d of %d sentences (%.1f%%) are sentences of %s", split, known, len(own), part, other)


def _in_train(spoken: Sequence[Spoken]) -> Dict[str, str]:
    """Utterance of dev or test -> one of train with its samples, or with half of the shorter one's span of the recording."""
    samples = {s.digest: s.id for s in spoken if s.split == "train"}
    shared = {s.id: samples[s.digest] for s in spoken if s.split in EVALUATION and s.digest in samples}
    recordings: Dict[Tuple[Path, int], List[Spoken]] = defaultdict(list)
    for one in spoken:
        recordings[one.audio, one.channel].append(one)
    for group in recordings.values():
        if len({s.split for s in group}) > 1:
            group.sort(key=lambda s: (s.start, s.end))
            for i, one in enumerate(group):
                for other in group[i + 1 :]:
                    if other.start >= one.end:
                        break
                    common = min(one.end, other.end) - other.start
                    for test, train in ((one, other), (other, one)):
                        if (
                            test.split in EVALUATION
                            and train.split == "train"
                            and 2 * common > min(one.end - one.start, other.end - other.start)
                        ):
                            shared.setdefault(test.id, train.id)
    return shared
