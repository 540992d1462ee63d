"""Index recordings, so that words can be found in them: also words that nobody knew when the index was made.

python -m steps.index --bundle BUNDLE --index calls.index recordings/
python -m steps.find --bundle BUNDLE --index calls.index heating
"""

import argparse
import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from steps import command
from utils.bundle.opening import how_to_open, run
from utils.bundle.opening import parser as bundle_parser
from utils.core.errors import UserError
from utils.core.options import positive
from utils.core.process import apart
from utils.core.tables import duration

log = logging.getLogger("nuptse")
SHARD = 1800.0  # seconds of audio that a killed run may lose


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = bundle_parser("index", "Index audio and video files for steps.find. Only what is missing or changed is indexed.")
    p.add_argument("files", nargs="+", metavar="FILE_OR_FOLDER", help="audio or video files, or folders of them")
    p.add_argument("--index", required=True, metavar="FOLDER", help="where the index is, or is made")
    p.add_argument("--channel", choices=("mix", "each"), default="mix", help="of several: mixed, or each by itself (default mix)")
    p.add_argument(
        "--nj", type=positive, default=len(os.sched_getaffinity(0)), metavar="N", help="processes (default: the cores)"
    )
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where files are broken, 2 where nothing can be done."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    options = parser().parse_args(arguments)
    try:
        options.how = how_to_open(options)  # asks on the terminal, which `apart` could not
    except UserError as error:
        log.error("error: %s", error)
        return 2
    code, stopped = apart(lambda: run(_index, options))
    if stopped or code == 130:
        log.error("interrupted; finished recordings are kept: run the same command again to continue")
        return 128 + (stopped or 2)
    return code if code >= 0 else 128 - code


def _index(options: argparse.Namespace) -> int:
    """Index what is missing; returns the exit status."""
    from utils.audio.given import given
    from utils.bundle.recogniser import Recogniser
    from utils.recognition.many_files import Work
    from utils.recognition.many_files import run as run_files
    from utils.recognition.outcomes import Segment
    from utils.search.contents import Listening
    from utils.search.index import key_of
    from utils.search.shards import About, Shards, Source, shard_of

    def opened() -> Recogniser:
        return Recogniser.open(options.bundle, options.engine, **options.how)

    if any(one == "-" or not os.path.isdir(one) and not os.path.isfile(one) and os.path.exists(one) for one in options.files):
        raise UserError("an index names files that can be played later: give files or folders, not pipes")
    found, others = given(options.files, ExitStack())  # which has nothing to close: no pipe is copied
    if others:
        log.info("%d other files of the folders left out, without a suffix of audio or video", others)
    recogniser = opened()
    rows = recogniser.rows()
    nothing = recogniser.evidence([(_silence(recogniser.rate), recogniser.rate)])[0]
    about = About(
        key_of(recogniser.manifest),
        nothing.subword.shape[1],
        rows.vectors.shape[1],
        (nothing.subword_seconds, nothing.word_seconds),
        recogniser.language,
    )
    if not nothing.subword.shape[1] or not nothing.frames.shape[1]:
        raise UserError(
            f"{options.bundle} has no word vectors or no sub-word head, and an index needs both; train whisper_wordvec"
        )
    shards = Shards(Path(options.index), about)
    states = [shards.state(one.path) for one in found]
    tasks = [one for one, state in zip(found, states) if state != "done"]
    for one, state in zip(found, states):
        if state == "changed":
            log.info("%s changed since it was indexed: it is indexed again", one.shown)
    broken: Dict[str, str] = {}
    waiting: List[Tuple[Source, List[Segment]]] = []
    seconds, cpu_seconds, files, started = 0.0, 0.0, 0, time.perf_counter()

    def write() -> None:
        if waiting:
            shards.write(shard_of(waiting, about))
            waiting.clear()

    try:
        for done, cpu in run_files(
            Work(lambda: Listening(opened()), options.channel, options.nj), [t.path for t in tasks], len(rows.words)
        ):
            cpu_seconds += cpu
            if done.outcome is None:
                broken[tasks[done.index].shown] = done.problem
                continue
            source = Source(tasks[done.index].shown, done.source, done.outcome.seconds)
            waiting.append((source, done.outcome.segments))
            files, seconds = files + 1, seconds + source.seconds
            if sum(one.seconds for one, _ in waiting) >= SHARD:
                write()
    finally:
        write()
    rate = f": real-time factor {cpu_seconds / seconds:.3f} of one core" if seconds else ""
    there = f"; {states.count('done')} were there already" * ("done" in states)
    spent = duration(time.perf_counter() - started)
    log.info(
        "%d files indexed, %s of audio in %s%s%s%s",
        files,
        duration(seconds),
        spent,
        rate,
        there,
        f"; {len(broken)} broken" * bool(broken),
    )
    for file, reason in broken.items():
        log.error("broken: %s", reason if file in reason else f"{file}: {reason}")
    return 1 if broken else 0


def _silence(rate: int) -> Any:
    """A second of silence, which tells the sizes of the network's outputs."""
    import numpy as np

    return np.zeros(rate, np.float32)


if __name__ == "__main__":
    command(main)
