"""Running the driver from a test, and comparing what its stages made."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy  # noqa: F401 - starts threads of its own that survive a fork; they must be there before the count

from utils.core.files import ROOT
from utils.pipeline import driver


def threads() -> int:
    """The number of threads of this process; 0 where the system does not tell."""
    tasks = Path("/proc/self/task")
    return len(os.listdir(tasks)) if tasks.is_dir() else 0


THREADS_AT_START = threads()


def drive(*arguments: str) -> int:
    """Run the driver and return its exit status.

    The driver forks, and a fork lacks the other threads of its parent. Once this process has threads, the driver gets a new one.
    """
    if threads() > THREADS_AT_START:
        return subprocess.run([sys.executable, "-m", "utils.pipeline.driver", *arguments], cwd=ROOT).returncode
    return driver.main(list(arguments))


def refusal(main: Callable[[List[str]], int], arguments: List[Any], caplog: Any, capsys: Any) -> str:
    """What a command says that refuses its arguments: one error, status 2, and nothing on standard output.

    Args:
      caplog, capsys: the fixtures of pytest.
    """
    caplog.clear()
    assert main([str(each) for each in arguments]) == 2 and not capsys.readouterr().out
    (told,) = (record.getMessage() for record in caplog.records if record.name == "nuptse" and record.levelname == "ERROR")
    assert told.startswith("error: ") and told.count("error:") == 1, told
    return told


def content(folder: Path) -> Dict[Path, str]:
    """The files of a finished stage and the hash of each, without those that differ from run to run."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in ("log.txt", "stage.json")]
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
