"""Recognise files with a bundle, which stage 9 makes: words in seven formats, of any audio or video file.

python -m steps.recognise --bundle exp/asterisk/export-0123abcd/bundle recordings/
python -m steps.recognise --bundle BUNDLE --format srt --output subtitles talk.mp4
ffmpeg -i talk.mp4 -f wav - | python -m steps.recognise --bundle BUNDLE -
"""

import argparse
import hashlib
import json
import logging
import mmap
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

from steps import command
from utils.bundle import opening
from utils.core.errors import UserError
from utils.core.languages import family
from utils.core.options import positive
from utils.core.process import apart
from utils.core.tables import duration

log = logging.getLogger("nuptse")
DECODINGS = ("lattice", "word_lattice", "greedy")
FORMATS = ("txt", "json", "ctm", "srt", "vtt", "textgrid", "tsv")
SHOWN = 20  # remarks


@dataclass
class Summary:
    """What was done."""

    files: int = 0
    seconds: float = 0.0  # of audio
    cpu_seconds: float = 0.0
    there: int = 0  # files whose output was there
    remarks: List[str] = field(default_factory=list)
    broken: Dict[str, str] = field(default_factory=dict)  # file -> reason


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = opening.parser(
        "recognise", "Recognise audio and video files with a bundle. Words come without punctuation, as the model writes them."
    )
    p.add_argument(
        "files", nargs="+", metavar="FILE_OR_FOLDER", help="audio or video files, folders of them, or - for standard input"
    )
    p.add_argument("--format", choices=FORMATS, default="txt", help="of the output (default txt)")
    p.add_argument(
        "--output", metavar="FOLDER", help="a file for each recording there (default: print); only what is missing is made"
    )
    p.add_argument(
        "--channel",
        type=_channel,
        default="mix",
        metavar="mix|each|N",
        help="of several: mixed, each by itself, or one, from 0 (default mix)",
    )
    p.add_argument("--language", metavar="CODE", help="refuse a bundle of another language")
    p.add_argument(
        "--words", metavar="LIST", help="words to add for this call, one a line, each with or without its pronunciation"
    )
    p.add_argument("--context", metavar="TEXT", help="a text, or a file of text, that the recordings resemble")
    p.add_argument("--confidence", type=probability, default=0.0, metavar="P", help="mark words with less: [word?]")
    p.add_argument(
        "--decoding", choices=DECODINGS, help="of the engine onnx: what it searches (default: the first that there is)"
    )
    p.add_argument(
        "--nj", type=positive, default=len(os.sched_getaffinity(0)), metavar="N", help="processes (default: the cores)"
    )
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where files are broken, 2 where nothing can be done."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    for word in words[: words.index("--") if "--" in words else len(words)]:
        if word.startswith("-") and len(word) > 1 and os.path.lexists(word):
            log.error("error: %s is a file with the name of an option; write ./%s", word, word)
            return 2
    options = parser().parse_args(words)
    try:
        options.keys = opening.keys_of(options)  # asks on the terminal, which `apart` could not
    except UserError as error:
        log.error("error: %s", error)
        return 2
    except KeyboardInterrupt:
        return 130
    code, stopped = apart(lambda: opening.run(_work, options))
    if stopped or code == 130:
        log.error("interrupted; finished files are kept: run the same command again to continue")
        return 128 + (stopped or 2)
    return code if code >= 0 else 128 - code


def _work(options: argparse.Namespace) -> int:
    """Everything, in a process whose workers end with it; returns the exit status."""
    with ExitStack() as stack:
        summary = _recognise(options, stack)
    for remark in summary.remarks[:SHOWN]:
        log.warning("remark: %s", remark)
    if len(summary.remarks) > SHOWN:
        log.warning("remark: and %d more; --format json has them all", len(summary.remarks) - SHOWN)
    for file, reason in summary.broken.items():
        log.error("broken: %s", reason if file in reason else f"{file}: {reason}")
    return 1 if summary.broken else 0


def _recognise(options: argparse.Namespace, stack: ExitStack) -> Summary:
    """Recognise what is missing, and write or print it."""
    from utils.audio.given import given
    from utils.bundle.files import open_files  # after the options are read: --help needs the standard library alone
    from utils.bundle.recogniser import Recogniser, read_pack
    from utils.recognition.many_files import Work, run
    from utils.recognition.outputs import Outputs, output_names
    from utils.recognition.writers import FORMATS as forms

    files = open_files(Path(options.bundle), options.keys)
    _check_language(options, files.manifest.language)
    if options.decoding and options.engine != "onnx":
        raise UserError(f"--decoding {options.decoding}: the engine {options.engine} has its whole chain; add --engine onnx")
    words = files.read("words.txt").count(b"\n") if "word_vectors.safetensors" in files.names else 0
    added, more, made_with = opening.lines_of(options.words, "--words"), _context(options), asdict(files.manifest)
    packs = opening.packs_of(options)
    contents = [read_pack(pack, Path(options.bundle), options.keys)[1] for pack in packs]
    named = {"packs": [hashlib.sha256(content).hexdigest() for content in contents], "words": added, **more}
    named.update({key: getattr(options, key) for key in ("engine", "decoding", "format", "channel", "confidence")})
    key = hashlib.sha256(json.dumps([made_with, named], sort_keys=True).encode()).hexdigest()
    form, summary = forms[options.format], Summary()
    found, others = given(options.files, stack)
    tasks = list(zip(found, output_names(found)))
    if others:
        log.info("%s of the folders left out, without a suffix of audio or video", _counted(others))
    outputs = Outputs(Path(options.output), form.suffix, key) if options.output else None
    if outputs:
        states = [outputs.state(name, file.path) for file, name in tasks]
        summary.there = states.count("done")
        summary.broken = {file.shown: state for (file, _), state in zip(tasks, states) if state not in ("done", "missing")}
        tasks = [task for task, state in zip(tasks, states) if state == "missing"]
    elif len(tasks) > 1 and form.line is None:
        raise UserError(f"--format {options.format} of several files needs --output FOLDER")
    told = mmap.mmap(-1, 1)  # forks share it: whether one of them printed the remarks

    def opened() -> Recogniser:
        how: Dict[str, Any] = {"packs": packs, "front_end": options.front_end, "threads": options.threads, **more}
        if options.decoding:
            how["decoding"] = options.decoding
        if options.engine != "k2" and added:
            how["words"] = added
        recogniser = Recogniser.open(options.bundle, options.engine, keys=options.keys, **how)
        notes = recogniser.add_words(added) if added and "words" not in how else []
        if not told[0]:
            told[0] = 1
            for note in notes:
                log.warning("%s", note)
        return recogniser

    started = time.perf_counter()
    printed, held = 0, {}  # type: int, Dict[int, str]
    for done, cpu in run(Work(opened, options.channel, options.nj), [file.path for file, _ in tasks], words):
        file, name = tasks[done.index]
        summary.cpu_seconds += cpu
        text = ""
        if done.outcome is None:
            summary.broken[file.shown] = done.problem.replace(str(file.path), file.shown)
        else:
            outcome = replace(done.outcome, name=file.shown, id=name, uncertain=options.confidence)
            _check_confidences(options, outcome)
            summary.files, summary.seconds = summary.files + 1, summary.seconds + outcome.seconds
            summary.remarks += [f"{file.shown}: {remark}" for remark in outcome.remarks]
            if outputs:
                outputs.write(name, form.write(outcome), done.source)
            else:
                text = form.line(outcome) if form.line and len(tasks) > 1 else form.write(outcome)
        held[done.index] = text
        while not outputs and printed in held:  # in the order in which they were given
            _print(form.header * (printed == 0 and len(tasks) > 1) + held.pop(printed))
            printed += 1
    _say(summary, time.perf_counter() - started)
    return summary


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"can't write to standard output: {error.strerror}") from None


def _say(summary: Summary, seconds: float) -> None:
    there = f"; {summary.there} were there already" * bool(summary.there)
    rtf = f": real-time factor {summary.cpu_seconds / summary.seconds:.3f} of one core" if summary.seconds else ""
    log.info(
        "%s recognised, %s of audio in %s%s%s%s",
        _counted(summary.files),
        duration(summary.seconds),
        duration(seconds),
        rtf,
        there,
        f"; {len(summary.broken)} broken" * bool(summary.broken),
    )


def _counted(files: int) -> str:
    return f"{files} file" + "s" * (files != 1)


def _context(options: argparse.Namespace) -> Dict[str, str]:
    """The text of --context, as `Recogniser.open` takes it."""
    if not options.context:
        return {}
    path = Path(options.context)
    named = len(options.context) < 1000 and path.is_file()
    if not named and len(options.context.split()) < 2:
        raise UserError(f"--context {options.context}: neither a file nor a text of several words")
    return {"context": opening.text_of(options.context, "--context") if named else options.context}


def _check_language(options: argparse.Namespace, language: str) -> None:
    if options.language and family(options.language) != family(language):
        raise UserError(f"--language {options.language}: this bundle recognises '{language}' alone; take one of the language")


def _check_confidences(options: argparse.Namespace, outcome: Any) -> None:
    if options.confidence and any(w.confidence is None for segment in outcome.segments for w in segment.transcript.words):
        raise UserError(f"--confidence {options.confidence:g}: the engine {options.engine} gives no confidences with this bundle")


def _channel(text: str) -> Union[str, int]:
    if text not in ("mix", "each") and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not mix, each, or the number of a channel, from 0")
    return int(text) if text.isdecimal() else text


def probability(text: str) -> float:
    """An option's number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


if __name__ == "__main__":
    command(main)
