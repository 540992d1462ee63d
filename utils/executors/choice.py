"""What makes the pieces of a run, by command-line options. Importing it needs Python's standard library alone."""

import argparse
import logging
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional

from utils.core.errors import UserError
from utils.core.parallel import Executor
from utils.executors.scheduler import absent, is_address, reach


def add_options(p: argparse.ArgumentParser) -> None:
    """Add --executor and --scheduler."""
    p.add_argument(
        "--executor",
        choices=("forks", "dask"),
        default="forks",
        help="what makes the pieces of features, synthesis, decoding and rescoring: --nj forks (default), or Dask's workers",
    )
    p.add_argument("--scheduler", type=_address, metavar="ADDRESS", help="Dask's, tcp://HOST:PORT (default: --nj workers here)")


def check(options: argparse.Namespace) -> None:
    """Raise UserError where there is a scheduler without Dask, or none answers at its address."""
    if not options.scheduler:
        return
    if options.executor != "dask":
        raise UserError(f"--scheduler {options.scheduler} needs --executor dask")
    try:
        reach(options.scheduler)
    except OSError as error:
        raise UserError(absent(options.scheduler, error)) from None


@contextmanager
def chosen(options: argparse.Namespace, nj: int, folder: Path, log: logging.Logger) -> Iterator[Optional[Executor]]:
    """The executor that the options name; None for forks.

    Args:
      nj: workers, where the options name no scheduler.
      folder: of the stage, which all workers must see.
    """
    if options.executor != "dask":
        yield None
        return
    from utils.executors.dask_cluster import Dask

    with Dask(options.scheduler or "", nj, folder, log) as made:
        yield made


def _address(text: str) -> str:
    if not is_address(text):
        raise argparse.ArgumentTypeError(f"{text} is not the address of a scheduler, such as tcp://192.168.1.5:8786")
    return text
