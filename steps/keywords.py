"""Keywords of recordings and texts: the words and phrases that they are about, with scores, confidences and times.

python -m steps.keywords --bundle exp/asterisk/export-0123abcd/bundle talk.mp4
python -m steps.keywords --bundle BUNDLE --vectors glove.txt --top 20 --csv recordings/
python -m steps.keywords notes.txt words/talk.json
"""

import argparse
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from steps import command
from utils.bundle import opening
from utils.core.errors import UserError
from utils.core.languages import family
from utils.core.options import positive
from utils.core.process import apart

log = logging.getLogger("nuptse")
MISSING = "there is no such file; a text that is not in a file: echo 'TEXT' | python -m steps.keywords --text -"
TEXT, RECOGNISED = ".txt", ".json"  # suffixes of what is read as a text, and as what steps.recognise wrote


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = opening.parser("keywords", "The words and phrases that recordings and texts are about. See docs/keywords.md.", False)
    p.add_argument(
        "files",
        nargs="+",
        metavar="FILE_OR_FOLDER",
        help="audio or video (needs --bundle), texts (.txt), what steps.recognise --format json wrote (.json), folders, or -",
    )
    p.add_argument("--text", action="store_true", help="all files are texts, whatever their suffix; - is a text")
    p.add_argument("--language", metavar="CODE", help="of texts (default: the bundle's, else en); refuses recordings of another")
    p.add_argument("--vectors", metavar="PATH", help="word vectors for coherence: a vectors file, a language model, or GGUF")
    p.add_argument(
        "--background", metavar="TEXT", help="a text that says how frequent words are, where wordfreq lacks the language"
    )
    p.add_argument("--together", action="store_true", help="all files are one document")
    p.add_argument("--top", type=positive, default=10, metavar="N", help="keywords of a document (default 10)")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print everything as JSON")
    form.add_argument("--csv", action="store_true", help="print a line a keyword")
    p.add_argument(
        "--nj", type=positive, default=len(os.sched_getaffinity(0)), metavar="N", help="processes (default: the cores)"
    )
    return p


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status: 1 where files are broken, 2 where nothing can be done."""
    options = parser().parse_args(arguments)

    def keys(options: argparse.Namespace) -> None:  # asks on the terminal, which `apart` could not
        options.keys = opening.keys_of(options) if options.bundle else None

    failed = opening.run(keys, options)
    if failed:
        return failed
    code, stopped = apart(lambda: opening.run(_keywords, options))
    return 128 + stopped if stopped else code if code >= 0 else 128 - code


def _keywords(options: argparse.Namespace) -> int:
    # Imported after the options are read: --help needs the standard library alone.
    from utils.keywords.background import Background
    from utils.keywords.documents import together
    from utils.keywords.ranking import keywords
    from utils.keywords.writers import Found, as_csv, as_json, tables

    with ExitStack() as stack:
        documents, broken = _documents(options, stack)
    if options.together and documents:
        documents = [together(documents)]
    backgrounds: Dict[str, Background] = {}
    for document in documents:
        language = family(document.language)
        if language not in backgrounds:
            backgrounds[language] = Background(language, Path(options.background) if options.background else None)
        doubt = backgrounds[language].doubt(document)
        document.remarks += [doubt] * bool(doubt)
    vectors = _vectors(options, documents, backgrounds)
    lists = [
        Found(document, keywords(document, backgrounds[family(document.language)], vectors, options.top))
        for document in documents
    ]
    sys.stdout.write((as_json if options.json else as_csv if options.csv else tables)(lists) if lists else "")
    sys.stdout.flush()
    for document in documents:
        for remark in document.remarks:
            log.warning("remark: %s", remark if document.name in remark else f"{document.name}: {remark}")
    for shown, reason in broken.items():
        log.error("broken: %s", reason if shown in reason else f"{shown}: {reason}")
    return 0 if not broken else 1 if documents else 2


def _documents(options: argparse.Namespace, stack: ExitStack) -> Tuple[List[Any], Dict[str, str]]:
    """The documents in the order of the files, and why files are none: file -> reason."""
    from utils.keywords.documents import of_outcome, read_outcome, read_text

    missing = [name for name in options.files if name != "-" and not os.path.exists(name)]
    broken = {name: f"{name}: {MISSING}" for name in missing}
    files = _given([name for name in options.files if name not in broken], options.text, stack)
    audio = [n for n, (_, kind) in enumerate(files) if kind == "audio"]
    if audio and not options.bundle:
        raise UserError(
            f"{files[audio[0]][0].shown}: a recording needs --bundle FOLDER; a text needs --text, or the suffix {TEXT}"
        )
    language = _language(options)
    found: Dict[int, Any] = {}
    for n, (file, kind) in enumerate(files):
        if kind == "audio":
            continue
        try:
            one = read_text(file.path, file.shown, language) if kind == TEXT else read_outcome(file.path, file.shown)
            if options.language and family(one.language) != family(options.language):
                raise UserError(f"{file.shown} is in '{one.language}', and --language is {options.language}")
            found[n] = one
        except UserError as error:
            broken[file.shown] = str(error)
    for n, outcome, problem in _recognised([files[n][0] for n in audio], options) if audio else ():
        file = files[audio[n]][0]
        if outcome is None:
            broken[file.shown] = problem.replace(str(file.path), file.shown)
        else:
            found[audio[n]] = of_outcome(replace(outcome, name=file.shown))
    for one in found.values():
        if not one.words:
            one.remarks.append("no words")
    return [found[n] for n in sorted(found)], broken


def _given(names: Sequence[str], texts: bool, stack: ExitStack) -> List[Tuple[Any, str]]:
    """The files, each with its kind: audio, TEXT or RECOGNISED."""
    from utils.audio.given import MEDIA, Given, given
    from utils.core.files import files_in

    out: List[Tuple[Any, str]] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = files_in(path)
            suffixes = (TEXT,) if texts else (*MEDIA, RECOGNISED, TEXT)
            kinds = {suffix for p in inside for suffix in [p.suffix.lower()] if suffix in suffixes}
            suffix = next((s for s in (RECOGNISED, TEXT) if not kinds & MEDIA and s in kinds), "")
            if suffix:  # of a folder, recordings; else what was recognised of them; else texts
                out += [(Given(p.absolute(), p.relative_to(path), str(p)), suffix) for p in inside if p.suffix.lower() == suffix]
                continue
        suffix = TEXT if texts else path.suffix.lower()
        kind = suffix if suffix in (TEXT, RECOGNISED) else "audio"
        found, others = given([name], stack)
        if others:
            log.info("%d of the files of %s left out, without a suffix of audio or video", others, name)
        out += [(file, kind) for file in found]
    seen: Dict[Path, Tuple[Any, str]] = {}
    for file, kind in out:
        seen.setdefault(file.path, (file, kind))
    return list(seen.values())


def _language(options: argparse.Namespace) -> str:
    """That of texts."""
    if not options.bundle:
        return options.language or "en"
    from utils.bundle.files import open_files

    own = open_files(Path(options.bundle), options.keys).manifest.language
    if options.language and family(options.language) != family(own):
        raise UserError(f"--language {options.language}: this bundle recognises '{own}' alone; take one of the language")
    return own


def _recognised(files: Sequence[Any], options: argparse.Namespace) -> Any:
    """(number of the file, outcome or None, why there is none) of each file as it is finished."""
    from utils.bundle.files import open_files
    from utils.recognition.many_files import Work, run

    bundle = open_files(Path(options.bundle), options.keys)
    words = bundle.read("words.txt").count(b"\n") if "word_vectors.safetensors" in bundle.names else 0
    for done, _ in run(Work(lambda: opening.opened(options), "mix", options.nj), [file.path for file in files], words):
        yield done.index, done.outcome, done.problem


def _vectors(options: argparse.Namespace, documents: Sequence[Any], backgrounds: Dict[str, Any]) -> Dict[str, Any]:
    """Vectors of the documents' words: of --vectors, or of the source of meaning that the bundle was trained with."""
    path = options.vectors or _source_of_meaning(options)
    words = sorted({word for one in documents for run in one.runs for slot in run for word, _ in slot.words})
    if not path or not words:
        return {}
    from utils.keywords.coherence import COMMON, word_vectors

    common = [word for background in backgrounds.values() for word in background.most_frequent(COMMON)]
    return word_vectors(Path(path), words, common)


def _source_of_meaning(options: argparse.Namespace) -> Optional[str]:
    import yaml

    if not options.bundle:
        return None
    from utils.bundle.files import open_files

    files = open_files(Path(options.bundle), options.keys)
    meaning = yaml.safe_load(files.read("vectors.yaml"))["vectors"]["meaning"] if "vectors.yaml" in files.names else {}
    path = meaning.get("path")
    return path if meaning.get("source") in ("file", "llm") and path and Path(path).exists() else None


if __name__ == "__main__":
    command(main)
