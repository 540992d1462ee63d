"""The stage contract: lock, partial folder, validation, publication by rename.

A folder with its final name is complete. An interruption before the rename leaves a `.partial` folder, from which the next run
continues: stages write each file atomically and skip finished files.
"""

import json
import logging
import os
import platform
import resource
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple

import yaml
from filelock import FileLock, Timeout

from utils.core.device import gpu_memory
from utils.core.errors import UserError
from utils.core.files import ROOT, LogFile, remove_unfinished, sync_folder, write_json, write_text
from utils.core.parallel import Executor, Forks
from utils.core.timing import add_seconds
from utils.core.twins import take, twin
from utils.core.versions import git_state, machine, tool_version
from utils.core.yaml_files import read_mapping
from utils.pipeline import config as configuration
from utils.pipeline.place import Place
from utils.pipeline.stages import Plan, hashed
from utils.settings.old_keys import current_names


class Stopped(Exception):
    """Raised by `Job.watch` to end training before its last epoch."""


@dataclass(frozen=True)
class Job:
    """What a stage's `run(job)` gets."""

    config: SimpleNamespace  # only the declared keys, with attribute access
    out: Path  # the partial folder: write each file here, atomically; an interrupted run's files are there
    inputs: Dict[str, Path]  # stage name -> finished folder
    corpus: str
    corpus_dir: Path  # egs/<corpus>
    recipe: str
    overrides: Sequence[str]  # the --set of this run
    nj: int  # parallel processes
    threads: int  # threads per process
    device: str  # cpu, cuda, cuda:1 ...
    plan: Plan  # fingerprints; `job.plan.out` is the name that `out` gets
    watch: Optional[Callable[[int, float], None]] = None  # told the epoch and its error on dev (%); may raise Stopped
    place: Place = Place()  # of this process, where several make the stage
    elsewhere: Optional[Executor] = None  # what makes pieces of work, if not `nj` forks

    def __getstate__(self) -> Dict[str, Any]:
        """What other processes get of it, which make pieces of its work."""
        return {**vars(self), "watch": None, "elsewhere": None}

    @property
    def splits(self) -> Tuple[str, ...]:
        """What a stage that evaluates recognises: dev and test, or dev alone."""
        return self.plan.splits

    @property
    def executor(self) -> Executor:
        """What makes the stage's pieces of work."""
        return self.elsewhere or Forks(self.nj)

    @property
    def network_executor(self) -> Executor:
        """As `executor`, for pieces that use a network: on a GPU, this process makes them."""
        return Forks(1) if self.device.startswith("cuda") else self.executor

    @property
    def log(self) -> logging.Logger:
        """The stage's logger: to the terminal and to `log.txt` in the output."""
        return logging.getLogger(f"nuptse.{self.plan.stage.name}")


@contextmanager
def locked(plan: Plan, patient: bool = True) -> Iterator[bool]:
    """Hold the lock of one output; another run on it waits. Yields whether the output is complete by then.

    Raises:
      UserError: not `patient`, and another run has the lock.
    """
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(plan.out.parent / f".{plan.out.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if not patient:
            raise UserError(f"another run makes {plan.out.name}; start the processes when it has ended") from None
        logging.getLogger("nuptse").info("another run makes %s: waiting for it", plan.out.name)
        lock.acquire()
    try:
        yield plan.complete
    finally:
        lock.release()


def make(plan: Plan, **run: Any) -> bool:
    """Run one stage under its lock and publish its output; returns False where it is finished, or another one is as good.

    Args:
      plan: from `utils.pipeline.stages.plan`.
      run: the fields of `Job` that are not in the plan: corpus, corpus_dir, recipe, overrides, nj, threads, device, watch,
        place, elsewhere.
    """
    place = run.get("place", Place())
    with locked(plan, patient=place.rank is None or place.size == 1) as complete:  # other ranks don't wait with this one
        if complete:
            return False
        plan.partial.mkdir(parents=True, exist_ok=True)
        remove_unfinished(plan.partial)  # left by a killed run, and perhaps large
        job = _job(plan, run)
        write_text(plan.partial / "config.yaml", yaml.safe_dump(plan.config, sort_keys=False))
        made = twin(plan.partial, plan.inputs, _same(plan), plan.stage.unread, settings) if plan.stage.unread else None
        if made:
            job.log.info("%s read the same: its output is taken", made.name)
            take(made, plan.partial, {"fingerprint": plan.fingerprint, "inputs": _names(plan), "taken_from": made.name})
            _rename(plan)
            return False
        started = time.perf_counter()
        try:
            with logged(job.log, plan.partial / "log.txt"):
                plan.stage.run(job)
        finally:
            with suppress(OSError):  # a full disk has raised its own error
                add_seconds(plan.partial / "seconds.json", time.perf_counter() - started)
        _publish(plan, job)
    return True


def take_part(plan: Plan, **run: Any) -> bool:
    """Run a stage in a process other than the one that has its lock and publishes it; arguments as of `make`."""
    plan.stage.run(_job(plan, run))
    return True


@contextmanager
def logged(log: logging.Logger, path: Path) -> Iterator[None]:
    """Let what is logged, and the error that ends the block, also go to the file `path`."""
    handler = LogFile(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    except BaseException as error:
        handler.handle(logging.LogRecord(log.name, logging.ERROR, __file__, 0, "stopped: %r", (error,), sys.exc_info()))
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def stage_record(folder: Path) -> Dict[str, Any]:
    """What `make` wrote of a finished stage: fingerprint, seconds, peak memory in MB, versions, git state."""
    return json.loads((folder / "stage.json").read_text(encoding="utf-8"))


def _job(plan: Plan, run: Mapping[str, Any]) -> Job:
    return Job(config=configuration.view(plan.config), out=plan.partial, inputs=plan.inputs, plan=plan, **run)


def _publish(plan: Plan, job: Job) -> None:
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    write_json(
        plan.partial / "stage.json",
        {
            **_same(plan),
            "fingerprint": plan.fingerprint,
            "inputs": _names(plan),
            "seconds": round(json.loads((plan.partial / "seconds.json").read_text()), 3),
            "peak_memory_mb": round(max(own, children) / 1024),
            **(gpu_memory(job.device) if job.place.rank is not None else {}),  # of this process, which may have none
            **({"processes": job.place.size} if job.place.size > 1 else {}),
            "threads": job.threads,
            "nj": job.nj,
            "device": job.device,
            "machine": machine(job.device),
            **git_state(ROOT),
        },
    )
    (plan.partial / "seconds.json").unlink()
    remove_unfinished(plan.partial)
    _rename(plan)


def _same(plan: Plan) -> Dict[str, Any]:
    """What stage.json says of the code that makes an output."""
    versions = {"python": platform.python_version(), **{tool: tool_version(tool) for tool in plan.stage.tools}}
    return {"stage": plan.stage.name, "stage_version": plan.stage.version, "versions": versions}


def settings(folder: Path) -> Dict[str, Any]:
    """What a folder's config.yaml says, without keys that change nothing."""
    return hashed(current_names(read_mapping(folder / "config.yaml")))


def _names(plan: Plan) -> Dict[str, str]:
    return {name: folder.name for name, folder in plan.inputs.items()}


def _rename(plan: Plan) -> None:
    sync_folder(plan.partial)
    os.rename(plan.partial, plan.out)
    sync_folder(plan.out.parent)
