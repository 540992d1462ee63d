"""One module a stage, and the tools beside them."""

import os
import sys
from typing import Callable, NoReturn

import utils  # noqa: F401  before any of them imports torch: sets how its threads wait


def command(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with its status. That what reads its output, such as `head`, has seen enough is no fault."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what Python still flushes
        status = 1
    sys.exit(status)
