"""Benchmark: how well words are found in an index, against texts, lattices, and dynamic time warping.

python -m tests.bench.terms --bundle BUNDLE --rescore STAGE_7 --text "1-best text=HYPS.jsonl"

The indexes are made of the features of stage 1 and of the n-best lists of stage 7, whose words are the bundle's. Utterances are
units: a term's hit is an utterance that has it. The weights of a hit's scores are fitted on dev (printed, for
utils/search/index.py) and never on test. Words that training has and words that it lacks are apart. Intervals are 95% of 1,000
bootstrap samples of terms, paired with the index.
"""

import argparse
import time
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Set, Tuple

import numpy as np
from lhotse import CutSet

from tests.bench.common import records_of, what, write_page, write_record
from utils.bundle.files import open_files
from utils.bundle.recogniser import Recogniser
from utils.core.files import ROOT, read_json, read_jsonl
from utils.core.splits import cuts_path
from utils.core.tables import Table
from utils.core.versions import git_state, machine
from utils.engine import k2
from utils.engine.evidence import evidence
from utils.engine.k2 import K2Engine
from utils.recognition.outcomes import Segment
from utils.rescore.nbest_lists import NBestList, read_lists
from utils.rescore.rescoring import flatten, totals
from utils.rescore.scores import Kinds, decodings
from utils.results.records import named_overrides
from utils.search.calibration import Calibration, fit, log_odds
from utils.search.contents import Indexed, compact, unpacked
from utils.search.index import Index, Query
from utils.search.measures import Scored, average_precision, summary, term_threshold, twv
from utils.search.scoring import UNREACHABLE, advance, begin, sounds
from utils.search.shards import About, Source, shard_of
from utils.train.dataset import Features, ordered_batches

SAMPLES, THRESHOLDS, HOURS = 1000, 400, 10.0
NEVER = -1e6
FAINT = 0.002  # as in utils/engine/k2.py
CAPTION = "Below the index: 95% intervals of the difference, 1,000 bootstrap samples of terms."


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.terms", description=__doc__.split("\n", 1)[0])
    p.add_argument("--bundle", required=True)
    p.add_argument("--rescore", required=True, type=Path, help="folder of stage 7 that the bundle was made of")
    p.add_argument("--text", action="append", default=[], metavar="NAME=FILE", help="a control: hyps-*-test.jsonl")
    p.add_argument("--recipe", default="whisper_wordvec", help="of the bundle, for the record")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the bundle, for the record")
    p.add_argument("--record", action="store_true", help="write the record and its page")
    return p


def lists_of(rescore: Path, split: str) -> Tuple[List[NBestList], str]:
    """The n-best lists of the last decoding of stage 7, and its name."""
    name = [d.name for d in decodings() if d.name in read_json(rescore / "weights.json")][-1]
    folder = rescore / "parts" / (name if (rescore / "parts" / name).is_dir() else "nbest") / split
    return [one for path in sorted(folder.glob("*.jsonl")) for one in read_lists(path)], name


def posteriors(rescore: Path, split: str, vocabulary: Set[str], vectors: bool = True) -> Dict[str, Dict[str, float]]:
    """Utterance -> words of its hypotheses with their posteriors.

    Args:
      vectors: False for the weights of the n-gram model alone.
    """
    lists, name = lists_of(rescore, split)
    weights = read_json(rescore / "weights.json")[name if vectors else "lm"]
    flat = flatten(lists, Kinds(unknown={w for one in lists for path in one.paths for w in path.words} - vocabulary))
    total, out = totals(flat, weights) * weights["confidence"]["scale"], {}
    for n, one in enumerate(lists):
        own = total[flat.splits[n] : flat.splits[n + 1]]
        shares = np.exp(own - own.max())
        found: Dict[str, float] = {}
        for path, share in zip(one.paths, (shares / shares.sum()).tolist()):
            for word in set(path.words):
                found[word] = found.get(word, 0.0) + share
        out[one.id] = {word: min(1.0, p) for word, p in found.items() if p >= FAINT}
    return out


def index_of(engine: K2Engine, recogniser: Recogniser, rescore: Path, split: str) -> Tuple[Index, float]:
    """An index of a split, as steps.index would make it, from features and lists that are there; its seconds beyond decoding."""
    chain, inputs, table = engine.chain(), read_json(rescore / "stage.json")["inputs"], recogniser.rows()
    features = rescore.parent / inputs["features"]
    chain.decoder.features = Features(features, cache_gb=0.0)
    heard = posteriors(rescore, split, set(table.words))
    cuts, found = list(CutSet.from_jsonl_lazy(features / f"cuts_{split}.jsonl.gz")), []
    spent = 0.0
    for batch in ordered_batches(cuts, chain.decoder.batch_seconds()):
        output = chain.decoder.network(batch)[0]
        for n, cut in enumerate(batch):
            one = evidence(output, n, chain.frame_seconds, cut.duration)
            arcs = [(word, 0.0, cut.duration, p) for word, p in heard[cut.id].items()]
            window, more = timed(compact, one, arcs, table)
            spent += more
            segment = Segment(0.0, Indexed([], [], cut.duration, window=window))
            found.append((Source(cut.id, {"path": cut.id}, cut.duration), [segment]))
    about = About("", len(recogniser.units), table.vectors.shape[1], chain.frame_seconds, recogniser.language)
    shard, more = timed(shard_of, found, about)
    return Index([shard], chain.frame_seconds, recogniser), spent + more


class Side:
    """A split: its index, references and terms."""

    def __init__(self, index: Index, beyond: float, data: Path, split: str) -> None:
        said = {cut.id: set(cut.supervisions[0].text.split()) for cut in CutSet.from_jsonl_lazy(cuts_path(data, split))}
        self.index, self.ids = index, [one.name for one in index.sources]
        self.said = [said[one] for one in self.ids]
        self.trials, self.beyond = index.duration, beyond / index.duration
        words = sorted(set().union(*self.said))
        self.terms = {
            "heard": [w for w in words if w in index.vocabulary],
            "unseen": [w for w in words if w not in index.vocabulary],
        }
        self.right = {name: np.array([[w in said for w in own] for said in self.said]) for name, own in self.terms.items()}

    def queries(self, group: str) -> List[Query]:
        return self.index.queries(self.terms[group])

    def scored(self, group: str, scores: np.ndarray) -> List[Scored]:
        """scores: (utterances, terms), NEVER where there is no hit."""
        right = self.right[group]
        kept = [np.flatnonzero(column > NEVER) for column in scores.T]
        return [Scored(scores[own, k], right[own, k], int(right[:, k].sum())) for k, own in enumerate(kept)]

    def compared(self, odds: np.ndarray, term: np.ndarray) -> np.ndarray:
        """Log-odds of hits, less those of the threshold of their term."""
        out = odds.copy()
        for k in np.unique(term):
            own = term == k
            out[own] -= log_odds(term_threshold(1 / (1 + np.exp(-odds[own])), self.trials))
        return out

    def candidates(self, queries: Sequence[Query]) -> Tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Features, log-odds, utterance and term of all candidates."""
        places = self.index.places(queries)
        term = np.repeat(np.arange(len(queries)), [len(one.window) for one in places])
        window, odds = np.concatenate([one.window for one in places]), np.concatenate(self.index.odds(queries, places))
        return np.concatenate([one.features for one in places]), odds, self.index.source[window], term


def highest(side: Side, group: str, values: np.ndarray, utterance: np.ndarray, term: np.ndarray) -> np.ndarray:
    """Values of hits as scores of utterances: (utterances, terms)."""
    out = np.full((len(side.ids), len(side.terms[group])), NEVER)
    np.maximum.at(out, (utterance, term), values)
    return out


def shares(scores: np.ndarray, scale: float = 0.5) -> np.ndarray:
    """Each utterance's share of its term (sum to one, Mamou et al. 2013), so that terms can have one threshold."""
    scaled = scale * np.maximum(scores, -1e4)
    powers = np.exp(scaled - scaled.max(0))
    return powers / powers.sum(0)


def all_sounds(side: Side, queries: Sequence[Query]) -> np.ndarray:
    """The sounds of every term in every utterance, without a quick look: (utterances, terms)."""
    index, term = side.index, sounds([query.spoken for query in queries])
    out = np.full((len(side.ids), len(queries)), UNREACHABLE)
    for n, source in enumerate(index.source):
        values = unpacked(index.subword[index.edges[0][n] : index.edges[0][n + 1]])
        if len(values):
            found = np.maximum.reduceat(advance(begin(term), term, values)[0].max(0), term.edges)
            out[source] = np.maximum(out[source], found)
    return out


def looked(side: Side, queries: Sequence[Query]) -> np.ndarray:
    """The quick look alone: (utterances, terms)."""
    out = np.full((len(side.ids), len(queries)), UNREACHABLE)
    np.maximum.at(out, side.index.source, side.index.look(queries))
    return out


def of_words(side: Side, words: Sequence[str], heard: Mapping[str, Mapping[str, float]]) -> np.ndarray:
    """Posteriors of what was heard: (utterances, terms)."""
    return np.array([[heard[one].get(word, NEVER) for word in words] for one in side.ids])


def of_text(side: Side, words: Sequence[str], path: Path) -> np.ndarray:
    """1 where a text has a word. path: of hypotheses, or of proposals of Whisper's decoder, whose best is its own text."""
    said = {row["id"]: set(row["hyp"] if "hyp" in row else next(iter(row["hyps"]), ())) for row in read_jsonl(path)}
    return np.array([[1.0 if word in said.get(one, ()) else NEVER for word in words] for one in side.ids])


def curves(terms: Sequence[Scored], trials: float) -> np.ndarray:
    """TWV of each term at THRESHOLDS thresholds: (terms, THRESHOLDS)."""
    hits = np.concatenate([t.scores[t.right] for t in terms] or [np.zeros(0)])  # the best threshold is the score of a right hit
    points = np.append(np.quantile(hits, np.linspace(0, 1, THRESHOLDS), method="lower") if len(hits) else [], np.inf)
    out = []
    for t in terms:
        gains = np.where(t.right, 1 / t.true, -999.9 / (trials - t.true))
        order = np.argsort(t.scores)
        tail = np.append(np.cumsum(gains[order][::-1])[::-1], 0.0)
        out.append(tail[np.searchsorted(t.scores[order], points)])
    return np.array(out)


def interval(values: np.ndarray) -> List[float]:
    return [round(float(v), 3) for v in np.quantile(values, [0.025, 0.975])]


def compared(side: Side, group: str, systems: Mapping[str, np.ndarray], first: str) -> List[Dict[str, Any]]:
    """A row a system: its measures, and how far `first` is above it."""
    rng, rows = np.random.default_rng(0), []
    terms = {name: side.scored(group, scores) for name, scores in systems.items()}
    precision = {name: np.array([average_precision(t) for t in own]) for name, own in terms.items()}
    values = {name: curves(own, side.trials) for name, own in terms.items()}
    count = len(side.terms[group])
    samples = [np.bincount(rng.integers(0, count, count), minlength=count) / count for _ in range(SAMPLES)]
    best = {name: np.array([(sample @ one).max() for sample in samples]) for name, one in values.items()}
    mean = {name: np.array([sample @ one for sample in samples]) for name, one in precision.items()}
    for name, own in terms.items():
        row: Dict[str, Any] = {
            "group": group,
            "system": name,
            **{k: round(v, 3) for k, v in summary(own, side.trials).items()},
        }
        if name == first:
            row["atwv"] = round(twv(own, side.trials, 0.0), 3)  # at the index's own threshold
        else:
            row["map_below"], row["mtwv_below"] = interval(mean[first] - mean[name]), interval(best[first] - best[name])
        rows.append(row)
    return rows


def timed(work: Any, *given: Any) -> Tuple[Any, float]:
    started = time.process_time()
    found = work(*given)
    return found, time.process_time() - started


def main() -> None:
    """Fit on dev, measure on test."""
    options = parser().parse_args()
    files = open_files(Path(options.bundle))
    engine: Any = k2.open(files)
    recogniser = Recogniser(engine, files.manifest)
    inputs = read_json(options.rescore / "stage.json")["inputs"]
    data = options.rescore.parent / inputs["data"]
    dev, test = (Side(*index_of(engine, recogniser, options.rescore, s), data, s) for s in ("dev", "test"))
    texts = [(name, path) for name, _, path in (text.partition("=") for text in options.text)]
    if "propose" in inputs:
        texts.append(("Whisper's own text", str(options.rescore.parent / inputs["propose"] / "proposals.jsonl")))
    weights: Dict[str, Calibration] = {}
    for group in ("heard", "unseen"):
        given, _, utterance, term = dev.candidates(dev.queries(group))
        weights[group] = fit(given, dev.right[group][utterance, term])
        on_dev = dev.scored(group, highest(dev, group, dev.compared(weights[group](given), term), utterance, term))
        print(group, weights[group], summary(on_dev, dev.trials), flush=True)
    rows: List[Dict[str, Any]] = []
    for group in ("unseen", "heard"):
        queries = test.queries(group)
        vectors, quick = timed(looked, test, queries)
        heard, slow = timed(all_sounds, test, queries)
        (_, kept, utterance, term), both = timed(test.candidates, queries)
        systems = {
            "index": highest(test, group, test.compared(kept, term), utterance, term),
            "vectors alone": shares(vectors),
            "sounds alone": shares(heard),
            "vectors + sounds": shares(vectors + heard),
        }
        for name, how in (("hypotheses, posteriors", True), ("lattice, posteriors without vectors", False)):
            heard_words = posteriors(options.rescore, "test", test.index.vocabulary, how)
            systems[name] = of_words(test, test.terms[group], heard_words)
        for name, path in texts:
            systems[name] = of_text(test, test.terms[group], Path(path))
        found = compared(test, group, systems, "index")
        cost = {"vectors alone": quick, "sounds alone": slow, "index": both}
        rows += [{**row, **({"seconds": round(cost[row["system"]], 2)} if row["system"] in cost else {})} for row in found]
        for row in found:
            print(row, flush=True)
    rows.append({"beyond": round(test.beyond, 5), **speed(test.index)})
    print(rows[-1])
    if options.record:
        write(options, recogniser.manifest.corpus, rows)


def longer(index: Index) -> int:
    """Make an index of at least HOURS hours: the same as often as needed, one after the other; returns how often."""
    times = int(np.ceil(HOURS * 3600 / index.duration))
    for name in ("frames", "scale", "normaliser", "speech", "subword", "starts", "lengths", "channel", "alive"):
        setattr(index, name, np.concatenate([getattr(index, name)] * times))
    index.source = np.concatenate([index.source] * times)
    for head in (0, 1):
        edges = index.edges[head]
        index.edges[head] = np.append(0, np.concatenate([edges[1:] + n * edges[-1] for n in range(times)]))
    index.duration *= times
    vars(index).pop("spoken", None)  # is made anew
    return times


def speed(index: Index) -> Dict[str, Any]:
    """Milliseconds of a query over HOURS hours."""
    longer(index)
    queries = index.queries(["february", "umbrella", "breakfast", "kangaroo", "weather"])
    looks, finds = ([timed(work, [query])[1] for query in queries] for work in (index.look, index.find))
    return {
        "group": "speed",
        "hours": round(index.duration / 3600, 1),
        "look_ms": round(1000 * float(np.median(looks))),
        "query_ms": round(1000 * float(np.median(finds))),
    }


def write(options: argparse.Namespace, corpus: str, rows: List[Dict[str, Any]]) -> None:
    """The record, and the page of all records."""
    about = {"corpus": corpus, "recipe": options.recipe, "overrides": named_overrides(options.set), "machine": machine("cpu")}
    folder, tables, notes = ROOT / "egs" / corpus, [], []
    write_record(folder, "terms", {**about, "rows": rows, **git_state(ROOT)})
    head = ["system", "MAP", "P@N", "MTWV", "OTWV", "MAP below the index", "MTWV below the index", "CPU seconds"]
    for record in records_of(folder, "terms"):
        for group, title in (("unseen", "words that training lacks"), ("heard", "words that training has")):
            own = [row for row in record["rows"] if row["group"] == group]
            cells = [
                [row["system"], *(f"{row[k]:.3f}" for k in ("map", "p_at_n", "mtwv", "otwv"))]
                + [_span(row.get("map_below")), _span(row.get("mtwv_below")), str(row.get("seconds", ""))]
                for row in own
            ]
            tables.append(Table(f"Finding {own[0]['terms']} {title}: {what(record)}, test", CAPTION, head, cells, 1))
            notes.append(f"{tables[-1].title}: ATWV of the index {own[0]['atwv']:.3f}, at thresholds from its probabilities.")
        fast = record["rows"][-1]
        notes.append(
            f"{what(record)}: over {fast['hours']} hours, on one core, the quick look takes {fast['look_ms']} ms a word, a query "
            f"{fast['query_ms']} ms. Making the index takes {fast['beyond']:.4f} of real time beyond decoding."
        )
    write_page(folder, "terms", tables, notes)


def _span(values: Any) -> str:
    return f"{values[0]:.3f} to {values[1]:.3f}" if values else ""


if __name__ == "__main__":
    main()
