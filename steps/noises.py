"""Get noises and rooms for augment.noise and augment.impulse_responses: `python -m steps.noises musan`.

`python -m steps.noises rirs_noises --source FOLDER` takes a copy that is there.
"""

import logging
import sys
from pathlib import Path
from typing import Optional, Sequence

from steps import command
from utils.core import download
from utils.core.errors import UserError
from utils.core.options import Parser

log = logging.getLogger("nuptse")
KEYS = {"noises": "augment.noise", "rooms": "augment.impulse_responses"}


def parser() -> Parser:
    """The options."""
    from local.noise_sets import SETS

    about = "; ".join(f"{one.title} ({one.licence}, {one.page}): {', '.join(one.parts)}" for one in SETS.values())
    p = Parser("python -m steps.noises", description="Get noises and rooms for augmentation.", epilog=about)
    p.add_argument("set", choices=sorted(SETS), help="which set")
    p.add_argument("--source", default="", metavar="FOLDER", help="a copy in the official layout (default: it is downloaded)")
    p.add_argument("--parts", default="", metavar="PART,PART", help="parts that are taken (default: see the documentation)")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="a new folder for what is made (default: download/SET/prepared)")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    from local.noise_sets import prepare

    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    options = parser().parse_args(arguments)
    downloads = download.folder(options.set)
    parts = [part.strip() for part in options.parts.split(",") if part.strip()]
    try:
        made = prepare(options.set, options.source, downloads, options.out or downloads / "prepared", parts)
    except UserError as error:
        log.error("error: %s", error)
        return 2
    print(" ".join(["--set augment.copies=1", *(f"--set {KEYS[kind]}={folder}" for kind, folder in made.items())]))
    return 0


if __name__ == "__main__":
    command(main)
