"""Many files over several processes, each with a recogniser of its own."""

import mmap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator, List, Sequence, Tuple

import numpy as np

from utils.audio.recordings import length
from utils.audio.speech import WHOLE
from utils.core.batches import batch_seconds, by_length
from utils.core.parallel import results
from utils.core.progress import tqdm
from utils.recognition.files import Channels, Done, Transcriber, recognise


@dataclass(frozen=True)
class Work:
    """What recognises files."""

    open: Callable[[], Transcriber]  # called once in each process
    channels: Channels
    nj: int


def run(work: Work, files: Sequence[Path], words: int) -> Iterator[Tuple[Done, float]]:
    """Every file as it is finished, with the CPU seconds since the one before. Progress is shown on a terminal.

    Short files share the batches that stage 6 would make of them, so that the files of a corpus have its hypotheses to the last
    bit. Long ones come first.

    Args:
      words: of the bundle's vocabulary, if it has a word head.
    Raises:
      UserError: the bundle can't be opened, or a process was killed.
    """
    sizes = np.array([max(1, path.stat().st_size) if path.is_file() else 1 for path in files], np.float64)
    shares = np.frombuffer(mmap.mmap(-1, 8 * max(1, len(files))))  # of each file: how much was read; forks write to it
    opened: List[Transcriber] = []  # of a process

    def piece(numbers: Sequence[int]) -> Tuple[List[Done], float]:
        if not opened:
            opened.append(work.open())
        started = time.process_time()
        done = list(recognise([(n, files[n]) for n in numbers], opened[0], work.channels, shares.__setitem__))
        return done, time.process_time() - started

    seconds = [length(path) for path in files]
    batches = by_length(
        [n for n, one in enumerate(seconds) if one <= WHOLE], lambda n: (seconds[n], files[n].stem), batch_seconds(words)
    )
    long = sorted((n for n, one in enumerate(seconds) if one > WHOLE), key=lambda n: -sizes[n])
    pieces = [([n],) for n in long] + [(batch,) for batch in batches]
    tqdm.monitor_interval = 0  # no thread, which forks would lack
    finished = 0
    with tqdm(total=int(sizes.sum()), unit="B", unit_scale=True, leave=False, disable=None, desc="recognising") as bar:
        for result in results(piece, pieces, work.nj, "transcripts"):
            bar.n = round(float(shares[: len(sizes)] @ sizes))
            if result is not None:
                done, spent = result
                finished += len(done)
                for one in done:
                    yield one, spent / len(done)
            bar.set_postfix_str(f"{finished}/{len(files)} files")
