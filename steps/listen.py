"""Recognise speech while it is heard: from a microphone, or from a file played at its own speed.

python -m steps.listen --bundle exp/asterisk/export-0123abcd/bundle
python -m steps.listen --bundle BUNDLE --file talk.mp4 --speed 2
python -m steps.listen --bundle BUNDLE --json | program
"""

import argparse
import logging
import math
import os
import queue
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, ContextManager, Optional, Sequence, Union

from steps import command
from utils.bundle.opening import lines_of, run
from utils.core.errors import UserError
from utils.live import opening
from utils.watching import opening as watching

log = logging.getLogger("nuptse")
BEHIND = 5.0  # seconds of sound that may wait to be recognised: above it that is said, or a file without pauses waits


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = opening.parser("listen", "Recognise speech while it is heard. Ctrl-C ends, after the last words.")
    p.add_argument("--file", metavar="FILE", help="audio or video to play (default: the microphone)")
    p.add_argument("--speed", type=_speed, metavar="X", help="of the file: 1 is its own (default 1); inf: no pauses")
    p.add_argument("--device", type=_device, metavar="NAME|N", help="of several microphones: a part of its name, or its number")
    p.add_argument("--json", action="store_true", help="print every event as a line of JSON, as the server sends them")
    p.add_argument("--words", metavar="LIST", help="words to add, one a line, each with or without its pronunciation")
    watching.add_options(p)
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where something failed, 2 where nothing can be done."""
    return run(_listen, parser().parse_args(arguments))


def _listen(options: argparse.Namespace) -> int:
    # Imported after the options are read: --help needs the standard library alone.
    from utils.live.sources import Sound, microphone, played

    if options.file is None and options.speed is not None:
        raise UserError("--speed is that of a file: add --file, or leave it out")
    if options.file is not None and options.device is not None:
        raise UserError("--device is a microphone, and --file is played without one: leave one of the two out")
    source: ContextManager[Sound] = (
        microphone(options.device) if options.file is None else played(Path(options.file), options.speed or 1.0)
    )
    with source as sound:  # what is wrong with it is known before the bundle is opened, which takes seconds
        live = opening.open_live(options, doors=watching.doors_of(options))
        watch = None
        try:
            words = lines_of(options.words, "--words")
            for note in live.add_words(words) if words else []:
                log.warning("%s", note)
            watch = watching.watching_of(options, live)
            live.start()
            return _heard(watch, sound, options)
        finally:
            live.close(finish=False)
            if watch is not None:
                watch.close()


def _heard(watch: Any, sound: Any, options: argparse.Namespace) -> int:
    """Show what is said, to its end or Ctrl-C; returns the exit status."""
    from utils.live.events import Ended, Event, Failed

    events: "queue.SimpleQueue[Event]" = queue.SimpleQueue()
    stream, show = watch.stream(sound.rate, events.put, watch.asked()), _shower(options.json)
    paced = not math.isinf(options.speed or 1.0)
    stopped = told = failed = False
    problem: Optional[UserError] = None
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log.info("listening to %s; Ctrl-C ends", sound.name)
    try:
        for block in sound.blocks:
            stream.accept(block)
            while not events.empty():
                show(events.get())
            if stream.over:
                break
            if paced and stream.backlog > BEHIND and not told:
                told = True
                log.warning("recognition is %.0f s behind: this machine is too slow for this bundle", stream.backlog)
            while not paced and stream.backlog > BEHIND and not stream.over:
                time.sleep(0.02)
    except KeyboardInterrupt:
        stopped = True
    except UserError as error:  # a damaged file: what was heard of it has its words
        problem = error
    if not stream.over:
        stream.finish()
    event = None
    while not isinstance(event, Ended) and not (isinstance(event, Failed) and event.segment < 0):
        event = events.get()
        show(event)
        failed = failed or isinstance(event, Failed)
    for remark in sound.remarks:
        log.warning("remark: %s", remark)
    if problem is not None:
        raise problem
    return 1 if failed else 130 if stopped and options.file is not None else 0


def _shower(as_json: bool) -> Callable[[Any], None]:
    """What shows an event on standard output; failures are said on standard error, too."""
    from utils.live.events import Failed
    from utils.live.terminal import Screen
    from utils.server.protocol import Messages, encoded

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    messages = Messages()
    screen = Screen(write, sys.stdout.isatty() and os.environ.get("TERM") != "dumb")

    def show(event: Any) -> None:
        if as_json:
            write(encoded(messages.of(event)) + "\n")
        else:
            screen.show(event)
        if isinstance(event, Failed):
            log.error("failed: %s", event.message)

    return show


def _device(text: str) -> Union[int, str]:
    return int(text) if text.isdecimal() else text


def _speed(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0, or inf")
    return value


if __name__ == "__main__":
    command(main)
