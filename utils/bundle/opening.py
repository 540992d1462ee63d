"""What commands that work with a bundle share: their options, and what they do with errors.

Until a bundle is opened, this needs the standard library alone, so that --help answers before anything is installed.
"""

import argparse
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, List, Optional

from utils.core.errors import UserError
from utils.core.options import Parser, positive

ENGINES = ("k2", "onnx")
log = logging.getLogger("nuptse")


def parser(name: str, description: str, bundle: bool = True) -> argparse.ArgumentParser:
    """A parser of the command `python -m steps.NAME`, with the options of `add_options`."""
    p = Parser(
        prog=f"python -m steps.{name}",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=description,
    )
    add_options(p, bundle)
    return p


def add_options(p: argparse.ArgumentParser, bundle: bool = True) -> None:
    """Add the options that `opened` reads; `bundle`: whether one must be given."""
    p.add_argument("--bundle", required=bundle, metavar="FOLDER", help="the trained model: exp/<corpus>/export-*/bundle")
    p.add_argument("--engine", choices=ENGINES, default="k2", help="k2: the whole chain; onnx: without torch and k2 (default k2)")
    p.add_argument("--packs", action="append", default=[], metavar="NAME,...", help="vocabulary packs beside the bundle")
    p.add_argument("--front-end", metavar="FOLDER", help="the front end's model, where it is not in the bundle")
    p.add_argument(
        "--key", metavar="FILE", help="what opens a sealed bundle: a secret key or passphrase (or NUPTSE_KEY, NUPTSE_PASSPHRASE)"
    )
    p.add_argument("--trust", metavar="FILE", help="public keys of the signers that count; other bundles are refused")
    p.add_argument("--threads", type=positive, default=1, metavar="N", help="of the network (default 1)")


def keys_of(options: argparse.Namespace) -> Any:
    """The keys that the options name. A passphrase is asked for on the terminal. Raises UserError as `keys_for` does."""
    from utils.sealing.folders import keys_for

    return keys_for(Path(options.bundle), *(Path(name) if name else None for name in (options.key, options.trust)))


def packs_of(options: argparse.Namespace) -> List[str]:
    """The names of vocabulary packs."""
    return [pack for given in options.packs for pack in given.split(",") if pack]


def how_to_open(options: argparse.Namespace) -> Any:
    """The arguments of `Recogniser.open` beside the bundle and the engine, by name."""
    return {
        "keys": keys_of(options),
        "packs": packs_of(options),
        "front_end": options.front_end,
        "threads": options.threads,
    }


def opened(options: argparse.Namespace, **more: Any) -> Any:
    """The `Recogniser` that the options name, with more options of its engine. Raises UserError as `Recogniser.open` does."""
    from utils.bundle.recogniser import Recogniser

    return Recogniser.open(options.bundle, options.engine, **how_to_open(options), **more)


def lines_of(path: Optional[str], option: str) -> List[str]:
    """The lines of a list that an option names, without empty ones; none without a path. Raises UserError: it can't be read."""
    return [line for line in text_of(path, option).split("\n") if line.strip()] if path else []


def text_of(path: str, option: str) -> str:
    """The text of a file that an option names. Raises UserError where it can't be read."""
    from utils.text.encoding import utf8_lines

    try:
        return "\n".join(utf8_lines(Path(path)))
    except OSError as error:
        raise UserError(f"{option} {path} can't be read: {error.strerror}") from None


def run(work: Callable[[argparse.Namespace], Optional[int]], options: argparse.Namespace) -> int:
    """Do a command's work; returns its exit status: 1 where something failed, 2 where nothing can be done."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    try:
        return work(options) or 0
    except UserError as error:
        log.error("error: %s", error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # what reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception:
        traceback.print_exc()
        return 1
