"""The stage contract, on real small stages: killed, changed, repeated."""

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

from utils.core import files
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.pipeline import config, contract, stages


def snapshot(folder, skip=("log.txt", "stage.json", "timing.json")):
    """Path -> bytes of everything below `folder` that two runs must have in common."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in skip and not p.name.endswith(".lock")
    }


def times(folder):
    """Path -> when it was last written, for every file and folder."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in [folder, *folder.rglob("*")]}


@pytest.fixture
def chain(kaldi_source, exp):
    """Command line of stages 0 to 4 of a small corpus of real speech, as a process of its own."""
    return [
        sys.executable,
        "-m",
        "utils.pipeline.driver",
        "--corpus",
        "kaldi_dir",
        "--stop-stage",
        "audit",
        "--nj",
        "2",
        "--threads",
        "1",
        "--set",
        f"data.source={kaldi_source}",
        "--set",
        "lang.size=40",
        "--set",
        "audit.max_infeasible=1.0",
    ]


def call(command):
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


@pytest.mark.slow
def test_killed_anywhere_and_started_again_all_stages_end_with_the_same_bytes(chain, exp, tmp_path):
    done = call(chain)
    assert done.returncode == 0, done.stderr
    expected = snapshot(exp)
    assert {p.split("/")[1].split("-")[0] for p in expected} == {"data", "features", "lang", "vectors", "audit"}
    shutil.move(exp, tmp_path / "whole")
    kills = []
    for stage in ("data", "features", "lang", "vectors", "audit"):
        process = subprocess.Popen(
            chain, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None:  # as soon as the stage has written more than its configuration
            standing = [p for p in exp.glob(f"kaldi_dir/{stage}-*.partial/*") if p.name not in ("config.yaml", "log.txt")]
            if standing:
                os.kill(process.pid, signal.SIGKILL)
                kills.append(stage)
                break
            time.sleep(0.001)
        process.wait()
        if process.returncode == 0:  # this stage was too quick to be met
            break
    assert len(kills) >= 2, kills
    done = call(chain)
    assert done.returncode == 0, done.stderr
    assert snapshot(exp) == expected
    assert not list(exp.rglob("*.partial")) and not list(exp.rglob(".tmp-*"))


@pytest.mark.slow
def test_a_finished_run_is_never_made_again_and_takes_no_time(chain, exp):
    assert call(chain).returncode == 0
    before = times(exp)
    started = sum(os.times()[:4])  # processor seconds, the child's among them
    again = call(chain)
    seconds = sum(os.times()[:4]) - started
    assert again.returncode == 0 and again.stderr.count(": complete (") == 5
    assert times(exp) == before and seconds < 8


def test_planning_loads_nothing_heavy(exp):
    refused = call([sys.executable, "-X", "importtime", "-m", "utils.pipeline.driver", "--corpus", "yesno", "--stage", "3"])
    assert refused.returncode == 2 and "not complete" in refused.stderr
    assert not {"torch", "lhotse", "numpy", "k2"} & {line.split("|")[-1].strip() for line in refused.stderr.splitlines()}


@pytest.mark.slow
def test_a_changed_setting_gets_a_new_folder_and_leaves_the_old_one_alone(chain, exp):
    assert call(chain).returncode == 0
    before = {p.name: (snapshot(p, skip=()), times(p)) for p in exp.glob("kaldi_dir/[!.]*")}
    changed = call([*chain, "--set", "lang.size=30"])
    assert changed.returncode == 0, changed.stderr
    assert "stage 0 data: complete" in changed.stderr and "stage 1 features: complete" in changed.stderr
    after = {p.name: (snapshot(p, skip=()), times(p)) for p in exp.glob("kaldi_dir/[!.]*")}
    assert {name: after[name] for name in before} == before
    assert sorted(name.split("-")[0] for name in after.keys() - before.keys()) == ["audit", "lang", "vectors"]


def test_a_finished_stage_records_what_made_it(chain, exp):
    assert call([*chain, "--stop-stage", "0"]).returncode == 0
    (folder,) = exp.glob("kaldi_dir/data-*")
    record = contract.stage_record(folder)
    assert record["stage"] == "data" and folder.name == f"data-{record['fingerprint']}" and record["seconds"] > 0
    assert record["peak_memory_mb"] > 50 and record["versions"]["lhotse"]
    assert {"git_commit", "git_clean", "machine"} <= set(record)
    resolved = (folder / "config.yaml").read_text()
    assert "lang" not in resolved.replace("language", "") and "kaldi_dir" in resolved  # the declared keys alone


# One stage in this process, with a body of the test's own


@pytest.fixture
def job(exp, monkeypatch):
    """Make stage `vectors` with `body(job)` for its work; returns the plan."""
    plan = stages.plan(config.load("wordvec_hybrid", ROOT / "egs" / "yesno"), exp / "yesno")["vectors"]

    def make(body):
        monkeypatch.setattr(stages.Stage, "run", lambda stage, job: body(job))
        contract.make(
            plan,
            corpus="yesno",
            corpus_dir=Path("egs/yesno"),
            recipe="wordvec_hybrid",
            overrides=(),
            nj=1,
            threads=1,
            device="cpu",
        )
        return plan

    return make


def test_a_failure_is_in_the_log_and_finished_outputs_are_kept(job, exp):
    def fails(job):
        files.write_text(job.out / "first.txt", "kept")
        raise UserError("utterance 7 is silent")

    with pytest.raises(UserError, match="utterance 7 is silent"):
        job(fails)
    (partial,) = exp.glob("yesno/vectors-*.partial")
    assert (partial / "first.txt").read_text() == "kept" and "utterance 7 is silent" in (partial / "log.txt").read_text()

    def goes_on(job):
        assert (job.out / "first.txt").read_text() == "kept"

    plan = job(goes_on)
    assert plan.complete and (plan.out / "first.txt").read_text() == "kept"


def test_time_is_summed_over_interruptions(job):
    def slow(job):
        time.sleep(0.2)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            job(slow)
    plan = job(lambda job: time.sleep(0.2))
    assert 0.6 <= contract.stage_record(plan.out)["seconds"] < 2 and not (plan.out / "seconds.json").exists()


def test_unfinished_files_of_a_killed_run_are_gone_before_the_next(job, exp):
    def killed(job):
        (job.out / "part").mkdir()
        (job.out / "part" / ".tmp-1-big.bin").write_bytes(b"x")
        (job.out / ".tmp-2-folder").mkdir()
        (job.out / ".tmp-2-folder" / "x").write_bytes(b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job(killed)

    def look(job):
        assert not list(job.out.rglob(".tmp-*"))
        (job.out / ".tmp-3-late").write_bytes(b"x")

    assert not list(job(look).out.rglob(".tmp-*"))


def test_a_file_is_complete_or_absent(tmp_path):
    path = tmp_path / "deep" / "table.json"
    with pytest.raises(ZeroDivisionError):
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            1 / 0
    assert not path.exists() and not list(path.parent.iterdir())
    files.write_json(path, {"b": 1, "a": "é"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "é", "b": 1}
    with pytest.raises(ZeroDivisionError):
        with files.atomic_path(path) as temporary:
            1 / 0
    assert files.read_json(path) == {"a": "é", "b": 1}


def small_disk(folder, options="size=64k"):
    """A command prefix that puts a disk of 64 kB at `folder`, in a namespace of its own; skips where that is not allowed."""
    folder.mkdir(parents=True)
    prefix = ["unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o {options} none "{folder}" && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("needs permission to mount a small disk")
    return prefix


@pytest.mark.slow
def test_a_full_disk_is_named_with_the_remedy_and_the_next_run_continues(chain, exp):
    said = call([*small_disk(exp), *chain])
    assert said.returncode == 1 and "Traceback" not in said.stderr, said.stderr
    assert "the disk is full" in said.stderr and "set NUPTSE_EXP to a folder with more" in said.stderr
    assert "to continue: " in said.stderr
    assert call([*chain, "--stop-stage", "0"]).returncode == 0


@pytest.mark.slow
def test_a_read_only_disk_is_named_with_the_remedy(chain, exp):
    said = call([*small_disk(exp, "ro"), *chain])
    assert said.returncode == 1 and "Traceback" not in said.stderr, said.stderr
    assert "Read-only file system" in said.stderr and "set NUPTSE_EXP to a folder where you may write" in said.stderr


def test_torch_does_not_end_the_process_where_the_disk_is_full(tmp_path):
    """Writing the file itself, it would end in a dump of C++ (terminate called ...)."""
    code = "import sys, torch; from utils.core import torch_files; torch_files.save(torch.zeros(10**5), sys.argv[1])"
    said = call([*small_disk(tmp_path / "disk"), sys.executable, "-c", code, str(tmp_path / "disk" / "checkpoint.pt")])
    assert said.returncode == 1 and "OSError: [Errno 28]" in said.stderr and "terminate" not in said.stderr, said.stderr


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device", "x.bin"),
        OSError(122, "Disk quota exceeded", "x.bin"),
        RuntimeError("PytorchStreamWriter failed: No space left on device"),
    ],
)
def test_a_full_disk_is_known_behind_a_librarys_own_error(error, tmp_path):
    try:
        try:
            raise error
        except Exception as cause:
            raise ValueError("could not save") from cause
    except ValueError as raised:
        said = files.unwritable(raised, tmp_path)
        assert re.search(rf"the disk is full \((x.bin|{re.escape(str(tmp_path))})\); free space", said)
    assert files.unwritable(ValueError("something else"), tmp_path) == ""


def test_the_fingerprint_follows_what_a_stage_reads_and_nothing_else(tmp_path):
    def prints(*overrides):
        plans = stages.plan(config.load("wordvec_hybrid", ROOT / "egs" / "yesno", overrides), tmp_path)
        return {name: plan.fingerprint for name, plan in plans.items()}

    before = prints()

    def changed(*overrides):
        after = prints(*overrides)
        return [name for name in before if after[name] != before[name]]

    assert changed() == []
    assert changed("lang.size=77") == ["lang", "vectors", "audit", "train", "decode", "rescore", "score", "export"]
    assert changed("seed=1") == ["train", "decode", "rescore", "score", "export"]
    assert changed("score.bootstrap=10") == ["score"]
    assert changed("data.max_duration=5") == list(before)


def test_a_key_younger_than_its_stage_changes_no_fingerprint_where_it_leaves_the_stage_as_it_was(tmp_path, monkeypatch):
    def decode(*overrides):
        return stages.plan(config.load("wordvec_hybrid", ROOT / "egs" / "asterisk", overrides), tmp_path)["decode"].fingerprint

    known = config.leaves(config.load("wordvec_hybrid", ROOT / "egs" / "asterisk"))
    assert all(known[key] == value for key, value in stages.YOUNGER.items())  # the defaults
    usual = decode()
    assert decode("decode.first_pass_lm_order=2") != usual
    monkeypatch.setattr(stages, "YOUNGER", {})
    assert decode() != usual


@pytest.mark.parametrize(
    "stage, key, more",
    [
        ("vectors", "vectors.meaning.path", ["vectors.meaning.source=file"]),
        ("lang", "lang.text", []),
        ("rescore", "rescore.word_lm.path", ["rescore.word_lm.source=file"]),
        ("rescore", "rescore.llm.path", []),
    ],
)
def test_a_changed_file_of_the_users_changes_the_fingerprint(stage, key, more, tmp_path):
    file = tmp_path / "file.txt"

    def fingerprints():
        plans = stages.plan(config.load("wordvec_hybrid", ROOT / "egs" / "yesno", [*more, f"{key}={file}"]), tmp_path)
        return {name: plan.fingerprint for name, plan in plans.items()}

    with pytest.raises(UserError, match=f"{key}=.*: there is no such"):
        fingerprints()
    file.write_text("yes 1 2\n")
    first = fingerprints()
    assert fingerprints() == first
    file.write_text("yes 1 2\nno 2 1\n")
    changed = [name for name, fingerprint in fingerprints().items() if fingerprint != first[name]]
    assert changed[0] == stage and "score" in changed
