"""Wake words that a bundle misses at a given rate of false alarms, from text and from three recordings, in noise.

    python -m tests.bench.wake_words --bundle BUNDLE --corpora FOLDER [--asterisk FOLDER] --cache FOLDER [--examples 3]

Recordings of `alexa`, `jarvis` and `smart mirror`, and the speech and noise that lack them (tests/bench/wake_word_audio.py says
which), all with noise mixed in at 10 dB. A recording counts as missed where no hit at the threshold lies in it or up to 0.5 s
after it, as in Picovoice's wake-word-benchmark. The threshold is the lowest with at most so many false alarms an hour. What the
network says is kept in the cache; a second run is quick. Writes egs/<corpus>/wake_words.jsonl and wake_words.md, where the
corpus is the bundle's.
"""

import sys
import time
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch

from tests.bench.common import records_of, write_page, write_record
from tests.bench.wake_word_audio import AROUND, RATE, WORDS, Noise, Part, clean, keep, kept, name_of, parts, samples_of
from utils.bundle.evidence import Evidence, Rows
from utils.bundle.recogniser import Recogniser
from utils.core.files import ROOT
from utils.core.tables import Table, as_text, number, span
from utils.core.versions import git_state, machine
from utils.spotting.calibration import bounds, threshold
from utils.spotting.decoder import looked_at
from utils.spotting.keywords import Keyword, from_text, of_evidence
from utils.spotting.spotter import THRESHOLD, Hit, Settings, Spotter, Spotting

RATES = (0.5, 0.1)  # false alarms an hour
CHUNK = 0.32  # seconds of a stream at once
LOWEST = -42.0  # score of a hit that is looked at
LOOKS = 10.0  # an hour, by the decoder, at speech without the word
SPOTTED = -100.0  # of a recording without one
BOOTSTRAP = 1000
PUBLISHED = {"Porcupine": 2.7, "Snowboy": 31.9, "PocketSphinx": 52.0}  # at 0.1 an hour, by Picovoice


@dataclass
class Scores:
    """The best score of each recording."""

    said: np.ndarray  # (N,) of the keyword
    others: np.ndarray  # (A,) of every false alarm above LOWEST


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = ArgumentParser(description=__doc__, allow_abbrev=False)
    p.add_argument("--bundle", type=Path, required=True)
    p.add_argument("--corpora", type=Path, required=True)
    p.add_argument("--asterisk", type=Path, default=Path("none"))
    p.add_argument("--cache", type=Path, required=True)
    p.add_argument("--examples", type=int, default=3)
    p.add_argument("--draws", type=int, default=10)
    p.add_argument("--looked", type=int, default=1000, help="recordings of a word that the decoder hears; 0: none")
    p.add_argument("--words", default=",".join(WORDS))
    options = p.parse_args(arguments)
    torch.set_num_threads(1)
    recogniser = Recogniser.open(options.bundle)
    found = parts(options.corpora, options.asterisk)
    noise = Noise(options.corpora)
    options.cache.mkdir(parents=True, exist_ok=True)
    for part in found:
        if part.name != "noise":
            keep(recogniser, part, "noisy", partial(_noisy, noise, part), options.cache)
        if part.name == "noise" or not part.background:
            keep(recogniser, part, "clean", clean, options.cache)
    about = recogniser.manifest
    corpus = ROOT / "egs" / about.corpus
    record: Dict[str, Any] = {"corpus": about.corpus, "recipe": about.recipe, "overrides": [], "model": about.model}
    record.update(
        costs=_costs(options.cache, recogniser.rows()),
        device="cpu",
        machine=machine("cpu"),
        torch=torch.__version__,
        **git_state(ROOT),
    )
    for rows in _measured(recogniser, options, found, noise):  # the second look takes long: what is known is written before
        write_record(corpus, "wake_words", {**record, "rows": rows})
    for table in draw(corpus):
        print(as_text(table))
    return 0


def _noisy(noise: Noise, part: Part, path: Path) -> np.ndarray:
    """A recording with noise; of a keyword with noise around it, too."""
    return noise.add(samples_of(path), name_of(path), around=0.0 if part.background else AROUND)


def heard(noise: Noise, part: Part, path: Path) -> np.ndarray:
    """A recording as the benchmark has it, (T,) at RATE: with noise, unless it is noise."""
    return clean(path) if _condition(part) == "clean" else _noisy(noise, part, path)


def _measured(recogniser: Recogniser, options: Any, found: Sequence[Part], noise: Noise) -> Iterator[List[Dict[str, Any]]]:
    """The rows of all words: each way to make a keyword, first without the second look, then with it too."""
    words, table = options.words.split(","), recogniser.rows()
    texts = {word: from_text(recogniser, word.replace("_", " ")) for word in words}
    drawn = {word: _drawn(options, word, texts[word], table) for word in words}
    keywords = [
        replace(one, name=f"{word}/{n}") for word in words for n, (one, _) in enumerate([(texts[word], []), *drawn[word]])
    ]
    paths = {(part.name, name_of(path)): path for part in found for path in part.files}

    def samples(part: Part, name: str) -> np.ndarray:
        return heard(noise, part, paths[part.name, name])

    began = time.process_time()
    places, names, seconds = _spotted(
        options.cache, table, keywords, [part for part in found if part.background or part.name in words]
    )
    took, hours = time.process_time() - began, sum(seconds[part.name] for part in found if part.background) / 3600
    print(
        f"{hours:.2f} h without the words; {len(keywords)} keywords took {took / sum(seconds.values()):.4f} of real time",
        flush=True,
    )
    rows: List[Dict[str, Any]] = []
    own = {
        name: [place for place in some if place[0].background or place[0].name == name.split("/")[0]]
        for name, some in places.items()
    }
    for decoder in (False, True) if options.looked else (False,):
        for word in words:
            seen: Dict[Tuple[str, str, float, float], float] = {}
            asked = names[word][:: max(1, len(names[word]) // options.looked)] if decoder else names[word]
            scores: Dict[str, List[Scores]] = {}
            for n, (keyword, chosen) in enumerate([(texts[word], []), *drawn[word]]):
                some, rest = own[f"{word}/{n}"], [name for name in asked if name not in chosen]
                found_in = _looks(recogniser, samples, seen, table, hours, keyword, some, rest) if decoder else _plain(some, rest)
                scores.setdefault(("recordings" if n else "text") + ", decoder" * decoder, []).append(found_in)
            for way, several in scores.items():
                each = [row_of(word, way, one, hours) for one in several]
                means = {key: round(float(np.mean([row[key] for row in each])), 2) for key in each[0] if key.startswith("missed")}
                rows.append({**each[0], **means, "draws": len(each)})
                print(rows[-1], flush=True)
        yield rows


def _drawn(options: Any, word: str, text: Keyword, table: Rows) -> List[Tuple[Keyword, List[str]]]:
    """Keywords from recordings drawn at random, without noise, and the names of these."""
    random, quiet = np.random.default_rng(3), list(kept(options.cache, word, "clean"))
    out = []
    for _ in range(options.draws):
        chosen = [quiet[n] for n in random.choice(len(quiet), options.examples, replace=False)]
        out.append((of_evidence(text.name, [evidence for _, evidence in chosen], table, text), [name for name, _ in chosen]))
    return out


def _condition(part: Part) -> str:
    return "clean" if part.name == "noise" else "noisy"


Place = Tuple[Part, str, Hit]


def _spotted(
    cache: Path, table: Rows, keywords: Sequence[Keyword], found: Sequence[Part]
) -> Tuple[Dict[str, List[Place]], Dict[str, List[str]], Dict[str, float]]:
    """The hits of each keyword by sounds and vectors; of each part the names of its recordings, and its seconds."""
    spotter = Spotter(keywords, table, [LOWEST] * len(keywords), Settings(decoder=0.0))
    places: Dict[str, List[Place]] = {keyword.name: [] for keyword in keywords}
    names: Dict[str, List[str]] = {part.name: [] for part in found}
    seconds = dict.fromkeys(names, 0.0)
    for part in found:
        own = set(map(name_of, part.files))
        for name, evidence in kept(cache, part.name, _condition(part)):
            if name not in own:
                continue
            names[part.name].append(name)
            seconds[part.name] += evidence.seconds
            for hit in spotter.hits(evidence) if len(evidence.subword) else ():
                places[hit.keyword].append((part, name, hit))
    return places, names, seconds


def _strongest(places: Sequence[Place]) -> Dict[str, Place]:
    """The best hit of each recording that has the keyword."""
    return {place[1]: place for place in sorted(places, key=lambda place: place[2].score) if not place[0].background}


def _plain(places: Sequence[Place], names: Sequence[str]) -> Scores:
    """Scores by sounds and vectors alone."""
    best = {name: place[2].score for name, place in _strongest(places).items()}
    others = [hit.score for part, _, hit in places if part.background]
    return Scores(np.array([best.get(name, SPOTTED) for name in names]), np.array(others))


def _looks(
    recogniser: Recogniser,
    samples: Callable[[Part, str], np.ndarray],
    seen: Dict[Tuple[str, str, float, float], float],
    table: Rows,
    hours: float,
    keyword: Keyword,
    places: Sequence[Place],
    names: Sequence[str],
) -> Scores:
    """Scores with the second look, which only hits get whose first score has at most LOOKS false alarms an hour.

    Args:
      seen: what the decoder said before, by part, name and times; it gets what it says now.
    """
    spotter = Spotter([keyword], table, [-np.inf], Settings())

    def look(place: Place) -> float:
        part, name, hit = place
        key = (part.name, name, hit.start, hit.end)
        if key not in seen:
            seen[key] = looked_at(recogniser, spotter, [replace(hit, keyword=keyword.name)], samples(part, name), RATE)[0].decoder
        return hit.score + spotter.settings.decoder * seen[key]

    alarms = sorted((place for place in places if place[0].background), key=lambda place: -place[2].score)[: int(LOOKS * hours)]
    gate = alarms[-1][2].score
    best = {name: look(place) for name, place in _strongest(places).items() if name in names and place[2].score >= gate}
    return Scores(np.array([best.get(name, SPOTTED) for name in names]), np.array([look(place) for place in alarms]))


def _costs(cache: Path, table: Rows) -> Dict[str, float]:
    """Processor time of so many keywords from text beside the network's, in parts of real time: files, and streams in chunks."""
    some = [evidence for _, evidence in islice(kept(cache, "speechocean762", "noisy"), 200)]
    costs = {}
    for count in (10, 1000):
        rows = range(min(count, len(table.words)))
        keywords = [Keyword(table.words[n], table.vectors[[n]], table.bias[[n]], table.spoken[n], [table.words[n]]) for n in rows]
        spotter = Spotter(keywords, table, [THRESHOLD] * len(keywords))
        for name, way in ((f"{count}", spotter.hits), (f"{count}, live", partial(_live, spotter))):
            began = time.process_time()
            for evidence in some:
                way(evidence)
            costs[name] = round((time.process_time() - began) / sum(evidence.seconds for evidence in some), 5)
    print("parts of real time", costs, flush=True)
    return costs


def _live(spotter: Spotter, evidence: Evidence) -> None:
    """As a stream brings what the network says."""
    stream = Spotting(spotter, evidence.subword_seconds, evidence.word_seconds)
    for start in np.arange(0.0, evidence.seconds, CHUNK):
        fine, coarse = (
            slice(round(start / frame), round((start + CHUNK) / frame))
            for frame in (evidence.subword_seconds, evidence.word_seconds)
        )
        stream.accept(evidence.subword[fine], evidence.frames[coarse], evidence.blank[coarse])
    stream.finish()


def row_of(word: str, way: str, scores: Scores, hours: float, least: float = LOWEST * 3) -> Dict[str, Any]:
    """What is missed at each rate, with a 95% interval over recordings, and the exact interval of the rate.

    Args:
      least: a recording that has less was not looked at.
    """
    row: Dict[str, Any] = {"word": word, "way": way, "recordings": len(scores.said), "hours": round(hours, 2)}
    random = np.random.default_rng(0)
    for rate in RATES:
        lowest = threshold(scores.others.tolist(), hours, rate)
        missed = (scores.said < max(lowest, least)) | (scores.said == -np.inf)
        again = missed[random.integers(len(missed), size=(BOOTSTRAP, len(missed)))].mean(1)
        alarms = int((scores.others >= lowest).sum())
        row[f"missed at {rate:g}"] = round(100 * float(missed.mean()), 2)
        row[f"interval at {rate:g}"] = [round(100 * float(x), 2) for x in np.percentile(again, [2.5, 97.5])]
        row[f"false alarms at {rate:g}"] = [alarms, *(round(x, 3) for x in bounds(alarms, hours))]
    return row


def draw(corpus: Path) -> List[Table]:
    """Write wake_words.md of a corpus folder from wake_words.jsonl; returns its table."""
    rows: List[List[str]] = []
    for record in records_of(corpus, "wake_words"):
        ways = list(dict.fromkeys(row["way"] for row in record["rows"]))
        for way in ways:
            own = [row for row in record["rows"] if row["way"] == way]
            rows += [_cells(record, row) for row in own]
            if len(own) > 1:
                mean = {f"missed at {rate:g}": float(np.mean([row[f"missed at {rate:g}"] for row in own])) for rate in RATES}
                rows.append(_cells(record, {"word": "mean", "way": way, **mean}))
    shown = ", ".join(f"{name} {value:g}%" for name, value in PUBLISHED.items())
    table = Table(
        f"Wake words missed: {corpus.name}",
        "Percent of the recordings of a wake word in which it is not found, at a rate of false alarms an hour, with 10 dB of "
        "noise in recordings and in the speech without them; 95% interval over recordings (bootstrap) and exact 95% interval of "
        "the rate of false alarms, both at the lowest rate. Published at 0.1 an hour on six words, in noise of which a fifth "
        "has speech: "
        f"{shown}.",
        [
            "recipe",
            "keyword from",
            "word",
            "recordings",
            "hours",
            *(f"missed at {rate:g}" for rate in RATES),
            "interval",
            "false alarms",
            "an hour",
        ],
        rows,
        3,
    )
    costs = [
        [record["recipe"], keywords, number(100 * part, 2)]
        for record in records_of(corpus, "wake_words")
        for keywords, part in record["costs"].items()
    ]
    second = Table(
        "Cost", "Processor time beside the network's, percent of real time.", ["recipe", "keywords", "percent"], costs, 2
    )
    write_page(corpus, "wake_words", [table, second])
    return [table, second]


def _cells(record: Mapping[str, Any], row: Mapping[str, Any]) -> List[str]:
    last = f"{RATES[-1]:g}"
    once = row.get("draws") == 1  # an interval over recordings says nothing of other draws
    interval, alarms = row.get(f"interval at {last}") if once else None, row.get(f"false alarms at {last}")
    cells = [
        record["recipe"],
        row["way"],
        row["word"],
        str(row.get("recordings", "")),
        number(row["hours"], 1) if "hours" in row else "",
    ]
    cells += [number(row[f"missed at {rate:g}"]) for rate in RATES]
    cells.append(span(*interval) if interval else "")
    return [*cells, *([str(alarms[0]), span(alarms[1], alarms[2], 2)] if alarms else ["", ""])]


if __name__ == "__main__":
    sys.exit(main())
