"""Add words to a trained model without training: a vocabulary pack of vectors and units, which decode.packs names.

python -m steps.add_words --corpus asterisk --recipe wordvec_hybrid --pack names zermatt 'nuptse N AH P T S IY' --file more.txt
./egs/asterisk/run.sh --set 'decode.packs=[names]' --stage decode

With --bundle instead of --corpus the pack is for a bundle of stage 9, and lies beside it:

python -m steps.add_words --bundle BUNDLE --pack names zermatt
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from steps import command
from utils.bundle.files import open_files
from utils.bundle.recogniser import packs_folder
from utils.core.errors import UserError
from utils.core.files import write_lines
from utils.core.options import Parser
from utils.engine.chain import Trained
from utils.engine.contents import stage_folders
from utils.lang.packs import read_pack, write_pack
from utils.lang.spelling import Asked, Unfit, as_in_transcripts, parse
from utils.pipeline import driver
from utils.pipeline.outside import pack_path
from utils.pipeline.stages import Plan
from utils.rescore.adding import Adding
from utils.rescore.similar_words import alike
from utils.sealing.folders import keys_for
from utils.text.encoding import utf8_lines
from utils.text.sentences import transcripts_normaliser


def parser() -> Parser:
    """The options."""
    p = driver.parser(stages=False, of_corpus=False)
    p.add_argument("--bundle", metavar="FOLDER", help="add them to this bundle of stage 9, instead of a corpus's model")
    p.add_argument("--front-end", metavar="FOLDER", help="the front end's model, where the bundle has it not (for --audio)")
    p.add_argument("--key", metavar="FILE", help="what opens a sealed bundle: a secret key or a passphrase")
    p.add_argument("--trust", metavar="FILE", help="public keys of the signers that count; other bundles are refused")
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
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    return driver.with_plans(parser(), arguments, _run)


@dataclass(frozen=True)
class Target:
    """What words are added to."""

    pack: Path
    adding: Callable[[], Adding]
    folders: Mapping[str, Any]  # of the model's stages, by name
    remedy: str  # how to recognise with the pack


def target(options, plans: Dict[str, Plan]) -> Target:  # noqa: ANN001 - argparse's namespace
    """The model that the options name: a corpus's, or a bundle's."""
    if bool(options.bundle) == bool(options.corpus):
        raise UserError("say what to add words to: --corpus NAME, or --bundle FOLDER")
    if not options.bundle:
        if "train" not in plans or not plans["train"].complete:
            raise UserError(f"recipe {options.recipe} has no trained model here: run its stages 0 to 5 first")
        train, folders = plans["train"], {name: plan.out for name, plan in plans.items()}
        pack = pack_path(train.out.parent, train.fingerprint, options.pack)
        return Target(pack, lambda: Adding(folders), folders, f"--stage decode --set 'decode.packs=[{options.pack}]'")
    bundle = options.here / options.bundle
    key, trust = (options.here / name if name else None for name in (options.key, options.trust))
    files = open_files(bundle, keys_for(bundle, key, trust))
    front_end = options.here / options.front_end if options.front_end else None
    pack = packs_folder(bundle) / f"{options.pack}.safetensors"
    remedy = f"python -m steps.recognise --bundle {options.bundle} --packs {options.pack}"
    return Target(pack, lambda: Trained(files, front_end, options.device).adding, stage_folders(files), remedy)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    model = target(options, plans)
    path = model.pack
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
        normalise = transcripts_normaliser(model.folders["data"], whole=True)
        gone = [word if word in pack.spoken else normalise(word) for word, *_ in asked]
        missing = [entry.word for entry, word in zip(asked, gone) if word not in pack.spoken]
        if missing:
            raise UserError(f"pack {options.pack} has no {', '.join(missing)}")
        write_pack(pack.without(gone), path)
        print(f"{len(set(gone))} words removed from {path}")
        return
    if not asked and not options.audio and options.common < 1:
        raise UserError(
            "no words to add: name some, a list by --file, frequent ones by --common N, or recordings by --audio WORD=FILE"
        )
    adding = model.adding()
    started = time.perf_counter()
    left_out: Optional[Dict[str, str]] = {} if options.leave_out else None
    recordings = _recordings(options.audio, options.here, adding)
    try:
        words, notes = as_in_transcripts(asked, adding.normalise_word, adding.lexicon.word_id, left_out)
        print(*notes, sep="\n", end="\n" * bool(notes))
        pack = adding.pack(words, recordings, options.common, options.by_frequency, left_out)
    except Unfit as error:
        raise UserError(f"{error}" + "\n--leave-out adds the others" * (left_out is None)) from None
    if options.like or options.like_vectors:
        named = [adding.normalise_word(word) or word for word in options.like.split(",") if word]
        pack.like = alike(pack.words, named, options.here / options.like_vectors, adding.lexicon)
    seconds = time.perf_counter() - started
    old = read_pack(path) if path.exists() else None
    write_pack(old.with_words(pack) if old else pack, path)
    print(f"{len(pack.words)} words in {seconds:.2f} s ({path}); the model is unchanged")
    if left_out:
        listed = path.with_suffix(".left_out.tsv")
        write_lines(listed, map("\t".join, left_out.items()))
        print(f"{len(left_out)} words left out, with the reasons: {listed}")
    print(f"{'recognise' if options.bundle else 'decode'} with them: {model.remedy}")
    for line in adding.confusable(pack):
        print(line)


def _listed(path: Path) -> List[Asked]:
    """The words of a UTF-8 file, each with its units or none. Raises UserError for another file."""
    try:
        return [parse(line, f"{path}, line {number}") for number, line in enumerate(utf8_lines(path), 1) if line.strip()]
    except OSError as error:
        raise UserError(f"--file {path} can't be read: {error}") from None


def _recordings(pairs: Sequence[str], here: Path, adding: Adding) -> Dict[str, List[Path]]:
    """Word -> its recordings, from WORD=FILE with paths from the folder `here`."""
    out: Dict[str, List[Path]] = {}
    for pair in pairs:
        written, equals, file = pair.partition("=")
        if not equals or not (here / file).is_file():
            raise UserError(f"--audio {pair}: expected WORD=FILE with a file that exists")
        try:
            word = adding.single_word(written)
        except UserError as error:
            raise UserError(f"--audio {pair}: {error}") from None
        out.setdefault(word, []).append(here / file)
    return out


if __name__ == "__main__":
    command(main)
