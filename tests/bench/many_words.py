"""Stages 2 and 3 of a training text with ever more words: seconds, memory and disk.

    python -m tests.bench.many_words --work FOLDER --text SENTENCES [--words 100000 1000000]

The words are those of wordfreq, and forms of them with English endings, each in one sentence; sentences of real text are repeated
between them. Each stage has a process of its own. Adds rows to tests/bench/large_text.jsonl, and draws large_text.md.
"""

import argparse
import logging
import shutil
import sys
from itertools import cycle, islice, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, Optional, Sequence

import yaml
from lhotse import MonoCut, SupervisionSegment

from steps import lang, vectors
from tests.bench.large_text import apart, keep
from utils.core.files import ROOT, write_json, write_text
from utils.core.splits import cuts_path
from utils.core.tables import as_text
from utils.corpus.manifests import write_manifest
from utils.lang.graphs import load_fsa
from utils.lang.lexicon import read_lexicon
from utils.pipeline import config as configuration

ENDINGS = ("s", "ed", "ing", "er", "ers", "ly", "ness", "less", "able", "ful", "ish", "ism", "ist", "ists", "ize", "ment", "ship")
LENGTH = 10  # words of a sentence of forms
REPEATED = 4  # real sentences for each of these
DEV = 100  # sentences


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--work", type=Path, required=True, help="folder for the stages, which is emptied")
    p.add_argument("--words", type=int, nargs="+", default=[100_000], help="different words of the training text")
    p.add_argument("--text", type=Path, required=True, help="real sentences, one a line")
    options = p.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for count in options.words:
        work = options.work / str(count)
        shutil.rmtree(work, ignore_errors=True)
        data(work / "data", count, options.text)
        rows = [{"step": name, **apart(step, (work,), work)} for name, step in (("stage 2", _lang), ("stage 3", _vectors))]
        order = settings(work).lang.lm_order
        print(as_text(keep({"mb": 0, "words": count, "order": order, "memory": 0, "least": 1, "prune": 0.0, "rows": rows})))
        shutil.rmtree(work)
    return 0


def data(folder: Path, count: int, text: Path) -> None:
    """Write what stages 2 and 3 read of a stage 0 whose training text has `count` different words."""
    real = [" ".join(line.lower().split()) for line in text.read_text("utf-8").splitlines()]
    real = [line for line in real if line and all(word.isascii() and word.isalpha() for word in line.split())]
    known = dict.fromkeys(word for line in real for word in line.split())
    words = list(dict.fromkeys([*known, *islice(forms(), 2 * count)]))[:count]
    new, more = words[len(known) :], cycle(real)
    sentences = real + [
        line for first in range(0, len(new), LENGTH) for line in (" ".join(new[first : first + LENGTH]), *islice(more, REPEATED))
    ]
    for split, lines in (("train", sentences), ("dev", real[:DEV])):
        write_manifest(cuts_path(folder, split), map(_cut, (f"{split}-{n:07d}" for n in range(len(lines))), lines))
    write_json(folder / "summary.json", {"normaliser": "basic-en-1", "segmentation": "given"})
    write_text(folder / "config.yaml", yaml.safe_dump(configuration.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir")))


def forms() -> Iterator[str]:
    """English words by frequency, then with one ending, then with two."""
    import wordfreq

    plain = [word for word in wordfreq.iter_wordlist("en", "large") if word.isascii() and word.isalpha()]
    yield from plain
    for count in (1, 2):
        for endings in product(ENDINGS, repeat=count):
            yield from (word + "".join(endings) for word in plain if len(word) > 2)


def _cut(name: str, text: str) -> MonoCut:
    return MonoCut(name, 0.0, 1.0, 0, [SupervisionSegment(name, name, 0.0, 1.0, 0, text, "en", "nobody")])


def settings(work: Path) -> SimpleNamespace:
    """The configuration of the stages."""
    return configuration.view(yaml.safe_load((work / "data" / "config.yaml").read_text()))


def _job(work: Path, name: str, *inputs: str) -> Any:
    (work / name).mkdir()
    shutil.copyfile(work / "data" / "config.yaml", work / name / "config.yaml")
    found = {each: work / each for each in ("data", *inputs)}
    return SimpleNamespace(config=settings(work), inputs=found, out=work / name, log=logging.getLogger(name))


def _lang(work: Path) -> Dict[str, int]:
    lang.run(_job(work, "lang"))
    hlg = load_fsa(work / "lang" / "HLG.pt")
    return {"words": len(read_lexicon(work / "lang").words), "states": int(hlg.shape[0]), "arcs": int(hlg.num_arcs)}


def _vectors(work: Path) -> Dict[str, int]:
    vectors.run(_job(work, "vectors", "lang"))
    return {}


if __name__ == "__main__":
    sys.exit(main())
