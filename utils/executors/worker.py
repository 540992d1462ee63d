"""What runs in a worker of Dask: the checks before its first piece of a run, and the pieces."""

import logging
import os
import pickle
import socket
import time
import traceback
from dataclasses import dataclass, field
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Dict, List, Optional

from utils.core.errors import UserError
from utils.core.files import ROOT, unwritable
from utils.executors.reopened import forget
from utils.executors.versions import differences

LOG = "nuptse"  # the logger whose warnings go to the process that waits for the pieces
_begun: List[str] = []  # token of the run whose pieces this process makes


@dataclass(frozen=True)
class Run:
    """What a worker must know of a run."""

    token: str  # its name, and the content of the file `seal`
    seal: Path  # absolute, in the stage's folder
    versions: Dict[str, str]
    environment: Dict[str, str]  # variables that say where things are


@dataclass(frozen=True)
class Made:
    """What became of a piece."""

    where: str  # the worker
    warnings: List[logging.LogRecord] = field(default_factory=list)
    refused: str = ""  # why the worker can't take part
    said: str = ""  # an error that a user can solve
    error: Optional[BaseException] = None  # any other
    trace: str = ""  # of it


def refusal(run: Run) -> str:
    """Why this process can't make pieces of a run; '' if it can."""
    other = differences(run.versions)
    if other:
        return f"it has {other}; start it again from the code and the environment of this run"
    try:
        seen = run.seal.read_text(encoding="utf-8")
    except OSError:
        seen = ""
    if seen != run.token:
        return f"it does not see {run.seal.parent}: workers need the same folders under the same paths (a shared file system)"
    return "" if os.access(run.seal.parent, os.W_OK) else f"it may not write to {run.seal.parent}"


def clock() -> float:
    """Seconds of this machine's clock."""
    return time.time()


def make(run: Run, content: bytes) -> Made:
    """Make a piece, in a worker.

    Args:
      content: pickled, the function and its arguments.
    """
    where = place()
    records: SimpleQueue = SimpleQueue()
    handler = QueueHandler(records)
    handler.setLevel(logging.WARNING)
    log = logging.getLogger(LOG)
    propagated, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        refused = _begin(run)
        if refused:
            return Made(where, refused=refused)
        work, piece = pickle.loads(content)
        work(*piece)
    except Exception as error:  # goes to the process that waits for the piece
        said = str(error) if isinstance(error, UserError) else unwritable(error, run.seal.parent)
        return Made(where, said=said) if said else Made(where, error=_sent(error), trace=traceback.format_exc())
    finally:
        log.removeHandler(handler)
        log.propagate = propagated
    return Made(where, [records.get() for _ in range(records.qsize())])


def release(token: str) -> None:
    """Let go of what was opened for a run."""
    if token in _begun:
        _begun.clear()
        forget()


def place() -> str:
    """This worker: its address and host."""
    from distributed import get_worker

    return f"{get_worker().address} ({socket.gethostname()})"


def _begin(run: Run) -> str:
    """Make the process ready before its first piece of a run. Returns why it can't take part."""
    if run.token in _begun:
        return ""
    refused = refusal(run)
    if refused:
        return refused
    import torch

    torch.set_num_threads(1)  # as in forks
    os.environ.update(run.environment)
    os.chdir(ROOT)  # relative paths start there
    forget()
    _begun[:] = [run.token]
    return ""


def _sent(error: Exception) -> BaseException:
    """An error as it can be sent."""
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # of any type: a library's
        return RuntimeError(f"{type(error).__name__}: {error}")
