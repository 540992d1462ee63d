"""Which records are comparable, and how systems compare.

A cell is one system (a recipe with settings) with one decoding on one set of utterances, over its seeds. Systems are compared
only on the same utterances with the same normaliser; a corpus with several such sets has rows for each.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from utils.core.errors import UserError
from utils.pipeline.variants import display_name
from utils.results.records import Record, decoding_rank, result_decoding
from utils.text.scoring import Difference, difference, interval


@dataclass(frozen=True)
class Cell:
    """The records of one corpus (or one of its sets), system and decoding: one a seed, sorted by seed."""

    corpus: str
    system: str
    decoding: str
    records: Tuple[Record, ...]

    @property
    def seeds(self) -> List[int]:
        """Seeds, sorted."""
        return [r["seed"] for r in self.records]

    @property
    def name(self) -> str:
        """The system as tables and pictures name it; † marks records of uncommitted code."""
        return display_name(self.records[0]["recipe"], self.records[0]["overrides"]) + " †" * self.dirty

    @property
    def wer(self) -> float:
        """Mean WER over the seeds, percent."""
        return float(np.mean([r["wer"] for r in self.records]))

    @property
    def measure(self) -> str:
        """By what the cell is compared with others: wer, or cer where all is measured in characters."""
        return measure(self.records)

    @property
    def rates(self) -> List[float]:
        """The measure of each seed, percent."""
        return [r[self.measure] for r in self.records]

    @property
    def rate(self) -> float:
        """Mean of the measure over the seeds."""
        return float(np.mean(self.rates))

    @property
    def oracle(self) -> Optional[float]:
        """Mean of the oracle error rate over the seeds, in the measure."""
        own = [r["oracle_wer"] if self.measure == "wer" else r["characters"]["oracle"] for r in self.records]
        return _mean(own)

    def total(self, key: str) -> int:
        """Sum over the seeds of one of `records.COUNTED`, in the measure."""
        return sum(counts(r, self.measure)[key] for r in self.records)

    @property
    def dirty(self) -> bool:
        """Whether a record is of uncommitted code."""
        return not all(r["git_clean"] for r in self.records)

    @property
    def plain(self) -> bool:
        """Whether this is a recipe with its default settings."""
        return not self.records[0]["overrides"]

    def mean(self, key: str) -> Optional[float]:
        """Mean of a key over the seeds; None where a record lacks a value."""
        return _mean([r[key] for r in self.records])

    def mean_of(self, key: str, item: str) -> Optional[float]:
        """Mean over the seeds of one item of a mapping, such as the seconds of a stage."""
        return _mean([r[key].get(item) for r in self.records])

    @property
    def rtf(self) -> Optional[float]:
        """Real-time factor, the sum over the links, mean over the seeds; a lower bound where `untimed`."""
        return _mean([sum(r["rtf"].values()) or None for r in self.records])

    @property
    def rtf_after_front_end(self) -> Optional[float]:
        """The same without the front end; None for a recogniser that reads audio itself."""
        if any("front_end" not in r["rtf"] and "features" not in r["fingerprints"] for r in self.records):
            return None
        return _mean([sum(v for link, v in r["rtf"].items() if link != "front_end") or None for r in self.records])

    @property
    def untimed(self) -> bool:
        """Whether the front end of a record was not timed, so the sum over its links lacks a part."""
        return any(r["rtf"] and "features" in r["fingerprints"] and "front_end" not in r["rtf"] for r in self.records)

    @property
    def recognising_mb(self) -> Optional[float]:
        """Peak memory of recognising, MB: the largest of decode and rescore, mean over the seeds."""
        stages = [[r["peak_memory_mb"].get(stage) for stage in ("decode", "rescore")] for r in self.records]
        return _mean([max((mb for mb in both if mb is not None), default=None) for both in stages])

    @property
    def interval(self) -> Tuple[float, float]:
        """95% interval of the measure over utterances: the record's own, or of the errors summed over the seeds."""
        if len(self.records) == 1:
            low, high = self.records[0][f"{self.measure}_interval"]
            return low, high
        errors, words = pooled(self.records, self.measure)
        return interval(errors, words)


def measure(records: Iterable[Record]) -> str:
    """What records are compared by: cer where all of them are measured in characters, else wer."""
    return "cer" if all(r["characters"] for r in records) else "wer"


def counts(record: Record, by: str) -> Mapping[str, Any]:
    """The counts of a record (`records.COUNTED`) in words or characters; by: wer or cer."""
    return record["characters"] if by == "cer" else record


def system_name(record: Record) -> str:
    """Recipe and settings: what tells one system from another."""
    return " ".join([record["recipe"], *record["overrides"]])


def cells(records: Iterable[Record]) -> List[Cell]:
    """Group records; in a cell with clean records, those of uncommitted code are left out."""
    records = list(records)
    sets = _corpus_names(records)
    groups: Dict[Tuple[str, str, str], List[Record]] = {}
    for record in records:
        groups.setdefault((sets[_set(record)], system_name(record), record["decoding"]), []).append(record)
    out = []
    for (corpus, system, decoding), group in sorted(groups.items(), key=lambda item: (item[0][:2], decoding_rank(item[0][2]))):
        group = [r for r in group if r["git_clean"]] or group
        out.append(Cell(corpus, system, decoding, tuple(sorted(group, key=lambda r: r["seed"]))))
    return out


def results(all_cells: Iterable[Cell]) -> List[Cell]:
    """The cell of the last decoding of each corpus and system, sorted by corpus, then the measure."""
    groups: Dict[Tuple[str, str], Dict[str, Cell]] = {}
    for cell in all_cells:
        groups.setdefault((cell.corpus, cell.system), {})[cell.decoding] = cell
    last = [group[result_decoding(group)] for group in groups.values()]
    return sorted(last, key=lambda c: (c.corpus, c.rate, c.system))


def headlines(records: Iterable[Record], dev: Iterable[Record]) -> List[Record]:
    """The records of each recipe's default settings, and of the settings with the fewest errors on dev.

    Args:
      records: to choose from.
      dev: of the split dev.
    """
    best: Dict[Tuple[str, str], str] = {}
    for cell in results(cells(dev)):
        best.setdefault((cell.records[0]["corpus"], cell.records[0]["recipe"]), cell.system)
    return [r for r in records if not r["overrides"] or best.get((r["corpus"], r["recipe"])) == system_name(r)]


def against(cell: Cell, baseline: Cell) -> Optional[Difference]:
    """Paired bootstrap of a system against another on the seeds that both have, in their measure; None where they share no seed.

    Raises:
      UserError: the two were scored on other utterances, references or with another normaliser.
    """
    ours, theirs = {r["seed"]: r for r in cell.records}, {r["seed"]: r for r in baseline.records}
    shared = sorted(set(ours) & set(theirs))
    by = measure([one[seed] for one in (ours, theirs) for seed in shared])
    for seed in shared:
        same = [ours[seed][key] == theirs[seed][key] for key in ("utterance_set", "normaliser")]
        same.append(counts(ours[seed], by)["utterance_words"] == counts(theirs[seed], by)["utterance_words"])
        for key, equal in zip(("utterance_set", "normaliser", "utterance_words"), same):
            if not equal:
                raise UserError(
                    f"{cell.system} and {baseline.system} on {cell.corpus} (seed {seed}) differ in '{key}': "
                    "they were not scored on the same text and are not comparable; score both again"
                )
    if not shared:
        return None
    errors, words = pooled([ours[s] for s in shared], by)
    return difference(errors, pooled([theirs[s] for s in shared], by)[0], words)


def pooled(records: Sequence[Record], by: str) -> Tuple[np.ndarray, np.ndarray]:
    """Errors and reference words, or characters, by utterance, summed over records of one set of utterances: (U,), (U,)."""
    errors, words = ([counts(r, by)[key] for r in records] for key in ("utterance_errors", "utterance_words"))
    return np.sum(errors, axis=0), np.sum(words, axis=0)


def notes(shown: Sequence[Cell], given: Sequence[Record]) -> List[str]:
    """The conditions behind tables: machines, threads, commits, uncommitted code, different sets, utterances left out.

    Args:
      shown: the cells in the tables.
      given: all records from which they were made.
    """
    records = [r for cell in shown for r in cell.records]
    out = [_conditions(records)]
    names: Dict[str, set] = {}
    for record in given:
        names.setdefault(record["corpus"], set()).add(_set(record))
    for corpus, sets in sorted(names.items()):
        if len(sets) > 1:
            out.append(
                f"{corpus} was scored on {len(sets)} different sets of utterances or with different normalisers: "
                "the set is in brackets, and only rows of one set are comparable."
            )
    for corpus in sorted({c.corpus for c in shown}):
        if len({r["fingerprints"]["data"] for c in shown if c.corpus == corpus for r in c.records}) > 1:
            out.append(f"{corpus}: the systems' data stages differ, so they may have been trained on different data.")
    if any(c.dirty for c in shown):
        out.append("†: made from uncommitted code; such records are not in the repository.")
    hidden = len(given) - len(records)
    if hidden:
        out.append(f"Left out: {hidden} record{'s' * (hidden > 1)} of uncommitted code, for which clean ones exist.")
    lost = max((r["utterances_left_out"] for r in records), default=0)
    if lost:
        out.append(
            f"Up to {lost} utterance{'s' * (lost > 1)} of a split could not be scored; see left_out.tsv of the features stage."
        )
    return out


def _mean(values: Sequence[Optional[float]]) -> Optional[float]:
    return None if None in values else float(np.mean(values))


def _conditions(records: Sequence[Record]) -> str:
    parts = []
    for singular, plural, value in (
        ("machine", "machines", lambda r: r["machine"]),
        ("device", "devices", lambda r: r["device"]),
        ("number of training threads", "numbers of training threads", lambda r: str(r["threads"])),
        ("commit", "commits", lambda r: r["git_commit"][:9]),
    ):
        counts = Counter(value(r) for r in records).most_common()
        shown = ", ".join(v if len(counts) == 1 else f"{v} ({n})" for v, n in counts[:6]) + ("…" if len(counts) > 6 else "")
        parts.append(f"{singular}: {shown}" if len(counts) == 1 else f"{len(counts)} {plural}, with how many records: {shown}")
    dates = sorted(r["date"][:10] for r in records)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    text = f"{len(records)} record{'s' * (len(records) > 1)} of {when}; {'; '.join(parts)}."
    if len({(r["machine"], r["device"], r["threads"]) for r in records}) > 1:
        text += " Seconds and real-time factors of different machines, devices or threads are not comparable."
    return text


def _set(record: Record) -> Tuple[str, str, str]:
    return record["corpus"], record["normaliser"], record["utterance_set"]


def _corpus_names(records: Sequence[Record]) -> Dict[Tuple[str, str, str], str]:
    """(corpus, normaliser, utterance set) -> the corpus, with the set in brackets where there are several."""
    keys = {_set(r) for r in records}
    several = {name for name, count in Counter(key[0] for key in keys).items() if count > 1}
    return {key: f"{key[0]} [{key[1]}, {key[2][:6]}]" if key[0] in several else key[0] for key in keys}
