"""Pieces of work by the workers of a Dask cluster: one on this machine, or one that runs already.

Work and pieces are pickled and sent; results are files, so workers need the same folders. A worker that is killed costs the
pieces that it had: Dask gives them to others, and a piece that is made again has the same bytes.
"""

import logging
import os
import pickle
import time
import uuid
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from utils.core.errors import UserError
from utils.core.files import remove_unfinished, write_text
from utils.core.progress import tqdm
from utils.executors import versions, worker
from utils.executors.local_workers import LocalWorkers
from utils.executors.scheduler import ANSWER, Unusable, absent, reach

AHEAD = 2  # pieces that are sent, a worker: the scheduler's memory does not grow with the corpus
LOSSES = 10  # workers that a piece may lose, on this machine; elsewhere as the scheduler is configured (allowed-failures)
LOOK, SOON = 1.0, 0.1  # seconds between looks at who works; while nobody does
CLOCK = 60.0  # seconds that the clock of a worker may be off
PATIENCE = 600.0  # seconds without any worker
DASHBOARD = "127.0.0.1:8787"  # another port where it is taken


class _Trace(Exception):
    """The traceback of an error in a worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Dask:
    """An executor (utils/core/parallel.py). Its cluster starts with the first pieces and ends with the block.

    Args:
      address: of a scheduler; '' to start a cluster on this machine.
      nj: workers of that cluster.
      folder: of the stage; all workers must see it.
    """

    def __init__(self, address: str, nj: int, folder: Path, log: logging.Logger) -> None:
        self.address, self.nj, self.log = address, nj, log
        self.cluster: Any = None
        self.workers: Optional[LocalWorkers] = None
        self.client: Any = None
        token = uuid.uuid4().hex
        self.run = worker.Run(token, Path(os.path.abspath(folder)) / f".tmp-dask-{token}", versions.OWN, _environment())
        self.known: Set[str] = set()  # addresses of workers
        self.looked, self.seen = 0.0, 0.0  # when it looked at the workers; when there were some

    def __enter__(self) -> "Dask":
        return self

    def __exit__(self, *error: Any) -> None:
        """End the cluster, or leave it as it was."""
        self.run.seal.unlink(missing_ok=True)
        with suppress(Exception):  # the workers or the scheduler may be gone
            if self.client is not None and self.address and self.client.status == "running":
                self.client.run(worker.release, self.run.token, on_error="ignore")
        if self.workers is not None:
            self.workers.close()
            remove_unfinished(self.run.seal.parent)  # nobody else writes there
        for each in (self.client, self.cluster):
            with suppress(Exception):
                if each is not None:
                    each.close(timeout=5)

    def run_all(self, work: Callable[..., Any], pieces: Sequence[Tuple], what: str) -> None:
        """As `Executor.run_all`.

        Raises:
          UserError: no scheduler, or it ends; a worker that can't take part; what the piece itself raises; a piece that lost too
            many workers. It names the worker, and the piece.
        """
        if not pieces:
            return
        left = list(enumerate(pieces))[::-1]
        running: Dict[Any, str] = {}  # future -> name of the piece
        self._connect()
        with tqdm(desc=what, total=len(pieces), unit="piece", leave=False, mininterval=1) as bar:
            try:
                while left or running:
                    self._look()
                    while left and len(running) < AHEAD * len(self.known):
                        n, piece = left.pop()
                        name = f"{what}, piece {n + 1} of {len(pieces)}{_named(piece)}"
                        running[self._submit(what, work, piece)] = name
                    for future in self._finished(list(running)):
                        self._account(future, running.pop(future))
                        bar.update()
            except Exception as error:
                if isinstance(error, UserError) or not (isinstance(error, CancelledError) or self._lost()):
                    raise
                raise Unusable(
                    f"{what}: lost the Dask scheduler {self.client.scheduler.addr}; finished pieces are kept: run again"
                ) from None
            finally:
                if running:
                    with suppress(Exception):
                        self.client.cancel(list(running), force=True)
        for _ in os.walk(self.run.seal.parent):  # a folder that is opened is read anew: NFS shows what other machines wrote
            pass

    def _connect(self) -> None:
        """Start or find the cluster, and check all its workers."""
        if self.client is not None:
            return
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise Unusable(f"--executor dask needs the packages dask and distributed ({error}); run utils/setup.sh") from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said here
        write_text(self.run.seal, self.run.token)
        if not self.address:
            self.cluster = LocalCluster(
                n_workers=0,
                dashboard_address=_free(DASHBOARD),
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"allowed_failures": LOSSES},
            )
            self.workers = LocalWorkers(self.cluster.scheduler_address, self.nj)
        try:
            self.client = Client(self.cluster or self.address, timeout=ANSWER)
        except (OSError, ValueError) as error:
            raise Unusable(absent(self.address, error)) from None
        self.seen = time.monotonic()
        where = self.address or f"on this machine, {self.nj} workers"
        self.log.info("Dask %s, dashboard %s", where, self.client.dashboard_link)

    def _look(self) -> None:
        """See who works: check those who are new, and say who is gone. Raises UserError for a worker that can't take part."""
        now = time.monotonic()
        if now - self.looked < (LOOK if self.known else SOON):
            return
        self.looked = now
        if self.workers is not None:
            self.workers.tend()
        threads: Dict[str, int] = self.client.nthreads()
        for gone in sorted(self.known - set(threads)):
            self.log.warning("the worker %s is gone: others make its pieces again", gone)
        new = {address: count for address, count in threads.items() if address not in self.known}
        if new:
            self._check(new)
        self.known = set(threads)
        if threads:
            self.seen = now
        elif now - self.seen > PATIENCE:
            raise Unusable(f"Dask {self.address}: no worker for {PATIENCE / 60:.0f} minutes; start some, and run again")

    def _check(self, new: Dict[str, int]) -> None:
        """Raise UserError where one of some workers (address -> threads) can't take part."""
        for address, count in new.items():
            if count != 1:
                raise Unusable(
                    f"the worker {address} has {count} threads, and pieces need a process each: start it with --nthreads 1, and "
                    "--nworkers as many as it has cores"
                )
        before = time.time()
        clocks = self._ask(worker.clock, new)
        after = time.time()
        for address, clock in clocks.items():
            off = max(before - clock, clock - after) if isinstance(clock, float) else 0.0
            if off > CLOCK:
                raise Unusable(
                    f"the clock of the worker {address} is off by {off:.0f} s, and times of files say what changed: set it (NTP)"
                )
        for address, refused in self._ask(worker.refusal, new, self.run).items():
            if isinstance(refused, BaseException):
                refused = f"it can't load the code of this run ({refused}): start it in the same folder, with PYTHONPATH=."
            if refused:
                raise Unusable(f"the worker {address} can't take part: {refused}")

    def _ask(self, function: Callable[..., Any], new: Iterable[str], *arguments: Any) -> Dict[str, Any]:
        """What a function returns in each of some workers, or the error; nothing of those that are gone meanwhile."""
        from distributed import TimeoutError

        found = self.client.run(function, *arguments, workers=list(new), on_error="return")
        return {address: answer for address, answer in found.items() if not isinstance(answer, (OSError, TimeoutError))}

    def _submit(self, what: str, work: Callable[..., Any], piece: Tuple) -> Any:
        key = f"{what.replace(' ', '_')}-{uuid.uuid4().hex}"
        return self.client.submit(worker.make, self.run, pickle.dumps((work, piece)), key=key, pure=False)

    def _finished(self, futures: List[Any]) -> List[Any]:
        """Those of some futures that are finished, after LOOK seconds at the latest."""
        from distributed import TimeoutError, wait

        if not futures:
            time.sleep(SOON)
            return []
        with suppress(TimeoutError):
            return list(wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED").done)
        return []

    def _lost(self) -> bool:
        """Whether the scheduler has ended."""
        try:
            reach(self.client.scheduler.addr)
        except OSError:
            return True
        return False

    def _account(self, future: Any, name: str) -> None:
        """Raise what went wrong with a piece; log what it warned of."""
        from distributed.scheduler import KilledWorker

        try:
            made: worker.Made = future.result()
        except KilledWorker as error:
            raise UserError(
                f"{name}: {error.allowed_failures + 1} workers were killed while they had it, last {error.last_worker.address} "
                "(out of memory? see dmesg there); finished pieces are kept; run again with fewer workers on a machine"
            ) from None
        for record in made.warnings:
            logging.getLogger(record.name).handle(record)
        if made.refused:
            raise Unusable(f"the worker {made.where} can't take part: {made.refused}")
        if made.said:
            raise UserError(f"{made.said} ({name}, worker {made.where})")
        if made.error is not None:
            raise made.error from _Trace(f"{name}, worker {made.where}\n{made.trace}")


def _environment() -> Dict[str, str]:
    return {name: os.environ[name] for name in ("NUPTSE_EXP", "NUPTSE_DOWNLOAD") if name in os.environ}


def _named(piece: Tuple) -> str:
    """' (dev/00003)': what a piece is called, by its path or its name."""
    for part in reversed(piece):
        if isinstance(part, Path):
            return f" ({part.parent.name}/{part.stem})"
        if isinstance(getattr(part, "name", None), str):
            return f" ({part.name})"
    return ""


def _free(address: str) -> str:
    """The address, or one with any free port where it is taken."""
    import socket

    host, port = address.split(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return address
