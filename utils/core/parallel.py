"""Independent pieces of work over processes or threads, with progress."""

import ctypes
import os
import signal
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Callable, Collection, Iterator, Optional, Protocol, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.progress import tqdm

_work: Optional[Callable[..., Any]] = None  # inherited by forks, so that it needs no pickling


class Executor(Protocol):
    """Makes pieces of work somewhere: in forks, or in workers of Dask (utils/executors)."""

    def run_all(self, work: Callable[..., Any], pieces: Sequence[Tuple], what: str) -> None:
        """Call `work(*piece)` for every piece; the first error stops the rest and is raised here.

        A piece leaves files, whole or not at all, with the same bytes whoever makes it, and however often. Work and pieces can be
        pickled; an object that is too large for that, or can't be, is `Reopened` (utils/executors/reopened.py).

        Args:
          what: is made, for the progress bar and for errors.
        """


@dataclass(frozen=True)
class Forks:
    """Makes pieces in forks of this process, `nj` at a time. They inherit what it has, so nothing is pickled.

    With `nj` above 1 even one piece has a fork, so that later calls can fork too: the caller must not have used several threads
    of OpenMP before, nor CUDA, nor have made larger graphs with k2 (`in_fork`). With 1, this process makes the pieces.
    """

    nj: int

    def run_all(self, work: Callable[..., Any], pieces: Sequence[Tuple], what: str) -> None:
        """As `Executor.run_all`."""
        bar = dict(desc=what, total=len(pieces), unit="piece", leave=False, mininterval=1)
        if self.nj <= 1 or not pieces:
            for piece in tqdm(pieces, **bar):
                work(*piece)
            return

        def numbered(n: int) -> None:
            work(*pieces[n])

        remedy = "finished work is kept; run again with a smaller --nj"
        with _forks(numbered, min(self.nj, len(pieces)), what, remedy) as pool:
            running = [pool.submit(_call, (n,)) for n in range(len(pieces))]
            for done in tqdm(as_completed(running), **bar):
                done.result()


def results(work: Callable[..., Any], pieces: Sequence[Tuple], nj: int, what: str) -> Iterator[Any]:
    """What `work(*piece)` returns for every piece, as it comes, from `nj` forks; None twice a second meanwhile, to show progress.

    The first error stops the rest and is raised here. Pieces and results are pickled.
    """
    if not pieces:
        return
    with _forks(work, min(nj, len(pieces)), what, "finished files are kept; run again with a smaller --nj") as pool:
        running = {pool.submit(_call, piece) for piece in pieces}
        while running:
            done, running = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            yield from (each.result() for each in done) if done else [None]


def in_fork(what: str, work: Callable[..., Any], *arguments: Any) -> Any:
    """Run `work(*arguments)` in a fork of its own and return its result.

    k2 keeps threads once it has made larger graphs. Later forks of a process that has them would wait for these threads for ever.
    """
    with _forks(work, 1, what, "run again with more memory, or with fewer words") as pool:
        return pool.submit(_call, arguments).result()


@contextmanager
def _forks(work: Callable[..., Any], workers: int, what: str, remedy: str) -> Iterator[ProcessPoolExecutor]:
    """A pool of forks in which `_call` calls `work`; an error cancels pieces that have not begun."""
    global _work
    _work = work
    with ProcessPoolExecutor(workers, get_context("fork"), initializer=end_with, initargs=(os.getpid(),)) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise UserError(f"a worker process was killed while making {what} (out of memory? see dmesg); {remedy}") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def threaded(work: Callable[[Any], Any], items: Collection[Any], nj: int, what: str) -> Iterator[Any]:
    """`work(item)` for every item, in order, `nj` at a time in threads.

    For work that releases the global interpreter lock, such as decoding audio. An error or Ctrl-C cancels the rest.
    """
    with ThreadPoolExecutor(nj) as pool:
        try:
            yield from tqdm(
                pool.map(work, items), desc=what, total=len(items), unit="file", leave=False, mininterval=1, disable=None
            )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _call(piece: Tuple) -> Any:
    assert _work is not None  # `_forks` set it before the fork
    return _work(*piece)


def end_with(parent: int) -> None:
    """Let a worker end when its parent is killed; otherwise it would wait forever, or write beside the next run."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C: no traceback from each worker
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux
    if prctl is not None:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
