"""Keyword events of live streams: how probable their probabilities are, how late they come, and what they cost.

    python -m tests.bench.keyword_events --bundle BUNDLE --data FOLDER [--probabilities 300] [--minutes 5]

FOLDER is a finished stage 0. Probabilities: words and phrases of dev are looked for in its recordings; a hit is right if its
recording has the words. The logistic regression of utils/watching/probability.py has the weights that all of them give, which
are in the record; how well such weights fit is measured with those of one half on the other. Delays and costs: recordings of
test are played at their own speed in one stream, with ten keywords; every other recording has one of them. Writes
egs/<corpus>/keyword_events.jsonl and keyword_events.md.
"""

import sys
import threading
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch

from tests.bench.common import records_of, write_page, write_record
from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.tables import Table, as_text, number
from utils.core.versions import git_state, machine
from utils.corpus.audio import load as load_audio
from utils.corpus.cuts import read_cuts
from utils.live.events import Ended, Event, Failed, Keyword
from utils.live.live import Live
from utils.search.calibration import fit
from utils.spotting.decoder import looked_at, looks
from utils.spotting.keywords import from_text
from utils.spotting.listening import BACK, STEP
from utils.spotting.spotter import THRESHOLD, THRESHOLD_DECODER, Hit, Spotter
from utils.watching.doors import Doors
from utils.watching.probability import features
from utils.watching.watching import Watching

SHORTEST, SHORTEST_LIVE = 4, 5  # letters of a keyword
KEYWORDS = 100
LIVE = 10  # keywords of a stream
PAUSE = 1.0  # seconds of near silence between two recordings
BLOCK = 0.05  # seconds of audio that come at once
BINS = 10
SHARES = (50, 95, 100)  # percentiles

Said = Tuple[np.ndarray, int, List[str]]  # samples, rate, words
Judged = Tuple[int, Hit, bool]  # number of the recording, and whether the hit is right


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = ArgumentParser(description=__doc__, allow_abbrev=False)
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--probabilities", type=int, default=300, metavar="N", help="recordings of dev; 0: none")
    p.add_argument("--minutes", type=float, default=5.0, help="of test, live; 0: none")
    options = p.parse_args(arguments)
    torch.set_num_threads(1)
    live = Live.open(options.bundle, doors=Doors.open)
    about = live.manifest
    record: Dict[str, Any] = {"corpus": about.corpus, "recipe": about.recipe, "overrides": [], "model": about.model}
    record.update(device="cpu", machine=machine("cpu"), torch=torch.__version__, rows=[], **git_state(ROOT))
    if options.probabilities:
        record["probabilities"] = _probabilities(live.recogniser, list(_said(options.data, "dev", options.probabilities)))
    if options.minutes:
        live.start()
        record["rows"] = [_live(live, list(_said(options.data, "test", 400)), options, count) for count in (0, LIVE)]
        live.close(finish=False)
    write_record(ROOT / "egs" / about.corpus, "keyword_events", record)
    for table in draw(ROOT / "egs" / about.corpus):
        print(as_text(table))
    return 0


def _said(data: Path, split: str, most: int) -> Iterator[Said]:
    """Recordings of a split in a random order."""
    cuts = list(read_cuts(data, split))
    for n in np.random.default_rng(3).permutation(len(cuts))[:most]:
        samples, rate = load_audio(cuts[n])[0], cuts[n].sampling_rate
        yield samples.astype(np.float32), rate, cuts[n].supervisions[0].text.split()


def _keywords(said: Sequence[Said], count: int) -> List[str]:
    """Words and pairs of words that are said, by chance."""
    rng = np.random.default_rng(4)
    words = sorted({word for _, _, words in said for word in words if len(word) >= SHORTEST})
    pairs = sorted({" ".join(pair) for _, _, words in said for pair in zip(words, words[1:]) if min(map(len, pair)) >= 3})
    chosen = [rng.permutation(some)[: count // 2].tolist() for some in (words, pairs)]
    return [text for some in chosen for text in some]


def _often(said: Sequence[Said], count: int) -> List[str]:
    """The words and pairs of words, half of each, that most recordings have."""
    words = Counter(word for _, _, words in said for word in set(words) if len(word) >= SHORTEST_LIVE)
    pairs = Counter(
        pair for _, _, words in said for pair in {" ".join(two) for two in zip(words, words[1:]) if min(map(len, two)) >= 3}
    )
    return [text for some in (words, pairs) for text, _ in sorted(some.items(), key=lambda one: (-one[1], one[0]))[: count // 2]]


def _has(words: Sequence[str], keyword: str) -> bool:
    return f" {keyword} " in f" {' '.join(words)} "


def _playlist(said: Sequence[Said], keywords: Sequence[str], seconds: float) -> Tuple[np.ndarray, List[Tuple[float, List[str]]]]:
    """Recordings with and without one of the keywords in turn, with pauses: samples, and the end and the words of each."""
    rng, rate = np.random.default_rng(5), said[0][1]
    there = [any(_has(words, keyword) for keyword in keywords) for _, _, words in said]
    turns = zip(*([one for one, own in zip(said, there) if own is wanted] for wanted in (True, False)))
    samples, ends, length = [], [], 0.0  # type: List[np.ndarray], List[Tuple[float, List[str]]], float
    for one in (one for turn in turns for one in turn):
        if length >= seconds:
            break
        samples += [one[0], rng.normal(0, 1e-4, round(PAUSE * rate)).astype(np.float32)]
        length += (len(samples[-2]) + len(samples[-1])) / rate
        ends.append((length, one[2]))
    return np.concatenate(samples), ends


def _probabilities(recogniser: Recogniser, said: Sequence[Said]) -> List[Dict[str, Any]]:
    """Weights from one half of the recordings, and how well they fit the other: of the first look, and of the second if any."""
    decoder = looks(recogniser)
    keywords = [from_text(recogniser, text) for text in _keywords(said, KEYWORDS)]
    units = {keyword.name: min(map(len, keyword.spoken)) for keyword in keywords}
    spotter = Spotter(keywords, recogniser.rows(), [THRESHOLD_DECODER if decoder else THRESHOLD] * len(keywords))
    first, second = [], []  # type: List[Judged], List[Judged]
    for n, (samples, rate, words) in enumerate(said):
        found = spotter.hits(recogniser.evidence([(samples, rate)])[0])
        first += [(n, hit, _has(words, hit.keyword)) for hit in found if hit.score >= THRESHOLD]
        if decoder:
            again = looked_at(recogniser, spotter, found, samples, rate)
            second += [(n, hit, _has(words, hit.keyword)) for hit in again]
    hours = sum(len(samples) / rate for samples, rate, _ in said) / 3600
    return [{"hours": hours, **_fitted(rows, units, rows is second)} for rows in (first, second) if rows]


def _fitted(rows: Sequence[Judged], units: Mapping[str, int], decoder: bool) -> Dict[str, Any]:
    """Weights, and the expected calibration error of those from half of the rows on the other half."""
    x = np.stack([features(hit, units[hit.keyword], decoder) for _, hit, _ in rows])
    right, half = np.array([one for _, _, one in rows]), np.array([n % 2 == 0 for n, _, _ in rows])
    p = 1 / (1 + np.exp(-fit(x[half], right[half])(x[~half])))
    bins, own = np.minimum((p * BINS).astype(int), BINS - 1), right[~half]
    gaps = [abs(p[bins == n].mean() - own[bins == n].mean()) * (bins == n).mean() for n in range(BINS) if (bins == n).any()]
    made = fit(x, right)
    about = {"weights": list(made.weights), "bias": made.bias, "decoder": decoder}
    return {**about, "hits": len(own), "right": int(own.sum()), "gap": float(sum(gaps))}


def _live(live: Live, said: Sequence[Said], options: Namespace, count: int) -> Dict[str, Any]:
    """One stream at its own speed with so many keywords."""
    watching, rate, keywords = Watching(live), said[0][1], _often(said, LIVE)
    audio, ends = _playlist(said, keywords, 60 * options.minutes)
    asked = watching.asked(keywords=keywords[:count]) if count else watching.asked()
    late, ended = [], threading.Event()  # type: List[Tuple[float, bool]], threading.Event
    failed: List[str] = []

    def told(event: Event) -> None:
        if isinstance(event, Keyword):
            words = next((words for end, words in ends if event.end < end), [])
            late.append((time.monotonic() - began - event.end, _has(words, event.text)))
        elif isinstance(event, Failed):
            failed.append(event.message)
        if isinstance(event, Ended):
            ended.set()

    cpu = time.process_time()
    stream, began = watching.stream(rate, told, asked), time.monotonic()
    size = round(BLOCK * rate)
    for first in range(0, len(audio), size):
        time.sleep(max(0.0, began + (first + size) / rate - time.monotonic()))
        stream.accept(audio[first : first + size])
    stream.finish()
    ended.wait(60)
    if failed:
        raise UserError(f"the stream failed: {failed[0]}")
    seconds, right = len(audio) / rate, [delay for delay, own in late if own]
    row: Dict[str, Any] = {
        "keywords": count,
        "minutes": seconds / 60,
        "hits": len(late),
        "all": (time.process_time() - cpu) / seconds,
    }
    if count:
        thread = watching._thread
        assert thread is not None
        row["watching"] = _cpu(thread) / seconds
        row["said"] = sum(_has(words, keyword) for _, words in ends for keyword in keywords)
        row["right"], row["late"] = len(right), [round(float(v), 3) for v in np.percentile(right, SHARES)] if right else []
    watching.close()
    return row


def _cpu(thread: threading.Thread) -> float:
    """Seconds of processor time of a thread."""
    fields = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def draw(corpus: Path) -> List[Table]:
    """Write keyword_events.md of a corpus folder from keyword_events.jsonl; returns its tables."""
    rows, fits = [], []
    for record in records_of(corpus, "keyword_events"):
        for row in record["rows"]:
            late = " / ".join(f"{1000 * v:.0f}" for v in row.get("late", [])) or "–"
            counts = (row.get("said", "–"), row.get("right", "–"), row["hits"])
            cells = [str(row["keywords"]), number(row["minutes"], 1), *map(str, counts), late]
            rows.append([record["recipe"], *cells, number(row["all"], 3), number(row.get("watching", 0.0), 3)])
        for one in record.get("probabilities", []):
            cells = ["yes" if one["decoder"] else "no", number(one["hours"], 2), str(one["hits"]), str(one["right"])]
            fits.append([record["recipe"], *cells, number(one["gap"], 3)])
    header = ["recipe", "keywords", "minutes", "said", "right", "hits", "late ms", "processor", "of which keywords"]
    caption = (
        "One stream at its own speed. Right: hits in recordings that have the keyword. Late, at 50, 95 and 100 percent: from the "
        "end of the keyword to its event, of right hits where they are counted. Processor seconds a second of audio, of all and "
        "of the thread of keywords; Whisper's encoder has threads of its own. A causal model shares the network with the words; "
        f"another one hears the last {BACK:g} s anew, more for a long keyword, every {STEP:g} s while somebody speaks."
    )
    tables = [Table(f"Keyword events: {corpus.name}", caption, header, rows, 1)]
    if fits:
        header = ["recipe", "second look", "hours", "hits", "right", "gap"]
        caption = (
            "Probabilities of hits in recordings of dev that did not fit them. Gap: the mean distance between the probability "
            f"and the share of right hits, in {BINS} bins by probability (expected calibration error)."
        )
        tables.append(Table("Probabilities of keyword events", caption, header, fits, 1))
    write_page(corpus, "keyword_events", tables)
    return tables


if __name__ == "__main__":
    sys.exit(main())
