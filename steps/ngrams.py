"""An n-gram language model of text of any size, as an ARPA file, and the words that it has.

python -m steps.ngrams --out lm.arpa --words 200000 --prune 1e-8 news/ books.txt.xz
python -m steps.ngrams --out lm.arpa --word-list words.txt --order 4 --memory 4 --language en news/
"""

import argparse
import logging
import shutil
from pathlib import Path
from typing import Any, List, Optional, Sequence

from steps import command
from utils.bundle.opening import run
from utils.core.errors import UserError
from utils.core.options import Parser, above_zero, positive

log = logging.getLogger("nuptse")


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(prog="python -m steps.ngrams", description="Train an n-gram LM on text of any size. See docs/scale.md.")
    p.add_argument("text", nargs="+", type=Path, metavar="FILE_OR_FOLDER", help="a sentence a line; .gz, .xz and .bz2 too")
    p.add_argument("--out", required=True, type=Path, metavar="ARPA", help="the file to write; its words go to ARPA.words")
    vocabulary = p.add_mutually_exclusive_group()
    vocabulary.add_argument(
        "--words", type=positive, default=200_000, metavar="N", help="the N most frequent words are modelled (default 200000)"
    )
    vocabulary.add_argument("--word-list", type=Path, metavar="FILE", help="or these words, one a line; all others are <unk>")
    p.add_argument("--order", type=positive, default=3, metavar="N", help="highest order (default 3)")
    p.add_argument(
        "--min-count", type=positive, default=2, metavar="N", help="n-grams of several words that occur less often go (default 2)"
    )
    p.add_argument(
        "--prune",
        type=_share,
        default=0.0,
        metavar="P",
        help="n-grams go whose loss raises the perplexity by less than this share",
    )
    p.add_argument(
        "--memory", type=above_zero, default=1.0, metavar="GB", help="for sorting (default 1); more is sorted on the disk"
    )
    p.add_argument(
        "--language", metavar="CODE", help="normalise the text as transcripts of this language are (default: take it as it is)"
    )
    p.add_argument("--work", type=Path, metavar="FOLDER", help="for what does not fit into memory (default: ARPA.work)")
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 2 where nothing can be done."""
    return run(_train, parser().parse_args(arguments))


def _train(options: argparse.Namespace) -> None:
    from utils.core.files import files_in, write_lines
    from utils.ngrams import kneser_ney, pruning
    from utils.ngrams.large_text import GB, count_ngrams, disk_named
    from utils.ngrams.ngram import UNKNOWN
    from utils.ngrams.writing import write_arpa
    from utils.text.conventions import USUAL
    from utils.text.normalise import leaves_letters, normaliser
    from utils.text.text_files import TextFiles

    for path in options.text:
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
    paths = [file for path in options.text for file in (files_in(path) if path.is_dir() else [path])]
    language = options.language
    files = TextFiles(
        paths,
        normaliser("basic", language) if language else None,
        bool(language) and leaves_letters(language, (USUAL,)),
    )
    work, memory = options.work or options.out.with_name(f"{options.out.name}.work"), int(options.memory * GB)
    words = _vocabulary(options, files, memory, work)
    counts = count_ngrams(files, words, options.order, memory, work / "counts", log)
    with disk_named(work):
        selection = kneser_ney.Selection(options.min_count)
        log.info("%d sentences, %d words: estimating", counts.sentences, counts.tokens - counts.sentences)
        folder = work / "counts" / f"model-{options.min_count}"
        model = kneser_ney.estimate(counts, options.order, memory, folder, selection)
        if options.prune:
            model = pruning.pruned(model, options.prune, memory, folder)
        write_arpa(model, [*words, UNKNOWN], options.out, memory, folder)
    write_lines(options.out.with_name(f"{options.out.name}.words"), words)
    shutil.rmtree(work)
    log.info("%s: %s", options.out, ", ".join(f"{table.rows} {n}-grams" for n, table in sorted(model.grams.items())))


def _vocabulary(options: argparse.Namespace, files: Any, memory: int, work: Path) -> List[str]:
    """The words that are modelled, sorted."""
    from utils.core.files import write_lines
    from utils.ngrams.large_text import count_words, most_frequent, signed
    from utils.ngrams.ngram import BOS, EOS, UNKNOWN
    from utils.text.text_files import lines

    if options.word_list:
        words = {line.strip() for line in lines(options.word_list)} - {"", BOS, EOS, UNKNOWN}
        if not words or any(len(word.split()) > 1 for word in words):
            raise UserError(f"{options.word_list} is no list of words: it has {'no words' if not words else 'several in a line'}")
        return sorted(words)
    path = work / f"words-{signed(files, options.words)[:8]}.txt"
    if not path.exists():
        write_lines(path, most_frequent(count_words(files, memory, work / "words"), options.words))
        log.info("the vocabulary is chosen")
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share, from 0 to below 1")
    return value


if __name__ == "__main__":
    command(main)
