"""How good keywords are: of texts, against those that people gave them; of speech, against those of what was said.

    python -m tests.bench.keywords --corpus english --vectors PATH --texts FOLDER...
    python -m tests.bench.keywords --corpus speechocean762 --recipe whisper_wordvec --vectors PATH

`--texts` reads folders in the form of LIAAD's KeywordExtractor-Datasets: docsutf8/NAME.txt, keys/NAME.key, language.txt. Texts
with an even number are dev, on which weights were chosen; those with an odd one are measured. Without it, the recordings of a
split are recognised with the bundle of stage 9 (missing stages run first), and the keywords of documents of so many utterances
of one speaker are compared with those of their transcripts. Other libraries run on the same: utils/requirements/benches.txt.
Writes egs/<corpus>/keywords.jsonl and keywords.md.
"""

import random
import re
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np
import soundfile
from kaldialign import edit_distance

from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from tests.bench.keyword_baselines import baselines
from utils.audio.given import given
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.languages import in_characters
from utils.core.options import positive
from utils.core.tables import Table, as_text, grouped, number, signed, span
from utils.core.versions import git_state, machine
from utils.corpus.audio import load as load_audio
from utils.corpus.cuts import read_cuts
from utils.keywords.background import Background
from utils.keywords.candidates import candidates
from utils.keywords.coherence import COMMON, word_vectors
from utils.keywords.documents import Document, Slot, of_text, read_outcome, together
from utils.keywords.ranking import SPEECH, keywords
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.text.letters import joined
from utils.text.scoring import difference, interval

OURS, ALONE, BEST_PATH, BARE = "ours", "without coherence", "best path alone", "best path alone, without coherence"
BASELINE = "YAKE"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--vectors", required=True, metavar="PATH", help="word vectors, for coherence")
    p.add_argument("--texts", nargs="+", metavar="FOLDER", help="sets of texts with keywords, instead of speech")
    p.add_argument("--bundle", metavar="FOLDER", help="a ready bundle (default: that of stage 9)")
    p.add_argument("--split", default="test", choices=("dev", "test"))
    p.add_argument("--utterances", type=positive, default=20, help="of a document")
    p.add_argument("--documents", type=positive, metavar="N", help="at most so many, spread over all speakers (default: all)")
    p.add_argument("--top", type=positive, default=10, help="keywords of a document")
    p.add_argument("--keep", metavar="FOLDER", help="keep what is recognised there: a second run does only what is missing")
    p.add_argument("--noise", metavar="FOLDER", help="of recordings to mix in")
    p.add_argument("--snr", type=float, default=10.0, help="of speech to noise, dB")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    corpus = corpus_folder(plans)
    for folder in options.texts or ():
        write_record(corpus, "keywords", _texts(options.here / folder, options.here / options.vectors))
    if not options.texts:
        write_record(corpus, "keywords", _speech(options, plans))
    print("\n\n".join(map(as_text, draw(corpus))))


def _texts(folder: Path, vectors: Path) -> Dict[str, Any]:
    """A record of a set of texts with keywords."""
    paths = sorted((folder / "docsutf8").glob("*.txt"))
    if not paths:
        raise UserError(f"{folder} has no docsutf8/*.txt")
    language = {"english": "en", "french": "fr", "portuguese": "pt", "polish": "pl"}[
        _read(folder / "language.txt").strip().lower()
    ]
    texts = [_read(path) for path in paths]
    gold = [{_stemmed(line, language) for line in _read(folder / "keys" / f"{p.stem}.key").splitlines()} - {""} for p in paths]
    tested = range(1, len(paths), 2)
    background = Background(language)
    documents = {n: of_text(paths[n].stem, texts[n], language) for n in tested}
    known = _vectors(vectors, list(documents.values()), background)
    methods: Dict[str, Callable[[int], List[str]]] = {
        OURS: lambda n: [one.text for one in keywords(documents[n], background, known, 12)],
        ALONE: lambda n: [one.text for one in keywords(documents[n], background, {}, 12)],
    }
    methods.update({name: lambda n, by=by: by(texts[n]) for name, by in baselines(texts, language).items()})
    scores = {name: np.array([_against(by(n), gold[n], language) for n in tested]) for name, by in methods.items()}
    ones, rows = np.ones(len(tested)), []
    for name, found in scores.items():
        row: Dict[str, Any] = {"method": name}
        for column, top in enumerate((5, 10)):
            row[f"f1_at_{top}"] = _figures(found[:, column])
            if name != BASELINE:
                row[f"more_at_{top}"] = _difference(found[:, column], scores[BASELINE][:, column], ones)
        rows.append(row)
    about = {"corpus": folder.name, "recipe": "", "overrides": [], "kind": "texts", "language": language, "texts": len(tested)}
    return {**about, "vectors": vectors.name, "machine": machine("cpu"), "rows": rows, **git_state(ROOT)}


def _against(phrases: Sequence[str], gold: Set[str], language: str) -> Tuple[float, float]:
    """F1 of the first 5 and of the first 10 phrases that differ, stemmed, against those that people gave."""
    found = list(dict.fromkeys(filter(None, (_stemmed(phrase, language) for phrase in phrases))))
    return _f1(found[:5], gold), _f1(found[:10], gold)


def _f1(found: Sequence[str], gold: Set[str]) -> float:
    return 2 * len(gold.intersection(found)) / (len(set(found)) + len(gold)) if found or gold else 1.0


@lru_cache(maxsize=None)
def _stemmed(phrase: str, language: str) -> str:
    """Small letters; of English, without endings (Porter 1980)."""
    from gensim.parsing.porter import PorterStemmer

    words = re.findall(r"\w+", phrase.lower())
    return " ".join(PorterStemmer().stem(word) for word in words) if language == "en" else " ".join(words)


def _speech(options, plans: Dict[str, Plan]) -> Dict[str, Any]:  # noqa: ANN001 - argparse's namespace
    """A record of recordings of a split."""
    stages_until("data" if options.bundle else "export", options)
    bundle = options.here / options.bundle if options.bundle else plans["export"].out / "bundle"
    language = _language(bundle)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.here / options.keep if options.keep else Path(temporary)
        pairs, errors, words = _documents(folder, options, plans, bundle, language)
    background = Background(language)
    known = _vectors(options.here / options.vectors, [one for pair in pairs for one in pair], background)
    rows = [*_ours(pairs, background, known, options.top), *_others(pairs, language, options.top)]
    seconds = sum(hypothesis.seconds or 0.0 for _, hypothesis in pairs)
    about: Dict[str, Any] = {"kind": "speech", "speech": f"{options.split} {_noise(options)}", "documents": len(pairs)}
    about.update(utterances=options.utterances, top=options.top, seconds=seconds, error_rate=100.0 * errors / words)
    about.update(vectors=Path(options.vectors).name, reachable=_reachable(pairs, background, known, options.top))
    return described(options, plans, rows, **about)


def _noise(options) -> str:  # noqa: ANN001 - argparse's namespace
    return f"{options.snr:g} dB" if options.noise else "clean"


def _language(bundle: Path) -> str:
    from utils.bundle.files import open_files

    return open_files(bundle).manifest.language


def _documents(
    folder: Path, options: Any, plans: Mapping[str, Plan], bundle: Path, language: str
) -> Tuple[List[Tuple[Document, Document]], int, int]:
    """(transcripts, hypotheses) of each document; errors and words of all."""
    groups = list(_groups(list(read_cuts(plans["data"].out, options.split)), options.utterances))
    groups = groups[:: -(-len(groups) // (options.documents or len(groups)))]
    cuts = [cut for group in groups for cut in group]
    noises = _noises(options.here / options.noise) if options.noise else []
    wav, out = folder / "wav", folder / "json"
    wav.mkdir(parents=True, exist_ok=True)
    for cut in cuts:
        soundfile.write(str(wav / f"{cut.id}.wav"), _mixed(cut, noises, options.snr), cut.sampling_rate)
    command = [sys.executable, "-m", "steps.recognise", "--bundle", str(bundle), "--nj", "1", "--threads", str(options.threads)]
    subprocess.run([*command, "--format", "json", "--output", str(out), str(wav)], cwd=ROOT, check=True)
    pairs, errors, words = [], 0, 0
    for group in groups:
        said, found = [], []
        for cut in group:
            text = joined(cut.supervisions[0].text.split())
            said.append(of_text(cut.id, text, language))
            found.append(read_outcome(out / f"{cut.id}.json", cut.id))
            units = list(text) if language == "zh" else text.split()
            heard = read_json(out / f"{cut.id}.json")["text"]
            errors += edit_distance(units, list(heard) if language == "zh" else heard.split())["total"]
            words += len(units)
        pairs.append((together(said), together(found)))
    return pairs, errors, words


def _noises(folder: Path) -> List[Tuple[np.ndarray, int]]:
    with ExitStack() as stack:
        return [soundfile.read(str(one.path), dtype="float32") for one in given([str(folder)], stack)[0]]


def _groups(cuts: Sequence[Any], size: int) -> Iterator[List[Any]]:
    """Utterances of one speaker, about `size` each."""
    of_speaker: Dict[str, List[Any]] = {}
    for cut in cuts:
        of_speaker.setdefault(cut.supervisions[0].speaker, []).append(cut)
    for speaker in sorted(of_speaker):
        for part in np.array_split(np.arange(len(of_speaker[speaker])), max(1, round(len(of_speaker[speaker]) / size))):
            yield [of_speaker[speaker][n] for n in part]


def _mixed(cut: Any, noises: Sequence[Tuple[np.ndarray, int]], snr: float) -> np.ndarray:
    """Samples of a cut with one of the noises, always the same."""
    x = load_audio(cut)[0]
    if not noises:
        return x
    noise, rate = random.Random(cut.id).choice(noises)
    if rate % cut.sampling_rate:
        raise UserError(f"noise at {rate} Hz can't be mixed with speech at {cut.sampling_rate} Hz")
    noise = np.resize(noise.reshape(len(noise), -1).mean(1)[:: rate // cut.sampling_rate], len(x))
    y = x + noise * np.sqrt((x**2).mean() / max(float((noise**2).mean()), 1e-10) / 10 ** (snr / 10))
    return y / max(1.0, float(np.abs(y).max()))


def _ours(
    pairs: Sequence[Tuple[Document, Document]], background: Background, known: Mapping[str, np.ndarray], top: int
) -> List[Dict[str, Any]]:
    """Rows of our ways; without coherence the transcripts' keywords are made without, too."""
    rows, lists = [], {}
    for name, path, vectors in ((OURS, False, known), (ALONE, False, {}), (BEST_PATH, True, known), (BARE, True, {})):
        said = [_texts_of(keywords(one, background, vectors, top, SPEECH)) for one, _ in pairs]
        lists[name] = [_texts_of(keywords(_best(one) if path else one, background, vectors, top, SPEECH)) for _, one in pairs]
        rows.append(_row(name, pairs, said, lists[name]))
    for row, control in ((rows[0], ALONE), (rows[2], BARE)):
        wrong = [(n, one) for n, found in enumerate(lists[control]) for one in found if not _said(one, pairs[n][0])]
        row["dropped"] = sum(one not in lists[row["method"]][n] for n, one in wrong)
    return rows


def _others(pairs: Sequence[Tuple[Document, Document]], language: str, top: int) -> List[Dict[str, Any]]:
    if language != "en":
        return []
    sides = [[_lines(pair[side]) for pair in pairs] for side in (0, 1)]
    methods = [baselines(texts, language) for texts in sides]  # TF-IDF of hypotheses knows no transcript
    lists = [{name: [by(text)[:top] for text in texts] for name, by in made.items()} for texts, made in zip(sides, methods)]
    return [_row(name, pairs, lists[0][name], lists[1][name]) for name in methods[0]]


def _row(
    name: str, pairs: Sequence[Tuple[Document, Document]], said: Sequence[Sequence[str]], found: Sequence[Sequence[str]]
) -> Dict[str, Any]:
    scores = np.array([_f1(b, set(a)) for a, b in zip(said, found)])
    wrong = sum(not _said(one, pair[0]) for pair, phrases in zip(pairs, found) for one in phrases)
    return {"method": name, "f1": _figures(scores), "keywords": sum(map(len, found)), "misrecognised": wrong}


def _said(phrase: str, transcript: Document) -> bool:
    """Whether the words of a keyword stand beside each other in the transcript."""
    runs = [joined([slot.words[0][0] for slot in run]) for run in transcript.runs]
    blank = "" if in_characters(transcript.language) else " "
    return any(f"{blank}{phrase.lower()}{blank}" in f"{blank}{run}{blank}" for run in runs)


def _reachable(
    pairs: Sequence[Tuple[Document, Document]], background: Background, known: Mapping[str, np.ndarray], top: int
) -> float:
    """Percent of the transcripts' keywords that are among the candidates of the hypotheses at all: F1 can't be higher."""
    stop_words, there, total = frozenset(background.most_frequent(SPEECH.stop_words)), 0, 0
    for said, found in pairs:
        every = {joined(one.phrase) for one in candidates(found, stop_words)}
        wanted = _texts_of(keywords(said, background, known, top, SPEECH))
        there, total = there + sum(one.lower() in every for one in wanted), total + len(wanted)
    return 100.0 * there / max(total, 1)


def _best(document: Document) -> Document:
    """A document of the recognised words alone, each taken for right."""
    runs = [[Slot(((slot.words[0][0], 1.0),), slot.start, slot.end) for slot in run] for run in document.runs]
    return Document(document.name, document.language, runs, document.seconds, [], document.files)


def _lines(document: Document) -> str:
    return ".\n".join(" ".join(slot.words[0][0] for slot in run) for run in document.runs) + "."


def _texts_of(found: Sequence[Any]) -> List[str]:
    return [one.text for one in found]


def _vectors(path: Path, documents: Sequence[Document], background: Background) -> Dict[str, np.ndarray]:
    words = sorted({word for one in documents for run in one.runs for slot in run for word, _ in slot.words})
    return word_vectors(path, words, background.most_frequent(COMMON))


def _figures(scores: np.ndarray) -> Dict[str, float]:
    """Mean in percent, with its 95% interval over documents."""
    low, high = interval(scores, np.ones(len(scores)))
    return {"mean": 100.0 * float(scores.mean()), "low": low, "high": high}


def _difference(scores: np.ndarray, others: np.ndarray, ones: np.ndarray) -> Dict[str, float]:
    """Points above the others, by the paired bootstrap over documents."""
    found = difference(scores, others, ones)
    return {"mean": found.value, "low": found.low, "high": found.high, "p": found.p}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").replace("\ufeff", "").replace("\0", " ")


def draw(corpus: Path) -> List[Table]:
    """Write keywords.md of a corpus folder from keywords.jsonl; returns its tables."""
    records = records_of(corpus, "keywords")
    tables = [
        draw_one(chosen, corpus.name)
        for kind, draw_one in (("texts", _table_of_texts), ("speech", _table_of_speech))
        for chosen in [[record for record in records if record["kind"] == kind]]
        if chosen
    ]
    write_page(corpus, "keywords", tables)
    return tables


def _table_of_texts(records: Sequence[Mapping[str, Any]], corpus: str) -> Table:
    cells = []
    for record in records:
        for row in record["rows"]:
            cell = [f"{record['corpus']}, {record['texts']} texts, {record['language']}", record["vectors"], row["method"]]
            for top in (5, 10):
                f1, more = row[f"f1_at_{top}"], row.get(f"more_at_{top}")
                cell += [f"{number(f1['mean'])} {span(f1['low'], f1['high'])}"]
                cell += [f"{signed(more['mean'])} {span(more['low'], more['high'])}" if more else ""]
            cells.append(cell)
    return Table(
        "Keywords of texts against those that people gave",
        "F1 in percent of the first 5 and 10 phrases, stemmed; mean over texts with an odd number and its 95% interval; points "
        f"above {BASELINE} by the paired bootstrap over texts. Weights were chosen on other texts. `vectors` serve coherence.",
        ["texts", "vectors", "method", "F1@5", f"above {BASELINE}", "F1@10", f"above {BASELINE}"],
        grouped(cells, 2),
        3,
    )


def _table_of_speech(records: Sequence[Mapping[str, Any]], corpus: str) -> Table:
    cells = []
    for record in records:
        for row in record["rows"]:
            about = f"{record['documents']} of {record['utterances']}"
            rates = [number(record["error_rate"]), number(record["reachable"])]
            cell = [what(record), record["speech"], about, *rates, row["method"]]
            f1 = row["f1"]
            wrong = f"{row['misrecognised']}/{row['keywords']}"
            cells.append([*cell, f"{number(f1['mean'])} {span(f1['low'], f1['high'])}", wrong, str(row.get("dropped", ""))])
    return Table(
        f"Keywords of speech against those of what was said: {corpus}",
        "F1 in percent of the first 10 keywords of a document of the hypotheses against those that the same method finds in its "
        "transcripts, mean and its 95% interval; documents of so many utterances of one speaker. `reachable`: percent of the "
        "transcripts' keywords (ours) that the hypotheses or their alternatives have at all, which F1 can hardly exceed. "
        "Misrecognised: keywords that nobody said. Dropped: of those of the control without coherence, how many it removes.",
        ["model", "speech", "documents", "WER or CER", "reachable", "method", "F1", "misrecognised", "dropped"],
        grouped(cells, 5),
        6,
    )


if __name__ == "__main__":
    sys.exit(main())
