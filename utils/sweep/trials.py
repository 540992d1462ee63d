"""One trial: the stages of its configuration that nobody made yet, each in a fork, up to the error on dev."""

import argparse
import logging
import os
import shutil
import sys
import time
import traceback
from contextlib import ExitStack, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from filelock import FileLock, Timeout

from utils.core.device import check_device
from utils.core.errors import UserError
from utils.core.files import read_json, unwritable, write_text
from utils.core.process import apart
from utils.executors import choice
from utils.executors.scheduler import Unusable
from utils.pipeline import config as configuration
from utils.pipeline import contract
from utils.pipeline.machine import check_machine
from utils.pipeline.place import Place, check_shared
from utils.pipeline.stages import Plan, plan
from utils.results.records import Record, result_decoding
from utils.sweep.space import Space
from utils.sweep.study import Claim, Study

DEV = ("dev",)
FAILED, PRUNED, AT_AN_END = 1, 4, 5  # exit statuses of a fork; the last where no trial can go on
DELETED = ".deleted-"
log = logging.getLogger("nuptse")


class Pruned(contract.Stopped):
    """The trial's training is worse than that of others after as many epochs."""


class Failed(Exception):
    """A stage of a trial failed; the text says why."""


@dataclass(frozen=True)
class Sweep:
    """What the processes of one sweep share."""

    folder: Path  # of the study
    space: Space
    about: Dict[str, Any]
    recipe: str
    corpus_dir: Path
    overrides: Sequence[str]  # the --set of all trials, with the batches in a step of all processes
    exp: Path  # of the corpus
    run: Dict[str, Any]  # nj, threads, device
    place: Place  # of the process that starts those that train
    options: argparse.Namespace  # has --executor and --scheduler
    trials: int
    sampler: str
    first: Optional[Dict[str, Any]]  # the recipe's own settings, where they are in the space
    warmup: Optional[int]  # epochs before a training may be pruned; None to prune none
    ordinary: str  # the command of the ordinary run with the best settings

    def study(self) -> Study:
        """The study, opened anew: after each fork, once."""
        return Study(self.folder, self.space, self.about, self.warmup or 0)

    def config(self, params: Dict[str, Any]) -> Dict[str, Any]:
        """The configuration of a trial. Raises UserError where the rules refuse it."""
        return configuration.load(self.recipe, self.corpus_dir, [*self.overrides, *self.space.overrides(params)])

    def plans(self, params: Dict[str, Any]) -> Dict[str, Plan]:
        """The stages of a trial up to the score, those that evaluate on dev alone.

        Raises UserError where the rules refuse its configuration, or this machine lacks what it needs.
        """
        config = self.config(params)
        check_shared(config, self.recipe, self.place.size)
        planned = {name: each for name, each in plan(config, self.exp, DEV).items() if name != "export"}
        for each in planned.values():
            if not each.complete:
                check_machine(each, self.run["device"])
        return planned

    def refuse(self, params: Any) -> Optional[str]:
        """Why drawn settings are no configuration for this machine."""
        try:
            self.plans(params)
        except UserError as error:
            return str(error)
        return None


def run(sweep: Sweep, study: Study, claim: Claim) -> Record:
    """Make the stages of a trial and return the record of its last decoding on dev.

    Raises:
      Pruned, Failed: the trial ended so.
      UserError: the sweep cannot go on: a full disk, say, no scheduler, or a stage that all trials share.
      KeyboardInterrupt: a signal came. The trial stays running, and the next process continues it.
    """
    with study.lock:  # nobody deletes these folders from now on
        plans = sweep.plans(claim.params)
        behind = sweep.space.behind(plans)
        folders = {name: planned.out.name for name, planned in plans.items() if behind[name]}
        shared = [folder for name, folder in folders.items() if _shared(sweep, behind[name])]
        study.note(claim.number, folders=folders, **({"shared": shared} if shared else {}))
    made: List[str] = list(study.trials()[claim.number].user_attrs.get("made", []))
    for name, planned in plans.items():
        if behind[name] and planned.out.name not in made and not planned.complete and not planned.partial.exists():
            made.append(planned.out.name)
            study.note(claim.number, made=made)
        try:
            _make(sweep, planned, claim.params, _watch(sweep, claim.number, planned) if name == "train" else None)
        except Failed as error:
            if not behind[name]:
                raise UserError(f"{error}; all trials share this stage") from None
            raise
    return result(plans["score"].out)


def prepare(sweep: Sweep, plans: Dict[str, Plan]) -> None:
    """Make the stages that all trials share, which their settings do not change, and import what the others need.

    Args:
      plans: of any trial.
    """
    for name, keys in sweep.space.behind(plans).items():
        if keys:
            plans[name].stage.load()
            continue
        try:
            if not plans[name].complete:
                log.info("stage %d %s: %s", plans[name].stage.number, name, plans[name].stage.makes)
            _make(sweep, plans[name], {}, None)
        except Failed as error:
            raise UserError(f"{error}; all trials share this stage") from None


def result(score: Path) -> Record:
    """The record of the last decoding on dev, from the folder of stage 8. Raises Failed where there is none."""
    records = {record["decoding"]: record for record in map(read_json, sorted(score.glob("dev-*.json")))}
    if not records:
        raise Failed("dev has no word in any transcript, so there is no error rate to search by")
    return records[result_decoding(records)]


def _make(sweep: Sweep, planned: Plan, params: Dict[str, Any], watch: Optional[Callable[[int, float], None]]) -> None:
    """Make one stage in a fork; raises what `run` raises."""
    if planned.complete:
        return
    said = sweep.folder / f".said-{os.getpid()}"
    overrides = [*sweep.overrides, *(sweep.space.overrides(params) if params else [])]
    sys.stdout.flush()
    sys.stderr.flush()
    code, stopped = apart(lambda: _work(sweep, planned, overrides, watch, said, quiet=bool(params)))
    text = said.read_text(encoding="utf-8") if said.exists() else ""
    said.unlink(missing_ok=True)
    if stopped or code == 130:
        raise KeyboardInterrupt
    title = f"stage {planned.stage.number} {planned.stage.name}"
    if code == PRUNED:
        raise Pruned
    if code == AT_AN_END:
        raise UserError(f"{title}: {text}")
    if code < 0:
        raise Failed(f"{title}: killed by signal {-code}{' (out of memory? see dmesg)' if code == -9 else ''}")
    if code:
        raise Failed(f"{title}: {text}")


def _work(
    sweep: Sweep,
    planned: Plan,
    overrides: Sequence[str],
    watch: Optional[Callable[[int, float], None]],
    said: Path,
    quiet: bool,
) -> int:
    """The fork of a stage; returns its exit status, and writes what went wrong to `said`."""
    try:
        for handler in logging.getLogger().handlers:  # of the terminal; the stage's log.txt has all of it
            handler.setLevel(logging.WARNING)
        place = sweep.place if planned.stage.name == "train" else Place()
        if place.size == 1:  # each of several checks its own
            check_device(sweep.run["device"])
        corpus = sweep.corpus_dir.name
        own = logging.getLogger(f"nuptse.{planned.stage.name}")
        names = {"corpus": corpus, "corpus_dir": sweep.corpus_dir, "recipe": sweep.recipe}
        current = tuple(configuration.current_overrides(overrides))
        with ExitStack() as stack:
            if quiet:  # no bars; the log writes where it did
                stack.enter_context(redirect_stderr(stack.enter_context(open(os.devnull, "w"))))
            made_by = stack.enter_context(choice.chosen(sweep.options, sweep.run["nj"], planned.partial, own))
            more = dict(overrides=current, watch=watch, place=place, elsewhere=made_by)
            contract.make(planned, **names, **more, **sweep.run)
        return 0
    except KeyboardInterrupt:
        return 130
    except Pruned:
        return PRUNED
    except BaseException as error:
        full = unwritable(error, planned.partial)
        if not full and not isinstance(error, UserError):
            traceback.print_exc()
        write_text(said, full or str(error) or type(error).__name__)
        return AT_AN_END if full or isinstance(error, Unusable) else FAILED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _watch(sweep: Sweep, number: int, train: Plan) -> Callable[[int, float], None]:
    """What training calls after each validation, in its fork: stores the error, and raises Pruned before the last epoch."""
    opened: List[Study] = []
    last = train.config.get("train", {}).get("epochs", 0)

    def watch(epoch: int, error: float) -> None:
        if not opened:
            opened.append(sweep.study())
        if opened[0].report(number, epoch, error) and sweep.warmup is not None and epoch < last:
            raise Pruned

    return watch


def clean(sweep: Sweep, study: Study, ended: bool) -> None:
    """Delete what trials left: all stages that they made, except those of the best trial and of trials that run.

    Stages that later trials may share, because few settings decide them, are kept until the sweep has ended; stages that other
    finished stages were made of are kept too. Call it with the study's lock.
    """
    trials, best = study.trials(), study.best()
    made = {name for trial in trials for name in trial.user_attrs.get("made", [])}
    kept: set = set()
    for trial in trials:
        folders = trial.user_attrs.get("folders", {})
        if trial.state.name == "RUNNING" or (best and trial.number == best.number):
            kept.update(folders.values())
        if not ended:
            kept.update(trial.user_attrs.get("shared", ()))
    leaving = {name for name in made - kept if (sweep.exp / name).exists() or (sweep.exp / f"{name}.partial").exists()}
    for record in sweep.exp.glob("*/stage.json") if leaving else ():
        if record.parent.name not in leaving and not record.parent.name.startswith("."):
            leaving -= set(read_json(record)["inputs"].values())
    for name in sorted(leaving):
        _delete(sweep.exp / name)
    for rest in sweep.exp.glob(f"{DELETED}*"):
        shutil.rmtree(rest, ignore_errors=True)


def _shared(sweep: Sweep, keys: Sequence[str]) -> bool:
    """Whether a later trial may need a stage that these keys decide: they have no more settings than there are trials."""
    size = sweep.space.size(keys)
    return size is not None and size <= sweep.trials and len(keys) < len(sweep.space.dimensions)


def _delete(folder: Path) -> None:
    """Delete a stage's output, finished or not, unless a run is making it. Half deleted, it no longer has its name."""
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return
    try:
        for path in (folder, folder.with_name(folder.name + ".partial")):
            if path.exists():
                gone = path.with_name(f"{DELETED}{path.name}-{time.time_ns()}")
                path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)
    finally:
        lock.release()
