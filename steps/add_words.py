"""Add words to a trained model without training: a vocabulary pack of vectors and units, which decode.packs names.

python -m steps.add_words --corpus asterisk --recipe wordvec_hybrid --pack names zermatt 'nuptse N AH P T S IY' --file more.txt
./egs/asterisk/run.sh --set 'decode.packs=[names]' --stage decode
"""

import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import write_lines
from utils.lang.packs import read_pack, write_pack
from utils.lang.spelling import parse
from utils.pipeline import driver
from utils.pipeline.outside import pack_path
from utils.pipeline.stages import Plan
from utils.rescore.adding import Adding
from utils.rescore.similar_words import alike


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("words", nargs="*", metavar="WORD", help="a word, or 'WORD UNIT UNIT ...' with its pronunciation")
    p.add_argument("--pack", default="added", metavar="NAME", help="the pack to add them to (default added)")
    p.add_argument("--file", metavar="LIST", help="a file with one word a line, each with or without its pronunciation")
    p.add_argument(
        "--common", type=int, default=0, metavar="N", help="add the N most frequent words of the language that the model lacks"
    )
    p.add_argument("--by-frequency", action="store_true", help="named and listed words are as likely as in the language at large")
    like = p.add_mutually_exclusive_group()
    like.add_argument("--like", default="", metavar="WORD,...", help="the words occur where these words of the training text do")
    like.add_argument(
        "--like-vectors",
        default="",
        metavar="PATH",
        help="the words occur where the words with the nearest vectors do; "
        "PATH: a language model (its folder, or a GGUF file) or a vectors file",
    )
    p.add_argument(
        "--audio", action="append", default=[], metavar="WORD=FILE", help="a recording of a word alone; may be repeated"
    )
    p.add_argument(
        "--leave-out", action="store_true", help="add the words that can be added, and list the others beside the pack"
    )
    p.add_argument("--remove", action="store_true", help="remove the words from the pack")
    p.add_argument("--list", action="store_true", help="print the pack: words, units, origin, and words that they occur like")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    if "train" not in plans or not plans["train"].complete:
        raise UserError(f"recipe {options.recipe} has no trained model here: run its stages 0 to 5 first")
    train = plans["train"]
    path = pack_path(train.out.parent, train.fingerprint, options.pack)
    asked = [parse(line, "the command line") for line in options.words]
    if options.file:
        asked += _listed(options.here / options.file)
    if options.list:
        pack = read_pack(path)
        for word in pack.words:
            for units in pack.spoken[word]:
                likes = pack.like.get(word, {})
                nearest = [" ".join(sorted(likes, key=lambda other: likes[other], reverse=True))] if likes else []
                print("\t".join([word, " ".join(units), pack.origin[word], *nearest]))
        return
    if options.remove:
        pack = read_pack(path)
        missing = [word for word, _ in asked if word not in pack.spoken]
        if missing:
            raise UserError(f"pack {options.pack} has no {', '.join(missing)}")
        write_pack(pack.without([word for word, _ in asked]), path)
        print(f"{len(asked)} words removed from {path}")
        return
    if not asked and not options.audio and options.common < 1:
        raise UserError(
            "no words to add: name some, a list by --file, frequent ones by --common N, or recordings by --audio WORD=FILE"
        )
    adding = Adding({name: plan.out for name, plan in plans.items()})
    started = time.perf_counter()
    left_out: Optional[Dict[str, str]] = {} if options.leave_out else None
    pack = adding.pack(asked, _recordings(options.audio, options.here), options.common, options.by_frequency, left_out)
    if options.like or options.like_vectors:
        named = [word for word in options.like.split(",") if word]
        pack.like = alike(pack.words, named, options.here / options.like_vectors, adding.lexicon)
    seconds = time.perf_counter() - started
    old = read_pack(path) if path.exists() else None
    write_pack(old.with_words(pack) if old else pack, path)
    print(f"{len(pack.words)} words in {seconds:.2f} s ({path}); the model is unchanged")
    if left_out:
        listed = path.with_suffix(".left_out.tsv")
        write_lines(listed, map("\t".join, left_out.items()))
        print(f"{len(left_out)} words left out, with the reasons: {listed}")
    print(f"decode with them: --stage decode --set 'decode.packs=[{options.pack}]'")
    for line in adding.confusable(pack):
        print(line)


def _listed(path: Path) -> List[Tuple[str, Tuple[str, ...]]]:
    """The words of a file, each with its units or none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path} can't be read as text: {error}") from None
    return [parse(line, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def _recordings(pairs: Sequence[str], here: Path) -> Dict[str, List[Path]]:
    """Word -> its recordings, from WORD=FILE with paths from the folder `here`."""
    out: Dict[str, List[Path]] = {}
    for pair in pairs:
        word, equals, file = pair.partition("=")
        if not equals or not (here / file).is_file():
            raise UserError(f"--audio {pair}: expected WORD=FILE with a file that exists")
        out.setdefault(word, []).append(here / file)
    return out


if __name__ == "__main__":
    sys.exit(main())
