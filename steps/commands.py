"""Spoken commands of a grammar file: an intent and its slots for each recording, or "not a command".

python -m steps.commands check coffee.yaml
python -m steps.commands recognise coffee.yaml --bundle exp/speechocean762/export-0123abcd/bundle recordings/
python -m steps.commands train coffee.yaml --bundle exp/speechocean762/export-0123abcd/bundle --to coffee_bundle --noise noises/
"""

import argparse
import json
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from steps import command
from utils.bundle.opening import how_to_open, run
from utils.bundle.opening import parser as bundle_parser
from utils.core.errors import UserError
from utils.core.options import positive
from utils.grammars.slots import slots_of

log = logging.getLogger("nuptse")
ACTIONS = ("check", "recognise", "train")
LANGUAGE = "en"
LONGEST = 30.0  # seconds of a recording: a command is one sentence
TOGETHER = 16  # recordings that are recognised at a time


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = bundle_parser("commands", __doc__ or "", bundle=False)
    p.add_argument(
        "action",
        choices=ACTIONS,
        help="check: what the grammar accepts; recognise: the commands in recordings; train: tune a bundle to it",
    )
    p.add_argument("grammar", metavar="GRAMMAR", help="YAML: in the form of Picovoice's Rhino, or of Home Assistant's templates")
    p.add_argument("audio", nargs="*", metavar="FILE_OR_FOLDER", help="of recognise: recordings, one command each")
    p.add_argument(
        "--slot", action="append", default=[], metavar="NAME=VALUE,...", help="values of a slot or list, in place of the file's"
    )
    p.add_argument("--ambiguous", choices=("refuse", "first"), default="refuse", help="of two readings (default refuse)")
    p.add_argument("--format", choices=("txt", "json"), default="txt", help="of recognise, a line a recording (default txt)")
    p.add_argument("--language", metavar="CODE", help="of check without a bundle (default: the file's, or en)")
    p.add_argument("--to", metavar="FOLDER", help="of train: the new bundle")
    p.add_argument("--noise", metavar="FOLDER", help="of train: recordings of noises to mix in")
    p.add_argument("--speech", metavar="FOLDER", help="of train: recordings without a command, or a finished stage 0")
    p.add_argument("--recordings", metavar="FOLDER", help="of train: commands, with label.json, which says what they mean")
    p.add_argument("--sentences", type=positive, default=120, metavar="N", help="of train: commands to synthesise (default 120)")
    p.add_argument(
        "--others", type=positive, default=60, metavar="N", help="of train: other sentences, recordings of each kind (default 60)"
    )
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of train (default 0)")
    p.add_argument("--examples", type=positive, default=5, metavar="N", help="sentences that check prints (default 5)")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where the grammar is ambiguous or a recording broken, 2 for bad input."""
    return run(_work, parser().parse_intermixed_args(arguments))


def _work(options: argparse.Namespace) -> int:
    return {"check": _check, "recognise": _recognise, "train": _train}[options.action](options)


def _check(options: argparse.Namespace) -> int:
    from utils.grammars.checking import report
    from utils.grammars.grammar import Grammar, read_grammar

    if options.audio:
        raise UserError(f"check reads a grammar alone; leave out {options.audio[0]}")
    written = read_grammar(Path(options.grammar), slots_of(options.slot))
    language, normalise, known = _bundle_text(options) if options.bundle else _text(options.language or written.language)
    lines, wrong = report(Grammar(written, normalise, language, "first"), options.examples, known)
    print("\n".join(lines))
    return 1 if wrong and options.ambiguous == "refuse" else 0


def _text(language: Optional[str]) -> Tuple[str, Any, List[str]]:
    """A language, its usual normaliser, and no words."""
    from utils.text.normalise import normaliser

    return language or LANGUAGE, normaliser("basic", language or LANGUAGE), []


def _bundle_text(options: argparse.Namespace) -> Tuple[str, Any, List[str]]:
    """Language, normaliser and words of the bundle."""
    from utils.bundle.recogniser import Recogniser

    recogniser = Recogniser.open(options.bundle, options.engine, **how_to_open(options))
    return recogniser.language, recogniser.normalise, recogniser.rows().words


def _recognise(options: argparse.Namespace) -> int:
    from utils.audio.given import given
    from utils.commands.recognise import Commands

    if not options.bundle or not options.audio:
        raise UserError("recognise needs --bundle FOLDER and recordings")
    commands = Commands.open(
        options.grammar, options.bundle, slots_of(options.slot), options.ambiguous, engine=options.engine, **how_to_open(options)
    )
    broken = 0
    with ExitStack() as stack:
        found, _ = given(options.audio, stack)
        for first in range(0, len(found), TOGETHER):
            names, sounds = [], []
            for one, sound in _sounds(found[first : first + TOGETHER]):
                if isinstance(sound, str):
                    log.error("error: %s", sound)
                    broken += 1
                else:
                    names.append(one.shown)
                    sounds.append(sound)
            for name, answer in zip(names, commands.recognise_many(sounds)):
                print(_line(name, answer, options.format), flush=True)
    return 1 if broken else 0


def _train(options: argparse.Namespace) -> int:
    from utils.commands.training import train

    if not options.bundle or not options.to:
        raise UserError("train needs --bundle FOLDER, the general model, and --to FOLDER, for the new bundle")
    if options.audio:
        raise UserError(f"train reads a grammar alone; leave out {options.audio[0]} (noises: --noise, real speech: --speech)")
    noise, speech, recordings = (Path(name) if name else None for name in (options.noise, options.speech, options.recordings))
    numbers = (options.sentences, options.others, options.seed)
    paths = (Path(options.grammar), Path(options.bundle), Path(options.to), noise, speech, recordings)
    found = train(*paths, *numbers, slots_of(options.slot), options.ambiguous)
    log.info(
        "on held-out recordings: %.1f%% of %d commands understood, %.1f%% before; %.1f%% of them pass, and %.1f%% of %d other "
        "recordings are rejected",
        *(100 * found.right, found.commands, 100 * found.right_before, 100 * found.passed, 100 * found.rejected, found.others),
    )
    print(options.to)
    return 0


def _sounds(files: Sequence[Any]) -> Iterator[Tuple[Any, Any]]:
    """Each file with its samples, channels mixed, and their rate; or with what is wrong with it."""
    import numpy as np

    from utils.audio.recordings import recording

    for file in files:
        try:
            with recording(file.path) as audio:
                blocks, seconds = [], 0.0
                for block in audio.blocks:
                    blocks.append(block.mean(1))
                    seconds += len(block) / audio.rate
                    if seconds > LONGEST:
                        raise UserError(f"{file.path} lasts more than {LONGEST:g} s; give one command a recording")
                yield file, (np.concatenate(blocks) if blocks else np.zeros(0, np.float32), audio.rate)
        except UserError as error:
            yield file, str(error).replace(str(file.path), file.shown)


def _line(name: str, answer: Any, form: str) -> str:
    if form == "json":
        return json.dumps({"file": name, **answer.as_dict()}, ensure_ascii=False)
    return f"{name}\t{answer.command or 'not a command'}\t{answer.confidence:.2f}"


if __name__ == "__main__":
    command(main)
