"""How much longer does a sealed bundle take to load than a plain one?

.venv/bin/python tests/bench/sealing.py BUNDLE [--front-end MODEL] [--engine onnx] [--runs 7]

Loading is from `Recogniser.open` to the words of half a second of noise, as engines read some files only when needed. Both
bundles are loaded in turn: in a process that has loaded them before, and in fresh processes, which import the engine too. The
least CPU time and the least time on the clock are printed; on a machine that does other work only the first is of use.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from utils.bundle.files import FolderFiles, seal_bundle  # noqa: E402
from utils.bundle.recogniser import Recogniser  # noqa: E402
from utils.core.files import ROOT  # noqa: E402
from utils.sealing.folders import Lock  # noqa: E402
from utils.sealing.key_files import need_pyrage, write_secret  # noqa: E402
from utils.sealing.keys import Keys  # noqa: E402

NOISE = (0.01 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)


def load(bundle: Path, key: Optional[Path], engine: str, front_end: Optional[str]) -> Tuple[float, float]:
    """CPU seconds and seconds until a bundle has recognised noise."""
    cpu, clock = time.process_time(), time.perf_counter()
    more: Dict[str, Any] = {"front_end": front_end} if front_end else {}
    recogniser = Recogniser.open(bundle, engine, keys=Keys.read(key) if key else None, **more)
    recogniser.transcribe(NOISE, 16000)
    return time.process_time() - cpu, time.perf_counter() - clock


def fresh(bundle: Path, key: Optional[Path], engine: str, front_end: Optional[str]) -> Tuple[float, float]:
    """As `load`, in a process of its own, from its start to its end."""
    code = (
        "import os, sys; from pathlib import Path; sys.path[:0] = ['tests/bench']; import sealing; "
        "b, k, e, f = sys.argv[1:]; sealing.load(Path(b), Path(k) if k else None, e, f); print(sum(os.times()[:2]))"
    )
    clock = time.perf_counter()
    words = [sys.executable, "-c", code, str(bundle), str(key or ""), engine, front_end or ""]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]), time.perf_counter() - clock


def main() -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("bundle", type=Path, help="a plain one")
    p.add_argument("--engine", default="k2")
    p.add_argument("--front-end")
    p.add_argument("--runs", type=int, default=7)
    options = p.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        identity = need_pyrage().x25519.Identity.generate()
        write_secret(folder / "key", f"{identity}\n")
        seal_bundle(FolderFiles(options.bundle), folder / "sealed", Lock((str(identity.to_public()),)))
        size = sum(path.stat().st_size for path in options.bundle.rglob("*") if path.is_file())
        print(f"{options.bundle}: {size / 1e6:.1f} MB, engine {options.engine}")
        for how in (load, fresh):
            times: List[List[Tuple[float, float]]] = [[], []]
            for _ in range(options.runs + 1):
                for kind, place in enumerate(((options.bundle, None), (folder / "sealed", folder / "key"))):
                    times[kind].append(how(*place, options.engine, options.front_end))
            for what, n in (("CPU time", 0), ("clock", 1)):
                plain, sealed = (min(one[n] for one in kind[1:]) for kind in times)
                print(f"  {how.__name__}, {what}: open {plain:.3f} s, sealed {sealed:.3f} s, {sealed / plain - 1:+.1%}")
    finally:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
