"""The parts of a corpus, and the file of cuts that stages 0 and 1 write for each."""

from pathlib import Path
from typing import Set

SPLITS = ("train", "dev", "test")
EVALUATION = ("dev", "test")  # those that are recognised; weights are tuned on dev alone

UNTRANSCRIBED = "untranscribed.txt"  # of stage 0, where there are any


def cuts_path(folder: Path, split: str) -> Path:
    """Where a stage's folder has the Lhotse cuts of a split."""
    return folder / f"cuts_{split}.jsonl.gz"


def untranscribed(data: Path, split: str) -> Set[str]:
    """Ids of a split's utterances without a transcript, from the folder of stage 0; only test has some. Their text is empty."""
    path = data / UNTRANSCRIBED
    return set(path.read_text(encoding="utf-8").splitlines()) if split == "test" and path.exists() else set()
