"""Work that does not fit into memory, done in parts; freed memory, kept for reuse."""

import ctypes
import gc
import logging
from typing import Callable, List, Sequence, Tuple, TypeVar, Union

import torch

from utils.core.errors import UserError

Result = TypeVar("Result")
PHRASES = ("out of memory", "allocate memory", "not enough memory", "bad_alloc", "bad alloc")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
Parts = List[Tuple[int, int]]  # first item of each part, and the one after its last


def in_parts(work: Callable[[Parts], Result], ids: Sequence[str], what: str, remedy: str, log: logging.Logger) -> Result:
    """Run `work` on all items as one part; where memory is short, again on halves, quarters and so on.

    Args:
      ids: ids of the items, usually utterances.
      what: name of the work, for the log and the error.
      remedy: what to do where a single item does not fit.
    Raises:
      UserError: a single item does not fit.
    """
    count = 1
    while True:
        edges = [n * len(ids) // count for n in range(count + 1)]
        try:
            return work(list(zip(edges, edges[1:])))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if count >= len(ids):  # outside the handler, whose traceback keeps the memory of the failed attempt
            raise UserError(f"{what}: out of memory with one utterance at a time too ({', '.join(ids[:3])} ...); {remedy}")
        count = min(2 * count, len(ids))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.warning("%s: out of memory; its %d utterances again, in %d parts", what, len(ids), count)


def out_of_memory(error: BaseException) -> bool:
    """Whether torch, k2 or Python ran out of memory, on any device."""
    return isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in PHRASES)


def gpu_peak(device: Union[str, torch.device]) -> int:
    """Peak memory in MB that torch has held on a GPU in this process, or since its statistics were reset; 0 for a CPU."""
    return round(torch.cuda.max_memory_allocated(device) / 2**20) if torch.device(device).type == "cuda" else 0


def keep_freed() -> None:
    """Let this process and its later forks keep the memory that they free.

    Otherwise a model that allocates and frees megabytes for every utterance spends up to a fifth of its time waiting for the
    kernel to zero new pages. This can't be undone, so only a stage, which has a process of its own, asks for it. Does nothing
    without glibc.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_MMAP_THRESHOLD, 2**30) or libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that older ones take
