"""State of the code that made a result."""
import subprocess
from pathlib import Path
from typing import Any, Dict


def git_state(root: Path) -> Dict[str, Any]:
    """`git_commit` and `git_clean` of a checkout; 'unknown' and False outside git.

    Results and their tables don't count: a run that writes its record doesn't make the next run's tree dirty.
    """
    def git(*arguments: str) -> str:
        return subprocess.run(("git", "-C", str(root)) + arguments, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", ".", ":(exclude)egs/*/results", ":(exclude)egs/*/RESULTS.md",
                      ":(exclude)RESULTS.md", ":(exclude)RESULTS.html", ":(exclude)README.md")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return {"git_commit": "unknown", "git_clean": False}
    return {"git_commit": commit, "git_clean": not changed}
