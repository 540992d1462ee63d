"""Many files over several processes, each with a recogniser of its own."""

import mmap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Sequence, Tuple

import numpy as np

from utils.bundle.recogniser import Recogniser
from utils.bundle.recognition import Channels, Done, recognise
from utils.core.parallel import results
from utils.core.progress import tqdm

# Most of what a process takes at once: finished files are written when it is done with them.
PIECE_FILES, PIECE_BYTES = 32, 4 << 20


@dataclass(frozen=True)
class Work:
    """What recognises files."""

    open: Callable[[], Recogniser]  # called once in each process
    channels: Channels
    nj: int


def run(work: Work, files: Sequence[Path]) -> Iterator[Tuple[Done, float]]:
    """Every file as it is finished, with the CPU seconds since the one before. Progress is shown on a terminal.

    Raises:
      UserError: the bundle can't be opened, or a process was killed.
    """
    sizes = [max(1, path.stat().st_size) if path.is_file() else 1 for path in files]
    shares = np.frombuffer(mmap.mmap(-1, 8 * max(1, len(files))))  # of each file: how much was read; forks write to it
    opened: List[Recogniser] = []  # of a process

    def piece(first: int, last: int) -> Tuple[List[Done], float]:
        if not opened:
            opened.append(work.open())
        started = time.process_time()
        numbered = [(index, files[index]) for index in range(first, last)]
        done = list(recognise(numbered, opened[0], work.channels, shares.__setitem__))
        return done, time.process_time() - started

    tqdm.monitor_interval = 0  # no thread, which forks would lack
    finished = 0
    with tqdm(total=sum(sizes), unit="B", unit_scale=True, leave=False, disable=None, desc="recognising") as bar:
        for result in results(piece, _pieces(sizes, work.nj), work.nj, "transcripts"):
            bar.n = round(float(shares[: len(sizes)] @ sizes))
            if result is not None:
                done, seconds = result
                finished += len(done)
                for one in done:
                    yield one, seconds / len(done)
            bar.set_postfix_str(f"{finished}/{len(files)} files")


def _pieces(sizes: Sequence[int], nj: int) -> List[Tuple[int, int]]:
    """Neighbouring files that a process takes at once: the first of each, and the one after its last."""
    most = min(PIECE_FILES, max(1, len(sizes) // (4 * nj)))
    out, first, held = [], 0, 0
    for index, size in enumerate(sizes):
        if index > first and (index - first >= most or held + size > PIECE_BYTES):
            out.append((first, index))
            first, held = index, 0
        held += size
    return [*out, (first, len(sizes))] if sizes else []
