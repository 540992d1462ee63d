"""Counting text files of any size in bounded memory: their words, to choose a vocabulary from, and their n-grams.

Counting goes on where it was interrupted. What it needs on the disk is said before it begins.
"""

import errno
import hashlib
import heapq
import json
import logging
import os
import re
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple

import numpy as np

from utils.core.errors import UserError
from utils.core.files import read_json, write_json, write_lines
from utils.core.progress import tqdm
from utils.ngrams.counting import BOS_ID, EOS_ID, FIRST_ID, Counts, levels, records
from utils.ngrams.keys import Packing
from utils.ngrams.ngram import BOS, EOS, UNKNOWN
from utils.ngrams.tables import Sorter
from utils.text.text_files import Position, TextFiles

GB = 1 << 30
TYPE = 250  # bytes of memory of a word that is counted, about
DISK = 3.0  # bytes on the disk, at most at a time, a byte of text; see docs/scale.md
_MARKS = re.compile(r"(?<!\S)</?s>(?!\S)")


class Ids(Dict[str, int]):
    """word -> id; all other words get the id of <unk>.

    words: different, none of them <s>, </s> or <unk>.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__({BOS: BOS_ID, EOS: EOS_ID, **{word: n for n, word in enumerate(words, FIRST_ID)}})
        self.unknown = FIRST_ID + len(words)

    def __missing__(self, word: str) -> int:
        """The id of <unk>."""
        return self.unknown

    def of(self, text: str) -> np.ndarray:
        """Word ids, int32, of lines of text, each from BOS_ID to EOS_ID; empty lines are left out."""
        words = f"{BOS} {text[:-1]}\n".replace("\n", f" {EOS} {BOS} ").split()
        ids = np.fromiter(map(self.__getitem__, words), np.int32, len(words))[:-1]
        empty = np.flatnonzero((ids[1:] == EOS_ID) & (ids[:-1] == BOS_ID))
        return np.delete(ids, np.concatenate([empty, empty + 1])) if len(empty) else ids


def count_ngrams(files: TextFiles, words: Sequence[str], order: int, memory: int, folder: Path, log: logging.Logger) -> Counts:
    """Count the n-grams of text files, of all orders up to `order`, with <unk> for words that are not in `words`.

    Ids: the words from FIRST_ID on, then <unk>.

    Args:
      memory: bytes for sorting; the process and its words need theirs besides.
      folder: for the counts. What an interrupted counting of the same text left there is used.
    Raises:
      UserError: a file can't be read, is empty, or has the word <s>; the disk has too little space.
    """
    packing = Packing.of(FIRST_ID + len(words) + 1, order)
    signature = signed(files, order, list(words))
    state = folder / "state.json"
    if folder.exists() and not (state.exists() and _usable(state, signature, folder / f"level-{order}")):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with disk_named(folder):
        if (folder / "counts.json").exists():
            return levels(Sorter(packing.width, {"raw": "<u4"}, memory, folder, summed=True), packing, memory, folder)
        need = DISK * packing.width * files.size
        free = shutil.disk_usage(folder).free + sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
        log.info("%.2f GB of text; counting needs up to %.2f GB of %.1f GB free at %s", *_in_gb(files.size, need, free), folder)
        if need > free:
            raise UserError(
                f"counting {files.size / GB:.1f} GB of text needs up to {need / GB:.1f} GB on the disk, and {folder} has "
                f"{free / GB:.1f} GB: free space, choose a folder on another disk, or take less text"
            )
        sorter = Sorter(packing.width, {"raw": "<u4"}, memory, folder, summed=True)
        done = _resumed(state, sorter, log)
        ids, seen = Ids(words), bool(sorter.runs)
        with tqdm(total=files.size, initial=_read(files, done), unit="B", unit_scale=True, desc="n-grams", leave=False) as bar:
            for text, position in files.blocks(done):
                _no_marks(text, files, position)
                found = records(ids.of(text), packing)
                seen = seen or len(found) > 0
                if sorter.add(found, {}):
                    write_json(state, {"signature": signature, "runs": len(sorter.runs), "position": asdict(position)})
                bar.update(len(text))
        if not seen:
            raise UserError(f"there is no text in {', '.join(map(str, files.paths[:3]))}")
        if sorter.runs:
            sorter.spill()
        end = Position(len(files.paths)) if sorter.runs else Position()
        write_json(state, {"signature": signature, "runs": len(sorter.runs), "position": asdict(end)})
        log.info("the text is read; sorted runs: %d", max(1, len(sorter.runs)))
        return levels(sorter, packing, memory, folder)


def count_words(files: TextFiles, memory: int, folder: Path) -> Iterator[Tuple[str, int]]:
    """The different words of text files in order, and how often each occurs.

    Args:
      memory: bytes for counting.
      folder: for what does not fit; it is deleted at the end.
    """
    most, counts, runs = max(1000, memory // TYPE), Counter(), 0  # type: int, Counter, int
    with disk_named(folder), tqdm(total=files.size, unit="B", unit_scale=True, desc="words", leave=False) as bar:
        for text, _ in files.blocks():
            counts.update(text.split())
            bar.update(len(text))
            if len(counts) > most:
                write_lines(folder / f"words-{runs:05d}", (f"{word} {counts[word]}" for word in sorted(counts)))
                counts, runs = Counter(), runs + 1
    spilled = [_counted_words(folder / f"words-{n:05d}") for n in range(runs)]
    ordered = heapq.merge(*spilled, ((word, counts[word]) for word in sorted(counts)), key=itemgetter(0))
    for word, found in groupby(ordered, itemgetter(0)):
        yield word, sum(count for _, count in found)
    for n in range(runs):
        (folder / f"words-{n:05d}").unlink()


def most_frequent(counts: Iterable[Tuple[str, int]], size: int) -> List[str]:
    """The most frequent words, sorted; of equally frequent ones the first."""
    marks = {BOS, EOS, UNKNOWN}
    best = heapq.nsmallest(size, ((-count, word) for word, count in counts if word not in marks))
    return sorted(word for _, word in best)


def signed(files: TextFiles, *more: Any) -> str:
    """What tells text files, as they are now, and `more` from others."""
    about = [[[str(path), *_stamp(path)] for path in files.paths], *more]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


@contextmanager
def disk_named(folder: Path) -> Iterator[None]:
    """A full disk is an error that says where, and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"the disk of {folder} is full; free space, or choose a folder on another disk. What is counted is kept: the same "
            "command goes on with it"
        ) from None


def _usable(state: Path, signature: str, top: Path) -> bool:
    """Whether an interrupted counting was of the same text, and is whole."""
    about = read_json(state)
    return about["signature"] == signature and (top.is_dir() or (state.parent / f"run-{max(about['runs'], 1) - 1:05d}").is_dir())


def _resumed(state: Path, sorter: Sorter, log: logging.Logger) -> Position:
    """Where an interrupted counting goes on; what it had not finished is deleted."""
    before: Dict[str, Any] = read_json(state) if state.exists() else {"runs": 0, "position": {}}
    for run in sorter.runs[before["runs"] :]:
        run.remove()
    del sorter.runs[before["runs"] :]
    position = Position(**before["position"])
    if sorter.runs:
        log.info("going on after %d runs that an interrupted counting has left", len(sorter.runs))
    return position


def _read(files: TextFiles, position: Position) -> int:
    """Bytes of text before a position."""
    return TextFiles(files.paths[: position.file]).size + position.offset


def _no_marks(text: str, files: TextFiles, after: Position) -> None:
    found = _MARKS.search(text) if "s>" in text else None
    if found:
        line = after.lines - text.count("\n", found.start()) + 1
        raise UserError(
            f"{files.paths[after.file]}, line {line}: the word {found[0]} marks the ends of sentences and can't be a word; "
            "remove it, or normalise the text"
        )


def _counted_words(path: Path) -> Iterator[Tuple[str, int]]:
    with open(path, encoding="utf-8", newline="\n") as stream:
        for line in stream:
            word, count = line.rsplit(" ", 1)
            yield word, int(count)


def _stamp(path: Path) -> Tuple[int, int]:
    """Size and time of a file: whether it has changed."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def _in_gb(*sizes: float) -> List[float]:
    return [size / GB for size in sizes]
