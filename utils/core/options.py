"""Options of the commands. Standard library only, so that --help answers before anything is installed."""

import argparse
import difflib
import math
import os
import re
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Refuses an unknown option with the nearest one and the list of those that exist."""

    def error(self, message: str) -> NoReturn:
        """Print the message and the options there are, and exit with status 2."""
        known = sorted(option for action in self._actions for option in action.option_strings if option.startswith("--"))
        unknown = message.partition("unrecognized arguments: ")[2].split()
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, 1) if unknown else []
        hint = f" (did you mean {near[0]}?)" if near else ""
        self.exit(2, f"error: {message}{hint}\noptions: {' '.join(known)}\n")


def physical_cores() -> int:
    """Cores that this process may use, without hyper-threads: a second thread on a core slows training down."""
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        try:
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            siblings.add(str(cpu))
    return max(1, len(siblings))


def positive(text: str) -> int:
    """An option's whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number, at least 1")
    return int(text)


def above_zero(text: str) -> float:
    """An option's finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def device(text: str) -> str:
    """An option's device: cpu, cuda or cuda:N."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text} is not cpu, cuda or cuda:N")
    return text
