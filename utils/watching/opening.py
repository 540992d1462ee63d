"""What commands are told to watch for. Until it is opened, this needs the standard library alone."""

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List

from utils.core.errors import UserError
from utils.spotting import opening as keywords

log = logging.getLogger("nuptse")
MINUTES = 30.0


def add_options(p: argparse.ArgumentParser) -> None:
    """Add the options that `doors_of` and `watching_of` read."""
    keywords.add_options(p)
    p.add_argument("--grammar", action="append", default=[], metavar="FILE", help="spoken commands; see docs/commands.md")
    p.add_argument("--slot", action="append", default=[], metavar="NAME=VALUE,...", help="values of a slot of --grammar")
    p.add_argument("--ambiguous", choices=("refuse", "first"), default="refuse", help="of two readings (default refuse)")
    p.add_argument("--wake", metavar="WORD", help="a command counts only if it follows this keyword")


def doors_of(options: argparse.Namespace) -> Any:
    """What opens the recogniser of the finals, for `utils.live.live.Live.open`. Raises UserError for grammars by one name."""
    from functools import partial

    from utils.grammars.slots import slots_of
    from utils.watching.doors import Doors, Grammars

    files: Dict[str, Path] = {}
    for file in options.grammar:
        if not Path(file).is_file():
            raise UserError(f"--grammar {file}: there is no such file")
        if Path(file).stem in files:
            raise UserError(f"--grammar {file}: there is another one named {Path(file).stem}; rename one of the two files")
        files[Path(file).stem] = Path(file)
    if options.wake is not None and not files:
        raise UserError("--wake is a word that commands follow: add --grammar FILE")
    if options.slot and not files:
        raise UserError("--slot is that of a grammar: add --grammar FILE")
    return partial(Doors.open, grammars=Grammars(files, slots_of(options.slot), options.ambiguous))


def watching_of(options: argparse.Namespace, live: Any, minutes: float = MINUTES) -> Any:
    """The `Watching` of a `Live` that was opened with `doors_of`. minutes: of the past of each stream that can be searched.

    Raises:
      UserError: keywords that can't be looked for; a calibration of another bundle, or without one of them.
    """
    from utils.spotting.calibration import Calibration
    from utils.spotting.spotter import Settings
    from utils.watching.watching import Usual, Watching

    found: List[Any] = keywords.keywords_of(options, live.recogniser)
    rate, calibration = options.rate or keywords.RATE, None
    if options.calibrated:
        manifest = live.recogniser.manifest
        calibration = Calibration.read(Path(options.calibrated), manifest.model, asdict(Settings()))
        for one in found:
            calibration.threshold(one, rate)
    elif found and options.threshold is None:
        log.warning("the keywords are not calibrated: steps.spot --calibrate finds thresholds for a rate of false alarms")
    names = [Path(file).stem for file in options.grammar]
    usual = Usual(found, calibration, rate, options.threshold, names[0] if names else "", options.wake or "", minutes)
    made = Watching(live, names, usual)
    made.asked()  # what is wrong with the keywords is said now
    return made
