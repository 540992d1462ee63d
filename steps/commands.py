"""Spoken commands of a grammar file: an intent and its slots for each recording, or "not a command".

python -m steps.commands check coffee.yaml
"""

import argparse
import sys
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from utils.bundle.opening import add_options, run
from utils.core.errors import UserError
from utils.core.options import Parser, positive

ACTIONS = ("check",)
LANGUAGE = "en"


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(
        prog="python -m steps.commands",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )
    p.add_argument("action", choices=ACTIONS, help="check: what the grammar accepts")
    p.add_argument(
        "grammar", metavar="GRAMMAR", help="YAML: in the form of Picovoice's Rhino, or Home Assistant's sentence templates"
    )
    add_options(p, bundle=False)
    p.add_argument(
        "--slot", action="append", default=[], metavar="NAME=VALUE,...", help="values of a slot or list, in place of the file's"
    )
    p.add_argument(
        "--ambiguous", choices=("refuse", "first"), default="refuse", help="sentences with two readings (default refuse)"
    )
    p.add_argument("--language", metavar="CODE", help="of check without a bundle (default: the file's, or en)")
    p.add_argument("--examples", type=positive, default=5, metavar="N", help="sentences that check prints (default 5)")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where check finds something wrong, 2 for bad input."""
    return run(_check, parser().parse_args(arguments))


def _check(options: argparse.Namespace) -> int:
    from utils.commands.checking import report
    from utils.commands.grammar import Grammar, read_grammar
    from utils.text.normalise import normaliser

    written = read_grammar(Path(options.grammar), _slots(options.slot))
    language = options.language or written.language or LANGUAGE
    grammar = Grammar(written, normaliser("basic", language), language, "first")
    lines, wrong = report(grammar, options.examples)
    print("\n".join(lines))
    return 1 if wrong and options.ambiguous == "refuse" else 0


def _slots(given: Sequence[str]) -> Dict[str, List[str]]:
    """The values of --slot."""
    found: Dict[str, List[str]] = {}
    for one in given:
        name, equals, values = one.partition("=")
        every = [value.strip() for value in values.split(",") if value.strip()]
        if not (name.strip() and equals and every):
            raise UserError(f"--slot {one}: write NAME=VALUE,VALUE")
        found.setdefault(name.strip(), []).extend(every)
    return found


if __name__ == "__main__":
    sys.exit(main())
