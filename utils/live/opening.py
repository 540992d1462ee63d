"""The options of commands that open a bundle for streams. Until it is opened, this needs the standard library alone."""

import argparse
from pathlib import Path
from typing import Any

from utils.core.options import positive

ENGINES = ("k2", "onnx")


def add_options(p: argparse.ArgumentParser) -> None:
    """Add the options that `open_live` reads."""
    p.add_argument("--bundle", required=True, metavar="FOLDER", help="the trained model: exp/<corpus>/export-*/bundle")
    p.add_argument("--second", metavar="FOLDER", help="another bundle of the language, which makes the finals")
    p.add_argument("--engine", choices=ENGINES, default="k2", help="k2: the whole chain; onnx: without torch and k2 (default k2)")
    p.add_argument("--packs", action="append", default=[], metavar="NAME,...", help="vocabulary packs beside the bundle")
    p.add_argument("--front-end", metavar="FOLDER", help="the front end's model, where it is not in the bundle")
    p.add_argument(
        "--key", metavar="FILE", help="what opens a sealed bundle: a secret key or passphrase (or NUPTSE_KEY, NUPTSE_PASSPHRASE)"
    )
    p.add_argument("--trust", metavar="FILE", help="public keys of the signers that count; other bundles are refused")
    p.add_argument("--threads", type=positive, default=1, metavar="N", help="of the network (default 1)")


def open_live(options: argparse.Namespace) -> Any:
    """The `Live` that these options name, not started. Raises UserError as `Live.open` does."""
    from utils.live.live import Live
    from utils.sealing.folders import keys_for

    keys = keys_for(Path(options.bundle), *(Path(name) if name else None for name in (options.key, options.trust)))
    packs = [pack for given in options.packs for pack in given.split(",") if pack]
    how: Any = {"keys": keys, "packs": packs, "front_end": options.front_end, "threads": options.threads}
    return Live.open(options.bundle, options.second, options.engine, hold=True, **how)
