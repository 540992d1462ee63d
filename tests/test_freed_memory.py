"""Freed memory of a process that runs for weeks goes back to the system, between small blocks that are still in use."""

import subprocess
import sys

import pytest

from utils.core.files import ROOT

WORK = """
import resource, sys, threading
import numpy as np
from utils.live.memory import keep_flat

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def work(kept):
    np.ones(24 * 2**17)  # 24 MB, freed at once: from here on glibc by itself puts such blocks on the heap
    both = [(np.ones(2**18), np.ones(64)) for _ in range(40)]  # 2 MB, and a small block behind it
    kept.extend(small for _, small in both)

if sys.argv[1] == "flat":
    keep_flat()
kept, before = [], megabytes()
for _ in range(3):
    thread = threading.Thread(target=work, args=(kept,))
    thread.start()
    thread.join()
print(megabytes() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heaps")
def test_freed_blocks_go_back():
    grown = {}
    for how in ("flat", "usual"):
        done = subprocess.run([sys.executable, "-c", WORK, how], cwd=ROOT, capture_output=True, text=True, check=True)
        grown[how] = float(done.stdout)
    assert grown["flat"] < 10 < 60 < grown["usual"]  # MB
