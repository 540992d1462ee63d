"""CPU seconds of the steps of decoding, for real-time factors; wall time of a stage over several runs."""

import time
from pathlib import Path
from typing import Any, Dict, Iterable, Tuple

from utils.core.files import read_json, write_json


class timed:
    """Add the CPU seconds of a block to `table[name]`; they do not depend on how busy the machine is."""

    def __init__(self, table: Dict[str, float], name: str) -> None:
        self.table, self.name = table, name

    def __enter__(self) -> None:
        self.started = time.process_time()

    def __exit__(self, *_: Any) -> None:
        self.table[self.name] = self.table.get(self.name, 0.0) + time.process_time() - self.started


def sum_timing(measured: Iterable[Tuple[Dict[str, float], float]]) -> Dict[str, Dict[str, float]]:
    """Sum the seconds of each step over all pieces, with the seconds of audio: the content of timing.json.

    Args:
      measured: seconds by step, and seconds of audio, of each piece.
    """
    timing: Dict[str, Dict[str, float]] = {}
    for seconds, audio in measured:
        for link, value in seconds.items():
            entry = timing.setdefault(link, {"seconds": 0.0, "audio_seconds": 0.0})
            entry["seconds"] += value
            entry["audio_seconds"] += audio
    return timing


def add_seconds(path: Path, seconds: float) -> None:
    """Add wall time to that of earlier, interrupted runs, in a JSON file."""
    write_json(path, seconds + (read_json(path) if path.exists() else 0.0))
