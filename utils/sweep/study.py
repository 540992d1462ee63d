"""The study of a sweep: a folder with Optuna's journal, which several processes and machines share.

Everything that must be agreed on happens under one lock of the folder: which settings come next, who makes a trial, what is
deleted. Each trial has a lock too, which its process holds while it makes it. The system frees both when a process dies, so a
trial that is running in the journal, but that nobody holds, is continued by the next process that asks for one.

Files: journal.log, trials.jsonl (all trials), best.yaml, history.svg, importance.svg; .locks.
"""

import os
import socket
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from filelock import FileLock, Timeout

from utils.core.errors import UserError
from utils.sweep.space import Space

NAME, JOURNAL = "sweep", "journal.log"
TRIES = 100  # draws for settings that are new and that the rules accept
LISTED = 10_000  # most settings of a space that are listed to find one that is new
STARTUP = 4  # complete trials before one is pruned

Refuse = Callable[[Mapping[str, Any]], Optional[str]]  # drawn settings -> why they are no configuration


@dataclass
class Claim:
    """A trial that this process makes."""

    number: int
    params: Dict[str, Any]
    lock: FileLock = field(repr=False)
    again: bool = False  # whether a process that died had begun it


class Study:
    """Opens or makes the study of a folder; use a new one after a fork.

    Args:
      about: what is searched, of which; None to take what is there.
      warmup: epochs before a training may be pruned.
    Raises:
      UserError: the folder has a study of something else; names the differences.
    """

    def __init__(self, folder: Path, space: Space, about: Optional[Dict[str, Any]] = None, warmup: int = 0) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder, self.space = folder, space
        (folder / ".locks").mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(folder / ".locks" / "study")
        with self.lock:
            backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL), JournalLock(self.lock, folder / JOURNAL))
            pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=warmup)
            sampler = optuna.samplers.RandomSampler()  # not used: `draw` has its own
            named = {"study_name": NAME, "load_if_exists": True}
            try:
                self.storage = optuna.storages.JournalStorage(backend)
                self.study = optuna.create_study(storage=self.storage, sampler=sampler, pruner=pruner, **named)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{folder / JOURNAL} is damaged or no study ({error}); delete it to begin anew") from None
            if about is not None:
                self._agree(about)

    def _agree(self, about: Dict[str, Any]) -> None:
        stored = self.study.user_attrs.get("about")
        if stored is None:
            self.study.set_user_attr("about", about)
            return
        different = differences(stored, about)
        if different:
            raise UserError(
                f"{self.folder} has the study of another sweep: {'; '.join(different)}. Give this one a folder of its own with "
                "--study, or delete that one"
            )

    def trials(self) -> List[Any]:
        """All trials: optuna.trial.FrozenTrial, by number."""
        return self.study.get_trials(deepcopy=False)

    def best(self) -> Optional[Any]:
        """The complete trial with the lowest error, the first of several; None before there is one."""
        done = [trial for trial in self.trials() if trial.state.name == "COMPLETE"]
        return min(done, key=lambda trial: (trial.value, trial.number), default=None)

    def next(self, most: int, first: Optional[Dict[str, Any]], sampler: str, refuse: Refuse) -> Optional[Claim]:
        """A trial for this process: one that another began and left, or a new one; None where there is none left.

        Args:
          most: trials of the study.
          first: the settings of the first trial; None where they are not in the space.
          sampler: tpe or random.
        Raises:
          UserError: nearly all settings of the space contradict each other.
        """
        from optuna.trial import TrialState, create_trial

        with self.lock:
            trials = self.trials()
            for trial in trials:
                if trial.state == TrialState.RUNNING:
                    lock = self._hold(trial.number)
                    if lock:
                        return Claim(trial.number, dict(trial.params), lock, again=True)
            if len(trials) >= most:
                return None
            params = first if first and not trials else self.draw(trials, sampler, refuse)
            if params is None:
                return None
            lock = self._hold(len(trials))
            assert lock is not None  # nobody holds a trial that is not there yet
            said = {"host": socket.gethostname(), "default": params is first}
            distributions = self.space.distributions()
            self.study.add_trial(
                create_trial(state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=said)
            )
            return Claim(len(trials), params, lock)

    def note(self, number: int, **attributes: Any) -> None:
        """Store something with a running trial."""
        for key, value in attributes.items():
            self.storage.set_trial_user_attr(self._id(number), key, value)

    def report(self, number: int, epoch: int, error: float) -> bool:
        """Store the error on dev after an epoch of training; returns whether the trial should be pruned."""
        from optuna.trial import Trial

        trial = Trial(self.study, self._id(number))
        if epoch not in self.trials()[number].intermediate_values:
            trial.report(error, epoch)
        return trial.should_prune()

    def finish(self, claim: Claim, error: Optional[float], failed: bool = False) -> None:
        """End a trial: complete with its error rate on dev, else pruned, or failed. Its process lets it go."""
        from optuna.trial import TrialState

        state = TrialState.COMPLETE if error is not None else TrialState.FAIL if failed else TrialState.PRUNED
        self.storage.set_trial_state_values(self._id(claim.number), state, None if error is None else [error])
        claim.lock.release()

    def _id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.storage.get_study_id_from_name(NAME), number)

    def _hold(self, number: int) -> Optional[FileLock]:
        lock = FileLock(self.folder / ".locks" / f"trial-{number}")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def draw(self, trials: Sequence[Any], sampler: str, refuse: Refuse) -> Optional[Dict[str, Any]]:
        """New settings that the rules accept; None where all were tried. The same study gives the same ones."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        tried = {_identity(trial.params) for trial in trials}
        seed = zlib.crc32(f"{sampler} {len(trials)}".encode()) % 2**31
        random = optuna.samplers.RandomSampler(seed=seed)
        first = (
            random
            if sampler == "random"
            else optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(5, 2 * len(self.space.dimensions)))
        )
        memory = optuna.create_study(sampler=first)
        memory.add_trials(trials)
        distributions, why = self.space.distributions(), ""
        for attempt in range(TRIES):
            if attempt == TRIES // 2:
                memory.sampler = random
            asked = memory.ask(distributions)
            params = {d.key: d.rounded(asked.params[d.key]) for d in self.space.dimensions}
            if _identity(params) not in tried:
                refused = refuse(params)
                if not refused:
                    return params
                why = refused
                tried.add(_identity(params))
            memory.tell(asked, state=optuna.trial.TrialState.FAIL)
        size = self.space.size(distributions)
        if size is not None and size <= LISTED:
            return self._unseen(tried, refuse)
        raise UserError(f"no settings of the space are a configuration in {TRIES} draws; of the last: {why}")

    def _unseen(self, tried: set, refuse: Refuse) -> Optional[Dict[str, Any]]:
        from itertools import product

        keys = [d.key for d in self.space.dimensions]
        for values in product(*(d.values() for d in self.space.dimensions)):
            params = dict(zip(keys, values))
            if _identity(params) not in tried and not refuse(params):
                return params
        return None


class JournalLock:
    """The study's lock as Optuna's journal wants it; a line that a full disk cut short is removed before the next is written."""

    def __init__(self, lock: FileLock, journal: Path) -> None:
        self.lock, self.journal = lock, journal

    def acquire(self) -> bool:
        """Wait for the lock."""
        self.lock.acquire()
        if self.journal.exists() and self.journal.stat().st_size:
            with open(self.journal, "rb+") as stream:
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.seek(0)
                    stream.truncate(stream.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let it go."""
        self.lock.release()


def differences(stored: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> List[str]:
    """What two descriptions of sweeps differ in, in words. Of settings that only newer code has, fingerprints tell."""
    out: List[str] = []
    for key in dict.fromkeys([*stored, *here]):
        theirs, ours, name = stored.get(key), here.get(key), f"{prefix}{key}"
        if theirs == ours or (prefix == "settings: " and None in (theirs, ours)):
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict) and key in ("space", "settings", "stages"):
            out += differences(theirs, ours, f"{key}: " if key != "space" else "")
        else:
            out.append(f"{name} is {_said(theirs)} there, {_said(ours)} here")
    return out


def _said(value: Any) -> str:
    if value is None:
        return "missing"
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _identity(params: Mapping[str, Any]) -> Tuple[Tuple[str, str], ...]:
    return tuple(sorted((key, repr(value)) for key, value in params.items()))
