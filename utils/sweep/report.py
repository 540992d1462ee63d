"""What a study says to its user: all trials as JSON lines, the best settings as YAML, pictures of history and importance."""

import math
from typing import Any, Dict, List, Mapping, Optional, Sequence

import yaml

from utils.core.files import write_jsonl, write_text
from utils.pipeline.config import leaves, split_override
from utils.results.pictures import COLOURS, drawn
from utils.sweep.space import Space
from utils.sweep.study import Study

TRIALS, BEST, HISTORY, IMPORTANCE = "trials.jsonl", "best.yaml", "history.svg", "importance.svg"
ENOUGH = 10  # complete trials before importance says anything
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


def rows(study: Study) -> List[Dict[str, Any]]:
    """A row a trial: number, state, error rate on dev in percent, settings, what was measured, where and how long."""
    return [_row(study.space, trial) for trial in study.trials()]


def _row(space: Space, trial: Any) -> Dict[str, Any]:
    said = {key: value for key, value in trial.user_attrs.items() if key not in ("made", "folders", "shared")}
    return {
        "trial": trial.number,
        "state": STATES[trial.state.name],
        "error_rate": trial.value if trial.state.name == "COMPLETE" else None,
        "settings": space.settings(trial.params),
        **said,
        "curve": {str(epoch): error for epoch, error in sorted(trial.intermediate_values.items())},
        "started": trial.datetime_start.isoformat(timespec="seconds"),
        "ended": trial.datetime_complete.isoformat(timespec="seconds") if trial.datetime_complete else None,
    }


def write_tables(study: Study, config: Dict[str, Any], overrides: Sequence[str], command: str) -> None:
    """Write trials.jsonl, and best.yaml once a trial is complete; call it with the study's lock.

    Args:
      config: the configuration of the best trial.
      overrides: the --set of all trials, which best.yaml has too.
      command: what runs the best settings, for best.yaml's first lines.
    """
    write_jsonl(study.folder / TRIALS, rows(study))
    best = study.best()
    if not best:
        return
    values = leaves(config)
    keys = [key for key in (split_override(item)[0] for item in overrides) if key in values]
    nested: Dict[str, Any] = {}
    for key in dict.fromkeys([*keys, *best.params]):
        *groups, last = key.split(".")
        target = nested
        for name in groups:
            target = target.setdefault(name, {})
        target[last] = values[key]
    lines = [f"# {line}\n" for line in (*summary(study), f"On the test set: {command}")]
    write_text(study.folder / BEST, "".join(lines) + yaml.safe_dump(nested, sort_keys=False, allow_unicode=True))


def summary(study: Study) -> List[str]:
    """Two or three lines on the trials so far; the first trial is the recipe's own settings where they are in the space."""
    best, trials = study.best(), study.trials()
    counts = {name: sum(trial.state.name == state for trial in trials) for state, name in STATES.items()}
    lines = [f"{len(trials)} trials: {', '.join(f'{n} {name}' for name, n in counts.items() if n)}"]
    if best:
        lines.append(f"best: {spoken(best)} on dev (trial {best.number})")
        first = trials[0]
        if first.user_attrs.get("default") and first.state.name == "COMPLETE" and first.number != best.number:
            lines[-1] += f"; the recipe's own settings: {spoken(first)}"
    return lines


def spoken(trial: Any) -> str:
    """The error rate of a complete trial, with its interval."""
    said = trial.user_attrs
    return f"{said['measure'].upper()} {trial.value:.2f}% ({said['interval'][0]:.1f} to {said['interval'][1]:.1f})"


def draw(study: Study) -> Optional[Dict[str, float]]:
    """Draw history.svg, and importance.svg where there are enough trials; returns the importance of each key, which sums to 1."""
    found = importance(study)
    complete = [row for row in rows(study) if row["state"] == "complete"]
    if complete:
        write_text(study.folder / HISTORY, history_picture(rows(study), complete[0]["measure"].upper()))
    if found:
        write_text(study.folder / IMPORTANCE, importance_picture(found))
    return found


def importance(study: Study) -> Optional[Dict[str, float]]:
    """How much each key matters for being among the best tenth of the trials, by PED-ANOVA (Watanabe et al. 2023).

    Optuna's usual measure, fANOVA, needs scikit-learn, which nothing else here does. None where trials are few or all alike.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    values = [trial.value for trial in study.trials() if trial.state.name == "COMPLETE"]
    if len(values) < ENOUGH or len(set(values)) < 2:
        return None
    found = get_param_importances(study.study, evaluator=PedAnovaImportanceEvaluator())
    return {key: float(value) for key, value in found.items()} if all(map(math.isfinite, found.values())) else None


def history_picture(trials: Sequence[Mapping[str, Any]], measure: str) -> str:
    """Error rates on dev by trial, and the lowest so far; trials without one are marks at the bottom."""
    with drawn(6, 3.2) as (figure, out):
        axes = figure.subplots()
        done = [(row["trial"], row["error_rate"]) for row in trials if row["state"] == "complete"]
        axes.scatter(*zip(*done), s=16, color=COLOURS[0], label="trial")
        lowest = [min(error for other, error in done if other <= number) for number, _ in done]
        axes.step([number for number, _ in done], lowest, where="post", color=COLOURS[1], linewidth=1.2, label="lowest so far")
        for state, mark, colour in (("pruned", "|", COLOURS[7]), ("failed", "x", COLOURS[5])):
            there = [row["trial"] for row in trials if row["state"] == state]
            if there:
                axes.plot(there, [0.02] * len(there), mark, color=colour, transform=axes.get_xaxis_transform(), label=state)
        axes.set(xlabel="trial", ylabel=f"{measure} on dev (%)")
        axes.legend()
    return out[0]


def importance_picture(found: Mapping[str, float]) -> str:
    """A bar a key."""
    with drawn(6, 0.9 + 0.28 * len(found)) as (figure, out):
        axes = figure.subplots()
        axes.barh(range(len(found)), list(found.values()), color=COLOURS[0], height=0.65)
        axes.set_yticks(range(len(found)), list(found))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="importance for the best tenth of the trials (PED-ANOVA)", xlim=(0, 1))
    return out[0]


def shown(settings: Mapping[str, Any]) -> str:
    """Settings in a line."""
    return " ".join(f"{key}={value}" for key, value in settings.items())
