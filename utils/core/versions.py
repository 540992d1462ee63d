"""State of the code and of the machine that made a result."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Dict

# Folders of egs/<corpus> that runs write.
RECORDS = ("results", "open_vocabulary", "large_vocabulary", "word_lm", "precision", "batches")


def git_state(root: Path) -> Dict[str, Any]:
    """`git_commit` and `git_clean` of a checkout; 'unknown' and False outside git.

    Results and their tables don't count: a run that writes its record doesn't make the next run's tree dirty.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(("git", "-C", str(root)) + arguments, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        # every file by name: of a new folder git would print the folder alone, which no pattern below takes out
        changed = git(
            "status",
            "--porcelain",
            "--untracked-files=all",
            "--",
            ".",
            *(f":(exclude,glob)egs/*/{folder}/**" for folder in RECORDS),
            ":(exclude,glob)egs/*/RESULTS.md",
            ":(exclude,glob)egs/*/README.md",
            ":(exclude)RESULTS.md",
            ":(exclude)RESULTS.html",
            ":(exclude)README.md",
        )
    except (subprocess.CalledProcessError, FileNotFoundError):
        return {"git_commit": "unknown", "git_clean": False}
    return {"git_commit": commit, "git_clean": not changed}


def machine(device: str) -> str:
    """What the seconds were measured on: 'Xeon Gold 6230, 2 cores', and the GPU's name where `device` is one."""
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
