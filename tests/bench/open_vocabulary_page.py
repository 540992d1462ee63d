"""The page of tests.bench.open_vocabulary: egs/<corpus>/open_vocabulary.md, from the records beside it."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from tests.bench.common import records_of, spread, write_page
from utils.core.errors import UserError
from utils.core.tables import ABSENT, Table, grouped, number, probability, signed, span
from utils.pipeline.variants import display_name
from utils.results.records import result_decoding
from utils.text.scoring import difference, error_rate

CONTROLS = {"whisper_wordvec": "whisper_bpe_ctc", "wordvec_hybrid": "bpe_ctc"}
Rates = Dict[str, Any]
Settings = Tuple[str, ...]  # corpus, recipe, overrides and how words were added


def draw(corpus: Path) -> List[Table]:
    """Write the page; returns its tables."""
    records = records_of(corpus, "open_vocabulary")
    tables = [added_words(records, corpus.name), longer_lists(records), beside_control(records)]
    tables = [table for table in tables if table.rows]
    write_page(corpus, "open_vocabulary", tables)
    return tables


def added_words(records: Sequence[Mapping[str, Any]], corpus: str) -> Table:
    """The words of dev and test that training lacks, added alone: before and after."""
    rows = []
    for settings, measured in _by_settings(records).items():
        before = [rates["last"] for size, rates in measured if size is None]
        after = [rates for size, rates in measured if size == 0]
        if not after:
            continue
        last, head = [rates["last"] for rates in after], [rates["greedy"] for rates in after if "greedy" in rates]
        rows.append(
            [
                *_name(settings),
                str(len(after)),
                _over(before, "wer", 2),
                _over(last, "wer", 2),
                _over(last, "iv_wer", 2),
                _over(before, "oov_recall"),
                _over(last, "oov_recall"),
                _ends(last, "oov_recall_interval"),
                _over(last, "oov_precision"),
                _over(last, "false_alarms", 0),
                _over(head, "oov_recall"),
                _over(head, "oov_precision"),
            ]
        )
    caption = (
        "The words of dev and test that the training text lacks, added without training. Last decoding of each recipe, means "
        "over seeds: WER without and with them; then with them: WER of the words that training has (insertions counted), "
        "recall of the words that training lacks (and before they were added, 95% bootstrap interval), share of added words "
        "in the output that are right, number that are wrong; recall and precision of the word head alone (greedy). All but "
        "counts in percent. Added alike: all added words are as likely; by frequency: as in the language at large; like "
        "neighbours: they occur where words with the nearest vectors do."
    )
    header = ["corpus", "recipe", "added", "seeds", "WER before", "WER", "IV WER", "recall before", "OOV recall", "95% interval"]
    header += ["precision", "false alarms", "head recall", "head precision"]
    return Table(f"Words added to trained models: test of {corpus}", caption, header, grouped(sorted(rows), 2), 4)


def longer_lists(records: Sequence[Mapping[str, Any]]) -> Table:
    """How recall and WER change as words that nobody says are added too."""
    found = {settings: measured for settings, measured in _by_settings(records).items() if any(size for size, _ in measured)}
    sizes = sorted({size for measured in found.values() for size, _ in measured if size is not None})
    rows = []
    for settings, measured in found.items():
        row = [*_name(settings), str(len({rates["seed"] for size, rates in measured if size}))]
        for size in sizes:
            rates = [r["last"] for other, r in measured if other == size]
            recall, wer = (sum(r[key] for r in rates) / max(len(rates), 1) for key in ("oov_recall", "wer"))
            row.append(f"{number(recall)} at {number(wer)}" if rates else ABSENT)
        rows.append(row)
    caption = (
        "OOV recall, and WER, by the number of other words added too, of cmudict, that nobody says. Last decoding of each "
        "recipe, means over seeds (of the longer lists; the shortest may have more)."
    )
    header = ["corpus", "recipe", "added", "seeds", *(f"{size:,} others" for size in sizes)]
    return Table("With words that nobody says", caption, header, grouped(sorted(rows), 2), 4)


def beside_control(records: Sequence[Mapping[str, Any]]) -> Table:
    """Recall of recipes with word vectors and of their controls without, on the same words and seeds.

    Raises:
      UserError: records of different test sets.
    """
    found: Dict[Settings, Dict[Tuple[int, int], Rates]] = {}  # settings -> (words added, seed) -> rates
    for record in records:
        for row in record["rows"]:
            last = row["decodings"][result_decoding(list(row["decodings"]))]
            if "oov_found" in last:
                found.setdefault(settings_of(record), {})[row["added"], record["seed"]] = last
    rows = []
    for settings, own in found.items():
        corpus, recipe, overrides, how = settings
        kept = " ".join(setting for setting in overrides.split() if not setting.startswith("vectors."))
        control = (corpus, CONTROLS.get(recipe, ""), kept, how)
        shared = sorted(own.keys() & found.get(control, {}).keys())
        for added in sorted({added for added, _ in shared}):
            of_seeds = [(own[key], found[control][key]) for key in shared if key[0] == added]
            pairs = [tuple(rates["oov_found"].split() for rates in pair) for pair in of_seeds]
            if len({tuple(map(len, marks)) for pair in pairs for marks in pair}) != 1:
                raise UserError(f"{' '.join(control)} and its records of {recipe} are of different test sets: measure both again")
            right, theirs = (sum(np.array([m.count("1") for m in pair[n]]) for pair in pairs) for n in (0, 1))
            if not right.sum() and not theirs.sum():
                continue  # nothing was added
            words = len(pairs) * np.array([len(marks) for marks in pairs[0][0]])
            delta = difference(right, theirs, words)
            recalls = (number(error_rate(part, words)) for part in (right, theirs))
            alarms = (number(sum(rates["false_alarms"] for rates in each) / len(each), 0) for each in zip(*of_seeds))
            compared = [signed(delta.value), span(delta.low, delta.high), probability(delta.p), *alarms]
            rows.append([*_name(settings), str(added), str(len(pairs)), *recalls, *compared])
    caption = (
        "Recall of words that the training text lacks, by the last decoding, beside the control without word vectors "
        "(whisper_bpe_ctc or bpe_ctc) with the same words added in the same way, on the seeds that both have: percent; "
        "difference in points, with 95% interval and two-sided p of the paired bootstrap over utterances; false alarms, means "
        "over these seeds. Older records lack which words were found and are not in this table."
    )
    header = ["corpus", "recipe", "added", "words", "seeds", "OOV recall", "control's", "Δ", "Δ interval", "p", "false alarms"]
    return Table("Beside the control without word vectors", caption, [*header, "control's alarms"], grouped(rows, 2), 5)


def settings_of(record: Mapping[str, Any]) -> Settings:
    """What was measured, but for the seed."""
    return record["corpus"], record["recipe"], " ".join(record["overrides"]), " ".join(record["how_added"])


def _by_settings(records: Sequence[Mapping[str, Any]]) -> Dict[Settings, List[Tuple[Any, Rates]]]:
    """Settings -> (number of distractors, or None before any word was added; rates of the last decoding and of greedy words)."""
    found: Dict[Settings, List[Tuple[Any, Rates]]] = {}
    for record in records:
        for row in record["rows"]:
            rates = {"last": row["decodings"][result_decoding(list(row["decodings"]))], "seed": record["seed"]}
            if "greedy" in row["decodings"]:
                rates["greedy"] = row["decodings"]["greedy"]
            found.setdefault(settings_of(record), []).append((row["distractors"], rates))
    return found


def _name(settings: Settings) -> List[str]:
    corpus, recipe, overrides, how = settings
    ways = ["like neighbours" if way.startswith("like-vectors=") else way.replace("-", " ") for way in how.split()]
    return [corpus, display_name(recipe, overrides.split()), ", ".join(ways) or "alike"]


def _over(seeds: Sequence[Rates], key: str, digits: int = 1) -> str:
    return spread([rates[key] for rates in seeds], digits)


def _ends(seeds: Sequence[Rates], key: str) -> str:
    known = [rates[key] for rates in seeds if rates.get(key)]
    return span(*(sum(end) / len(known) for end in zip(*known))) if known else ABSENT
