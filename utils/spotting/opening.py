"""The keywords of a command line, and their thresholds. Until they are read, this needs the standard library alone."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List

from utils.bundle.opening import lines_of
from utils.core.errors import UserError
from utils.core.options import above_zero

RATE = 0.5  # false alarms an hour


def add_options(p: argparse.ArgumentParser) -> None:
    """Add the options that `keywords_of` reads, and those of thresholds."""
    p.add_argument(
        "--keyword",
        action="append",
        default=[],
        metavar="TEXT",
        help="one word or several, known or not; with '= UNIT UNIT ...' for its pronunciation; may be given again",
    )
    p.add_argument("--keywords", metavar="LIST", help="a file of keywords, one a line")
    p.add_argument(
        "--examples",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="recordings of a keyword alone, three or so; NAME: the folder's, or the only --keyword; may be given again",
    )
    p.add_argument("--calibrated", metavar="FILE", help="what steps.spot --calibrate wrote: thresholds for --rate")
    p.add_argument("--rate", type=above_zero, metavar="N", help=f"false alarms an hour for each keyword (default {RATE:g})")
    p.add_argument("--threshold", type=float, metavar="S", help="lowest score of a hit, where there is no calibration")


def keywords_of(given: argparse.Namespace, recogniser: Any) -> List[Any]:
    """The keywords of --keyword, --keywords and --examples; none where none of these is given.

    Raises:
      UserError: keywords that can't be looked for, and what of the options contradicts what else is given.
    """
    from utils.audio.given import given as files_of
    from utils.spotting.files import whole
    from utils.spotting.keywords import from_recordings, from_text

    if given.calibrated and given.threshold is not None:
        raise UserError("--calibrated and --threshold exclude each other: give one of them")
    if given.rate is not None and not given.calibrated:
        raise UserError("--rate needs thresholds: add --calibrated FILE, which steps.spot --calibrate writes")
    lines = lines_of(given.keywords, "--keywords")
    if given.keywords and not lines:
        raise UserError(f"--keywords {given.keywords} has no keyword; write one a line")
    found: Dict[str, Any] = {}
    for line in [*given.keyword, *lines]:
        keyword = from_text(recogniser, line)
        found.setdefault(keyword.name, keyword)
    for option in given.examples:
        name, _, folder = option.rpartition("=")
        if not name:
            name = next(iter(found)) if len(found) == 1 == len(given.examples) else Path(folder).name
        with ExitStack() as stack:
            paths = [one.path for one in files_of([folder], stack)[0]]
            found[name] = from_recordings(recogniser, name, [whole(path) for path in paths], recogniser.rows(), found.get(name))
    return list(found.values())
