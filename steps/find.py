"""Find in an index of steps.index where words are said: known or new ones, phrases, recordings of a word, meanings.

python -m steps.find --bundle BUNDLE --index calls.index heating "ice cream"
python -m steps.find --bundle BUNDLE --index calls.index --like zermatt-1.wav zermatt-2.wav --html hits.html
"""

import argparse
import logging
import re
import sys
from pathlib import Path
from typing import Any, List, Optional, Sequence

from steps import command
from steps.recognise import probability
from utils.bundle.opening import lines_of, opened, run
from utils.bundle.opening import parser as bundle_parser
from utils.core.errors import UserError
from utils.core.options import positive

log = logging.getLogger("nuptse")
CONTEXT = 3.0  # seconds


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = bundle_parser("find", "Find where words are said. Hits come with file, start, end and probability.")
    p.add_argument("terms", nargs="*", metavar="TERM", help="words or phrases, each one argument")
    p.add_argument("--index", required=True, metavar="FOLDER", help="of steps.index")
    p.add_argument("--terms", dest="list", metavar="FILE", help="a term a line")
    p.add_argument("--pronunciation", metavar="UNITS", help="of the one TERM, as units of the model between blanks")
    p.add_argument(
        "--like",
        nargs="+",
        default=[],
        metavar="FILE",
        help="recordings of one word or phrase; FILE:START-END for a part, in seconds",
    )
    p.add_argument("--meaning", action="append", default=[], metavar="WORD", help="find words of like meaning; may be repeated")
    p.add_argument(
        "--meanings", metavar="PATH", help="what the bundle's meanings came from (vectors.meaning.path), for words that it lacks"
    )
    p.add_argument("--least", type=probability, default=0.1, metavar="P", help="least probability of a hit (default 0.1)")
    p.add_argument("--most", type=positive, default=100, metavar="N", help="most hits of a term (default 100)")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    p.add_argument("--html", metavar="FILE", help="write a page that plays the hits")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 2 where nothing can be done."""
    return run(_find, parser().parse_args(arguments))


def _find(options: argparse.Namespace) -> int:
    from utils.core.files import write_text
    from utils.search.index import Index
    from utils.search.shards import read_about
    from utils.search.writers import as_csv, as_html, as_json, as_text

    terms = [*options.terms, *(line.strip() for line in lines_of(options.list, "--terms"))]
    if not (terms or options.like or options.meaning):
        raise UserError("nothing to look for: give words, --terms FILE, --like RECORDING, or --meaning WORD")
    if options.pronunciation is not None and (len(terms) != 1 or not options.pronunciation.strip()):
        raise UserError(f"--pronunciation has the units of one TERM, and there are {len(terms)} terms")
    read_about(Path(options.index))  # what is no index is said before a model is loaded
    if options.meanings and not options.meaning:
        raise UserError("--meanings says what words mean: give one with --meaning WORD")
    more = {"meaning": options.meanings} if options.meanings else {}
    index = Index.open(Path(options.index), opened(options, **more))
    for name in index.changed():
        log.warning("remark: %s changed since it was indexed, and is left out; run steps.index again", name)
    units = (options.pronunciation or "").split()
    queries = [index.pronounced(terms[0], units)] if units else index.queries(list(dict.fromkeys(terms)))
    if options.like:
        queries.append(index.example({name: _example(name) for name in options.like}))
    hits: List[Any] = [hit for found in index.find(queries, options.least, options.most) for hit in found]
    for word in options.meaning:
        meant = index.meant(word, options.least)
        log.info("%s: words of like meaning are expected %.1f times", word, sum(hit.probability for hit in meant))
        hits += meant[: options.most]
    if options.html:
        write_text(Path(options.html), as_html(hits, index.paths(), Path(options.html).resolve().parent))
        log.info("%d hits in %s", len(hits), options.html)
    form = as_json if options.json else as_csv if options.csv else as_text
    if not options.html or options.json or options.csv:
        sys.stdout.write(form(hits))
    return 0


def _example(text: str) -> Any:
    """FILE or FILE:START-END as an example: of a part, with CONTEXT around it."""
    import numpy as np

    from utils.audio.recordings import recording
    from utils.search.index import Example

    part = re.fullmatch(r"(.+):(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)
    part = None if part and Path(text).exists() else part
    with recording(Path(part.group(1) if part else text)) as audio:
        blocks = [block.mean(1, dtype=np.float32) for block in audio.blocks]
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if part is None:
        return Example(samples, audio.rate)
    start, end = float(part.group(2)), float(part.group(3))
    if not start < end <= len(samples) / audio.rate + 0.1:
        raise UserError(f"--like {text}: the recording lasts {len(samples) / audio.rate:.2f} s; give START-END within it")
    first = max(0.0, start - CONTEXT)
    return Example(samples[int(first * audio.rate) : int((end + CONTEXT) * audio.rate)], audio.rate, (start - first, end - first))


if __name__ == "__main__":
    command(main)
