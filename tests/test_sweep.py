"""A search over settings: what a space may be, how processes share a study, what a kill loses, and that test is not read."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from steps import sweep as command
from utils.core.errors import UserError
from utils.core.files import ROOT, read_jsonl
from utils.pipeline import config
from utils.sweep.space import read_space
from utils.sweep.study import JOURNAL, Study

YESNO = ROOT / "egs" / "yesno"
RESCORING = {"rescore.paths": {"low": 2, "high": 60}, "rescore.lattice_scale": {"low": 0.1, "high": 2.0, "log": True}}


def space_of(folder, content):
    path = folder / "space.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_space(path, config.load("wordvec_hybrid", YESNO))


@pytest.mark.parametrize(
    "content, said",
    [
        (
            "rescore.lattice_scal: {low: 0.1, high: 2}",
            "unknown key 'rescore.lattice_scal' (did you mean 'rescore.lattice_scale'?)",
        ),
        ("rescore: {pathes: [1, 2]}", "unknown key 'rescore.pathes' (did you mean 'rescore.paths'?)"),
        ("rescore: {low: 1, high: 2}", "'rescore' is a group of keys"),
        ("train.learning_rate: {low: 0.1, high: 2}", "train.learning_rate=2.0 is not allowed"),
        ("decode.max_active: {low: 5, high: 90}", "decode.max_active=5 is not allowed: it must be a whole number, at least 30"),
        ("rescore.candidates: [subword, word]", "rescore.candidates=word is not allowed"),
        ("rescore.candidates: {low: 1, high: 2}", "which has no range; list the values to try"),
        ("rescore.paths: {low: 9, high: 3}", "low=9 is not below high=3"),
        ("rescore.paths: {lo: 9, high: 3}", "not 'lo' (did you mean 'low'?)"),
        ("rescore.paths: {low: 2, high: 9, step: 3}", "set high: 8"),
        ("train.warmup: {low: 0, high: 0.5, log: true}", "a logarithmic range is impossible because low=0 is not above 0"),
        ("model.kernel: {low: 3, high: 9, step: 3}", "must be odd, so step must be even"),
        ("rescore.paths: [5, 5]", "has a choice twice"),
        ("rescore.paths: 5", "5 is one value"),
        ("export.onnx: [true, false]", "export.onnx changes nothing that the error on dev depends on"),
        ("{}", "has no key to search over"),
    ],
)
def test_a_space_with_a_mistake_is_refused_with_what_is_right(content, said, tmp_path):
    with pytest.raises(UserError, match="space.yaml") as raised:
        space_of(tmp_path, content)
    assert said in str(raised.value)


def test_settings_of_a_space_are_drawn_once_fit_the_keys_and_come_back_from_a_file(tmp_path):
    space = space_of(
        tmp_path, {"model": {"heads": [2, 3, 4], "kernel": {"low": 3, "high": 7}}, "features.speed_perturb": [[], [0.9]]}
    )
    study, seen, refused = Study(tmp_path / "study", space), [], []

    def refuse(params):
        try:
            config.load("wordvec_hybrid", YESNO, space.overrides(params))
        except UserError as error:  # three heads do not divide the width of 64
            refused.append(str(error))
            return str(error)

    while (claim := study.next(100, None, "tpe", refuse)) is not None:
        seen.append(claim.params)
        study.finish(claim, float(len(seen)))
    assert len(seen) == len({json.dumps(params) for params in seen}) == 2 * 3 * 2 and refused
    file = tmp_path / "best.yaml"
    file.write_text(yaml.safe_dump(space.settings(seen[-1])))
    values = config.leaves(config.load("wordvec_hybrid", YESNO, config.settings_of(file)))
    assert {key: values[key] for key in space.about()} == space.settings(seen[-1])


def test_processes_share_trials_and_one_that_died_is_continued(tmp_path):
    space = space_of(tmp_path, RESCORING)
    first, second = (Study(tmp_path / "study", space, {"space": space.about()}) for _ in range(2))
    claims = [study.next(3, None, "tpe", lambda params: None) for study in (first, second, first)]
    assert [claim.number for claim in claims] == [0, 1, 2] and first.next(3, None, "tpe", lambda params: None) is None
    claims[1].lock.release()  # as the system does when a process dies
    again = first.next(3, None, "tpe", lambda params: None)
    assert again.number == 1 and again.again and again.params == claims[1].params
    first.finish(claims[0], 3.0)
    with open(tmp_path / "study" / JOURNAL, "a") as stream:
        stream.write('{"op_code": 5, "wor')  # cut short by a full disk
    third = Study(tmp_path / "study", space, {"space": space.about()})
    third.note(1, reason="none")
    assert third.best().number == 0 and third.trials()[1].user_attrs["reason"] == "none"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / JOURNAL).write_text('{"op_code": 4}\nnotes\n')
    with pytest.raises(UserError, match="journal.log is damaged or no study"):
        Study(tmp_path / "other", space)
    other = space_of(tmp_path, {**RESCORING, "rescore.paths": [1, 2]})
    with pytest.raises(UserError, match=r"rescore.paths is low 2, high 60 there, \[1, 2\] here"):
        Study(tmp_path / "study", other, {"space": other.about()})


def test_training_above_the_median_of_others_is_pruned_after_its_warm_up(tmp_path):
    study = Study(tmp_path / "study", space_of(tmp_path, RESCORING), warmup=2)
    pruned = []
    for number, errors in enumerate([(90, 30), (90, 40), (90, 20), (90, 35), (99, 36), (80, 30)]):
        claim = study.next(9, None, "random", lambda params: None)
        pruned.append([study.report(number, epoch, error) for epoch, error in enumerate(errors, 1)])
        study.finish(claim, None if any(pruned[-1]) else errors[-1])
    assert pruned == [[False, False]] * 4 + [[False, True], [False, False]]
    assert study.trials()[4].state.name == "PRUNED" and study.best().number == 2


@pytest.mark.parametrize(
    "content, said",
    [
        ("trian: {epochs: 3}", "unknown key 'trian.epochs' (did you mean 'train.epochs'?)"),
        ("train.batch_seconds: 0", "train.batch_seconds=0.0 is not allowed"),
        ("train.epochs:", "train.epochs must be a whole number"),
        ("[1]", "must hold a mapping"),
    ],
)
def test_a_file_of_settings_with_a_mistake_is_refused(content, said, tmp_path):
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(UserError, match="mine.yaml") as raised:
        config.settings_of(tmp_path / "mine.yaml")
    assert said in str(raised.value)


def test_the_spaces_of_the_page_are_spaces_of_their_recipes(tmp_path):
    blocks = re.findall(r"```yaml\n(# \w+\.yaml; recipe: (\w+)\n.*?)```", (ROOT / "docs" / "tuning.md").read_text("utf-8"), re.S)
    assert len(blocks) > 6
    for content, recipe in blocks:
        (tmp_path / "space.yaml").write_text(content)
        values = config.load(recipe, ROOT / "egs" / "asterisk", ["features.model=base"] * recipe.startswith("whisper_w"))
        assert read_space(tmp_path / "space.yaml", values).drawn(values), content


def sweep(source: Path, exp: Path, space, *more: str, wait: bool = True):
    """Run the command, or start it."""
    path = exp.parent / "space.yaml"
    path.write_text(yaml.safe_dump(space))
    words = [sys.executable, "-m", "steps.sweep", "--corpus", "yesno", "--nj", "1", "--threads", "1", str(path)]
    words += ["--set", f"data.source={source}", *more]
    keep = {"cwd": ROOT, "env": {**os.environ, "NUPTSE_EXP": str(exp)}}
    if wait:
        return subprocess.run(words, capture_output=True, text=True, **keep)
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True, **keep)


@pytest.mark.slow
def test_trials_over_rescoring_read_no_test_set_and_leave_the_best(yesno, tmp_path, monkeypatch, caplog):
    exp = tmp_path / "exp"
    shutil.copytree(yesno.exp, exp)
    folder = exp / "yesno"
    ordinary = {name: next(folder.glob(f"{name}-*")).rename(tmp_path / name) for name in ("decode", "rescore", "score", "export")}
    for path in folder.rglob("*test*"):
        if path.is_file():
            path.write_text("not to be read")
    done = sweep(yesno.source, exp, RESCORING, "--trials", "4", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    rows = read_jsonl(folder / "sweep-space" / "trials.jsonl")
    assert [row["state"] for row in rows] == ["complete"] * 4
    assert len({json.dumps(row["settings"]) for row in rows}) == 4
    assert len(list(folder.glob("decode-*"))) == len(list(folder.glob("rescore-*"))) == len(list(folder.glob("score-*"))) == 1
    # On dev alone the same words as on dev and test: of the first pass, and of rescoring where the recipe's settings are best.
    for name in ("decode", "rescore") if min(rows, key=lambda row: row["error_rate"])["trial"] == 0 else ("decode",):
        made = next(folder.glob(f"{name}-*-dev"))
        for file in ordinary[name].glob("hyps-*-dev.jsonl"):
            assert (made / file.name).read_text() == file.read_text()
    best = yaml.safe_load((folder / "sweep-space" / "best.yaml").read_text())
    assert best["rescore"] == {key[8:]: value for key, value in min(rows, key=lambda row: row["error_rate"])["settings"].items()}
    monkeypatch.setenv("NUPTSE_EXP", str(exp))
    (tmp_path / "space.yaml").write_text("rescore.paths: [2, 60]")
    assert command.main(["--corpus", "yesno", str(tmp_path / "space.yaml"), "--set", f"data.source={yesno.source}"]) == 2
    assert "rescore.paths is low 2, high 60 there, [2, 60] here" in caplog.text


@pytest.mark.slow
def test_a_killed_sweep_over_training_goes_on_and_makes_no_trial_twice(yesno, tmp_path):
    """Two processes train each trial; Dask's workers decode and rescore."""
    exp = tmp_path / "exp"
    shutil.copytree(yesno.exp, exp)
    before = {path.name for path in (exp / "yesno").iterdir()}
    space = {"train.learning_rate": {"low": 0.001, "high": 0.01, "log": True}}
    few = ("--set", "train.batch_seconds=100", "--world-size", "2", "--executor", "dask")
    running = sweep(yesno.source, exp, space, *few, "--trials", "2", wait=False)
    ends = time.monotonic() + 600
    while time.monotonic() < ends and running.poll() is None:
        checkpoints = list(exp.glob("yesno/train-*.partial/checkpoints/*.pt"))
        if checkpoints and len(read_trials(exp)) == 1:
            break
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and checkpoints
    done = sweep(yesno.source, exp, space, *few, "--trials", "2")
    assert done.returncode == 0 and "trial 1: going on where another process ended" in done.stderr, done.stderr
    rows = read_trials(exp)
    assert [row["state"] for row in rows] == ["complete"] * 2 and [len(row["curve"]) for row in rows] == [3, 3]
    made = {path.name.partition("-")[0] for path in (exp / "yesno").iterdir() if path.name not in before and path.name[0] != "."}
    assert made == {"train", "decode", "rescore", "score", "sweep"}  # of one trial, and the study
    (log,) = (path for path in exp.glob("yesno/train-*/log.txt") if path.parent.name not in before)
    assert json.loads((log.parent / "stage.json").read_text())["processes"] == 2
    assert all("Dask on this machine" in path.read_text() for path in exp.glob("yesno/rescore-*-dev/log.txt"))
    assert yaml.safe_load((exp / "yesno" / "sweep-space" / "best.yaml").read_text())["train"]["accumulate"] == 2
    assert ("resuming after step" in log.read_text()) == (min(rows, key=lambda row: row["error_rate"])["trial"] == 1)


def read_trials(exp: Path):
    path = exp / "yesno" / "sweep-space" / "trials.jsonl"
    return read_jsonl(path) if path.exists() else []
