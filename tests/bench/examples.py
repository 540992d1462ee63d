"""Benchmark: words found by one recording of them, in an index, against dynamic time warping on the features.

python -m tests.bench.examples --bundle BUNDLE --rescore STAGE_7

Each example is a word within an utterance of test; the others that have the word are to be found. Dynamic time warping compares
the frames of stage 1 (Whisper's encoder, 40 ms, cosine). Its steps are 0, 1 or 2 frames of the utterance a frame of the example;
the score is the mean distance. The network's look at an example is timed apart: features for warping need it as well. With
--efficientword, EfficientWord-Net's few-shot embeddings of 1.5 s (utils/requirements/benches.txt), by cosine, too.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
from lhotse import CutSet

from tests.bench.common import write_page, write_record
from tests.bench.terms import NEVER, Side, compared, highest, index_of, longer
from utils.bundle.files import open_files
from utils.bundle.recogniser import Recogniser
from utils.core.files import ROOT, read_json
from utils.core.tables import Table
from utils.core.versions import git_state, machine
from utils.engine import k2
from utils.search.contents import unpacked
from utils.search.examples import Example
from utils.search.index import Query
from utils.search.scoring import advance, begin, sounds

EXAMPLES, FEWEST, UNITS = 60, 3, 5


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.examples", description=__doc__.split("\n", 1)[0])
    p.add_argument("--bundle", required=True)
    p.add_argument("--rescore", required=True, type=Path, help="folder of stage 7 that the bundle was made of")
    p.add_argument("--recipe", default="whisper_wordvec", help="of the bundle, for the record")
    p.add_argument("--efficientword", action="store_true", help="measure EfficientWord-Net, too")
    p.add_argument("--record", action="store_true", help="write the record and its page")
    return p


def frames_of(cuts: Dict[str, Any], ids: List[str]) -> Tuple[np.ndarray, np.ndarray]:
    """Unit frames of 40 ms of all utterances (T, D), and where each begins, and the last ends."""
    parts = []
    for one in ids:
        x = cuts[one].load_features()
        x = x[: len(x) // 2 * 2].reshape(-1, 2, x.shape[1]).mean(1)
        parts.append((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32))
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


def warped(query: np.ndarray, frames: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Least mean distance of a query (M, D) to a part of each utterance."""
    cost = 1 - query @ frames.T
    total, first = cost[0].copy(), np.zeros(len(frames), bool)
    first[edges[:-1]] = True
    second = np.roll(first, 1) | first
    for row in cost[1:]:
        one, two = np.roll(total, 1), np.roll(total, 2)
        one[first], two[second] = np.inf, np.inf
        total = row + np.minimum(total, np.minimum(one, two))
    return np.minimum.reduceat(total, edges[:-1]) / len(query)


class EfficientWord:
    """Embeddings of windows of all utterances by EfficientWord-Net."""

    STEP = 0.5  # seconds between two windows

    def __init__(self, cuts: Dict[str, Any], ids: List[str]) -> None:
        from eff_word_net.audio_processing import Resnet50_Arc_loss

        self.model = Resnet50_Arc_loss()
        vectors: List[np.ndarray] = []
        length, step, edges = self.model.window_frames, int(self.STEP * 16000), []
        for one in ids:
            audio = cuts[one].load_audio()[0]
            edges.append(len(vectors))
            starts = range(0, max(1, len(audio) - length + step), step)
            vectors += [self.embedded(audio[start : start + length]) for start in starts]
        self.vectors, self.edges = np.stack(vectors), np.array(edges)

    def embedded(self, audio: np.ndarray) -> np.ndarray:
        """(dim,) of at most 1.5 s, which stand in the middle."""
        missing = self.model.window_frames - len(audio)
        padded = np.pad(audio[: self.model.window_frames], (max(0, missing) // 2, max(0, missing + 1) // 2))
        return self.model.audioToVector(padded.astype(np.float32))[0]

    def find(self, audio: np.ndarray) -> np.ndarray:
        """The highest cosine in each utterance with an example."""
        return np.maximum.reduceat(self.vectors @ self.embedded(audio), self.edges)


def main() -> None:
    """Find the examples by all ways."""
    options = parser().parse_args()
    files = open_files(Path(options.bundle))
    engine: Any = k2.open(files)
    recogniser = Recogniser(engine, files.manifest)
    inputs = read_json(options.rescore / "stage.json")["inputs"]
    side = Side(*index_of(engine, recogniser, options.rescore, "test"), options.rescore.parent / inputs["data"], "test")
    index = side.index
    cuts = {cut.id: cut for cut in CutSet.from_jsonl_lazy(options.rescore.parent / inputs["features"] / "cuts_test.jsonl.gz")}
    words = sorted(set().union(*side.said))
    queries = {query.text: query for query in index.queries(words)}
    often = [w for w in words if sum(w in said for said in side.said) >= FEWEST and min(map(len, queries[w].spoken)) >= UNITS]
    chosen = [often[n] for n in sorted(np.random.default_rng(0).permutation(len(often))[:EXAMPLES])]
    side.terms["example"], frames = chosen, frames_of(cuts, side.ids)
    side.right["example"] = np.array([[w in said for w in chosen] for said in side.said])
    found, warp = np.full((2, len(side.ids), len(chosen)), NEVER)
    seconds = {"index": 0.0, "dynamic time warping": 0.0, "index: the example's own network": 0.0}
    asked: List[Query] = []
    other, few_shot = EfficientWord(cuts, side.ids) if options.efficientword else None, np.full_like(found, NEVER)
    at = time.process_time()
    _ = index.spoken  # which later queries share
    once = time.process_time() - at
    for k, word in enumerate(chosen):
        own = next(n for n, said in enumerate(side.said) if word in said)
        term = sounds([queries[word].spoken])
        values = unpacked(index.subword[index.edges[0][own] : index.edges[0][own + 1]])
        scores, starts = advance(begin(term), term, values)
        row, variant = np.unravel_index(scores.argmax(), scores.shape)
        first, last = int(starts[row, variant]), int(row) + 1
        audio, rate = cuts[side.ids[own]].load_audio()[0], cuts[side.ids[own]].sampling_rate
        at = time.process_time()
        query = index.example({word: Example(audio, rate, (first * 0.04, last * 0.04))})
        seconds["index: the example's own network"] += time.process_time() - at
        asked.append(query)
        at = time.process_time()
        places = index.places([query])[0]
        (odds,) = index.odds([query], [places])
        threshold = index.threshold(odds)
        seconds["index"] += time.process_time() - at
        hits = highest(side, "example", odds - threshold, index.source[places.window], np.full(len(places.window), k))
        found[:, k] = hits[:, k]
        at = time.process_time()
        warp[:, k] = -warped(frames[0][frames[1][own] + first : frames[1][own] + last], *frames)
        seconds["dynamic time warping"] += time.process_time() - at
        if other:
            at = time.process_time()
            few_shot[:, k] = other.find(audio[int(first * 0.04 * rate) : int(last * 0.04 * rate)])
            seconds["EfficientWord-Net"] = seconds.get("EfficientWord-Net", 0.0) + time.process_time() - at
        found[own, k] = warp[own, k] = few_shot[own, k] = NEVER
        side.right["example"][own, k] = False
    systems = {"index": found, "dynamic time warping": warp, **({"EfficientWord-Net": few_shot} if other else {})}
    rows = compared(side, "example", systems, "index")
    hours, times = index.duration / 3600, longer(index)
    _ = index.spoken
    at = time.process_time()
    for query in asked:
        index.threshold(index.odds([query], index.places([query]))[0])
    over = {name: times * spent for name, spent in seconds.items()}
    over["index"] = time.process_time() - at
    for row in rows:
        row["ms_a_query"] = round(1000 * seconds[row["system"]] / len(chosen), 2)
        row["ms_longer"] = round(1000 * over[row["system"]] / len(chosen), 2)
        print(row)
    network = round(1000 * seconds["index: the example's own network"] / len(chosen))
    print("network of the example, ms", network, "once for an index, s", round(once, 2))
    if options.record:
        spans = (f"ms a query, {hours:.1f} h", f"ms a query, {times * hours:.1f} h")
        head = ["way", "MAP", "P@N", "MAP below the index", *spans]
        cells = [
            [
                r["system"],
                f"{r['map']:.3f}",
                f"{r['p_at_n']:.3f}",
                " to ".join(f"{v:.3f}" for v in r.get("map_below", [])),
                f"{r['ms_a_query']:.1f}",
                f"{r['ms_longer']:.1f}",
            ]
            for r in rows
        ]
        corpus = files.manifest.corpus
        about = {"corpus": corpus, "recipe": options.recipe, "overrides": [], "machine": machine("cpu")}
        record = {**about, "rows": rows, "network_ms": network, "once_s": round(once, 2), **git_state(ROOT)}
        write_record(ROOT / "egs" / corpus, "examples", record)
        title = f"Finding {len(chosen)} words by one recording of each in {hours:.1f} hours, {corpus}, test"
        caption = (
            f"CPU time on one core. {times * hours:.1f} h are the same recordings {times} times. The network takes {network} ms "
            f"for an example beside that, and the first query of an opened index {once:.1f} s."
        )
        write_page(ROOT / "egs" / corpus, "examples", [Table(title, caption, head, cells, 1)])


if __name__ == "__main__":
    main()
