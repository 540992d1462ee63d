"""Counts of the n-grams of a text, of every order up to the highest, from one sort.

A record is made for each word and </s>: it and the words before it, as many as the highest order wants. Before <s> there is
nothing (PAD). Sorted in suffix order, records of one suffix are neighbours, so the counts of an order come from those of the
next in one pass: how often an n-gram occurs, and how many different words precede it (Heafield et al. 2013).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional

import numpy as np

from utils.core.errors import UserError
from utils.core.files import read_json, write_json
from utils.ngrams.keys import Packing, first_of_each
from utils.ngrams.tables import Block, Sorter, Table, whole_groups

PAD, BOS_ID, EOS_ID, FIRST_ID = 0, 1, 2, 3  # ids; words follow
LEVEL = {"raw": "<u4", "adjusted": "<u4"}
ROW = 150  # bytes of memory, about, a row of a block that is worked on; twice that for keys of 128 bits


@dataclass
class Counts:
    """Counts of all orders, in suffix order.

    `raw`: how often an n-gram occurs. `adjusted`: how many different words precede it; `raw` of those that begin with <s>.
    A level has records that begin before <s>, too, for the levels below.
    """

    packing: Packing
    levels: Dict[int, Table]  # order -> table
    of_counts: Dict[str, Dict[int, List[int]]]  # column -> order -> how many n-grams have the count 1, 2, 3, 4
    sentences: int
    tokens: int  # words and </s>

    @property
    def order(self) -> int:
        """The highest order."""
        return self.packing.order


def rows_of(memory: int, packing: Packing) -> int:
    """Rows of a block that is worked on with so many bytes of memory."""
    return max(1000, memory // (ROW * packing.width))


def counted(texts: Iterable[np.ndarray], packing: Packing, memory: int, folder: Optional[Path] = None) -> Counts:
    """Count the n-grams of sentences of word ids, each from BOS_ID to EOS_ID; arrays hold whole sentences.

    Args:
      memory: bytes for sorting.
      folder: for what does not fit; None: everything is kept in memory.
    Raises:
      UserError: there is no text.
    """
    sorter = Sorter(packing.width, {"raw": "<u4"}, memory, folder, summed=True)
    for ids in texts:
        sorter.add(records(ids, packing), {})
    return levels(sorter, packing, memory, folder)


def records(ids: np.ndarray, packing: Packing) -> np.ndarray:
    """A key in suffix order for each word and </s> of sentences: it and the words before it in its sentence."""
    columns, own, before = [], ids != BOS_ID, ids
    for n in range(packing.order):
        columns.append(before[own])
        ended = before <= BOS_ID  # <s> or PAD: nothing is before
        before = np.concatenate([np.zeros(n + 1, ids.dtype), ids[: -n - 1]])[: len(ids)]
        before = np.where(ended, PAD, before)
    return packing.pack(columns)


def levels(sorter: Sorter, packing: Packing, memory: int, folder: Optional[Path] = None) -> Counts:
    """The counts of every order from the sorted records; the sorter's runs are deleted. Levels in the folder are taken again."""
    order, rows = packing.order, rows_of(memory, packing)
    about = folder / "counts.json" if folder else None
    if about and about.exists():
        tables = {n: Table(packing.width, LEVEL, _level(folder, n)) for n in range(1, order + 1)}
        return _described(Counts(packing, tables, {}, 0, 0), read_json(about))
    tables = {order: _top(sorter, packing, rows, folder)}
    of_counts: Dict[str, Dict[int, List[int]]] = {name: {} for name in LEVEL}
    for n in range(order, 0, -1):
        below = Table(packing.width, LEVEL, _level(folder, n - 1)) if n > 1 else None
        found = {name: np.zeros(5, np.int64) for name in LEVEL}
        sentences = tokens = 0
        for keys, columns in whole_groups(tables[n].blocks(rows), packing):
            real = packing.at(keys, 0) != PAD
            for name, sums in found.items():
                sums += np.bincount(np.minimum(columns[name][real], 5), minlength=6)[:5]
            if n == 1:
                tokens += int(columns["raw"].sum(dtype=np.int64))
                sentences += int(columns["raw"][packing.at(keys, 0) == EOS_ID].sum())
            if below is not None and not below.finished:
                below.append(*_suffixes(keys, columns, packing))
        for name, sums in found.items():
            of_counts[name][n] = [int(x) for x in sums[1:]]
        if below is not None:
            tables[n - 1] = below if below.finished else below.finish()
    if not tokens:
        raise UserError("there is no text to estimate an n-gram LM from")
    made = Counts(packing, tables, of_counts, sentences, tokens)
    if about:
        write_json(about, {"of_counts": of_counts, "sentences": sentences, "tokens": tokens})
    return made


def _top(sorter: Sorter, packing: Packing, rows: int, folder: Optional[Path]) -> Table:
    """The level of the highest order."""
    table = Table(packing.width, LEVEL, _level(folder, packing.order))
    if not table.finished:
        for keys, columns in sorter.blocks(rows):
            table.append(keys, {**columns, "adjusted": columns["raw"]})
        table.finish()
    sorter.remove()
    return table


def _suffixes(keys: np.ndarray, columns: Dict[str, np.ndarray], packing: Packing) -> Block:
    """The next lower level of whole groups of a level."""
    shorter = packing.shorter(keys)
    first = first_of_each(shorter)
    raw = np.add.reduceat(columns["raw"], first, dtype=np.uint64)
    if int(raw.max()) > np.iinfo(np.uint32).max:
        raise UserError(f"a word occurs {int(raw.max())} times, which is more than can be counted; take less text")
    starts = packing.at(keys[first], 0) == PAD  # alone in its group: it begins with <s>, or before it
    return shorter[first], {"raw": raw, "adjusted": np.where(starts, raw, np.diff(first, append=len(keys)))}


def _level(folder: Optional[Path], n: int) -> Optional[Path]:
    return folder / f"level-{n}" if folder else None


def _described(counts: Counts, about: Dict) -> Counts:
    counts.of_counts = {name: {int(n): found for n, found in of.items()} for name, of in about["of_counts"].items()}
    counts.sentences, counts.tokens = about["sentences"], about["tokens"]
    return counts


def batches_of_ids(tokens: Iterator[int], size: int = 1 << 20) -> Iterator[np.ndarray]:
    """Word ids in arrays that end with a sentence. For small texts: it takes one id at a time."""
    waiting: List[int] = []
    for token in tokens:
        waiting.append(token)
        if token == EOS_ID and len(waiting) >= size:
            yield np.array(waiting, np.int32)
            waiting = []
    if waiting:
        yield np.array(waiting, np.int32)
