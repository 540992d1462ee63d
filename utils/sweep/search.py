"""The loop of a process that makes trials, and the end of a sweep."""

import logging
import time
from typing import Any, Dict

from utils.core.errors import UserError
from utils.results.comparison import measure
from utils.results.records import Record
from utils.sweep import report, trials
from utils.sweep.study import Study

IN_A_ROW = 4  # trials that fail, one after another, before a process gives up
log = logging.getLogger("nuptse")


def make_trials(sweep: trials.Sweep) -> int:
    """Make trials until there is none left for this process; returns how many it made.

    Raises:
      UserError: the sweep cannot go on, or IN_A_ROW trials failed one after another.
    """
    study, made, failed = sweep.study(), 0, 0
    while True:
        claim = study.next(sweep.trials, sweep.first, sweep.sampler, sweep.refuse)
        if claim is None:
            return made
        if claim.again:
            log.info("trial %d: going on where another process ended", claim.number)
        started, said = time.perf_counter(), ""
        end: Dict[str, Any] = {"error": None}
        try:
            record = trials.run(sweep, study, claim)
            by = measure([record])
            comparable(study, record, by)
            end["error"] = float(record[by])
            said_of = {"decoding": record["decoding"], "measure": by, "interval": record[f"{by}_interval"]}
            study.note(claim.number, **said_of, utterance_set=record["utterance_set"])
        except trials.Pruned:
            said = "pruned"
        except trials.Failed as error:
            end["failed"], said = True, f"failed: {error}"
            study.note(claim.number, reason=str(error))
        except BaseException:
            claim.lock.release()  # it stays running, and the next process continues it
            raise
        seconds = time.perf_counter() - started
        study.note(claim.number, seconds=round(seconds, 1))
        with study.lock:
            study.finish(claim, **end)
            trials.clean(sweep, study, ended=False)
            write(sweep, study)
            best, now = study.best(), study.trials()[claim.number]
        made += 1
        lowest = f"; best {best.value:.2f}% (trial {best.number})" if best else ""
        settings = report.shown(sweep.space.settings(claim.params))
        log.info("trial %d: %s, %.1f s%s; %s", claim.number, said or report.spoken(now), seconds, lowest, settings)
        failed = failed + 1 if "failed" in end else 0
        if failed == IN_A_ROW:
            raise UserError(f"{failed} trials in a row {said}; the same command goes on with other settings")


def comparable(study: Study, record: Record, by: str) -> None:
    """Raise Failed where a trial's error is not of the same utterances, in the same unit, as that of the trials before it."""
    for trial in study.trials():
        said = trial.user_attrs
        if trial.state.name == "COMPLETE" and (said["utterance_set"], said["measure"]) != (record["utterance_set"], by):
            raise trials.Failed(
                f"its dev set or its measure is another than that of trial {trial.number}, so they do not compare"
            )


def write(sweep: trials.Sweep, study: Study) -> None:
    """Write the tables of the study; call it with its lock."""
    best = study.best()
    config = sweep.config(best.params) if best else {}
    report.write_tables(study, config, sweep.overrides, sweep.ordinary)


def conclude(sweep: trials.Sweep) -> None:
    """Delete what is needed no more, draw the pictures, and say what was found. Raises UserError where no trial is complete."""
    study = sweep.study()
    with study.lock:
        begun = study.trials()
        running = [trial for trial in begun if trial.state.name == "RUNNING"]
        trials.clean(sweep, study, ended=not running)
        write(sweep, study)
        found = report.draw(study)
    if len(begun) < sweep.trials and not running:
        log.info("all settings of the space were tried")
    for line in report.summary(study):
        log.info("%s", line)
    if found:
        log.info("importance: %s", ", ".join(f"{key} {value:.2f}" for key, value in found.items()))
    if not study.best():
        raise UserError(f"no trial is complete; {sweep.folder / report.TRIALS} says why")
    log.info("best settings: %s; all trials: %s", sweep.folder / report.BEST, sweep.folder / report.TRIALS)
    log.info("on the test set, once: %s", sweep.ordinary)
