"""Setting up: what is instant, what is refused in one sentence, what an interruption leaves."""

import functools
import http.server
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import quote

import pytest

from utils.core.files import ROOT

SCRIPTS = sorted([*ROOT.glob("utils/*.sh"), *ROOT.glob("egs/*/run.sh"), ROOT / "tests" / "run.sh", ROOT / ".ci" / "run"])
TOOLS = (
    "awk bash cat cksum cut dirname env flock grep kill ln ls mkdir mv nohup paste rm rmdir sed sh sleep tail touch tr uname wc"
).split()
THIS = "cp%d%d" % sys.version_info[:2]
PINNED = "1.24.4.dev20250807+cpu.torch2.8.0"
NOWHERE = "http://127.0.0.1:9"  # nobody answers there


@pytest.fixture
def copy(tmp_path):
    """utils/ without its rooms, at a path with a space: all that the set-up needs. No wheels are within reach."""
    lists = tmp_path / "a repo" / "utils" / "requirements"
    shutil.copytree(
        ROOT / "utils", lists.parent, ignore=lambda folder, names: [n for n in names if "." not in n and n != "requirements"]
    )
    move_pages(lists / "stacks.txt", NOWHERE)
    return tmp_path / "a repo"


def move_pages(table, address):
    """Let the table of stacks name pages and indexes at another address."""
    table.write_text(re.sub(r"https?://\S+/(?=cpu.html|cuda.html|cpu|cu\d+)", f"{address}/", table.read_text()))


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
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("NUPTSE_", "PYENV", "UV_", "PIP_", "VIRTUAL_ENV"))}
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


def fake_python(path, venv="exit 1", version="3.10", pip="exit 1"):
    """Answers as a Python that has everything; `venv` and `pip` are what it does for -m venv and -m pip."""
    return stub(
        path,
        f'''case "$*" in
    *"-m venv"*) {venv} ;;
    *"-m pip"*) {pip} ;;
    *wheels.py*) exec "{sys.executable}" "$@" ;;
    *version_info*) echo {version} ;;
esac''',
    )


def one_error(done):
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_scripts_parse_and_can_be_run(script):
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0 and os.access(script, os.X_OK)


def test_run_sh_is_the_same_in_all_corpora():
    assert len({p.read_text() for p in ROOT.glob("egs/*/run.sh")}) == 1


# Before there is a .venv


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A fresh clone: what git tracks or would track, without .venv."""
    folder = tmp_path_factory.mktemp("fresh") / "a clone"
    left_out = shutil.ignore_patterns(".git", ".venv*", ".tools", "exp", "download", "__pycache__", ".*_cache")
    return shutil.copytree(ROOT, folder, ignore=left_out)


@pytest.fixture
def ask(fresh, tools, tmp_path):
    """Run a script of the fresh clone where python3 has the standard library alone; nothing may be made."""
    stub(tools / "python3", f'exec "{sys.executable}" -S "$@"')
    (tools / "readlink").symlink_to(shutil.which("readlink"))

    def run(script, *options):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("NUPTSE_", "PYTHON"))}
        environment = {**keep, "PATH": str(tools), "HOME": str(tmp_path), "NUPTSE_STACK": "tested", "NUPTSE_PYTHON": "/nowhere"}
        done = subprocess.run([str(fresh / script), *options], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert not (fresh / ".venv").exists() and not (fresh / ".tools").exists()
        return done

    return run


def test_help_answers_within_a_second_without_any_environment(ask):
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = ask("egs/asterisk/run.sh", "--help")
        seconds.append(time.perf_counter() - started)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        assert "--stop-stage" in done.stdout and "whisper_wordvec" in done.stdout and "stages:" in done.stdout
    assert min(seconds) < 1
    for script in ("tests/run.sh", "utils/setup.sh"):
        done = ask(script, "--help")
        assert done.returncode == 0 and done.stderr == "" and f"  {script.replace('tests/', './tests/')} --" in done.stdout


@pytest.mark.parametrize(
    "script, options, said",
    [
        ("egs/yesno/run.sh", ["--stge", "1"], "did you mean --stage?"),
        ("egs/yesno/run.sh", ["--stage"], "argument --stage: expected one argument"),
        ("egs/yesno/run.sh", ["--stage", "trian"], "no stage 'trian'"),
        ("egs/yesno/run.sh", ["--nj", "0"], "argument --nj: "),
        ("egs/yesno/run.sh", ["--recipe", "wordvec"], "no recipe 'wordvec'"),
        ("egs/yesno/run.sh", ["--set", "train.epoch=3"], "train.epoch"),
        ("utils/run.sh", ["--corpus", "asterix"], "no corpus 'asterix'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_installed(script, options, said, ask):
    done = ask(script, *options)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_right_options_go_on_to_the_set_up(ask):
    done = ask("egs/yesno/run.sh", "--stage", "train")
    assert done.returncode == 1 and "NUPTSE_PYTHON=/nowhere is not a working Python 3.10" in one_error(done)


def test_help_has_a_short_answer_where_there_is_no_python(ask, tools):
    (tools / "python3").unlink()
    done = ask("egs/yesno/run.sh", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: ./run.sh [--recipe NAME] [--stage N]") and done.stderr == ""


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


# Choosing by what is there


@pytest.fixture
def site(copy, tmp_path):
    """A folder that a server on this machine shows, which the table of stacks now names for k2's wheels and torch's."""
    folder = tmp_path / "site"
    (folder / "cpu" / "torch").mkdir(parents=True)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        move_pages(copy / "utils" / "requirements" / "stacks.txt", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


def wheel(version, python=THIS, system="manylinux_2_27_x86_64.manylinux_2_28_x86_64"):
    return f"k2-{version}-{python}-{python}-{system.replace('x86_64', platform.machine())}.whl"


def serve(site, *names, page="cpu.html", present=True):
    """A page as k2's own: links to wheels, whose names are quoted there, beside those of other systems and Pythons."""
    others = [wheel(PINNED, system="win_amd64"), wheel(PINNED, python="cp36"), "k2-1.23.4-py3.10-none-any.whl"]
    links = "".join(f'<a href="wheels/{quote(name)}">{name}</a><br/>\n' for name in (*others, *names))
    (site / page).write_text(f"<html><body>{links}</body></html>")
    (site / "wheels").mkdir(exist_ok=True)
    for name in names if present else ():
        (site / "wheels" / name).write_text("wheel")


def chosen(done):
    """The line that says what was chosen and why."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("setting up .venv: ")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("setting up .venv: ")


def test_python_3_10_gets_the_tested_stack_whatever_else_is_there(setup, tools, site):
    for version in ("3.10", "3.11", "3.13"):
        fake_python(tools / f"python{version}", version=version)
    serve(site, wheel(PINNED))
    assert chosen(setup()) == (
        f"stack tested (torch 1.13.1, k2 1.23.4) with Python 3.10 at {tools}/python3.10: Python 3.10 is here"
    )


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_newer_python_gets_the_modern_stack_where_k2_has_a_wheel(version, setup, tools, site):
    fake_python(tools / "python3", version=version)
    serve(site, wheel(PINNED), wheel("1.24.4.dev20990101+cpu.torch2.13.0"))
    done = setup()
    assert chosen(done) == (
        f"stack modern-cpu (torch 2.8.0, k2 {PINNED}) with Python {version} at {tools}/python3: "
        f"no Python 3.10 is here, and k2 has a wheel for Python {version}"
    )
    assert "out of reach" not in done.stderr


def test_a_gpu_gets_the_wheels_with_cuda(setup, tools, site):
    fake_python(tools / "python3", version="3.11")
    stub(tools / "nvidia-smi", "echo GPU 0")
    cuda = PINNED.replace("cpu", "cuda12.8")
    serve(site, wheel(cuda), page="cuda.html")
    assert chosen(setup()).startswith(f"stack modern-cu128 (torch 2.8.0, k2 {cuda})")


def test_small_wheels_of_torch_out_of_reach_are_replaced_by_the_usual_ones(setup, tools, site):
    fake_python(tools / "python3", version="3.11")
    serve(site, wheel(PINNED))
    (site / "cpu" / "torch").rmdir()
    done = setup()
    assert "stack modern-cpu" in chosen(done) and "are out of reach: taking those with CUDA (6 GB more)" in done.stderr


@pytest.mark.parametrize(
    "served, taken",
    [
        ([PINNED, "1.24.4.dev20990101+cpu.torch2.8.0"], PINNED),
        (["1.24.4.dev20250901+cpu.torch2.8.0", "1.24.4.dev20251001+cpu.torch2.8.0"], "1.24.4.dev20251001+cpu.torch2.8.0"),
        (["1.24.4.dev20250901+cpu.torch2.8.0", "1.24.4.dev20990101+cpu.torch2.9.1"], "1.24.4.dev20250901+cpu.torch2.8.0"),
        ([f"1.24.4.dev20990101+cpu.torch2.{n}.0" for n in (7, 9, 11, 13)], "1.24.4.dev20990101+cpu.torch2.11.0"),
    ],
)
def test_another_build_of_k2_is_taken_where_the_tested_one_is_gone(served, taken, setup, tools, site):
    fake_python(tools / "python3", version="3.12")
    serve(site, *map(wheel, served))
    torch = taken.rpartition("torch")[2]
    assert f"(torch {torch}, k2 {taken})" in chosen(setup())
    assert f"torch=={torch} torchaudio=={torch}" in setup("--plan").stdout


def test_a_page_without_a_fitting_wheel_and_a_wheel_out_of_reach_are_said(setup, tools, site):
    fake_python(tools / "python3", version="3.12")
    serve(site, wheel("1.24.4.dev20990101+cpu.torch2.13.0"), wheel(PINNED.replace("cpu", "cuda12.8")))
    assert "/cpu.html has no wheel of k2 for Python " in one_error(setup("--modern", "cpu"))
    serve(site, wheel(PINNED), present=False)
    said = one_error(setup("--modern", "cpu"))
    assert quote(wheel(PINNED)) in said and "is out of reach" in said and "404" in said


def uv_stub(tools):
    """What uv does: it puts a Python 3.10 where it was told to."""
    python = "$UV_PYTHON_INSTALL_DIR/cpython-3.10.99-linux/bin"
    return f'''case "$*" in
    *"python install 3.10") mkdir -p "{python}" && ln -s "{tools}/made" "{python}/python3.10" ;;
    *) exit 1 ;;
esac'''


def test_uv_fetches_python_3_10_where_k2_has_no_wheel(copy, setup, tools):
    fake_python(tools / "python3", version="3.13")
    fake_python(tools / "made", version="3.10")
    stub(tools / "uv", uv_stub(tools))
    line = chosen(setup())
    assert line.startswith("stack tested (torch 1.13.1, k2 1.23.4) with Python 3.10 at ")
    assert f"{copy}/.tools/python/cpython-3.10.99-linux/bin/python3.10: no Python 3.10 is here, and {NOWHERE}/cpu.html" in line
    assert line.endswith("; uv fetched Python 3.10")
    assert chosen(setup()).endswith(": Python 3.10 is here")  # kept for the next time


@pytest.mark.parametrize("version", ["3.13", "3.9", "3.15"])
def test_uv_itself_comes_from_the_package_index(version, copy, setup, tools):
    fake_python(tools / "made", version="3.10")
    stub(tools / "template", uv_stub(tools))
    pip = f'''target="$5"; [ "$3 $4 $6" = "install --target uv==0.13.9" ] || exit 1
    mkdir -p "$target/bin" && ln -s "{tools}/template" "$target/bin/uv"'''
    fake_python(tools / "python3", version=version, pip=pip)
    done = setup()
    assert "fetching uv itself from the package index" in done.stderr
    assert "stack tested" in chosen(done) and (copy / ".tools" / "uv" / "bin" / "uv").exists()


def test_where_nothing_is_within_reach_one_sentence_says_what_was_tried_and_what_helps(copy, setup, tools):
    fake_python(tools / "python3.11", version="3.11")
    stub(tools / "uv", "echo 'error: no way'; echo '  cause: dns error'; exit 2")
    done = setup()
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and said.startswith(f"error: no Python 3.10 is here, and {NOWHERE}/cpu.html is out of reach (")
    assert "uv could not fetch Python 3.10 (dns error). Remedies: " in said and "NUPTSE_PYTHON" in said and "no-k2" in said
    assert not (copy / ".venv").exists()


def test_no_python_at_all_is_one_sentence(copy, setup):
    said = setup().stderr.splitlines()[-1]
    assert said.startswith(
        "error: no working Python 3.10 to 3.13 was found, and uv, which could fetch one, is not here and could not be"
    )
    assert not (copy / ".venv").exists()
    assert "no Python 3.10 or 3.11 or 3.12 or 3.13 was found" in one_error(setup("--modern", "cpu"))


def test_the_remedy_names_the_tool_that_is_there(setup, tools):
    assert "Remedies: install Python 3.10 with pyenv," in setup().stderr
    stub(tools / "apt-get", "exit 1")
    stub(tools / "apt-cache", "exit 0")
    assert "Remedies: 'apt-get install python3.10-venv'" in setup().stderr
    stub(tools / "dnf", "exit 1")
    assert "Remedies: 'dnf install python3.10'" in setup().stderr
    stub(tools / "pyenv", "exit 1")
    assert "Remedies: 'pyenv install 3.10'" in setup().stderr


def test_a_plan_fetches_nothing(copy, setup, tools):
    fake_python(tools / "python3", version="3.12")
    stub(tools / "uv", f"touch '{copy}/asked'; exit 1")
    done = setup("--plan")
    assert done.returncode == 0 and "stack tested: Python 3.10, torch 1.13.1" in done.stdout and "uv" in done.stdout
    assert not (copy / ".tools").exists()


def test_a_shim_that_refuses_is_passed_over(setup, tools):
    stub(tools / "python3.10", "echo 'pyenv: python3.10: command not found' >&2; exit 127")
    found = fake_python(tools / "python3")
    assert f"with Python 3.10 at {found}: Python 3.10 is here" in chosen(setup())


def test_a_python_that_lacks_venv_is_named_with_the_package(setup, tools):
    stub(tools / "python3", 'case "$*" in *ensurepip*) exit 1 ;; *pip*) exit 1 ;; esac; echo 3.11')
    for options in ([], ["--modern", "cpu"]):
        said = setup(*options).stderr
        assert f"error: {tools}/python3, a Python 3.11, cannot make environments; it lacks ensurepip" in said
        assert "(on Debian and Ubuntu: apt-get install python3.11-venv)" in said
    stub(tools / "apt-get", "exit 1")
    assert "cannot make environments; run: apt-get install python3.11-venv, then run again." in setup().stderr


def test_a_named_python_is_used_or_refused(setup, tools, tmp_path, site):
    fake_python(tools / "python3.10", "echo PATH; exit 1")
    named = fake_python(tmp_path / "my python" / "python", "echo NAMED; exit 1")
    assert "NAMED" in setup(NUPTSE_PYTHON=str(named)).stderr
    assert "NUPTSE_PYTHON=/no/python is not a working Python 3.10" in one_error(setup(NUPTSE_PYTHON="/no/python"))
    newer = fake_python(tmp_path / "newer", version="3.12")
    assert f"for NUPTSE_PYTHON={newer}, a Python 3.12, k2 is missing" in one_error(setup(NUPTSE_PYTHON=str(newer)))
    serve(site, wheel(PINNED))
    assert f"with Python 3.12 at {newer}: no Python 3.10 is here" in chosen(setup(NUPTSE_PYTHON=str(newer)))


@pytest.mark.parametrize("where", ["PYENV_ROOT", "pyenv", "uv"])
def test_pythons_of_pyenv_and_uv_are_found(where, setup, tools, tmp_path):
    found = fake_python(tmp_path / "root" / "versions" / "3.10.99" / "bin" / "python")
    environment = {}
    if where == "PYENV_ROOT":
        environment["PYENV_ROOT"] = str(tmp_path / "root")
    else:
        stub(tools / where, f"echo '{tmp_path / 'root' if where == 'pyenv' else found}'")
    assert f"Python 3.10 at {found}" in chosen(setup(**environment))


# Failing and being stopped


def test_a_disk_without_room_is_said_before_anything_is_made(copy, setup, tools):
    fake_python(tools / "python3.10", "echo 'the reason'; exit 1")
    disk(tools, 6)
    assert f"error: only 6 GB are free in {copy}; the set-up needs 7\n" in setup().stderr and not (copy / ".venv").exists()
    assert "the set-up needs 12\n" in setup("--no-k2").stderr  # torch with CUDA, as PyTorch's own index is out of reach
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
    assert process.returncode == 128 + number and "set-up interrupted; the next run starts again" in said
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


@pytest.mark.parametrize(
    "log, sentence",
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full; free some space"),
        (
            "ProxyError('Cannot connect to proxy.', OSError())",
            "the proxy http://proxy:1 does not let pip through; correct or unset",
        ),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))", "a certificate is not trusted; name your"),
        (
            "NewConnectionError: Failed to establish a new connection",
            "the package index could not be reached; is the network up?",
        ),
        ("ERROR: No matching distribution found for av==17.1.0", "the package index lacks a version that is needed"),
        ("ERROR: Permission denied: '/x'", "a file may not be written; is the repository yours?"),
    ],
)
def test_a_failure_of_pip_ends_in_one_sentence_with_the_remedy(log, sentence, setup, tools):
    (tools / "said").write_text(log + "\n")
    fake_python(tools / "python3.10", f"cat '{tools}/said'; exit 1")
    last = setup(https_proxy="http://proxy:1").stderr.splitlines()[-1]
    assert last.startswith(f"error: set-up stopped at 'virtual environment': {sentence}"), last


def test_settings_of_pip_and_python_that_would_break_it_are_ignored_and_an_index_is_kept(setup, tools):
    fake_python(tools / "python3.10", "env; exit 1")
    elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_SRC", "PIP_PYTHON", "UV_PROJECT_ENVIRONMENT")
    harmful = dict(dict.fromkeys(elsewhere, "/x"), PIP_USER="1", PIP_REQUIRE_VIRTUALENV="1")
    setup(**harmful, PYTHONHOME="/x", PYTHONPATH="/x", PIP_INDEX_URL="https://index.example/simple")
    log = (tools.parent / "a repo" / ".venv" / "setup.log").read_text().splitlines()
    assert "PIP_INDEX_URL=https://index.example/simple" in log and not [line for line in log if line.endswith("=/x")]
    assert "PIP_USER=0" in log and "PIP_REQUIRE_VIRTUALENV=0" in log


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
    for name, (_, torch, torchaudio, k2, index, page) in rows().items():
        done = setup("--plan", NUPTSE_STACK=name)
        assert done.returncode == 0 and f"torch=={torch} torchaudio=={torchaudio}" in done.stdout
        assert torch.split(".")[1:] == torchaudio.split(".")[1:]
        device = name.rpartition("-")[2]
        if page != "-":
            computing = device.replace("cu12", "cuda12.")
            assert k2.endswith(f"+{computing}.torch{torch}") and f"/{page.rpartition('/')[2]} k2=={k2}" in done.stdout
            assert page.rsplit("/", 1)[1] == ("cpu.html" if computing == "cpu" else "cuda.html")
        assert index == "-" or index.endswith(("/cpu", f"/{device}")) and ("--index-url" in done.stdout)
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


def test_an_index_of_torch_out_of_reach_is_said_and_another_may_be_named(setup, tools, site):
    fake_python(tools / "python3.11", version="3.11")
    serve(site, wheel(PINNED.replace("cpu", "cuda12.6")), page="cuda.html")
    assert "torch for cu126 comes from http" in (said := setup("--modern", "cu126").stderr) and "set NUPTSE_TORCH_INDEX" in said
    named = "https://index.example/cu126"
    assert f"--index-url {named} torch==2.8.0" in setup("--modern", "cu126", "--plan", NUPTSE_TORCH_INDEX=named).stdout
    assert "set NUPTSE_TORCH_INDEX" not in setup("--modern", "cu126", NUPTSE_TORCH_INDEX=named).stderr


def test_a_page_of_wheels_out_of_reach_leaves_the_present_environment_alone(copy, setup, tools):
    complete(copy, setup)
    fake_python(tools / "python3.11", version="3.11")
    said = one_error(setup("--modern", "cpu"))
    assert f"{NOWHERE}/cpu.html is out of reach (" in said and "; .venv stays as it was" in said
    assert setup("--check").returncode == 0
