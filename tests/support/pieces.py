"""Work for executors, in a module that their workers can import."""

import errno
import os
import time
from pathlib import Path
from typing import List

from utils.core.errors import UserError
from utils.core.files import write_text
from utils.executors.reopened import Reopened


class Opened(Reopened):
    """Counts in a file how often it is opened; a lambda can't be pickled."""

    def __init__(self, path: Path) -> None:
        self.letters = lambda n: chr(ord("a") + n)
        with open(path, "a") as stream:
            stream.write(f"{os.getpid()}\n")
        self.opened_by(Opened, path)

    def write(self, n: int, out: Path) -> None:
        """Write the letter n."""
        write_text(out, self.letters(n))


def slowly(out: Path, seconds: float, going: Path) -> None:
    """Write a file after some seconds, and before that the process, so that a test can kill it."""
    write_text(going / f"{os.getpid()}.pid", "")
    time.sleep(seconds)
    write_text(out, out.name)


def wrong(kind: str, out: Path) -> None:
    """End in an error."""
    if kind == "user":
        raise UserError("no such word")
    if kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))
    if kind == "killed":
        os._exit(9)
    raise ValueError("a fault of ours")


def letters(folder: Path) -> List[str]:
    """What `Opened.write` wrote."""
    return [path.read_text() for path in sorted(folder.glob("*.txt"))]
