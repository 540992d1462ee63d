"""Find keywords in recordings, or while people speak; nothing is trained for them.

python -m steps.spot --bundle BUNDLE --keyword "smart mirror" --keyword "jarvis = JH AA R V IH S" recordings/
python -m steps.spot --bundle BUNDLE --keyword jarvis --examples recordings/of/jarvis talk.mp4
python -m steps.spot --bundle BUNDLE --keyword jarvis --calibrate jarvis.json speech/without/it noise/
python -m steps.spot --bundle BUNDLE --keyword jarvis --calibrated jarvis.json --rate 0.1 talk.mp4
python -m steps.spot --bundle BUNDLE --keyword jarvis --live
"""

import argparse
import json
import logging
import math
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, List, Optional, Sequence

from steps import command
from utils.bundle.opening import opened, run
from utils.bundle.opening import parser as bundle_parser
from utils.core.errors import UserError
from utils.spotting.opening import RATE, add_options, keywords_of

log = logging.getLogger("nuptse")


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = bundle_parser("spot", "Find keywords in audio and video files; nothing is trained for them.")
    p.add_argument(
        "files", nargs="*", metavar="FILE_OR_FOLDER", help="audio or video files, folders of them, or - for standard input"
    )
    add_options(p)
    p.add_argument("--calibrate", metavar="FILE", help="the recordings lack the keywords: write what these score there")
    p.add_argument("--live", action="store_true", help="listen to the microphone instead; Ctrl-C ends")
    p.add_argument("--json", action="store_true", help="print every hit as a line of JSON")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where files are broken, 2 where nothing can be done."""
    return run(_spot, parser().parse_args(arguments))


def _spot(given: argparse.Namespace) -> int:
    # Imported after the options are read: --help needs the standard library alone.
    from utils.audio.given import given as files_of
    from utils.live.sources import microphone
    from utils.spotting.calibration import Calibration
    from utils.spotting.decoder import looks
    from utils.spotting.spotter import LOWEST, THRESHOLD, THRESHOLD_DECODER, Settings, Spotter

    if bool(given.calibrate) + bool(given.calibrated) + (given.threshold is not None) > 1:
        raise UserError("--calibrate, --calibrated and --threshold exclude each other: give one of them")
    if given.rate is not None and not given.calibrated:
        raise UserError("--rate needs thresholds: add --calibrated FILE, which --calibrate writes")
    if bool(given.files) == given.live or (given.live and given.calibrate):
        raise UserError("give files to look in, or --live to listen to the microphone, and calibrate with files")
    if given.engine != "k2":
        raise UserError(f"--engine {given.engine}: keywords need the engine k2")
    with ExitStack() as stack:
        sound = stack.enter_context(microphone(None)) if given.live else None
        files, _ = files_of(given.files, stack)
        recogniser = opened(given)
        keywords = keywords_of(given, recogniser)
        if not keywords:
            raise UserError("no keyword: give --keyword TEXT, --keywords LIST or --examples FOLDER")
        rate, settings = RATE if given.rate is None else given.rate, Settings()
        if given.calibrated:
            calibration = Calibration.read(Path(given.calibrated), recogniser.manifest.model, asdict(settings))
            thresholds = [calibration.threshold(keyword, rate) for keyword in keywords]
        else:
            calibration = Calibration(recogniser.manifest.model, asdict(settings))
            usual = THRESHOLD_DECODER if looks(recogniser) else THRESHOLD
            least = LOWEST if given.calibrate else usual if given.threshold is None else given.threshold
            thresholds = [least] * len(keywords)
            if not given.calibrate and given.threshold is None:
                log.warning(
                    "not calibrated: hits score at least %g; --calibrate finds thresholds for a rate of false alarms", least
                )
        spotter = Spotter(keywords, recogniser.rows(), thresholds, settings)
        if sound is not None:
            return _listen(given, recogniser, spotter, sound)
        broken = _files(given, recogniser, spotter, files, calibration)
    if given.calibrate:
        if not calibration.hours:
            raise UserError("nothing was heard that could calibrate")
        calibration.write(Path(given.calibrate))
        _say(calibration, keywords, rate)
    return 1 if broken else 0


def _files(given: argparse.Namespace, recogniser: Any, spotter: Any, files: Sequence[Any], calibration: Any) -> int:
    """Print the hits in files, or count them; returns how many files are broken."""
    from utils.spotting.files import spot

    broken = 0
    for file in files:
        remarks: List[str] = []
        seconds = 0.0
        try:
            for heard, hits in spot(recogniser, spotter, file.path, remarks):
                seconds = heard
                if given.calibrate:
                    for n, keyword in enumerate(spotter.keywords):
                        least = calibration.add(keyword, [hit.score for hit in hits if hit.keyword == keyword.name])
                        spotter.thresholds[n] = max(spotter.thresholds[n], least)
                else:
                    for hit in hits:
                        _print(hit, file.shown, given.json)
        except UserError as error:
            log.error("broken: %s", error)
            broken += 1
        calibration.hours += seconds / 3600
        for remark in remarks:
            log.warning("remark: %s", remark)
    return broken


def _listen(given: argparse.Namespace, recogniser: Any, spotter: Any, sound: Any) -> int:
    """Print the hits in what is said, until Ctrl-C."""
    from utils.spotting.listening import Listening

    stream = Listening(recogniser, spotter, sound.rate)
    log.info("listening to %s; Ctrl-C ends", sound.name)
    for block in sound.blocks:
        for hit in stream.accept(block):
            _print(hit, sound.name, given.json)
    for hit in stream.finish():
        _print(hit, sound.name, given.json)
    return 0


def _print(hit: Any, file: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"type": "keyword", "file": file, **asdict(hit)}), flush=True)
    else:
        print(f"{file}\t{hit.start:.2f}\t{hit.end:.2f}\t{hit.score:.2f}\t{hit.keyword}", flush=True)


def _say(calibration: Any, keywords: Sequence[Any], rate: float) -> None:
    """The thresholds, and what is known of their rates of false alarms."""
    from utils.spotting.calibration import bounds

    hours = calibration.hours
    for keyword in keywords:
        threshold = calibration.threshold(keyword, rate)
        count = sum(score >= threshold for score in calibration.scores[keyword.name])
        low, high = bounds(count, hours)
        log.info(
            "%s: %d false alarms in %.2f h at %s, that is %.2f an hour (95%% interval %.2f to %.2f)",
            keyword.name,
            count,
            hours,
            f"a score of {threshold:.2f}" if math.isfinite(threshold) else "any score",
            count / hours,
            low,
            high,
        )
    if hours < 1 / rate:
        log.warning("%.2f h are too few for a rate of %g an hour: take %.1f h or more", hours, rate, 1 / rate)


if __name__ == "__main__":
    command(main)
