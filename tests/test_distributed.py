"""Training in several processes: the same model as in one, whatever is killed; errors that name the process."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from support.training import options, planned, trainer
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.distributed import group as distributed
from utils.distributed.group import Group, join
from utils.pipeline.place import Place, check_shared, find_place

SHARDS = ["features.storage=shar", "features.shard_size=5"]
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}


def start(source: Path, *more: str) -> subprocess.Popen:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-m", "utils.pipeline.driver", *options(source, *SHARDS), "--stop-stage", "5", *more]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_also_where_one_is_killed(prepared, exp, tmp_path, caplog):
    """From shards; to the same weights it goes on in two processes again, and in one alone that takes over and reads files."""
    trained = planned(prepared.source, exp, "train.accumulate=2", *SHARDS).inputs["train"]
    partial, deadline = trained.with_name(trained.name + ".partial"), time.monotonic() + 600
    killed = start(prepared.source, "--world-size", "2")
    while not list(partial.glob("checkpoints/checkpoint-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    number = re.search(r"rank 1 of 2: process (\d+)", (partial / "log.txt").read_text())
    assert number is not None
    os.kill(int(number[1]), signal.SIGKILL)
    said = killed.communicate(timeout=30)[1]
    assert killed.returncode == 1 and re.search(r"rank 1 of 2 was killed by signal 9.*log-rank-1\.txt", said), said
    assert "to continue: " in said and "--world-size 2" in said
    shutil.copytree(partial, tmp_path / "taken")

    again = start(prepared.source, "--world-size", "2")
    said = again.communicate(timeout=120)[1]
    assert again.returncode == 0 and "2 processes x 1 batches in a step" in said, said
    assert json.loads((trained / "stage.json").read_text())["processes"] == 2
    trainer(prepared, tmp_path / "alone", accumulate=2).run()
    with caplog.at_level(logging.INFO):
        trainer(prepared, tmp_path / "taken", accumulate=2).run()
    assert "2 processes before, 1 now" in caplog.text
    expected = load_file(str(tmp_path / "alone/model.safetensors"))
    for folder in (trained, tmp_path / "taken"):
        found = load_file(str(folder / "model.safetensors"))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=name)
        assert steps(folder) == steps(tmp_path / "alone")


def steps(folder: Path):
    return [json.loads(row)["step"] for row in (folder / "curves.jsonl").read_text().splitlines()]


def test_every_utterance_is_trained_once_an_epoch_by_any_number_of_processes(prepared, tmp_path):
    made = trainer(prepared, tmp_path, batch_seconds=4.0)
    everything = sorted(cut.id for cut in made.train_cuts)
    for size, accumulate in ((1, 1), (1, 3), (2, 2), (3, 3), (2, 4), (3, 4), (8, 8)):
        made.config.train.accumulate = accumulate
        for epoch in range(3):
            made.config.train.epochs, place = epoch + 1, []
            count = len(made.epoch_batches(epoch))
            for rank in range(size):
                made.group = Group(Place(size, rank))
                own = [n for n in range(count) if made._is_ours(n)]
                batches = [cuts for _, cuts in made._steps(epoch, 0)]
                assert len(batches) == len(own)
                place += [(n, cut.id) for n, cuts in zip(own, batches) for cut in cuts]
            assert sorted(name for _, name in place) == everything
            assert sorted({n for n, _ in place}) == list(range(count))


def test_batches_that_processes_can_not_share_evenly_are_refused():
    config = {"system": "network", "train": {"accumulate": 6}}
    check_shared(config, "wordvec_hybrid", 3)
    with pytest.raises(UserError, match="4 processes can't share 6 batches in a step evenly"):
        check_shared(config, "wordvec_hybrid", 4)


def test_more_processes_than_batches_are_refused(prepared, tmp_path):
    made = trainer(prepared, tmp_path, batch_seconds=1000.0, accumulate=2)
    made.group = Group(Place(2, 0))
    with pytest.raises(UserError, match="an epoch has 1 batches, fewer than the 2 processes: lower --world-size"):
        made.run()


@pytest.mark.slow
def test_a_process_that_fails_ends_the_others_and_is_named(tmp_path):
    words = [sys.executable, "-m", "support.groups", str(tmp_path)]
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert ended["well"]["said"] == ""
    for case, expected in {
        "settings": r"on rank 1 \(.*\) setting train.epochs is 4, not 3; fingerprint",
        "full": r"^UserError: rank 1 of 2: the disk is full",
        "bug": r"^UserError: rank 0 of 2: KeyError.*log-0",
        "pruned": r"^Stopped: after two epochs$",
        "killed": r"^UserError: rank 1 of 2 was killed by signal 9.*log-1",
        "stopped": r"rank 1 \(process \d+ on .*log-1\) did not come to exchange \d+ \(no answer for 2 s",
        "interrupted": r"^UserError: rank 1 of 2 was interrupted.*log-1",
    }.items():
        assert re.search(expected, ended[case]["said"]), ended[case]
        assert ended[case]["seconds"] < 15


def test_the_environment_tells_the_place_of_a_process():
    assert find_place(None, "cpu", True, {}) == Place()
    assert find_place(2, "cpu", False, {"RANK": "1"}) == Place(2, None)
    place = find_place(None, "cuda", True, TORCHRUN)
    assert place == Place(4, 1, 1, 2) and place.device("cuda") == "cuda:1" and not place.publishes


@pytest.mark.parametrize(
    "asked, device, trains, changes, said",
    [
        (None, "cpu", True, {"MASTER_ADDR": ""}, "RANK=1 is set, MASTER_ADDR not"),
        (None, "cpu", True, {"RANK": "4"}, "RANK=4, but WORLD_SIZE=4"),
        (None, "cpu", True, {"WORLD_SIZE": "many"}, "WORLD_SIZE=many in the environment is not a whole number"),
        (2, "cpu", True, {}, "--world-size 2, but WORLD_SIZE=4"),
        (None, "cpu", False, {}, "run -m steps.train"),
        (None, "cuda:1", True, {}, "--device cuda:1 is one GPU for 4 processes"),
    ],
)
def test_a_place_that_contradicts_itself_is_refused(asked, device, trains, changes, said):
    with pytest.raises(UserError, match=said):
        find_place(asked, device, trains, {**TORCHRUN, **changes})


@pytest.mark.parametrize("address", ["127.0.0.1", "no-such-machine.invalid"])
def test_an_address_where_nobody_answers_is_named(monkeypatch, tmp_path, address):
    monkeypatch.setattr(distributed, "START_WAIT", 1.0)
    monkeypatch.setenv("MASTER_ADDR", address)
    monkeypatch.setenv("MASTER_PORT", "9")
    with pytest.raises(UserError, match=f"MASTER_ADDR={address}, MASTER_PORT=9 does not answer"):
        join(Place(2, 1), {}, "cpu", tmp_path / "log")
