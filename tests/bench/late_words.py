"""Benchmark: words that came after an index was made, found without decoding again, against decoding anew with them added.

python -m tests.bench.late_words --bundle BUNDLE --features STAGE_1

A sample of the words of test that training lacks, the utterances that have them, and as many others. These are recognised twice
by the bundle's whole chain: with its own vocabulary, and with the sample added to it (`Recogniser.add_words`). Each gives an
index, and each is asked for the sample. Utterances are units, as in tests.bench.terms.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from lhotse import CutSet

from tests.bench.common import records_of, what, write_page, write_record
from tests.bench.terms import Side, compared, highest
from utils.bundle.files import open_files
from utils.bundle.recogniser import Recogniser
from utils.core.files import ROOT, read_json
from utils.core.tables import Table
from utils.core.versions import git_state, machine
from utils.engine import k2
from utils.engine.k2 import K2Engine
from utils.recognition.outcomes import Segment
from utils.results.records import named_overrides
from utils.search.contents import Indexed, compact
from utils.search.index import Index
from utils.search.shards import About, Source, shard_of
from utils.train.dataset import Features, ordered_batches

LATE, ANEW = "late, not decoded again", "added, decoded anew"


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.late_words", description=__doc__.split("\n", 1)[0])
    p.add_argument("--bundle", required=True)
    p.add_argument("--features", required=True, type=Path, help="folder of stage 1 that the bundle was made of")
    p.add_argument("--words", type=int, default=300)
    p.add_argument("--recipe", default="whisper_wordvec", help="of the bundle, for the record")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the bundle, for the record")
    p.add_argument("--record", action="store_true", help="write the record and its page")
    return p


def indexed(engine: K2Engine, recogniser: Recogniser, features: Path, cuts: Sequence[Any]) -> Tuple[Index, float]:
    """An index of cuts, recognised by the chain with its words of now, and the seconds that this takes."""
    chain, table, found = engine.chain(), recogniser.rows(), {}
    chain.decoder.features = Features(features, cache_gb=0.0)
    at = time.process_time()
    for batch in ordered_batches(list(cuts), chain.decoder.batch_seconds()):
        for cut, one in zip(batch, engine.batch(chain, batch)):
            assert one.evidence is not None
            window = compact(one.evidence, one.arcs, table)
            segment = Segment(0.0, Indexed([], [], cut.duration, window=window))
            found[cut.id] = (Source(cut.id, {"path": cut.id}, cut.duration), [segment])
    about = About("", len(recogniser.units), table.vectors.shape[1], chain.frame_seconds, recogniser.language)
    shard = shard_of([found[cut.id] for cut in cuts], about)
    return Index([shard], chain.frame_seconds, recogniser), time.process_time() - at


def asked(index: Index, data: Path, words: Sequence[str]) -> Tuple[Side, np.ndarray]:
    """The words of a sample looked for in an index: scores (utterances, words)."""
    side = Side(index, 0.0, data, "test")
    side.terms["late"] = list(words)
    side.right["late"] = np.array([[word in said for word in words] for said in side.said])
    queries = side.queries("late")
    given, utterance, term = side.candidates(queries)
    odds = np.concatenate([index.calibration(queries[k])(given[term == k]) for k in range(len(queries))])
    return side, highest(side, "late", side.compared(odds, term), utterance, term)


def main() -> None:
    """Both ways, and their difference."""
    options = parser().parse_args()
    files = open_files(Path(options.bundle))
    engine = k2.open(files)
    recogniser = Recogniser(engine, files.manifest)
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
