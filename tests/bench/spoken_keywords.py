"""Keywords of speech against those that people chose: texts that have some are read aloud and recognised.

    python -m tests.bench.spoken_keywords --corpus english --recipe whisper_wordvec --set data.source=FOLDER \\
        --bundle BUNDLE --vectors PATH --texts 500N-KPCrowd-v1.1 SemEval2017 [--noise FOLDER --snr 10] [--packs NAME]

F1 of the first 10 keywords of the hypotheses beside F1 of those of the transcripts, ours and other libraries'
(utils/requirements/benches.txt). Texts have the form that `tests.bench.keywords` describes. Those with an even number are dev,
those with an odd one test; of either, texts of FEWEST to MOST words are taken. Each is read by one of READERS (flite, espeak-ng),
a sentence after the other, in the words of the model's normaliser: numbers as they are said, no punctuation. The bundle must be
one of the configuration that the other options name. Writes egs/<corpus>/spoken_keywords.jsonl and spoken_keywords.md.
"""

import random
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import soundfile
from kaldialign import edit_distance

from tests.bench.common import corpus_folder, described, records_of, what, write_page, write_record
from tests.bench.keyword_baselines import baselines
from tests.bench.keyword_measures import (
    Given,
    add_options,
    against,
    best_path,
    condition,
    f1,
    figures,
    gold,
    lines,
    misrecognised,
    mixed,
    noises_of,
    points_above,
    share,
    texts,
    texts_of,
    vectors_of,
)
from utils.audio.resampling import resample
from utils.bundle.recogniser import Recogniser
from utils.commands.espeak import RATE as ESPEAK_RATE
from utils.commands.espeak import Said, speak
from utils.core import download
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.options import positive
from utils.core.tables import Table, as_text, grouped, number, signed, span
from utils.keywords.background import Background
from utils.keywords.documents import Document, of_text, read_outcome, together
from utils.keywords.ranking import SPEECH, Weights, keywords
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.train.synthesis import Flite

FEWEST, MOST = 60, 160  # words of a text
READERS = ("awb", "rms", "slt", "en-us+m3", "en-us+f2", "en-gb-x-rp", "en-gb-x-rp+f4", "en-gb-scotland")  # flite's, espeak-ng's
SPEED = (140, 180)  # words a minute, of espeak-ng
PAUSE = 0.7  # seconds between sentences
RATE = 16000  # Hz
TOP = 10  # keywords of a text
SENTENCES = re.compile(r"(?<=[.!?;:])\s+|\s*\n\s*")
OURS, ALONE, BEST_PATH, BY_ITSELF, FORMER = (
    "ours",
    "without coherence",
    "best path alone",
    "each place by itself",
    "former weights",
)
CHOSEN_ON_SPEECHOCEAN = Weights(count=1.0, salience=0.5, length=0.0, whole=0.0, coherence=2.0, certainty=0.75)  # FORMER


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--bundle", required=True, metavar="FOLDER", help="what recognises")
    add_options(p)
    p.add_argument("--texts", nargs="+", required=True, metavar="FOLDER", help="sets of texts with keywords")
    p.add_argument("--documents", type=positive, default=24, metavar="N", help="texts of each set (default 24)")
    p.add_argument("--packs", metavar="NAME,...", help="vocabulary packs beside the bundle")
    p.add_argument("--keep", metavar="FOLDER", help="keep what is read and recognised there: a second run does what is missing")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    corpus = corpus_folder(plans)
    for folder in options.texts:
        with tempfile.TemporaryDirectory() as temporary:
            kept = options.here / options.keep if options.keep else Path(temporary)
            write_record(corpus, "spoken_keywords", _record(options.here / folder, kept, options, plans))
    print("\n\n".join(map(as_text, draw(corpus))))


def _record(folder: Path, kept: Path, options: Any, plans: Mapping[str, Plan]) -> Dict[str, Any]:
    language, every = texts_of(folder)
    if language != "en":
        raise UserError(f"{folder} is in '{language}', and the readers speak English")
    recogniser = Recogniser.open(options.here / options.bundle)
    spoken = {one.name: _sentences(one, recogniser) for one in every}
    half = every[options.split == "test" :: 2]
    fit = [one for one in half if FEWEST <= sum(len(sentence) for sentence in spoken[one.name]) <= MOST]
    chosen = [fit[n] for n in np.linspace(0, len(fit) - 1, min(options.documents, len(fit))).round().astype(int)]
    pairs, errors, words = _documents(chosen, spoken, kept / folder.name, options)
    wanted = [gold([recogniser.normalise(key) for key in one.keys], language) for one in chosen]
    background = Background(language)
    known = vectors_of(options.here / options.vectors, [one for pair in pairs for one in pair], background)
    sides = [[documents[side] for documents in pairs] for side in (0, 1)]
    lists = {**_ours(sides, background, known), **_others(sides, [spoken[one.name] for one in every[::2]])}
    rows, ours = [], np.zeros(0)
    for method, (of_transcripts, of_hypotheses) in lists.items():
        scores = [
            np.array([against(found, best, language, TOP) for found, best in zip(side, wanted)])
            for side in (of_transcripts, of_hypotheses)
        ]
        alike = np.array([f1(b[:TOP], set(a[:TOP])) for a, b in zip(of_transcripts, of_hypotheses)])
        row: Dict[str, Any] = {
            "method": method,
            "transcripts": figures(scores[0]),
            "hypotheses": figures(scores[1]),
            "alike": figures(alike),
        }
        first = [found[:TOP] for found in of_hypotheses]
        ours = scores[1] if method == OURS else ours
        row.update(share=share(scores[1], scores[0]), misrecognised=misrecognised(first, sides[0]), keywords=sum(map(len, first)))
        row["ours_above"] = points_above(ours, scores[1]) if method != OURS else None
        rows.append(row)
    added = [f"pack {options.packs}"] if options.packs else []
    seconds = sum(hypothesis.seconds or 0.0 for _, hypothesis in pairs)
    about = {"speech": f"{folder.name}, {options.split} {condition(options)}", "how_added": added, "documents": len(pairs)}
    rate = 100.0 * errors / words
    return described(options, plans, rows, **about, words=words, seconds=seconds, wer=rate, vectors=Path(options.vectors).name)


def _sentences(one: Given, recogniser: Recogniser) -> List[List[str]]:
    """The words of each sentence, as they are said."""
    sentences = (recogniser.normalise(sentence).split() for sentence in SENTENCES.split(one.text))
    return [words for words in sentences if words]


def _documents(
    chosen: Sequence[Given], spoken: Mapping[str, List[List[str]]], folder: Path, options: Any
) -> Tuple[List[Tuple[Document, Document]], int, int]:
    """(transcript, hypothesis) of each text; errors and words of all."""
    noises = noises_of(options.here / options.noise) if options.noise else []
    flite = Flite(download.folder("flite"))
    name = condition(options)
    wav, out = folder / name / "wav", folder / name / f"json {Path(options.bundle).resolve().parent.name} {options.packs or ''}"
    wav.mkdir(parents=True, exist_ok=True)
    for one in chosen:
        path = wav / f"{one.name}.wav"
        if not path.exists():
            samples = mixed(_read_aloud(spoken[one.name], one.name, flite), RATE, one.name, noises, options.snr)
            soundfile.write(str(path), samples, RATE)
    command = [sys.executable, "-m", "steps.recognise", "--bundle", str(options.here / options.bundle), "--nj", "1"]
    command += ["--packs", options.packs] if options.packs else []
    command += ["--threads", str(options.threads), "--format", "json", "--output", str(out)]
    subprocess.run([*command, *(str(wav / f"{one.name}.wav") for one in chosen)], cwd=ROOT, check=True)
    pairs, errors, words = [], 0, 0
    for one in chosen:
        said = [" ".join(sentence) for sentence in spoken[one.name]]
        found = out / f"{one.name}.json"
        pairs.append((together([of_text(one.name, text, "en") for text in said]), read_outcome(found, one.name)))
        reference = " ".join(said).split()
        errors += edit_distance(reference, read_json(found)["text"].split())["total"]
        words += len(reference)
    return pairs, errors, words


def _read_aloud(sentences: Sequence[Sequence[str]], name: str, flite: Flite) -> np.ndarray:
    """Samples (T,) of a text, always the same for a name, with pauses between sentences."""
    draw = random.Random(name)
    reader, speed = draw.choice(READERS), draw.randint(*SPEED)
    silence = np.zeros(int(PAUSE * RATE), np.float32)
    parts = [silence]
    for samples, rate in _voiced(sentences, reader, speed, flite):
        parts += [resample(samples, rate, RATE).astype(np.float32), silence]
    return np.concatenate(parts)


def _voiced(sentences: Sequence[Sequence[str]], reader: str, speed: int, flite: Flite) -> Iterator[Tuple[np.ndarray, int]]:
    if "-" in reader:
        yield from ((samples, ESPEAK_RATE) for samples in speak([Said(" ".join(words), reader, speed) for words in sentences]))
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "said.wav"
        for words in sentences:
            flite.speak(words, reader, 1.0, path)
            yield soundfile.read(str(path), dtype="float32")


Lists = Dict[str, List[List[List[str]]]]  # method -> of the transcripts, and of the hypotheses -> of a document -> keywords


def _ours(sides: Sequence[Sequence[Document]], background: Background, known: Mapping[str, np.ndarray]) -> Lists:
    found: Lists = {}
    by_itself = replace(SPEECH, elsewhere=0.0)
    ways = {OURS: (known, SPEECH), ALONE: ({}, SPEECH), BEST_PATH: (known, SPEECH), BY_ITSELF: (known, by_itself)}
    for name, (vectors, weights) in {**ways, FORMER: (known, CHOSEN_ON_SPEECHOCEAN)}.items():
        made = [[best_path(one) for one in side] if name == BEST_PATH else side for side in sides]
        found[name] = [[texts(keywords(one, background, vectors, TOP + 2, weights)) for one in side] for side in made]
    return found


def _others(sides: Sequence[Sequence[Document]], dev: Sequence[List[List[str]]]) -> Lists:
    """TF-IDF counts documents in the texts of dev and in the own side's."""
    more = [".\n".join(" ".join(words) for words in sentences) for sentences in dev]
    written = [list(map(lines, side)) for side in sides]
    methods = [baselines([*more, *side], "en") for side in written]
    return {name: [[made[name](text) for text in side] for made, side in zip(methods, written)] for name in methods[0]}


def draw(corpus: Path) -> List[Table]:
    """Write spoken_keywords.md of a corpus folder from spoken_keywords.jsonl; returns its tables."""
    cells = []
    for record in records_of(corpus, "spoken_keywords"):
        model = ", ".join([what(record), *record["how_added"]])
        for row in record["rows"]:
            means = [f"{number(row[key]['mean'])} {span(row[key]['low'], row[key]['high'])}" for key in FIGURES]
            above = row.get("ours_above")
            means.append(f"{signed(above['mean'])} {span(above['low'], above['high'])}" if above else "")
            wrong = f"{row['misrecognised']}/{row['keywords']}"
            about = [record["speech"], model, f"{record['documents']}", number(record["wer"])]
            cells.append([*about, row["method"], *means, wrong])
    table = Table(
        "Keywords of texts that are read aloud, against those that people gave",
        f"F1 in percent of the first {TOP} phrases, stemmed, against the keywords that people gave: of the transcript, of "
        "what was recognised, and of these two in percent (`share`); `alike`: F1 of the two lists against each other. Means over "
        "texts with their 95% intervals. Ours above: points of F1 on the hypotheses by which `ours` is above the method, paired "
        "bootstrap over texts. Misrecognised: keywords that nobody said. Neither side has punctuation but pauses. `each place by "
        "itself`: without what the document says elsewhere; `former weights`: chosen on speechocean762, as `ours` is in records "
        "without that row.",
        ["texts", "model", "documents", "WER", "method", *COLUMNS, "ours above", "misrecognised"],
        grouped(cells, 4),
        5,
    )
    write_page(corpus, "spoken_keywords", [table])
    return [table]


FIGURES = ("transcripts", "hypotheses", "share", "alike")
COLUMNS = ("F1, transcripts", "F1, hypotheses", "share", "alike")


if __name__ == "__main__":
    sys.exit(main())
