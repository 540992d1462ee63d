"""Tables of keys and numbers in memory or on a disk, and sorting them in bounded memory: sorted runs, then ranges of keys of all
runs at a time.
"""

import shutil
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, Optional, Tuple

import numpy as np

from utils.core.errors import UserError
from utils.ngrams.keys import Keys, Packing, first_of_each, position, sorting

Columns = Dict[str, np.ndarray]  # name -> (N,)
Block = Tuple[Keys, Columns]
SAMPLES = 64  # keys of each run, a range that is merged, from which the edges of ranges are chosen


class Table:
    """Rows of a key and columns of numbers. Finished, it is read in parts.

    Args:
      width: integers a key.
      columns: name -> type.
      folder: where its files are; None keeps it in memory. A table that is finished there is opened.
    """

    def __init__(self, width: int, columns: Mapping[str, str], folder: Optional[Path] = None) -> None:
        self.width, self.columns, self.folder = width, dict(columns), folder
        self.rows, self.finished = 0, folder is not None and folder.is_dir()
        self._parts: Dict[str, List[np.ndarray]] = {name: [] for name in ("keys", *columns)}
        self._partial = folder.with_name(f"{folder.name}.partial") if folder else None
        if self.finished and folder:
            self.rows = (folder / "keys").stat().st_size // (8 * width)
        elif self._partial:
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir(parents=True)
            for name in self._parts:
                (self._partial / name).touch()

    def append(self, keys: Keys, columns: Columns) -> None:
        """Add rows."""
        for name, values in (("keys", keys), *((name, columns[name].astype(kind)) for name, kind in self.columns.items())):
            if self._partial:
                with open(self._partial / name, "ab") as stream:
                    stream.write(memoryview(np.ascontiguousarray(values)).cast("B") if values.size else b"")
            else:
                self._parts[name].append(values)
        self.rows += len(keys)

    def finish(self) -> "Table":
        """End writing: the table is whole."""
        if self._partial and self.folder:
            self._partial.rename(self.folder)
        self.finished = True
        return self

    def keys(self) -> Keys:
        """All keys, not read from the disk before they are used."""
        if self.folder is None:
            return self._joined("keys")
        if not self.rows:
            return np.zeros((0, self.width), np.uint64)
        return np.memmap(self.folder / "keys", np.uint64, "r", shape=(self.rows, self.width))

    def read(self, start: int, stop: int) -> Block:
        """Rows from `start` to before `stop`."""
        if self.folder is None:
            return self._joined("keys")[start:stop], {name: self._joined(name)[start:stop] for name in self.columns}
        keys = self._from_disk("keys", "<u8", start * self.width, (stop - start) * self.width).reshape(-1, self.width)
        return keys, {name: self._from_disk(name, kind, start, stop - start) for name, kind in self.columns.items()}

    def blocks(self, rows: int) -> Iterator[Block]:
        """All rows in order, so many at a time."""
        for start in range(0, self.rows, rows):
            yield self.read(start, min(start + rows, self.rows))

    def between(self, first: Keys, last: Keys) -> Block:
        """The rows of a sorted table with keys from `first` to `last`, (1, width) each."""
        keys = self.keys()
        start, stop = (position(keys, [int(x) for x in key[0]]) for key in (first, last))
        more = stop < self.rows and bool((np.asarray(keys[stop]) == last[0]).all())
        return self.read(start, stop + more)

    def remove(self) -> None:
        """Delete it from the disk."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _joined(self, name: str) -> np.ndarray:
        parts = self._parts[name]
        if len(parts) != 1:
            empty = np.zeros((0, self.width), np.uint64) if name == "keys" else np.zeros(0, self.columns[name])
            parts[:] = [np.concatenate([empty, *parts])]
        return parts[0]

    def _from_disk(self, name: str, kind: str, start: int, count: int) -> np.ndarray:
        assert self.folder is not None
        return np.fromfile(self.folder / name, kind, count, offset=start * np.dtype(kind).itemsize)


class Sorter:
    """Sorts rows by key, in memory or, where they are more, by runs on disk.

    Args:
      width, columns: as of Table.
      budget: bytes of memory that it may use.
      folder: for the runs, which are taken again from an interrupted sorting; None: all is sorted in memory.
      summed: whether rows of equal keys become one, with the sums of their columns. Rows without columns count as 1 in each.
    """

    def __init__(
        self, width: int, columns: Mapping[str, str], budget: int, folder: Optional[Path] = None, summed: bool = False
    ) -> None:
        self.width, self.columns, self.folder, self.summed = width, columns, folder, summed
        row = 8 * width + sum(np.dtype(kind).itemsize for kind in columns.values())
        self.capacity = max(1000, budget // (3 * row + 16))  # rows: as they came, their order, sorted
        self.runs: List[Table] = []
        while folder and (folder / f"run-{len(self.runs):05d}").is_dir():
            self.runs.append(Table(width, columns, folder / f"run-{len(self.runs):05d}"))
        self._waiting: List[Block] = []
        self._rows = 0

    def add(self, keys: Keys, columns: Columns) -> bool:
        """Add rows in any order; returns whether all rows so far were written to the disk."""
        self._waiting.append((keys, columns))
        self._rows += len(keys)
        if self.folder is None or self._rows < self.capacity:
            return False
        self.spill()
        return True

    def restart(self) -> None:
        """Delete what an interrupted sorting has left."""
        self.remove()
        self.runs.clear()

    def spill(self) -> None:
        """Write the rows that wait as a sorted run."""
        assert self.folder is not None
        run = Table(self.width, self.columns, self.folder / f"run-{len(self.runs):05d}")
        run.append(*self._sorted())
        self.runs.append(run.finish())

    def blocks(self, rows: int) -> Iterator[Block]:
        """All rows in order, about `rows` at a time; all rows of a key are in one block."""
        if not self.runs:
            yield self._sorted()
            return
        if self._waiting:
            self.spill()
        edges = self._edges(rows)
        at = [[position(run.keys(), edge) for edge in edges] for run in self.runs]
        ends = [[0, *places, run.rows] for run, places in zip(self.runs, at)]
        for part in range(len(edges) + 1):
            self._waiting = [run.read(end[part], end[part + 1]) for run, end in zip(self.runs, ends)]
            yield self._sorted()

    def remove(self) -> None:
        """Delete the runs."""
        for run in self.runs:
            run.remove()

    def _edges(self, rows: int) -> List[List[int]]:
        """Keys at which ranges begin, all but the first."""
        total = sum(run.rows for run in self.runs)
        parts = -(-total // rows)
        if parts < 2:
            return []
        stride = max(1, rows // (SAMPLES * len(self.runs)))
        sample = np.concatenate([np.array(run.keys()[::stride]) for run in self.runs])  # copies: no run stays mapped
        sample = sample[sorting(sample)]
        chosen = sample[[n * len(sample) // parts for n in range(1, parts)]]
        return [[int(x) for x in key] for key in chosen[first_of_each(chosen)]]

    def _sorted(self) -> Block:
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return np.zeros((0, self.width), np.uint64), {name: np.zeros(0, kind) for name, kind in self.columns.items()}
        keys = np.concatenate([keys for keys, _ in waiting])
        if not waiting[0][1]:
            del waiting
            return _counted(keys, self.columns)
        columns = {name: np.concatenate([given[name] for _, given in waiting]) for name in self.columns}
        del waiting
        order = sorting(keys)
        keys = keys[order]
        columns = {name: values[order] for name, values in columns.items()}
        return summed(keys, columns) if self.summed else (keys, columns)


def summed(keys: Keys, columns: Columns) -> Block:
    """Sorted rows with one row for each key, and the sums of the columns. Raises UserError where a sum exceeds its type."""
    first = first_of_each(keys)
    if len(first) == len(keys):
        return keys, columns
    sums = {name: np.add.reduceat(values, first, dtype=np.uint64) for name, values in columns.items()}
    for name, values in sums.items():
        if int(values.max()) > np.iinfo(columns[name].dtype).max:
            raise UserError(f"an n-gram occurs {int(values.max())} times, which is more than can be counted; take less text")
    return keys[first], {name: values.astype(columns[name].dtype) for name, values in sums.items()}


def _counted(keys: Keys, columns: Mapping[str, str]) -> Block:
    """Different keys, sorted, and how often each is there, in every column."""
    if keys.shape[1] == 1:
        keys[:, 0].sort()
    else:
        keys = keys[sorting(keys)]
    first = first_of_each(keys)
    times = np.diff(first, append=len(keys))
    return keys[first], {name: times.astype(kind) for name, kind in columns.items()}


def whole_groups(blocks: Iterator[Block], packing: Packing) -> Iterator[Block]:
    """The same rows in blocks that never part rows whose keys differ in the least significant word alone."""
    held: Optional[Block] = None
    for keys, columns in blocks:
        if held is not None:
            keys = np.concatenate([held[0], keys])
            columns = {name: np.concatenate([held[1][name], values]) for name, values in columns.items()}
        if not len(keys):
            continue
        last = int(first_of_each(packing.shorter(keys))[-1])
        held = keys[last:], {name: values[last:] for name, values in columns.items()}
        if last:
            yield keys[:last], {name: values[:last] for name, values in columns.items()}
    if held is not None:
        yield held
