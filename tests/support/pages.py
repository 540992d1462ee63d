"""Pages that are drawn from committed records, and copies of the repository."""

import shutil
import subprocess
from pathlib import Path
from typing import Callable

from utils.core.files import ROOT
from utils.core.versions import git

OWN = (".git", ".venv*", ".tools", "exp", "download", "__pycache__", ".pytest_cache")  # of one checkout alone
RECORDS = ("egs/*/*.jsonl", "egs/*/*.md", ":(exclude)egs/*/README.md")


def copy_repository(folder: Path) -> Path:
    """Copy the files of the repository to a new folder."""
    return Path(shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*OWN)))


def drawn_from_records(drawn: Callable[[Path], bool], folder: Path) -> bool:
    """Whether pages show the records that are here, or the committed ones: runs here may have written others.

    Args:
      drawn: whether the pages of a repository, given by its root, show its records.
      folder: for a copy with the committed records.
    """
    if drawn(ROOT):
        return True
    try:
        written = git(ROOT, "diff", "--name-only", "HEAD", "--", *RECORDS).split()
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False
    if not written:
        return False
    copy = copy_repository(folder / "committed")
    for name in written:
        (copy / name).write_text(git(ROOT, "show", f"HEAD:{name}"), encoding="utf-8")
    return drawn(copy)
