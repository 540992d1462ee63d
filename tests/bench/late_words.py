"""Benchmark: words that came after an index was made, found without decoding again, against decoding anew with them added.

python -m tests.bench.late_words --bundle BUNDLE --features STAGE_1

A sample of the words of test that training lacks, the utterances that have them, and as many others. These are recognised twice
by the bundle's whole chain: with its own vocabulary, and with the sample added to it (`Recogniser.add_words`). Each gives an
index, and each is asked for the sample. Utterances are units, as in tests.bench.terms.

With --fit the weights of late words are fitted instead (printed, for utils/search/index.py): on dev, and on all utterances of
other corpora, since dev of speechocean762 alone has 65 late words. How well they do is measured on a fifth of the words at a
time, with weights of the others.
"""

import argparse
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from lhotse import CutSet

from tests.bench.common import records_of, what, write_page, write_record
from tests.bench.terms import Side, compared, highest
from utils.bundle.evidence import Heard, Rows
from utils.bundle.files import open_files
from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.splits import SPLITS
from utils.core.tables import Table
from utils.core.versions import git_state, machine
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.engine import k2
from utils.engine.k2 import K2Engine
from utils.recognition.outcomes import Segment
from utils.results.records import named_overrides
from utils.search.calibration import fit
from utils.search.contents import Indexed, compact
from utils.search.index import CALIBRATIONS, Index
from utils.search.measures import Scored, summary, twv
from utils.search.rivals import compete
from utils.search.shards import About, Source, shard_of
from utils.train.dataset import Features, ordered_batches

FOLDS = 5
LATE, ANEW = "late, not decoded again", "added, decoded anew"


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.late_words", description=__doc__.split("\n", 1)[0])
    p.add_argument("--bundle", required=True)
    p.add_argument("--features", required=True, type=Path, help="folder of stage 1 that the bundle was made of")
    p.add_argument("--words", type=int, default=300)
    p.add_argument("--fit", action="append", default=[], type=Path, metavar="DATA", help="a finished stage 0 of another corpus")
    p.add_argument("--recipe", default="whisper_wordvec", help="of the bundle, for the record")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the bundle, for the record")
    p.add_argument("--record", action="store_true", help="write the record and its page")
    return p


Part = Tuple[Source, List[Segment]]


def recognised(engine: K2Engine, table: Rows, features: Path, cuts: Sequence[Any]) -> List[Part]:
    """Cuts of stage 1, recognised by the chain with its words of now."""
    chain, found = engine.chain(), {}
    chain.decoder.features = Features(features, cache_gb=0.0)
    for batch in ordered_batches(list(cuts), chain.decoder.batch_seconds()):
        for cut, one in zip(batch, engine.batch(chain, batch)):
            found[cut.id] = part_of(cut.id, one, table)
    return [found[cut.id] for cut in cuts]


def part_of(name: str, one: Heard, table: Rows) -> Part:
    """A recording of an index."""
    assert one.evidence is not None
    window = compact(one.evidence, one.arcs, table)
    return Source(name, {"path": name}, one.seconds), [Segment(0.0, Indexed([], [], one.seconds, window=window))]


def index_of(engine: K2Engine, recogniser: Recogniser, parts: Sequence[Part]) -> Index:
    """The index of recordings."""
    seconds, dim = engine.chain().frame_seconds, recogniser.rows().vectors.shape[1]
    about = About("", len(recogniser.units), dim, seconds, recogniser.language)
    return Index([shard_of(parts, about)], seconds, recogniser)


def indexed(engine: K2Engine, recogniser: Recogniser, features: Path, cuts: Sequence[Any]) -> Tuple[Index, float]:
    """An index of cuts, recognised by the chain with its words of now, and the seconds that this takes."""
    at, table = time.process_time(), recogniser.rows()
    found = index_of(engine, recogniser, recognised(engine, table, features, cuts))
    return found, time.process_time() - at


def fitted(engine: K2Engine, recogniser: Recogniser, features: Path, more: Sequence[Path]) -> None:
    """Fit the weights of late words on dev and on other corpora, and say how good such weights are."""
    table, dev = recogniser.rows(), list(CutSet.from_jsonl_lazy(features / "cuts_dev.jsonl.gz"))
    parts, said = recognised(engine, table, features, dev), [set(cut.supervisions[0].text.split()) for cut in dev]
    for cut in (cut for data in more for split in SPLITS for cut in read_cuts(data, split)):
        (one,) = recogniser.hear([(load(cut)[0], cut.sampling_rate)])
        parts.append(part_of(cut.id, one, table))
        said.append(set(recogniser.normalise(cut.supervisions[0].text).split()))
    index, words = index_of(engine, recogniser, parts), []  # type: Index, List[str]
    for word in sorted(set().union(*said) - set(table.words)):
        with suppress(UserError):  # letters that the model has not
            words += [word] * bool(recogniser.rows([word]).words)
    places = index.places(index.queries(words))
    given, term = (np.concatenate(x) for x in zip(*((p.features, np.full(len(p.window), k)) for k, p in enumerate(places))))
    window, start, end = (np.concatenate([getattr(one, name) for one in places]) for name in ("window", "start", "end"))
    right = np.array([words[k] in said[n] for k, n in zip(term, window)])
    print(f"{len(words)} words, {len(said)} utterances, {index.duration:.0f} s, {right.sum()} right places: {fit(given, right)}")
    fold, odds = np.random.default_rng(0).integers(0, FOLDS, len(words))[term], np.zeros(len(term))
    for n in range(FOLDS):
        odds[fold == n] = fit(given[fold != n], right[fold != n])(given[fold == n])
    for name, own in (("by weights of other words", odds), ("by weights of now", CALIBRATIONS[False, index.proposes](given))):
        for how, scores in (("alone", own), ("together", compete(own, term, window, start, end))):
            terms = []
            for k, word in enumerate(words):
                mine = scores[term == k]
                score = mine - index.threshold(mine)
                terms.append(Scored(score, right[term == k], sum(word in one for one in said)))
            print(name, how, {**summary(terms, index.duration), "atwv": twv(terms, index.duration, 0.0)}, flush=True)


def asked(index: Index, data: Path, words: Sequence[str]) -> Tuple[Side, np.ndarray]:
    """The words of a sample looked for in an index: scores (utterances, words)."""
    side = Side(index, 0.0, data, "test")
    side.terms["late"] = list(words)
    side.right["late"] = np.array([[word in said for word in words] for said in side.said])
    _, odds, utterance, term = side.candidates(side.queries("late"))
    return side, highest(side, "late", side.compared(odds, term), utterance, term)


def main() -> None:
    """Both ways, and their difference."""
    options = parser().parse_args()
    files = open_files(Path(options.bundle))
    engine: Any = k2.open(files)
    recogniser = Recogniser(engine, files.manifest)
    if options.fit:
        fitted(engine, recogniser, options.features, options.fit)
        return
    data = options.features.parent / read_json(options.features / "stage.json")["inputs"]["data"]
    cuts = sorted(CutSet.from_jsonl_lazy(options.features / "cuts_test.jsonl.gz"), key=lambda cut: cut.id)
    said = {cut.id: set(cut.supervisions[0].text.split()) for cut in cuts}
    random, known = np.random.default_rng(0), set(recogniser.rows().words)
    words = sorted(set().union(*said.values()) - known)
    words = sorted(random.permutation(words)[: options.words].tolist())
    theirs = [cut for cut in cuts if said[cut.id] & set(words)]
    others = [cut for cut in cuts if not said[cut.id] & set(words)]
    own = theirs + [others[n] for n in random.permutation(len(others))[: len(theirs)]]
    before, seconds = indexed(engine, recogniser, options.features, own)
    side, late = asked(before, data, words)
    print(f"{len(words)} words, {len(own)} utterances, {side.trials:.0f} s, recognised in {seconds:.0f} s", flush=True)
    recogniser.add_words(words)
    after, seconds = indexed(engine, recogniser, options.features, own)
    _, anew = asked(after, data, words)
    scores, right = {ANEW: anew, LATE: late}, side.right["late"]
    rows = compared(side, "late", scores, ANEW)
    most = int((anew[~right] >= 0).sum())  # false alarms of decoding anew, at the index's own threshold
    for row in rows:
        own = scores[row["system"]]
        lowest = np.sort(own[~right])[::-1][most]
        row.update(found=round(float((own[right] > lowest).mean()), 3), false_alarms=most, said=int(right.sum()))
        print(row)
    if options.record:
        write(
            options, files.manifest.corpus, rows, {"utterances": len(own), "seconds": round(side.trials), "cpu": round(seconds)}
        )


def write(options: argparse.Namespace, corpus: str, rows: List[Dict[str, Any]], size: Dict[str, int]) -> None:
    """The record, and the page of all records."""
    about = {"corpus": corpus, "recipe": options.recipe, "overrides": named_overrides(options.set), "machine": machine("cpu")}
    folder, tables = ROOT / "egs" / corpus, []
    write_record(folder, "late_words", {**about, **size, "rows": rows, **git_state(ROOT)})
    head = ["words", "found", "false alarms", "MAP", "MTWV", "OTWV", "MAP below", "MTWV below"]
    for record in records_of(folder, "late_words"):
        cells = [
            [row["system"], f"{row['found']:.3f}", str(row["false_alarms"]), *(f"{row[k]:.3f}" for k in ("map", "mtwv", "otwv"))]
            + [" to ".join(f"{v:.3f}" for v in row.get(k, [])) for k in ("map_below", "mtwv_below")]
            for row in record["rows"]
        ]
        count, times = record["rows"][0]["terms"], record["rows"][0]["said"]
        caption = (
            f"{record['utterances']} utterances, {record['seconds'] / 60:.0f} min, in which the words are said {times} times. "
            f"Found: with as many false alarms as decoding anew has at the index's own threshold. Below: 95% intervals of how "
            f"far late words are below words that were added before, 1,000 bootstrap samples of words. Decoding anew takes "
            f"{record['cpu']} s of CPU time."
        )
        tables.append(Table(f"{count} words that training lacks, {what(record)}, test", caption, head, cells, 1))
    write_page(folder, "late_words", tables)


if __name__ == "__main__":
    main()
