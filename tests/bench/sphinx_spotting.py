"""PocketSphinx's keyword spotting on the recordings of the benchmark `wake_words`: what is published of it, on the same files.

    python -m tests.bench.sphinx_spotting --corpus FOLDER --corpora FOLDER [--asterisk FOLDER] --cache FOLDER

Its English model, unchanged; keywords with the pronunciations of its dictionary, or those given here. It is asked with so low a
threshold that every place comes with its score, and the threshold is chosen as for a bundle. What it found is kept in the cache.
Writes its rows into wake_words.jsonl and wake_words.md of the corpus folder.
"""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np

from tests.bench.common import write_record
from tests.bench.wake_word_audio import RATE, WORDS, Noise, Part, name_of, parts
from tests.bench.wake_words import Scores, draw, heard, row_of
from utils.core.files import ROOT
from utils.core.tables import as_text
from utils.core.versions import git_state, machine

SPOKEN = {"alexa": "AH L EH K S AH", "jarvis": "JH AA R V AH S"}  # where its dictionary lacks them
LOWEST = "1e-60"
LOUD = 32000  # of samples at most


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = ArgumentParser(description=__doc__, allow_abbrev=False)
    p.add_argument("--corpus", type=Path, default=ROOT / "egs" / "english", help="whose page the rows join")
    p.add_argument("--corpora", type=Path, required=True)
    p.add_argument("--asterisk", type=Path, default=Path("none"))
    p.add_argument("--cache", type=Path, required=True)
    options = p.parse_args(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    found, noise = parts(options.corpora, options.asterisk), Noise(options.corpora)
    spotted = {part.name: list(_spotted(part, noise, options.cache)) for part in found}
    hours = sum(one["seconds"] for part in found if part.background for one in spotted[part.name]) / 3600
    alarms = [one for part in found if part.background for one in spotted[part.name]]
    rows = []
    for word in WORDS:
        said = np.array([max(one["hits"].get(word, [-np.inf])) for one in spotted[word]])
        others = np.array([score for one in alarms for score in one["hits"].get(word, [])])
        rows.append({**row_of(word, "text", Scores(said, others), hours, -np.inf), "draws": 1})
    about = {"corpus": options.corpus.resolve().name, "recipe": "pocketsphinx", "overrides": [], "costs": {}, "device": "cpu"}
    write_record(options.corpus, "wake_words", {**about, "machine": machine("cpu"), **git_state(ROOT), "rows": rows})
    for table in draw(options.corpus):
        print(as_text(table))
    return 0


def _decoder(folder: Path) -> Any:
    import pocketsphinx

    listed = folder / "sphinx.keywords"
    listed.write_text("".join(f"{word.replace('_', ' ')} /{LOWEST}/\n" for word in WORDS), encoding="utf-8")
    decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
    for word, spoken in SPOKEN.items():
        if not decoder.lookup_word(word):
            decoder.add_word(word, spoken, True)
    decoder.add_kws("keywords", str(listed))
    decoder.activate_search("keywords")
    return decoder


def _spotted(part: Part, noise: Noise, folder: Path) -> Iterator[Dict[str, Any]]:
    """Of each recording: name, seconds, and hits, the scores of each word."""
    path, decoder = folder / f"sphinx-{part.name}.jsonl", None  # type: Any, Any
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    yield from rows
    done = {row["name"] for row in rows}
    with open(path, "a", encoding="utf-8") as stream:
        for file in part.files:
            if name_of(file) in done:
                continue
            decoder = decoder or _decoder(folder)
            decoder.reinit_feat()  # otherwise earlier recordings change the result
            samples = heard(noise, part, file)
            decoder.start_utt()
            decoder.process_raw((samples * LOUD).astype(np.int16).tobytes(), full_utt=True)
            decoder.end_utt()
            hits: Dict[str, List[float]] = {}
            for one in decoder.seg() or ():
                hits.setdefault(one.word.strip().replace(" ", "_"), []).append(float(one.prob))
            row = {"name": name_of(file), "seconds": len(samples) / RATE, "hits": hits}
            stream.write(json.dumps(row) + "\n")
            yield row


if __name__ == "__main__":
    sys.exit(main())
