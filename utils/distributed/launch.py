"""The processes of a group on this machine: started as forks, watched, and ended together."""

import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from torch import distributed

from utils.core.errors import UserError
from utils.core.parallel import end_with
from utils.pipeline.contract import Stopped
from utils.pipeline.place import Place

KILLED, FAILED, LOST = 0, 1, 2  # how a process ended, the likeliest cause first
SETTLE = 3.0  # seconds in which the processes that lost another end too
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


class Lost(UserError):
    """Another process of the group is gone, or does not come: the fault is not this one's."""


class Rank(NamedTuple):
    """A process, and the pipe by which it says why it ended."""

    process: Any
    said: Any


def launch(work: Callable[[Place], None], size: int, log_of: Callable[[int], Path]) -> None:
    """Run `work` in `size` forks and wait for them. The caller must not have used CUDA, nor several threads of OpenMP.

    Args:
      work: gets the place of its process.
      log_of: the log of a rank, which errors name.
    Raises:
      UserError: one of them failed; names it and its log. The others are ended.
      Stopped: one of them raised it. The others are ended.
    """
    context = get_context("fork")
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks: List[Rank] = []
    try:
        for number in range(size):
            said, tell = context.Pipe(duplex=False)
            place = Place(size, number, number, size)
            process = context.Process(target=_run, args=(work, place, store.port, tell, os.getpid()))
            process.start()
            tell.close()
            ranks.append(Rank(process, said))
        _watch(ranks, log_of)
    finally:
        _end([rank.process for rank in ranks])
        del store  # now: an error keeps this frame, and a later fork that frees a store lacks its threads, and crashes


def _run(work: Callable[[Place], None], place: Place, port: int, tell: Any, parent: int) -> None:
    end_with(parent)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0")  # the parent hosts the store
    os.environ["GLOO_SOCKET_IFNAME"] = LOOPBACK
    try:
        work(place)
        return
    except UserError as error:
        tell.send((isinstance(error, Lost), str(error)))
    except Stopped as error:
        tell.send(error)
    except BaseException as error:
        traceback.print_exc()
        tell.send((False, f"rank {place.rank} of {place.size}: {error!r}"))
    os._exit(1)


def _watch(ranks: List[Rank], log_of: Callable[[int], Path]) -> None:
    running = {rank.process.sentinel: number for number, rank in enumerate(ranks)}
    failed: Dict[int, Tuple[int, str]] = {}  # rank -> how it ended, and what to tell
    deadline: Optional[float] = None
    while running and not (failed and time.monotonic() > (deadline or 0)):
        for sentinel in connection.wait(list(running), None if deadline is None else max(0.0, deadline - time.monotonic())):
            number = running.pop(sentinel)
            failure = _failure(number, ranks, log_of(number))
            if failure:
                failed[number] = failure
                deadline = deadline or time.monotonic() + SETTLE  # the cause may come after its consequences
        if any(order < LOST for order, _ in failed.values()):
            break
    if failed:
        how, said = min(failed.values())
        again = "; run again to continue after the last checkpoint" if how != FAILED else ""  # which says what to do
        raise UserError(f"{said}; the others were ended{again}")


def _failure(number: int, ranks: List[Rank], log: Path) -> Optional[Tuple[int, str]]:
    """How a process failed, and what to tell; None where it did not. Raises Stopped where it was stopped."""
    process, pipe = ranks[number]
    process.join()
    where = f"its log is {log}"
    if process.exitcode == 0:
        return None
    with suppress(EOFError):  # it was killed, and said nothing
        told = pipe.recv()
        if isinstance(told, Stopped):
            raise told
        lost, said = told
        return (LOST if lost else FAILED), f"{said} ({where})"
    name = f"rank {number} of {len(ranks)}"
    if process.exitcode == -signal.SIGINT:
        return KILLED, f"{name} was interrupted ({where})"
    hint = ", perhaps for lack of memory (see dmesg)" if process.exitcode == -signal.SIGKILL else ""
    how = f"killed by signal {-process.exitcode}{hint}" if process.exitcode < 0 else f"ended with status {process.exitcode}"
    return KILLED, f"{name} was {how} ({where})"


def _end(processes: List[Any]) -> None:
    """End processes; also those that are stopped, which take no other signal than SIGKILL."""
    for act, seconds in (("terminate", SETTLE), ("kill", SETTLE)):
        for process in processes:
            if process.is_alive():
                getattr(process, act)()
        deadline = time.monotonic() + seconds
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
