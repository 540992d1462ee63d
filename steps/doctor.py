"""What is installed, what is wrong, and how to repair it: `python -m steps.doctor`; exit status 1 where something is wrong.

Imports only the standard library, so that it runs with any Python 3 when nothing else does. torch and k2 are tried in a separate
process, because versions that do not match may crash it.
"""

import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

from steps import command
from utils.core.versions import git_state

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "utils" / "requirements"
SETUP = "utils/setup.sh"

# Prints JSON: what torch and k2 are, and how far k2's CTC loss is from torch's on a small example.
TRIAL = """
import json, torch
out = {"torch": torch.__version__, "gpus": []}
from utils.core.device import gpu_trouble
for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    out["gpus"].append([torch.cuda.get_device_name(i), gpu_trouble(i)])
print(json.dumps(out), flush=True)
import k2
torch.manual_seed(0)
scores = torch.randn(1, 9, 5).log_softmax(-1)
graph = k2.ctc_graph([[1, 2, 2, 3]])
dense = k2.DenseFsaVec(scores, torch.tensor([[0, 0, 9]], dtype=torch.int32))
ours = float(k2.ctc_loss(graph, dense, output_beam=20.0, reduction="sum"))
theirs = float(torch.nn.functional.ctc_loss(scores.transpose(0, 1), torch.tensor([[1, 2, 2, 3]]), [9], [4], reduction="sum"))
out.update(k2_cuda=bool(k2.with_cuda), ctc=[ours, theirs])
print(json.dumps(out), flush=True)
"""


class Finding(NamedTuple):
    """One line of the report; `remedy` is empty unless something is wrong."""

    what: str
    found: str
    remedy: str = ""


def main() -> int:
    """Print every finding; returns 1 where something is wrong."""
    wrong = 0
    for check in (python, environment, python_path, packages, torch_and_k2, machine, disks, programs, git):
        for finding in check():
            wrong += bool(finding.remedy)
            print(f"{'WRONG' if finding.remedy else '   ok'}  {finding.what + ':':<13} {finding.found}")
            if finding.remedy:
                print(f"{'':21}to repair: {finding.remedy}")
    print(f"\n{wrong} thing{'s are' if wrong > 1 else ' is'} wrong" if wrong else "\nnothing is wrong")
    return 1 if wrong else 0


def python() -> Iterator[Finding]:
    """The interpreter."""
    fits = (3, 10) <= sys.version_info[:2] < (3, 14)
    yield Finding(
        "Python",
        f"{platform.python_version()} at {sys.executable}, on {platform.platform()}",
        "" if fits else f"use Python 3.10 to 3.13: .venv/bin/python -m steps.doctor, after {SETUP}",
    )


def environment() -> Iterator[Finding]:
    """.venv and whether this Python is its own."""
    done = subprocess.run(["bash", str(ROOT / SETUP), "--check"], capture_output=True, text=True)
    own = ROOT / ".venv"
    if done.returncode == 0:
        stack = (own / "nuptse.stamp").read_text().split()[0]
        other = Path(sys.prefix).resolve() != own.resolve()
        yield Finding(
            ".venv",
            f"complete, stack '{stack}'" + ("; this Python is another" if other else ""),
            "run: .venv/bin/python -m steps.doctor" if other and not _installed("torch") else "",
        )
    elif Path(sys.prefix).resolve() == own.resolve() or not own.exists() and not _installed("torch"):
        why = f" ({done.stderr.strip()})" if done.stderr else ""
        yield Finding(".venv", f"missing, unfinished, or of other versions{why}", SETUP)
    else:
        yield Finding(".venv", f"not in use; this environment is {sys.prefix}")


def python_path() -> Iterator[Finding]:
    """Folders of PYTHONPATH, and which of our packages come from there."""
    named = [Path(p).resolve() for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    others = [str(folder) for folder in named if folder != ROOT]
    if others:
        specs = {name: importlib.util.find_spec(name) for name in ("k2", "lhotse", "torch", "torchaudio", "numpy")}
        origins = {name: Path(spec.origin).resolve() for name, spec in specs.items() if spec and spec.origin}
        foreign = [name for name, origin in origins.items() if any(Path(folder) in origin.parents for folder in others)]
        used = f"; {', '.join(foreign)} of it are used" if foreign else "; nothing of it is used"
        yield Finding("PYTHONPATH", f"{os.pathsep.join(others)}, searched after the packages of the environment{used}")


def packages() -> Iterator[Finding]:
    """Installed versions against utils/requirements/."""
    new = sys.version_info >= (3, 13)
    pattern = r'^([\w.-]+)==([^\s]+)(?: ; python_version (>=|<) "3.13")?'
    found = re.findall(pattern, (LISTS / "common.txt").read_text(), re.M)
    wanted = {name: version for name, version, condition in found if not condition or (condition == ">=") == new}
    differ = [
        f"{name} {_installed(name) or 'missing'} (tested: {version})"
        for name, version in wanted.items()
        if name != "pip" and _installed(name) != version
    ]
    missing = [text for text in differ if " missing " in text]
    shown = (missing + [text for text in differ if text not in missing])[:5]
    yield Finding(
        "packages",
        f"{len(wanted) - len(differ)} of {len(wanted)} as tested"
        + "".join(f"; {text}" for text in shown)
        + ("; and others" if len(differ) > len(shown) else ""),
        SETUP if missing else "",
    )


def torch_and_k2() -> Iterator[Finding]:
    """Whether torch loads, k2 fits it, and both can use the GPUs there are."""
    stack = f"{SETUP} (other stacks: {SETUP} --help)"
    seen, problem = _try_out()
    if "torch" not in seen:
        yield Finding("torch", problem, stack)
        return
    yield Finding("torch", seen["torch"])
    if "ctc" not in seen:
        why = "lattices need k2, training works without it (--set loss.backend=torch): " if _installed("k2") is None else ""
        yield Finding("k2", f"{_installed('k2') or 'not installed'}: {problem}", why + stack)
    else:
        ours, theirs = seen["ctc"]
        close = abs(ours - theirs) < 1e-3
        yield Finding("k2", f"{_installed('k2')}, its CTC loss is {ours:.4f}, torch's {theirs:.4f}", "" if close else stack)
    there = _output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    for name, trouble in seen["gpus"]:
        yield Finding("GPU", trouble or name, f"{SETUP} --modern" if trouble else "")
    if there and not seen["gpus"]:
        yield Finding("GPU", f"{there}; torch can't use it", f"look at the driver (nvidia-smi), or {SETUP} --modern")
    elif seen["gpus"] and not seen.get("k2_cuda", True):
        yield Finding("GPU", "k2 is built for the CPU only", f"{SETUP} --modern")
    elif not there and not seen["gpus"]:
        yield Finding("GPU", "none; training uses the CPU")


def machine() -> Iterator[Finding]:
    """Cores and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    yield Finding("cores", f"{cores}, load {load:.1f}" + ("; busy: --threads 1 is faster" if load > cores else ""))
    try:
        memory = dict(re.findall(r"^(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M))
        available, total = (int(memory[key]) / 2**20 for key in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError):  # not Linux
        return
    yield Finding(
        "memory",
        f"{available:.1f} of {total:.1f} GB available",
        "" if available >= 4 else "a stage takes up to 4 GB: end other programs, or lower --nj and train.batch_seconds",
    )


def disks() -> Iterator[Finding]:
    """Room and permission where outputs and downloads go."""
    for name, variable in (("exp", "NUPTSE_EXP"), ("download", "NUPTSE_DOWNLOAD")):
        folder = ROOT / (os.environ.get(variable) or name)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 2**30
        remedy = ""
        if not os.access(folder, os.W_OK):
            remedy = f"no permission to write: set {variable} to a folder that you may write to"
        elif free < 2:
            remedy = f"free some space, or set {variable} to a folder on another disk"
        yield Finding(f"{name}/", f"{free:.0f} GB free at {folder}", remedy)


def programs() -> Iterator[Finding]:
    """Programs that stage 0 of asterisk downloads with, and that synthesise speech."""
    have = [name for name in ("apt-get", "dpkg") if shutil.which(name)]
    yield Finding("apt", " and ".join(have) if len(have) == 2 else "no apt-get and dpkg: asterisk's official archives are used")
    yield Finding("flite", shutil.which("flite") or "not on the PATH: where synthesis.utterances asks for it, apt gets Debian's")


def git() -> Iterator[Finding]:
    """The state that results are marked with."""
    commit = _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    if not commit:
        yield Finding("git", "not a checkout, or no git: results are marked as of an unknown commit")
        return
    state = "clean" if git_state(ROOT)["git_clean"] else "changed files: results are marked .dirty"
    yield Finding("git", f"commit {commit}, {state}")


def _try_out() -> Tuple[Dict, str]:
    """What the trial printed, and why it ended early ('' otherwise)."""
    path = os.pathsep.join([str(ROOT)] + [p for p in [os.environ.get("PYTHONPATH")] if p])
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRIAL],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired:
        return {}, "no answer for 300 s"
    lines: List[str] = [line for line in done.stdout.splitlines() if line.startswith("{")]
    seen = json.loads(lines[-1]) if lines else {}
    if done.returncode < 0:
        return seen, f"crashed ({signal.Signals(-done.returncode).name}): its build doesn't fit this torch or this processor"
    return seen, (done.stderr.strip().splitlines() or [""])[-1] if done.returncode else ""


def _installed(package: str) -> "str | None":
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    """Output of a program; '' where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    command(main)
