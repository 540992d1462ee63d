"""The parts of a corpus, and the file of cuts that stages 0 and 1 write for each."""

from pathlib import Path

SPLITS = ("train", "dev", "test")
EVALUATION = ("dev", "test")  # those that are recognised; weights are tuned on dev alone


def cuts_path(folder: Path, split: str) -> Path:
    """Where a stage's folder has the Lhotse cuts of a split."""
    return folder / f"cuts_{split}.jsonl.gz"
