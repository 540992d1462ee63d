"""The command line: what is refused, what to type next, where it can be started, and how it stops."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.pipeline import driver, machine
from utils.pipeline.stages import STAGES


def quiet():
    """The environment, NUPTSE_EXP of the test and all, with one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--stop_stage", "3"], "unrecognized arguments: --stop_stage 3 (did you mean --stop-stage?)"),
        (["--recipes", "x"], "(did you mean --recipe?)"),
        (["--nj", "0"], "argument --nj: 0 is not a whole number, at least 1"),
        (["--threads", "two"], "argument --threads: two is not a whole number, at least 1"),
        (["--device", "gpu"], "argument --device: gpu is not cpu, cuda or cuda:N"),
        (["--stage"], "argument --stage: expected one argument"),
        (["--executor", "slurm"], "argument --executor: invalid choice: 'slurm'"),
        (["--scheduler", "node7:8786"], "argument --scheduler: node7:8786 is not the address of a scheduler"),
    ],
)
def test_a_wrong_option_is_refused_with_those_that_exist(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        driver.main(["--corpus", "yesno", *arguments])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and said in printed
    known = "--config --corpus --device --executor --help --nj --recipe --scheduler --set --stage --stop-stage --threads"
    assert f"options: {known}" in printed


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--stage", "10"], "no stage '10': there are 0 data, 1 features"),
        (["--stage", "-1"], "no stage '-1'"),
        (["--stop-stage", "lange"], "no stage 'lange' (did you mean 'lang'?)"),
        (["--stage", "train", "--stop-stage", "lang"], "--stop-stage 2 comes before --stage 5"),
        (["--recipe", "worvec_hybrid"], "no recipe 'worvec_hybrid' (did you mean 'wordvec_hybrid'?)"),
        (["--corpus", "yes-no"], "no corpus 'yes-no' (did you mean 'yesno'?): egs/ has aidatatang_200zh, aishell"),
        (["--corpus", "egs"], "no corpus 'egs'"),
        (["--set", "trian.epochs=1"], "unknown key 'trian.epochs' (did you mean 'train.epochs'?)"),
        (["--set", "data.source=/no/such/folder"], "data.source=/no/such/folder is not a folder"),
        (["--scheduler", "tcp://127.0.0.1:9"], "--scheduler tcp://127.0.0.1:9 needs --executor dask"),
        (
            ["--executor", "dask", "--scheduler", "tcp://127.0.0.1:9"],
            "--scheduler tcp://127.0.0.1:9: no Dask scheduler answers there (",
        ),
    ],
)
def test_a_wrong_value_is_refused_before_anything_runs(arguments, said, exp, caplog):
    assert driver.main(["--corpus", "yesno", *arguments]) == 2
    assert said in caplog.text and not exp.exists()


def test_help_names_every_stage_and_recipe(capsys):
    with pytest.raises(SystemExit) as stop:
        driver.main(["--help"])
    printed = capsys.readouterr().out
    assert stop.value.code == 0 and "wordvec_hybrid" in printed
    for stage in STAGES:
        assert re.search(rf"^ +{stage.number} +{stage.name} ", printed, re.M)


@pytest.mark.parametrize(
    "arguments, status, said",
    [
        (["--help"], 0, "wordvec_hybrid"),
        (["--corpus", "yesno", "--stop_stage", "3"], 2, "(did you mean --stop-stage?)"),
        (["--corpus", "yes-no"], 2, "(did you mean 'yesno'?)"),
        (["--corpus", "yesno", "--recipe", "hybrid"], 2, "no recipe 'hybrid'"),
        (["--corpus", "yesno", "--stage", "trian"], 2, "(did you mean 'train'?)"),
        (["--corpus", "yesno", "--set", "trian.epochs=1"], 2, "(did you mean 'train.epochs'?)"),
        (["--corpus", "yesno", "--set", "train.accumulate=0"], 2, "the nearest allowed value is train.accumulate=1"),
        (["--corpus", "yesno", "--set", "model.word_stride=16", "--set", "data.options.dev=5", "--stage", "train"], 3, ""),
    ],
)
def test_help_and_refused_options_need_the_standard_library_alone(arguments, status, said):
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from utils.pipeline.driver import main; sys.exit(main({arguments}))"
    environment = {"PATH": os.environ["PATH"], "NUPTSE_CHECK_OPTIONS": "1"}
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], cwd="/", env=environment, capture_output=True, text=True)
    assert done.returncode == status and said in done.stdout + done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings, hidden, last, said",
    [
        (
            ["train.precision=fp16"],
            "",
            "5",
            "stage 5 train: train.precision=fp16 needs a GPU .*on cpu set train.precision=fp32 or bf16",
        ),
        (["loss.backend=k2"], "k2", "5", "stage 5 train: loss.backend=k2 needs k2, .* set loss.backend=torch"),
        (["loss.backend=torch", "loss.grounding.weight=0.3"], "k2", "5", "stage 5 train: loss.grounding.weight needs k2"),
        (["loss.backend=torch"], "k2", "6", "stage 6 decode: lattices need k2, .*--stop-stage train"),
        (["features.denoise=noisereduce"], "noisereduce", "1", "stage 1 features: .* needs the package noisereduce"),
        (["loss.backend=torch"], "k2", "5", ""),
    ],
)
def test_what_the_machine_lacks_is_said_before_the_first_stage(settings, hidden, last, said, kaldi_source, exp, monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda package: None if package == hidden else package)
    chosen = ["--corpus", "kaldi_dir", *(word for item in (*settings, f"data.source={kaldi_source}") for word in ("--set", item))]
    options = driver.parser(stages=True).parse_args([*chosen, "--stop-stage", last])
    plans = [p for p in driver.planned_stages(options, ROOT)[1].values() if p.stage.number <= int(last)]

    def check():
        for plan in plans:
            machine.check_machine(plan, "cpu")

    if said:
        with pytest.raises(UserError, match=said):
            check()
    else:
        check()


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused(kaldi_source, exp):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "utils.pipeline.driver",
            "--corpus",
            "kaldi_dir",
            "--set",
            f"data.source={kaldi_source}",
            "--stop-stage",
            "0",
            "--device",
            "cuda:99",
        ],
        cwd=ROOT,
        env=quiet(),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1 and re.search("finds no GPU|there are [0-9]+ GPUs", done.stderr), done.stderr
    assert not list(exp.glob("*/data-*"))


@pytest.mark.slow
def test_it_works_from_anywhere_with_spaces_and_the_named_command_makes_what_is_missing(clone, kaldi_source, tmp_path, speech):
    here = tmp_path / "where I started"
    (here / "utils").mkdir(parents=True)
    (here / "utils" / "__init__.py").write_text("raise SystemExit('the wrong utils')\n")
    shutil.move(kaldi_source, here / "my corpus")
    run = [
        "bash",
        str(clone / "egs" / "kaldi_dir" / "run.sh"),
        "--set",
        "data.source=my corpus",
        "--nj",
        "1",
        "--set",
        "lang.size=40",
        "--stop-stage",
        "lang",
    ]
    environment = {**quiet(), "NUPTSE_EXP": "my results"}

    def call(command):
        return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)

    refused = call([*run, "--stage", "2"])
    assert refused.returncode == 2 and "stage 2 needs 0 data, not complete for this configuration" in refused.stderr
    named = refused.stderr.rpartition("make it with: ")[2].strip()
    made = call(["bash", "-c", named])
    assert made.returncode == 0, made.stderr
    made = call([*run, "--stage", "2"])
    assert made.returncode == 0, made.stderr
    assert sorted(p.name.split("-")[0] for p in (here / "my results" / "kaldi_dir").glob("[!.]*")) == ["data", "lang"]
    assert "not complete" not in made.stderr and not (clone / "exp").exists()


def test_packages_of_pythonpath_come_after_those_of_the_environment(tmp_path):
    """Those that the environment lacks are still found."""
    for name in ("lhotse", "my_own_package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("print('foreign', __name__)\n")
    code = "import steps, lhotse, my_own_package; print(lhotse.__version__)"
    environment = {**quiet(), "PYTHONPATH": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert said.stdout.splitlines() == ["foreign my_own_package", metadata.version("lhotse")], said.stderr


@pytest.mark.parametrize("script", ["egs/yesno/run.sh", "tests/run.sh", "utils/setup.sh"])
def test_scripts_may_be_started_with_sh_and_another_pythons_home(script):
    home = {**quiet(), "PYTHONHOME": "/nowhere"}
    said = subprocess.run(["sh", str(ROOT / script), "--help"], env=home, capture_output=True, text=True)
    assert said.returncode == 0 and script.rpartition("/")[2] in said.stdout and not said.stderr


@pytest.mark.parametrize("module", ["json.tool {}/in.json", "unittest discover -s {}"])  # they write to stdout, and to stderr
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_service_without_input_or_output_may_run_a_module(closed, module, tmp_path):
    (tmp_path / "in.json").write_text("[]")
    (tmp_path / "test_nothing.py").write_text("import unittest\nclass A(unittest.TestCase):\n    def test(self): pass\n")
    command = f"{ROOT}/utils/run.sh -m {module.format(tmp_path)} {closed}"
    assert subprocess.run(["bash", "-c", command], env=quiet()).returncode == 0


# Stopping: a corpus one recording of which a command writes that waits for the file `go`


@pytest.fixture
def waiting(kaldi_source, exp):
    """Command line of a stage 0 that waits until `exp`/../go exists, which the end of the test creates."""
    table = kaldi_source / "train" / "wav.scp"
    first, *rows = table.read_text().splitlines()
    name, path = first.split()
    go = exp.parent / "go"
    table.write_text("\n".join([f"{name} while [ ! -e {go} ]; do sleep 0.1; done; cat {path} |", *rows]) + "\n")
    yield [
        sys.executable,
        "-m",
        "utils.pipeline.driver",
        "--corpus",
        "kaldi_dir",
        "--stop-stage",
        "0",
        "--nj",
        "2",
        "--threads",
        "1",
        "--set",
        f"data.source={kaldi_source}",
        "--set",
        "data.options.allow_pipes=true",
    ]
    go.touch()


def begin(command, exp):
    """Start it, in a process group of its own, and wait until it waits for the file."""
    process = subprocess.Popen(command, cwd=ROOT, env=quiet(), stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: waiters(exp), process)
    return process


def until(condition, process=None):
    deadline = time.monotonic() + 60
    while not condition():
        assert process is None or process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "60 s went by"
        time.sleep(0.02)


def waiters(exp):
    """Ids of the shells that wait for `go`."""
    every = {int(p.parent.name): words(p) for p in Path("/proc").glob("[0-9]*/cmdline")}
    return [pid for pid, said in every.items() if said[:1] == ["bash"] and f"{exp.parent / 'go'} ]" in said[-1]]


def words(cmdline):
    try:
        return cmdline.read_text().rstrip("\0").split("\0")
    except OSError:  # it has just ended
        return []


@pytest.mark.slow
@pytest.mark.parametrize("number, everybody", [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_stopped_run_ends_its_processes_and_the_printed_command_continues(number, everybody, waiting, exp):
    process = begin(waiting, exp)
    (os.killpg if everybody else os.kill)(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number and "interrupted; finished files are kept" in said and "Traceback" not in said, said
    assert not waiters(exp) and not list(exp.glob("*/data-????????"))
    named = said.rpartition("to continue: ")[2].strip()
    (exp.parent / "go").touch()
    environment, _, options = named.partition("egs/kaldi_dir/run.sh ")
    rest = f"{environment} {sys.executable} -m utils.pipeline.driver --corpus kaldi_dir {options}"
    assert subprocess.run(rest, shell=True, cwd=ROOT, env=quiet(), capture_output=True).returncode == 0
    assert len(list(exp.glob("*/data-????????"))) == 1


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_that_holds_the_lock(waiting, exp):
    process = begin(waiting, exp)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (exp.parent / "go").touch()  # ends the shell that the stage had started
    assert subprocess.run(waiting, cwd=ROOT, env=quiet(), capture_output=True, timeout=60).returncode == 0
    assert len(list(exp.glob("*/data-????????"))) == 1 and not list(exp.rglob(".tmp-*"))


@pytest.mark.slow
def test_the_second_of_two_runs_waits_and_does_nothing(waiting, exp):
    first = begin(waiting, exp)
    second = subprocess.Popen(waiting, cwd=ROOT, env=quiet(), stderr=subprocess.PIPE, text=True)
    lines = []
    until(lambda: lines.append(second.stderr.readline()) or "waiting for it" in lines[-1])
    (exp.parent / "go").touch()
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0 and "done in" in said
    _, said = second.communicate(timeout=60)
    assert second.returncode == 0 and "complete, made by another run" in said
    (folder,) = exp.glob("*/data-????????")
    assert (folder / "log.txt").read_text().count(" train ") == 1


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_for_another_run(waiting, exp):
    first = begin(waiting, exp)
    second = subprocess.Popen(waiting, cwd=ROOT, env=quiet(), stderr=subprocess.PIPE, text=True)
    lines = []
    until(lambda: lines.append(second.stderr.readline()) or "waiting for it" in lines[-1])
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 130
    assert first.poll() is None
    (exp.parent / "go").touch()
    assert first.wait(60) == 0
