"""State of the code and of the machine that made a result."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Dict


def git(root: Path, *arguments: str) -> str:
    """What git prints of a checkout; raises CalledProcessError where it fails, FileNotFoundError where there is no git."""
    # in a container the folder often belongs to another user, which git refuses; a hook has GIT_DIR of another repository
    command = ("git", "-c", f"safe.directory={root}", "-C", str(root), *arguments)
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=own).stdout


def git_state(root: Path) -> Dict[str, Any]:
    """`git_commit` and `git_clean` of a checkout; 'unknown' and False outside git.

    Records, their tables and documentation don't count: a run that writes records must not make the tree of the next one dirty.
    """
    try:
        commit = git(root, "rev-parse", "HEAD").strip()
        # every file by name: for a new folder git would print only the folder, which no pattern below excludes
        changed = git(
            root,
            "status",
            "--porcelain",
            "--untracked-files=all",
            "--",
            ".",
            ":(exclude,glob)egs/*/*.jsonl",
            ":(exclude,glob)egs/*/*.md",
            ":(exclude)docs",
            ":(exclude)RESULTS.html",
            ":(exclude,glob)*.md",
        )
    except (subprocess.CalledProcessError, FileNotFoundError):
        return {"git_commit": "unknown", "git_clean": False}
    return {"git_commit": commit, "git_clean": not changed}


def machine(device: str) -> str:
    """The machine that seconds were measured on: 'Xeon Gold 6230, 2 cores', and the GPU's name where `device` is one."""
    name = platform.machine()
    try:
        models = [
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        name = models[0] if models else name
    except OSError:  # not Linux
        name = platform.processor() or name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{name}, {cores} cores"
    if device.startswith("cuda"):
        import torch

        text += f", {torch.cuda.get_device_name(torch.device(device))}"
    return text


def tool_version(tool: str) -> str:
    """Installed version of a package, or 'absent'."""
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return "absent"
