"""Setting up: what is instant, what is refused in one sentence, what an interruption leaves."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from utils.core.files import ROOT

SCRIPTS = sorted([*ROOT.glob("utils/*.sh"), *ROOT.glob("egs/*/run.sh"), ROOT / "tests" / "run.sh", ROOT / ".ci" / "run"])
TOOLS = (
    "awk bash cat cksum cut dirname env flock grep kill ls mkdir mv nohup paste rm rmdir sed sh sleep tail touch tr uname wc"
).split()


@pytest.fixture
def copy(tmp_path):
    """utils/ alone, at a path with a space: all that the set-up needs."""
    shutil.copytree(ROOT / "utils", tmp_path / "a repo" / "utils", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return tmp_path / "a repo"


@pytest.fixture
def tools(tmp_path):
    """A folder for PATH with ordinary programs, without any Python, pyenv or uv; its df finds room, whatever this disk has."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    disk(folder, 100)
    return folder


def disk(tools, free):
    """Let df answer, as `df -Pk` does, that `free` GB are free."""
    stub(tools / "df", f"echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo '/dev/x 9 9 {free << 20} 9% /'")


@pytest.fixture
def setup(copy, tools, tmp_path):
    """Run the copy's setup.sh with PATH=`tools`; keywords are further environment variables."""

    def run(*options, start=False, **environment):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("NUPTSE_", "PYENV", "UV_", "VIRTUAL_ENV"))}
        return (subprocess.Popen if start else subprocess.run)(
            [str(copy / "utils" / "setup.sh"), *options],
            env={**keep, "HOME": str(tmp_path), "PATH": str(tools), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def stub(path, body):
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_python(path, venv):
    """Answers as a Python 3.10 that has everything; `venv` is what it does for -m venv."""
    return stub(path, f'case "$*" in *"-m venv"*) {venv} ;; *version_info*) echo 3.10 ;; esac')


def one_error(done):
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_scripts_parse_and_can_be_run(script):
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0 and os.access(script, os.X_OK)


def test_run_sh_is_the_same_in_all_corpora():
    assert len({p.read_text() for p in ROOT.glob("egs/*/run.sh")}) == 1


# A complete .venv


def complete(copy, setup, *options):
    stamp = re.match("stamp (.*)", setup(*options, "--plan").stdout).group(1)
    stub(copy / ".venv" / "bin" / "python", f"touch '{copy}/started'")
    (copy / ".venv" / "nuptse.stamp").write_text(stamp + "\n")


def test_a_complete_environment_takes_no_time_and_starts_no_python(copy, setup):
    complete(copy, setup)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = setup()
        seconds.append(time.perf_counter() - started)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(seconds) < 0.1 and not (copy / "started").exists()


def test_a_changed_version_is_noticed(copy, setup):
    complete(copy, setup)
    assert setup("--check").returncode == 0
    with open(copy / "utils" / "requirements" / "common.txt", "a") as lists:
        lists.write("another==1.0\n")
    assert setup("--check").returncode == 1


def test_the_stack_chosen_before_stays_until_another_is_named(copy, setup):
    complete(copy, setup, "--modern", "cu128")
    assert "stack modern-cu128" in setup("--plan").stdout and setup().returncode == 0
    assert "stack tested" in setup("--tested", "--plan").stdout and setup("--tested", "--check").returncode == 1


def test_an_environment_of_somebody_else_is_left_alone(copy, setup, tools):
    (copy / ".venv").mkdir()
    (copy / ".venv" / "mine").write_text("precious")
    fake_python(tools / "python3.10", "exit 0")
    done = setup()
    assert done.returncode == 1 and "was not made by utils/setup.sh; move it away" in done.stderr
    assert (copy / ".venv" / "mine").read_text() == "precious"


# Finding a Python


def test_no_python_is_one_sentence_with_the_remedy(copy, setup):
    said = one_error(setup())
    assert "no Python 3.10 was found" in said and "install uv" in said and "uv python install 3.10" in said
    assert not (copy / ".venv").exists()
    assert "no Python 3.10 or 3.11 or 3.12 was found" in one_error(setup("--modern", "cpu"))


def test_the_remedy_names_the_tool_that_is_there(setup, tools):
    stub(tools / "pyenv", "exit 1")
    assert "run 'pyenv install 3.10'" in one_error(setup())
    stub(tools / "uv", "exit 1")
    assert "run 'uv python install 3.10'" in one_error(setup())


def test_a_shim_that_refuses_and_another_version_are_passed_over(setup, tools):
    stub(tools / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    stub(tools / "python3", "echo 3.13")
    assert "no Python 3.10 was found" in one_error(setup())


def test_a_python_that_lacks_venv_is_named_with_the_package(setup, tools):
    stub(tools / "python3.10", 'case "$*" in *ensurepip*) exit 1 ;; esac; echo 3.10')
    said = one_error(setup())
    assert f"{tools}/python3.10 can't make environments" in said and "apt-get install python3.10-venv" in said


def test_a_named_python_is_used_or_refused(setup, tools, tmp_path):
    fake_python(tools / "python3.10", "echo PATH; exit 1")
    named = fake_python(tmp_path / "my python" / "python", "echo NAMED; exit 1")
    assert "NAMED" in setup(NUPTSE_PYTHON=str(named)).stderr
    assert "NUPTSE_PYTHON=/no/python is not a working Python 3.10" in one_error(setup(NUPTSE_PYTHON="/no/python"))


@pytest.mark.parametrize("where", ["PYENV_ROOT", "pyenv", "uv"])
def test_pythons_of_pyenv_and_uv_are_found(where, setup, tools, tmp_path):
    found = fake_python(tmp_path / "root" / "versions" / "3.10.99" / "bin" / "python", "exit 1")
    environment = {}
    if where == "PYENV_ROOT":
        environment["PYENV_ROOT"] = str(tmp_path / "root")
    else:
        stub(tools / where, f"echo '{tmp_path / 'root' if where == 'pyenv' else found}'")
    assert f"Python at {found}" in setup(**environment).stderr


# Failing and being stopped


def test_a_disk_without_room_is_said_before_anything_is_made(copy, setup, tools):
    fake_python(tools / "python3.10", "echo 'the reason'; exit 1")
    disk(tools, 6)
    assert f"only 6 GB are free in {copy}; the set-up needs 7" in one_error(setup()) and not (copy / ".venv").exists()
    disk(tools, 7)
    assert "the reason" in setup().stderr


def test_a_failed_step_shows_the_end_of_its_log_and_the_next_run_starts_again(copy, setup, tools):
    fake_python(tools / "python3.10", "echo 'the reason'; exit 1")
    for _ in range(2):
        done = setup()
        assert done.returncode == 1 and "    the reason\n" in done.stderr
        assert f"set-up stopped at 'virtual environment'; the whole log is {copy}/.venv/setup.log" in done.stderr
        assert setup("--check").returncode == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_what_it_runs_and_the_next_run_is_free(number, setup, tools, tmp_path):
    fake_python(tools / "python3.10", f"echo $$ > '{tmp_path}/pid'; exec sleep 60")
    process = setup(start=True)
    pid = wait_for(tmp_path / "pid")
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 128 + number and "set-up interrupted; the next run starts it again" in said
    assert gone(pid)
    fake_python(tools / "python3.10", "exit 1")
    assert "waiting" not in setup().stderr


def test_a_second_first_run_waits_also_for_what_a_killed_one_left_running(setup, tools, tmp_path):
    fake_python(tools / "python3.10", f"echo $$ > '{tmp_path}/pid'; exec sleep 60")
    first = setup(start=True)
    pid = wait_for(tmp_path / "pid")
    first.kill()
    first.communicate()
    fake_python(tools / "python3.10", "exit 1")
    second = setup(start=True)
    assert "another run is setting .venv up: waiting for it" in second.stderr.readline()
    time.sleep(0.3)
    assert second.poll() is None
    os.kill(pid, signal.SIGKILL)
    assert "set-up stopped at 'virtual environment'" in second.communicate(timeout=10)[1]


def gone(pid):
    """Whether a process ends within five seconds."""
    for _ in range(250):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def wait_for(path):
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())


# Stacks


def rows():
    lines = (ROOT / "utils" / "requirements" / "stacks.txt").read_text().splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines if not line.startswith("#")}


def test_every_stack_has_versions_that_belong_together(setup):
    for name, (_, torch, torchaudio, k2, page) in rows().items():
        done = setup("--plan", NUPTSE_STACK=name)
        assert done.returncode == 0 and f"torch=={torch} torchaudio=={torchaudio}" in done.stdout
        assert torch.split(".")[1:] == torchaudio.split(".")[1:]
        if page != "-":
            computing = name.replace("modern-", "").replace("cu12", "cuda12.")
            assert k2.endswith(f"+{computing}.torch{torch}") and f"--find-links {page} k2=={k2}" in done.stdout
            assert page.rsplit("/", 1)[1] == ("cpu.html" if computing == "cpu" else "cuda.html")
    assert rows()["tested"][3] in (ROOT / "utils" / "requirements" / "k2-tested.txt").read_text()


def test_modern_takes_the_gpu_that_is_there(setup, tools):
    assert "stack modern-cpu" in setup("--modern", "--plan").stdout
    stub(tools / "nvidia-smi", "echo GPU 0")
    assert "stack modern-cu128" in setup("--modern", "--plan").stdout
    assert "stack modern-cu128" in setup("--plan", NUPTSE_STACK="modern").stdout
    assert "stack modern-cpu" in setup("--modern", "cpu", "--plan").stdout


def test_what_is_no_stack_or_option_is_refused_with_those_there_are(setup):
    assert "no stack 'modren'; there are: tested modern-cpu modern-cu126" in one_error(setup(NUPTSE_STACK="modren"))
    assert "no stack 'modern-cu99'; there are: tested modern-cpu" in one_error(setup("--modern", "cu99"))
    assert "unknown option '--moden'; there are --modern" in one_error(setup("--moden"))


def test_a_cuda_that_the_usual_index_lacks_asks_for_an_index(setup, tools):
    fake_python(tools / "python3.10", "exit 1")
    assert "set NUPTSE_TORCH_INDEX" in one_error(setup("--modern", "cu126"))
    planned = setup("--modern", "cu126", "--plan", NUPTSE_TORCH_INDEX="https://index.example/cu126").stdout
    assert "--index-url https://index.example/cu126" in planned


@pytest.fixture
def nowhere(copy):
    """An address where nobody answers, which the table now gives for k2's wheels; and this Python as the one to use."""
    address, this = "http://127.0.0.1:9/cpu.html", "%d.%d" % sys.version_info[:2]
    table = copy / "utils" / "requirements" / "stacks.txt"
    table.write_text(re.sub(r"https://\S+/cpu.html", address, table.read_text()).replace("3.10,3.11,3.12", this))
    return address


def test_a_page_of_wheels_out_of_reach_leaves_the_present_environment_alone(copy, setup, nowhere):
    complete(copy, setup)
    said = one_error(setup("--modern", "cpu", NUPTSE_PYTHON=sys.executable))
    assert f"{nowhere}, is out of reach; .venv stays as it was" in said and setup("--check").returncode == 0


@pytest.mark.slow
def test_a_page_of_wheels_out_of_reach_is_said(setup, nowhere):
    done = setup("--modern", "cpu", NUPTSE_PYTHON=sys.executable)
    assert done.returncode == 1 and f"k2's wheel could not be had (is {nowhere} within reach?)" in done.stderr, done.stderr
    assert setup("--check").returncode == 1
