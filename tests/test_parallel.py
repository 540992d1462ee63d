"""Work in forks: k2's threads don't follow into them, results and errors come back."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.parallel import Forks, in_fork

SEARCHES = """
import k2, torch
from utils.core.parallel import Forks, in_fork

def search(number):
    dense = k2.DenseFsaVec(torch.zeros(1, 20, 4), torch.tensor([[0, 0, 20]], dtype=torch.int32))
    found = k2.intersect_dense_pruned(k2.ctc_topo(3), dense, 20.0, 8.0, 30, 1000)
    return found.num_arcs + number

assert in_fork("graphs", search, 1) == in_fork("graphs", search, 0) + 1 > 20
Forks(2).run_all(search, [(0,)], "search")
Forks(2).run_all(search, [(0,), (1,), (2,)], "search")
print("found")
"""


def test_forks_after_one_that_used_k2_do_not_wait_for_its_threads():
    """With the first search in the process itself, the searches of its forks never end."""
    pytest.importorskip("k2")
    done = subprocess.run([sys.executable, "-c", SEARCHES], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "found\n", done.stderr


def test_an_error_of_a_fork_comes_back():
    def wrong(word):
        raise UserError(f"no {word()} here")

    with pytest.raises(UserError, match="no word here"):
        Forks(2).run_all(wrong, [(lambda: "word",)], "words")  # what no queue could carry
    with pytest.raises(UserError, match="no words here"):
        in_fork("words", lambda: wrong(lambda: "words"))


def test_a_fork_that_is_killed_says_what_it_made():
    with pytest.raises(UserError, match="killed while making graphs .*; run again with more memory"):
        in_fork("graphs", lambda: os.kill(os.getpid(), signal.SIGKILL))


@pytest.mark.parametrize("theirs", [{}, {"OMP_WAIT_POLICY": "ACTIVE", "MKL_DEBUG_CPU_TYPE": "4"}], ids=["ours", "theirs"])
def test_variables_of_torchs_libraries_are_set_unless_the_user_set_them(theirs):
    """Threads that wait sleep; MKL is told what an AMD processor can do, and of another nothing."""
    names, code = ("OMP_WAIT_POLICY", "MKL_DEBUG_CPU_TYPE"), "import json, os, utils; print(json.dumps(dict(os.environ)))"
    before = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**before, **theirs}, capture_output=True, check=True)
    after, amd = json.loads(done.stdout), "AuthenticAMD" in Path("/proc/cpuinfo").read_text()
    assert after["OMP_WAIT_POLICY"] == theirs.get("OMP_WAIT_POLICY", "PASSIVE")
    assert after.get("MKL_DEBUG_CPU_TYPE") == theirs.get("MKL_DEBUG_CPU_TYPE", "5" if amd else None)
