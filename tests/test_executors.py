"""Pieces by the workers of Dask: the same bytes as by forks, whatever is killed; errors that name the piece and the worker."""

import gzip
import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from support import pieces
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.parallel import Forks
from utils.executors import dask_cluster, worker
from utils.executors.dask_cluster import Dask

distributed = pytest.importorskip("distributed")
log = logging.getLogger("nuptse.test")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two workers, each of which a nanny starts again: their address and folder."""
    folder = tmp_path_factory.mktemp("cluster")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"}
    file = folder / "scheduler.json"
    options = ["--scheduler-file", str(file), "--no-dashboard"]
    common = dict(cwd=ROOT, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    started = [subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *options, "--port", "0"], **common)]
    words = ["--nthreads", "1", "--nworkers", "2", "--local-directory", str(folder)]
    started.append(subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_worker", *options, *words], **common))
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline and started[0].poll() is None
        time.sleep(0.05)
    yield SimpleNamespace(address=yaml.safe_load(file.read_text())["address"], folder=folder, nannies=started[1])
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def workers(nannies):
    """The processes of the workers."""
    children = Path(f"/proc/{nannies.pid}/task").glob("*/children")
    found = [child for path in children for child in path.read_text().split()]
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def small_cluster(count, threads=1):
    """A cluster in threads of this process."""
    return distributed.LocalCluster(
        n_workers=count, threads_per_worker=threads, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
    )


@pytest.fixture
def inside():
    """A cluster in threads of this process: its address."""
    threads = torch.get_num_threads()
    with small_cluster(1) as made:
        yield made.scheduler_address
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_stages_by_dask_interrupted_and_with_workers_killed_have_the_bytes_of_forks(yesno, cluster, tmp_path):
    """Ctrl-C with workers on this machine; then a cluster that runs already goes on, and loses its workers while it decodes."""
    exp = tmp_path / "exp"
    shutil.copytree(yesno.exp, exp)
    made = [folder for name in ("features", "decode", "rescore") for folder in (exp / "yesno").glob(f"{name}-*")]
    expected = {folder: whole(folder, yesno.exp) for folder in made}
    for folder in made:
        shutil.rmtree(folder)
    command = [sys.executable, "-m", "utils.pipeline.driver", "--corpus", str(yesno.exp.parent / "yesno"), "--stage", "1"]
    command += ["--stop-stage", "7", "--nj", "2", "--set", f"data.source={yesno.source}", "--threads", "1", "--executor", "dask"]

    def start(*more):
        environment = {**os.environ, "NUPTSE_EXP": str(exp)}
        return subprocess.Popen(
            [*command, *more], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def until_there_is(pattern, process):
        while not list((exp / "yesno").glob(pattern)):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)

    process = start()
    until_there_is("features-*.partial/parts/*.json", process)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; finished files are kept" in said and "Traceback" not in said, said
    assert re.search("Dask on this machine, 2 workers, dashboard http://127.0.0.1:[0-9]+/status", said), said
    assert "--executor dask" in said.rpartition("to continue: ")[2]
    assert not [path for path in Path("/proc").glob("[0-9]*/stat") if session(path) == process.pid]
    assert not list(exp.rglob(".tmp-*"))

    process = start("--scheduler", cluster.address)
    until_there_is("decode-*.partial/dev/*-network.safetensors", process)
    for number in workers(cluster.nannies):  # all, since some may be idle; others take their places
        os.kill(number, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0 and "resuming: " in said, said
    assert "is gone: others make its pieces again" in said and f"Dask {cluster.address}, dashboard http" in said
    assert {folder: whole(folder, exp) for folder in made} == expected
    assert not list(exp.rglob(".tmp-*")) and not list(exp.glob("*/*.partial"))


def whole(folder, exp):
    """What a stage made, without its seconds and the folder `exp`."""
    timed = re.compile(r"log\.txt|stage\.json|timing\.json|(dev|test)/[0-9-]+\.json|.*\.seconds\.json")
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    read = {name: path.read_bytes() for name, path in found.items() if not timed.fullmatch(name)}
    unpacked = {name: gzip.decompress(value) if name.endswith(".gz") else value for name, value in read.items()}
    return {name: hashlib.sha256(value.replace(str(exp).encode(), b"")).hexdigest() for name, value in unpacked.items()}


def session(stat):
    """The session of a process that has not ended; 0 where it has."""
    try:
        state, _, _, number = stat.read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state == "Z" else int(number)


def test_what_forks_inherit_workers_open_once(inside, tmp_path):
    opened = pieces.Opened(tmp_path / "opened")
    work = [(n, tmp_path / f"{n}.txt") for n in range(5)]
    Forks(2).run_all(opened.write, work[:3], "letters")
    with Dask(inside, 1, tmp_path, log) as executor:
        executor.run_all(opened.write, work[3:], "letters")
        executor.run_all(opened.write, [], "nothing")
    assert [path.read_text() for path in sorted(tmp_path.glob("*.txt"))] == list("abcde")
    assert (tmp_path / "opened").read_text().count("\n") == 2  # here and in the worker


@pytest.mark.parametrize(
    "kind, error, said",
    [
        ("user", UserError, r"no such word \(words, piece 1 of 1 \(dev/00003\), worker tcp://.*\)"),
        ("full", UserError, r"the disk is full \(.*dev/00003.json\); free space.* \(words, piece 1 of 1 .*, worker tcp://.*\)"),
        ("fault", ValueError, "a fault of ours"),
    ],
)
def test_an_error_names_the_piece_and_the_worker(kind, error, said, inside, tmp_path):
    with Dask(inside, 1, tmp_path, log) as executor, pytest.raises(error, match=said) as caught:
        executor.run_all(pieces.wrong, [(kind, tmp_path / "dev" / "00003.json")], "words")
    if kind == "fault":
        assert re.search(r"words, piece 1 of 1 \(dev/00003\), worker tcp://(.|\n)*raise ValueError", str(caught.value.__cause__))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("version", r"the worker tcp://\S+ can't take part: it has torch \S+ instead of 9\.0; start it again"),
        (
            "folder",
            r"the worker tcp://\S+ can't take part: it does not see .*, under the same|same paths \(a shared file system\)",
        ),
        ("clock", r"the clock of the worker tcp://\S+ is off by 300 s"),
    ],
)
def test_a_worker_that_can_not_take_part_is_named(wrong, said, inside, tmp_path, monkeypatch):
    with Dask(inside, 1, tmp_path, log) as executor:
        if wrong == "version":
            executor.run = replace(executor.run, versions={**executor.run.versions, "torch": "9.0"})
        elif wrong == "folder":
            monkeypatch.setattr(dask_cluster, "write_text", lambda path, text: None)  # as on another machine
        else:
            monkeypatch.setattr(worker, "clock", lambda: time.time() + 300)
        with pytest.raises(UserError, match=said):
            executor.run_all(pieces.wrong, [("user", tmp_path / "x")], "words")


def test_workers_with_threads_or_none_at_all_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "PATIENCE", 0.0)
    for count, said in ((1, "has 2 threads, and pieces need a process each"), (0, "no worker for")):
        with small_cluster(count, threads=2) as made:
            with Dask(made.scheduler_address, 1, tmp_path, log) as executor, pytest.raises(UserError, match=said):
                executor.run_all(pieces.wrong, [("user", tmp_path / "x")], "words")


def test_a_scheduler_that_ends_is_named(tmp_path):
    with small_cluster(1) as made:
        ending = threading.Timer(1.0, made.close)
        with Dask(made.scheduler_address, 1, tmp_path, log) as executor:
            ending.start()
            with pytest.raises(
                UserError, match=f"words: lost the Dask scheduler {made.scheduler_address}; finished pieces are kept"
            ):
                executor.run_all(pieces.slowly, [(tmp_path / str(n), 0.4, tmp_path) for n in range(9)], "words")


@pytest.mark.slow
def test_a_piece_that_kills_its_workers_is_named(cluster, tmp_path):
    with Dask(cluster.address, 1, tmp_path, log) as executor:
        with pytest.raises(
            UserError, match=r"words, piece 1 of 1 \(.*/x\): 3 workers were killed while they had it, last tcp://"
        ):
            executor.run_all(pieces.wrong, [("killed", tmp_path / "x")], "words")


def test_the_configuration_for_slurm_gives_a_job_of_workers_with_a_thread_each():
    settings = yaml.safe_load((ROOT / "utils" / "executors" / "slurm.yaml").read_text())["jobqueue"]["slurm"]
    assert settings["cores"] == settings["processes"]
    dask_jobqueue = pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue of utils/requirements/benches.txt")
    script = dask_jobqueue.SLURMCluster(**{name.replace("-", "_"): value for name, value in settings.items()}).job_script()
    assert "#SBATCH --cpus-per-task=16" in script and re.search("dask_worker .* --nthreads 1 .*--nworkers 16 ", script)


def test_the_configuration_for_kubernetes_is_a_cluster_of_workers_with_a_thread_each():
    made = yaml.safe_load((ROOT / "utils" / "executors" / "kubernetes.yaml").read_text())
    (container,) = made["spec"]["worker"]["spec"]["containers"]
    (scheduler,) = made["spec"]["scheduler"]["spec"]["containers"]
    assert made["kind"] == "DaskCluster" and container["args"][-3:-1] == ["--nthreads", "1"]
    assert container["volumeMounts"] == scheduler["volumeMounts"] and container["image"] == scheduler["image"]
