"""How good keywords are: of texts, against those that people gave them; of speech, against those of what was said.

    python -m tests.bench.keywords --corpus english --vectors PATH --texts FOLDER...
    python -m tests.bench.keywords --corpus speechocean762 --recipe whisper_wordvec --vectors PATH

`--texts` reads folders in the form of LIAAD's KeywordExtractor-Datasets: docsutf8/NAME.txt, keys/NAME.key, language.txt. Texts
with an even number are dev, on which weights were chosen; those with an odd one are measured. Without it, the recordings of a
split are recognised with the bundle of stage 9 (missing stages run first), and the keywords of documents of so many utterances
of one speaker are compared with those of their transcripts. Other libraries run on the same: utils/requirements/benches.txt.
Writes egs/<corpus>/keywords.jsonl and keywords.md. Texts that are read aloud: `tests.bench.spoken_keywords`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import soundfile
from kaldialign import edit_distance

from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from tests.bench.keyword_baselines import baselines
from tests.bench.keyword_measures import (
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
    said,
    texts,
    texts_of,
    vectors_of,
)
from utils.core.files import ROOT, read_json
from utils.core.options import positive
from utils.core.tables import Table, as_text, grouped, number, signed, span
from utils.core.versions import git_state, machine
from utils.corpus.audio import load as load_audio
from utils.corpus.cuts import read_cuts
from utils.keywords.background import Background
from utils.keywords.candidates import candidates
from utils.keywords.documents import Document, of_text, read_outcome, together
from utils.keywords.ranking import SPEECH, keywords
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.text.letters import joined

OURS, ALONE, BEST_PATH, BARE = "ours", "without coherence", "best path alone", "best path alone, without coherence"
BASELINE = "YAKE"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    add_options(p)
    p.add_argument("--texts", nargs="+", metavar="FOLDER", help="sets of texts with keywords, instead of speech")
    p.add_argument("--bundle", metavar="FOLDER", help="a ready bundle (default: that of stage 9)")
    p.add_argument("--utterances", type=positive, default=20, help="of a document")
    p.add_argument("--documents", type=positive, metavar="N", help="at most so many, spread over all speakers (default: all)")
    p.add_argument("--top", type=positive, default=10, help="keywords of a document")
    p.add_argument("--keep", metavar="FOLDER", help="keep what is recognised there: a second run does only what is missing")
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
    language, given = texts_of(folder)
    wanted = [gold(one.keys, language) for one in given]
    tested = range(1, len(given), 2)
    background = Background(language)
    documents = {n: of_text(given[n].name, given[n].text, language) for n in tested}
    known = vectors_of(vectors, list(documents.values()), background)
    lists = {
        OURS: [texts(keywords(documents[n], background, known, 12)) for n in tested],
        ALONE: [texts(keywords(documents[n], background, {}, 12)) for n in tested],
    }
    for name, by in baselines([one.text for one in given], language).items():
        lists[name] = [by(given[n].text) for n in tested]
    rows: List[Dict[str, Any]] = [{"method": name} for name in lists]
    for top in (5, 10):
        scores = {
            name: np.array([against(one, wanted[n], language, top) for one, n in zip(found, tested)])
            for name, found in lists.items()
        }
        for row in rows:
            row[f"f1_at_{top}"] = figures(scores[row["method"]])
            if row["method"] != BASELINE:
                row[f"more_at_{top}"] = points_above(scores[row["method"]], scores[BASELINE])
    about = {"corpus": folder.name, "recipe": "", "overrides": [], "kind": "texts", "language": language, "texts": len(tested)}
    return {**about, "vectors": vectors.name, "machine": machine("cpu"), "rows": rows, **git_state(ROOT)}


def _speech(options, plans: Dict[str, Plan]) -> Dict[str, Any]:  # noqa: ANN001 - argparse's namespace
    """A record of recordings of a split."""
    stages_until("data" if options.bundle else "export", options)
    bundle = options.here / options.bundle if options.bundle else plans["export"].out / "bundle"
    language = _language(bundle)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.here / options.keep if options.keep else Path(temporary)
        pairs, errors, words = _documents(folder, options, plans, bundle, language)
    background = Background(language)
    known = vectors_of(options.here / options.vectors, [one for pair in pairs for one in pair], background)
    rows = [*_ours(pairs, background, known, options.top), *_others(pairs, language, options.top)]
    seconds = sum(hypothesis.seconds or 0.0 for _, hypothesis in pairs)
    about: Dict[str, Any] = {"kind": "speech", "speech": f"{options.split} {condition(options)}", "documents": len(pairs)}
    about.update(utterances=options.utterances, top=options.top, seconds=seconds, error_rate=100.0 * errors / words)
    about.update(vectors=Path(options.vectors).name, reachable=_reachable(pairs, background, known, options.top))
    return described(options, plans, rows, **about)


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
    noises = noises_of(options.here / options.noise) if options.noise else []
    wav, out = folder / "wav", folder / "json"
    wav.mkdir(parents=True, exist_ok=True)
    for cut in cuts:
        heard = mixed(load_audio(cut)[0], cut.sampling_rate, cut.id, noises, options.snr)
        soundfile.write(str(wav / f"{cut.id}.wav"), heard, cut.sampling_rate)
    command = [sys.executable, "-m", "steps.recognise", "--bundle", str(bundle), "--nj", "1", "--threads", str(options.threads)]
    subprocess.run([*command, "--format", "json", "--output", str(out), str(wav)], cwd=ROOT, check=True)
    pairs, errors, words = [], 0, 0
    for group in groups:
        spoken, found = [], []
        for cut in group:
            text = joined(cut.supervisions[0].text.split())
            spoken.append(of_text(cut.id, text, language))
            found.append(read_outcome(out / f"{cut.id}.json", cut.id))
            units = list(text) if language == "zh" else text.split()
            written = read_json(out / f"{cut.id}.json")["text"]
            errors += edit_distance(units, list(written) if language == "zh" else written.split())["total"]
            words += len(units)
        pairs.append((together(spoken), together(found)))
    return pairs, errors, words


def _groups(cuts: Sequence[Any], size: int) -> Iterator[List[Any]]:
    """Utterances of one speaker, about `size` each."""
    of_speaker: Dict[str, List[Any]] = {}
    for cut in cuts:
        of_speaker.setdefault(cut.supervisions[0].speaker, []).append(cut)
    for speaker in sorted(of_speaker):
        for part in np.array_split(np.arange(len(of_speaker[speaker])), max(1, round(len(of_speaker[speaker]) / size))):
            yield [of_speaker[speaker][n] for n in part]


def _ours(
    pairs: Sequence[Tuple[Document, Document]], background: Background, known: Mapping[str, np.ndarray], top: int
) -> List[Dict[str, Any]]:
    """Rows of our ways; without coherence the transcripts' keywords are made without, too."""
    rows, lists = [], {}
    for name, alone, vectors in ((OURS, False, known), (ALONE, False, {}), (BEST_PATH, True, known), (BARE, True, {})):
        wanted = [texts(keywords(one, background, vectors, top, SPEECH)) for one, _ in pairs]
        lists[name] = [texts(keywords(best_path(one) if alone else one, background, vectors, top, SPEECH)) for _, one in pairs]
        rows.append(_row(name, pairs, wanted, lists[name]))
    for row, control in ((rows[0], ALONE), (rows[2], BARE)):
        wrong = [(n, one) for n, found in enumerate(lists[control]) for one in found if not said(one, pairs[n][0])]
        row["dropped"] = sum(one not in lists[row["method"]][n] for n, one in wrong)
    return rows


def _others(pairs: Sequence[Tuple[Document, Document]], language: str, top: int) -> List[Dict[str, Any]]:
    if language != "en":
        return []
    sides = [[lines(pair[side]) for pair in pairs] for side in (0, 1)]
    methods = [baselines(side, language) for side in sides]  # TF-IDF of hypotheses knows no transcript
    lists = [{name: [by(text)[:top] for text in side] for name, by in made.items()} for side, made in zip(sides, methods)]
    return [_row(name, pairs, lists[0][name], lists[1][name]) for name in methods[0]]


def _row(
    name: str, pairs: Sequence[Tuple[Document, Document]], wanted: Sequence[Sequence[str]], found: Sequence[Sequence[str]]
) -> Dict[str, Any]:
    scores = np.array([f1(b, set(a)) for a, b in zip(wanted, found)])
    wrong = misrecognised(found, [transcript for transcript, _ in pairs])
    return {"method": name, "f1": figures(scores), "keywords": sum(map(len, found)), "misrecognised": wrong}


def _reachable(
    pairs: Sequence[Tuple[Document, Document]], background: Background, known: Mapping[str, np.ndarray], top: int
) -> float:
    """Percent of the transcripts' keywords that are among the candidates of the hypotheses at all: F1 can't be higher."""
    stop_words, there, total = frozenset(background.most_frequent(SPEECH.stop_words)), 0, 0
    for transcript, found in pairs:
        every = {joined(one.phrase) for one in candidates(found, stop_words)}
        wanted = texts(keywords(transcript, background, known, top, SPEECH))
        there, total = there + sum(one.lower() in every for one in wanted), total + len(wanted)
    return 100.0 * there / max(total, 1)


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
                mean, more = row[f"f1_at_{top}"], row.get(f"more_at_{top}")
                cell += [f"{number(mean['mean'])} {span(mean['low'], mean['high'])}"]
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
            found = row["f1"]
            wrong = f"{row['misrecognised']}/{row['keywords']}"
            cells.append(
                [*cell, f"{number(found['mean'])} {span(found['low'], found['high'])}", wrong, str(row.get("dropped", ""))]
            )
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
