"""Interpolated modified Kneser-Ney estimation (Chen and Goodman 1998, section 3) from counts, in passes over sorted tables.

Every context of the whole model sums to 1, with and without selection.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from utils.ngrams.counting import BOS_ID, PAD, Counts, rows_of
from utils.ngrams.keys import Keys, Packing, find, first_of_each
from utils.ngrams.tables import Block, Sorter, Table, whole_groups

Discounts = Tuple[float, float, float]  # subtracted from counts of 1, of 2, and of 3 or more
GRAM = {"p": "<f8", "raw": "<u4"}  # probability in its context, and how often it occurs in the text
CONTEXT = {"backoff": "<f8", "raw": "<f8"}
NEVER = 1e-99  # the probability of what can't come next: <s>, and in a context with nothing left, any other word


@dataclass(frozen=True)
class Selection:
    """Which n-grams of several words are kept: those that occur `least` times, and `needed` ones, which are in suffix order.

    `renormalised`: contexts sum to 1 with the kept n-grams; otherwise all is as in the whole model, of which this is a part.
    """

    least: int = 1
    needed: Optional[Dict[int, Keys]] = None  # order -> sorted keys; closed: with an n-gram, its suffix and its context
    always: int = PAD  # a word that is kept after every n-gram that is kept
    renormalised: bool = True


@dataclass(frozen=True)
class Model:
    """A back-off model as tables: n-grams in context order, and what their contexts back off with."""

    packing: Packing
    order: int
    grams: Dict[int, Table]  # order -> its n-grams in context order (GRAM)
    contexts: Dict[int, Table]  # order -> contexts of its n-grams, in suffix order (CONTEXT); from 2
    sentences: int
    tokens: int


def estimate(counts: Counts, order: int, memory: int, folder: Optional[Path] = None, selection: Selection = Selection()) -> Model:
    """The model of an order, at most that of the counts.

    Args:
      memory: bytes for sorting.
      folder: for what does not fit; None: everything is kept in memory.
    """
    packing = counts.packing

    def table(name: str, columns: Dict[str, str]) -> Table:
        return Table(packing.width, columns, folder / name if folder else None)

    model = Model(packing, order, {}, {}, counts.sentences, counts.tokens)
    for n in range(1, order + 1):
        column = "raw" if n == order else "adjusted"
        discount = discounts(counts.of_counts[column][n])
        model.grams[n] = table(f"{order}-grams-{n}", GRAM)
        if n > 1:
            model.contexts[n] = table(f"{order}-contexts-{n}", CONTEXT)
        if n == 1:
            _unigrams(counts, column, discount, model)
        elif not model.contexts[n].finished:
            if model.grams[n].finished:  # killed between the two
                model.grams[n].remove()
                model.grams[n] = table(f"{order}-grams-{n}", GRAM)
            _ngrams(counts, n, column, discount, model, memory, folder, selection)
    return model


def discounts(n: Sequence[int]) -> Discounts:
    """D1, D2, D3+ of Chen and Goodman, estimated from the counts of counts: how many n-grams have the count 1, 2, 3, 4.

    In a small text, counts of counts can be 0, or so uneven that a discount is not in (0, k); then it is half of the count k,
    as in KenLM.
    """
    y = n[0] / (n[0] + 2 * n[1]) if n[0] else 0.0
    values = []
    for k in (1, 2, 3):
        d = k - (k + 1) * y * n[k] / n[k - 1] if y and n[k - 1] and n[k] else 0.0
        values.append(d if 0.0 < d < k else k / 2)
    return values[0], values[1], values[2]


def _unigrams(counts: Counts, column: str, discount: Discounts, model: Model) -> None:
    """Unigrams back off to a uniform distribution over the words that occur, and </s>."""
    keys, columns = counts.levels[1].read(0, counts.levels[1].rows)
    c, raw = columns[column].astype(np.float64), columns["raw"]
    taken = np.array((0.0, *discount))[np.minimum(columns[column], 3)]
    total = c.sum()
    p = (c - taken) / total + _freed(columns[column], discount, np.zeros(1, np.int64))[0] / total / len(keys)
    if model.grams[1].finished:
        return
    at = int(np.searchsorted(keys[:, -1], BOS_ID))
    start = model.packing.pack([np.array([BOS_ID])])
    p, raw = np.insert(p, at, NEVER), np.insert(raw, at, min(counts.sentences, np.iinfo(np.uint32).max))
    model.grams[1].append(np.concatenate([keys[:at], start, keys[at:]]), {"p": p, "raw": raw})
    model.grams[1].finish()


def _ngrams(
    counts: Counts,
    n: int,
    column: str,
    discount: Discounts,
    model: Model,
    memory: int,
    folder: Optional[Path],
    selection: Selection,
) -> None:
    """The n-grams of one order, from those of the order below."""
    packing, rows = counts.packing, rows_of(memory, counts.packing)
    runs = folder / f"{model.order}-sorting-{n}" if folder else None
    sorter = Sorter(packing.width, {"count": "<u4", "raw": "<u4", "keep": "?"}, memory, runs)
    sorter.restart()
    for keys, columns in counts.levels[n].blocks(rows):
        real = packing.at(keys, 0) != PAD
        keys, raw, count = keys[real], columns["raw"][real], columns[column][real]
        keep = _chosen(keys, raw, n, selection)
        sorter.add(packing.by_context(keys, n), {"count": count, "raw": raw, "keep": keep})
    below = model.grams[n - 1]
    for keys, columns in whole_groups(sorter.blocks(rows), packing):
        context = packing.shorter(keys)
        first = first_of_each(context)
        sizes = np.diff(first, append=len(keys))
        count, keep = columns["count"], columns["keep"]
        total = np.add.reduceat(count, first, dtype=np.float64)
        gamma = _freed(count, discount, first) / total
        taken = np.array((0.0, *discount))[np.minimum(count, 3)]
        own = (count - taken) / np.repeat(total, sizes)
        raw_of_context = np.add.reduceat(columns["raw"], first, dtype=np.float64)
        if selection.always != PAD:
            kept_context = _chosen(context[first], raw_of_context, n - 1, selection)
            keep |= np.repeat(kept_context, sizes) & (packing.at(keys, 0) == selection.always)
        lower = np.zeros(len(keys))
        lower[keep] = lookup(below, packing.lower(keys[keep]))
        p = own + np.repeat(gamma, sizes) * lower
        backoff = gamma
        kept = np.add.reduceat(keep, first, dtype=np.int64)
        if selection.renormalised:
            backoff = np.where(kept == sizes, gamma, left_over(np.where(keep, p, 0), np.where(keep, lower, 0), first))
        shown = kept > 0 if selection.renormalised else np.ones(len(first), bool)
        model.contexts[n].append(context[first[shown]], {"backoff": backoff[shown], "raw": raw_of_context[shown]})
        model.grams[n].append(keys[keep], {"p": p[keep], "raw": columns["raw"][keep]})
    model.grams[n].finish()
    model.contexts[n].finish()
    sorter.remove()


def _chosen(keys: Keys, raw: np.ndarray, n: int, selection: Selection) -> np.ndarray:
    """Whether n-grams in suffix order are kept."""
    if n == 1:
        return np.ones(len(keys), bool)
    needed = selection.needed.get(n) if selection.needed else None
    enough = raw >= selection.least
    return enough if needed is None else enough | (find(needed, keys) >= 0)


def lookup(table: Table, wanted: Keys) -> np.ndarray:
    """The probabilities of wanted n-grams, which a table has."""
    if not len(wanted):
        return np.zeros(0)
    order = np.array([wanted[:, -1].argmin(), wanted[:, -1].argmax()]) if wanted.shape[1] == 1 else np.lexsort(wanted.T[::-1])
    keys, columns = table.between(wanted[order[:1]], wanted[order[-1:]])
    rows = find(keys, wanted)
    assert rows.min() >= 0, "an n-gram whose suffix was not kept"
    return columns["p"][rows]


def left_over(p: np.ndarray, lower: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Back-off weights of contexts, (G,), in which n-grams have probabilities `p`, and `lower` in the shorter context."""
    left = 1 - np.add.reduceat(p, first)
    below = 1 - np.add.reduceat(lower, first)
    possible = (left > 1e-12) & (below > 1e-12)
    return np.where(possible, left / np.where(possible, below, 1), NEVER)


def with_backoffs(model: Model, n: int, memory: int, folder: Optional[Path] = None) -> Iterator[Block]:
    """The n-grams of an order in context order, with p, raw and backoff: not a number where they are no context."""
    rows = rows_of(memory, model.packing)
    if n == model.order:
        for keys, columns in model.grams[n].blocks(rows):
            yield keys, {**columns, "backoff": np.full(len(keys), np.nan)}
        return
    runs = folder / f"{model.order}-backoffs-{n}" if folder else None
    sorter = Sorter(model.packing.width, {"backoff": "<f8"}, memory, runs)
    sorter.restart()
    for keys, columns in model.contexts[n + 1].blocks(rows):
        sorter.add(model.packing.by_context(keys, n), {"backoff": columns["backoff"]})
    found = Table(model.packing.width, {"backoff": "<f8"}, folder / f"{model.order}-sorted-backoffs-{n}" if folder else None)
    if not found.finished:
        for keys, columns in sorter.blocks(rows):
            found.append(keys, columns)
        found.finish()
    sorter.remove()
    for keys, columns in model.grams[n].blocks(rows):
        known, more = found.between(keys[:1], keys[-1:])
        at = find(known, keys)
        backoff = np.full(len(keys), np.nan)
        backoff[at >= 0] = more["backoff"][at[at >= 0]]
        yield keys, {**columns, "backoff": backoff}
    found.remove()


def _freed(count: np.ndarray, discount: Discounts, first: np.ndarray) -> np.ndarray:
    """What discounting takes from the counts of each group, (G,)."""
    parts: List[np.ndarray] = [count == 1, count == 2, count >= 3]
    sums = [np.add.reduceat(part, first, dtype=np.int64) for part in parts]
    return sum((d * n for d, n in zip(discount, sums)), np.zeros(len(first)))
