"""A process apart, and what ends it."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from utils.core.files import ROOT
from utils.core.process import apart


def start(work, **apart_options):
    """A process that runs `work`, a Python block, apart; it prints what `apart` returns."""
    code = "import os, signal, subprocess, sys, time\nfrom utils.core.process import apart\ndef work():\n"
    code += textwrap.indent(textwrap.dedent(work), "    ") + f"\nprint(*apart(work, **{apart_options}), flush=True)\n"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ends(pid):
    """Whether a process is gone within five seconds."""
    for _ in range(250):
        try:
            if open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def test_status_and_signal_come_back():
    assert apart(lambda: 0) == (0, None)
    assert apart(lambda: 7) == (7, None)
    assert apart(lambda: os.kill(os.getpid(), signal.SIGKILL)) == (-signal.SIGKILL, None)


def test_handlers_are_as_before():
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGALRM)]
    apart(lambda: 0)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGALRM)] == before
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_work_cleans_up_once_when_stopped(number):
    process = start("""
        try:
            print("begun", flush=True)
            time.sleep(60)
        finally:
            time.sleep(0.5)
            print("cleaned up", flush=True)
        """)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    time.sleep(0.1)
    if number != signal.SIGHUP:
        assert process.poll() is None
    assert process.communicate(timeout=10)[0].splitlines() == ["cleaned up", f"130 {int(number)}"]


DEAF = """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("begun", flush=True)
        time.sleep(60)
        """


@pytest.mark.parametrize("place", ["a hook of a fork", "__del__"])
def test_a_signal_is_not_lost_where_python_ignores_exceptions(place):
    """Python prints and drops what is raised in a fork's hooks and in `__del__`."""
    process = start(f"""
        class Loser:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
        if {place == "__del__"}:
            Loser()
        else:
            os.register_at_fork(after_in_parent=Loser().__del__)
            os.fork() or os._exit(0)
        print("went on", flush=True)
        time.sleep(60)
        """)
    out, errors = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "130 None" and "Traceback" not in errors


def test_work_that_does_not_end_is_killed_after_the_grace():
    process = start(DEAF, grace=0.5)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[0].strip() == f"-9 {int(signal.SIGTERM)}"


def test_a_second_ctrl_c_kills():
    process = start(DEAF)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0].strip() == f"-9 {int(signal.SIGINT)}"


def test_processes_that_the_work_started_end_with_it():
    process = start("""
        print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """)
    worker = int(process.stdout.readline())
    assert process.stdout.read().strip() == "-9 None"  # communicate() would miss what readline has buffered
    assert ends(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do it")
def test_the_work_ends_where_its_starter_is_killed():
    process = start("""
        print(os.getpid(), flush=True)
        time.sleep(60)
        """)
    worker = int(process.stdout.readline())
    process.kill()
    assert ends(worker)
    process.wait()


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    process = subprocess.Popen(
        [
            "nohup",
            sys.executable,
            "-c",
            textwrap.dedent("""
        import time
        from utils.core.process import apart
        def work():
            print("begun", flush=True)
            time.sleep(1)
            return 3
        print(*apart(work), flush=True)
        """),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=10)[0].strip() == "3 None"


def test_ctrl_z_stops_the_work_too_and_it_continues():
    process = start("""
        print(os.getpid(), flush=True)
        time.sleep(1)
        return 4
        """)
    worker = int(process.stdout.readline())

    def state(pid):
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]

    process.send_signal(signal.SIGTSTP)
    deadline = time.monotonic() + 5
    while {state(worker), state(process.pid)} != {"T"} and time.monotonic() < deadline:
        time.sleep(0.02)
    assert state(worker) == state(process.pid) == "T"
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=10)[0].strip() == "4 None"
