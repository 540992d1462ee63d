"""Opening a bundle for streams, with a second one that makes the finals. Until then, this needs the standard library alone."""

import argparse
from typing import Any

from utils.bundle import opening


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """A parser of the command `python -m steps.NAME`, with the options that `open_live` reads."""
    p = opening.parser(name, description)
    p.add_argument("--second", metavar="FOLDER", help="another bundle of the language, which makes the finals")
    return p


def open_live(options: argparse.Namespace, apart: int = 0, **more: Any) -> Any:
    """The `Live` that these options name, not started. Args and errors: those of `Live.open`."""
    from utils.live.live import Live

    how = opening.how_to_open(options)
    return Live.open(options.bundle, options.second, options.engine, apart=apart, hold=True, **how, **more)
