"""Find in an index of steps.index where words are said: known or new ones, phrases, recordings of a word, meanings.

python -m steps.find --bundle BUNDLE --index calls.index heating "ice cream"
python -m steps.find --bundle BUNDLE --index calls.index --like zermatt-1.wav zermatt-2.wav --html hits.html
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any, List, Optional, Sequence

from utils.core.errors import UserError
from utils.core.options import Parser, positive

log = logging.getLogger("nuptse")


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(
        prog="python -m steps.find",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Find where words are said. Hits come with file, start, end and probability.",
    )
    p.add_argument("terms", nargs="*", metavar="TERM", help="words or phrases, each one argument")
    p.add_argument("--index", required=True, metavar="FOLDER", help="of steps.index")
    p.add_argument("--bundle", required=True, metavar="FOLDER", help="the trained model that made the index")
    p.add_argument("--terms", dest="list", metavar="FILE", help="a term a line")
    p.add_argument("--pronunciation", metavar="UNITS", help="of the one TERM, as units of the model between blanks")
    p.add_argument("--like", nargs="+", default=[], metavar="FILE", help="recordings of one word or phrase, each of it alone")
    p.add_argument("--meaning", action="append", default=[], metavar="WORD", help="find words of like meaning; may be repeated")
    p.add_argument("--least", type=_probability, default=0.1, metavar="P", help="least probability of a hit (default 0.1)")
    p.add_argument("--most", type=positive, default=100, metavar="N", help="most hits of a term (default 100)")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    p.add_argument("--html", metavar="FILE", help="write a page that plays the hits")
    p.add_argument("--front-end", metavar="FOLDER", help="the front end's model, where it is not in the bundle")
    p.add_argument("--key", metavar="FILE", help="what opens a sealed bundle")
    p.add_argument("--trust", metavar="FILE", help="public keys of the signers that count; other bundles are refused")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 2 where nothing can be done."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.WARNING)
    log.setLevel(logging.INFO)
    options = parser().parse_args(arguments)
    try:
        return _find(options)
    except UserError as error:
        log.error("error: %s", error)
        return 2
    except BrokenPipeError:
        return 1


def _find(options: argparse.Namespace) -> int:
    from utils.bundle.recogniser import Recogniser
    from utils.core.files import write_text
    from utils.sealing.folders import keys_for
    from utils.search.index import Index
    from utils.search.shards import read_about
    from utils.search.writers import as_csv, as_html, as_json, as_text

    terms = [*options.terms, *(_lines(Path(options.list)) if options.list else [])]
    if not (terms or options.like or options.meaning):
        raise UserError("nothing to look for: give words, --terms FILE, --like RECORDING, or --meaning WORD")
    if options.pronunciation is not None and (len(terms) != 1 or not options.pronunciation.strip()):
        raise UserError(f"--pronunciation has the units of one TERM, and there are {len(terms)} terms")
    read_about(Path(options.index))  # what is no index is said before a model is loaded
    keys = keys_for(Path(options.bundle), *(Path(one) if one else None for one in (options.key, options.trust)))
    index = Index.open(Path(options.index), Recogniser.open(options.bundle, keys=keys, front_end=options.front_end))
    for name in index.changed():
        log.warning("remark: %s changed since it was indexed, and is left out; run steps.index again", name)
    units = (options.pronunciation or "").split()
    queries = [index.pronounced(terms[0], units)] if units else index.queries(list(dict.fromkeys(terms)))
    if options.like:
        queries.append(index.example({name: _sound(Path(name)) for name in options.like}))
    hits: List[Any] = [hit for found in index.find(queries, options.least, options.most) for hit in found]
    for word in options.meaning:
        hits += index.meant(word, options.least)[: options.most]
    if options.html:
        write_text(Path(options.html), as_html(hits, index.paths(), Path(options.html).resolve().parent))
        log.info("%d hits in %s", len(hits), options.html)
    form = as_json if options.json else as_csv if options.csv else as_text
    if not options.html or options.json or options.csv:
        sys.stdout.write(form(hits))
    return 0


def _sound(path: Path) -> Any:
    """Samples and rate of an audio file."""
    import numpy as np

    from utils.audio.recordings import recording

    with recording(path) as audio:
        blocks = [block.mean(1, dtype=np.float32) for block in audio.blocks]
    return (np.concatenate(blocks) if blocks else np.zeros(0, np.float32)), audio.rate


def _lines(path: Path) -> List[str]:
    from utils.text.encoding import utf8_lines

    try:
        return [line.strip() for line in utf8_lines(path) if line.strip()]
    except OSError as error:
        raise UserError(f"--terms {path} can't be read: {error.strerror}") from None


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
