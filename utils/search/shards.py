"""The folder of an index: shards, each complete or absent, and a journal of them.

`index.json` says which bundle made it. A shard is a safetensors file of some recordings. `.index.jsonl` has a line a shard,
written before it, with the SHA-256 of its content. A recording that was indexed again stands in a later shard, which counts.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from safetensors.numpy import load, save

from utils.core.errors import UserError
from utils.core.files import content_of, digest, read_json, write_bytes, write_json
from utils.core.inputs import unchanged
from utils.recognition.outcomes import Segment
from utils.recognition.outputs import journal_rows, lock, remove_strays, unwritten
from utils.search.contents import Indexed

ABOUT, JOURNAL, SUFFIX, FORMAT = "index.json", ".index.jsonl", ".safetensors", 1
AGAIN = "make it again in an empty folder with steps.index"


@dataclass(frozen=True)
class About:
    """What an index was made with."""

    bundle: str  # SHA-256 of the bundle's manifest
    units: int
    dim: int
    seconds: Tuple[float, float]  # of a frame of the sub-word head, and of the word head
    language: str
    format: int = FORMAT


@dataclass(frozen=True)
class Source:
    """A recording of an index."""

    name: str  # for people
    file: Dict[str, Any]  # what `utils.core.inputs.look` saw of it
    seconds: float


@dataclass
class Shard:
    """Some recordings. Frames of all windows stand one after the other."""

    sources: List[Source]
    words: List[str]  # that the arcs have
    windows: np.ndarray  # (W, 4) int64: source, channel or -1, first frame of the word head, first of the sub-word head
    starts: np.ndarray  # (W,) float64, seconds
    lengths: np.ndarray  # (W,) float64, seconds
    frames: np.ndarray  # (T2, dim) int8
    scale: np.ndarray  # (T2,) float32
    normaliser: np.ndarray  # (T2,) float32
    subword: np.ndarray  # (T, units) uint8
    arcs: np.ndarray  # (A, 2) int64: window, word
    spans: np.ndarray  # (A, 3) float32: start, end, posterior
    speech: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float16))  # (T2,); () in earlier versions
    dropped: List[int] = field(default_factory=list)  # sources that a later shard replaces

    def edges(self, head: int) -> np.ndarray:
        """Where the frames of each window begin, and the last end: (W + 1,). head: 0 sub-word, 1 word."""
        return np.append(self.windows[:, 3 - head], len(self.frames if head else self.subword))


def shard_of(recordings: Sequence[Tuple[Source, Sequence[Segment]]], about: About) -> Shard:
    """A shard of recordings whose segments have an `Indexed` transcript."""
    words: Dict[str, int] = {}
    rows, starts, lengths, arcs, spans = [], [], [], [], []  # type: List[Any], List[float], List[float], List[Any], List[Any]
    parts: Dict[str, List[np.ndarray]] = {
        "frames": [np.zeros((0, about.dim), np.int8)],
        "scale": [np.zeros(0, np.float32)],
        "normaliser": [np.zeros(0, np.float32)],
        "speech": [np.zeros(0, np.float16)],
        "subword": [np.zeros((0, about.units), np.uint8)],
    }
    counts = {"frames": 0, "subword": 0}
    for number, (_, segments) in enumerate(recordings):
        for segment in segments:
            one = segment.transcript
            assert isinstance(one, Indexed) and one.window is not None
            for word, start, end, posterior in one.window.arcs:
                arcs.append((len(rows), words.setdefault(word, len(words))))
                spans.append((start, end, posterior))
            rows.append((number, -1 if segment.channel is None else segment.channel, counts["frames"], counts["subword"]))
            starts.append(segment.start)
            lengths.append(one.seconds)
            for name, kept in parts.items():
                value = getattr(one.window, name)
                if len(value):
                    kept.append(value)
                if name in counts:
                    counts[name] += len(value)
    table = np.array(rows, np.int64).reshape(-1, 4)
    whole = {name: np.concatenate(kept) for name, kept in parts.items()}
    return Shard(
        [source for source, _ in recordings],
        list(words),
        table,
        np.array(starts),
        np.array(lengths),
        **whole,
        arcs=np.array(arcs, np.int64).reshape(-1, 2),
        spans=np.array(spans, np.float32).reshape(-1, 3),
    )


class Shards:
    """The folder, open for writing: one run at a time."""

    def __init__(self, folder: Path, about: About) -> None:
        """Raises UserError: of another bundle, no folder to write to, or another run writes to it."""
        self.folder, self.about = folder, about
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / ABOUT).exists() and any(folder.iterdir()):
                raise UserError(f"{folder} is not an index, and not empty; give another --index")
            if (folder / ABOUT).exists():
                check_bundle(folder, read_about(folder), about.bundle)
            else:
                write_json(folder / ABOUT, vars(about))
            self._journal = open(folder / JOURNAL, "a", encoding="utf-8")  # noqa: SIM115 - open, and so locked, as long as this process
            lock(self._journal, folder)
            remove_strays(folder, SUFFIX)
        except OSError as error:
            raise UserError(unwritten(error, folder)) from None
        self.there = whole_shards(folder)

    def state(self, path: Path) -> str:
        """'done', 'changed' or 'missing': a file in this index."""
        name, rows = str(path), [row for shard in self.there for row in shard["files"]]
        fits = [row for row in rows if row["path"] == name]
        return "missing" if not fits else "done" if unchanged(fits[-1]) else "changed"

    def write(self, shard: Shard) -> None:
        """Add a shard, whole or not at all. Raises UserError: it can't be written."""
        tensors = {name: value for name, value in vars(shard).items() if isinstance(value, np.ndarray)}
        told = {"sources": json.dumps([vars(one) for one in shard.sources]), "words": json.dumps(shard.words)}
        content = save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, told)
        number = 1 + max((int(path.stem) for path in self.folder.glob(f"*{SUFFIX}") if path.stem.isdecimal()), default=0)
        path = self.folder / f"{number:06d}{SUFFIX}"
        row = {"shard": path.name, "sha256": hashlib.sha256(content).hexdigest(), "files": [one.file for one in shard.sources]}
        try:
            self._journal.write("\n" + json.dumps(row))
            self._journal.flush()
            write_bytes(path, content)
        except OSError as error:
            raise UserError(unwritten(error, path)) from None
        self.there.append(row)


def read_about(folder: Path) -> About:
    """What index.json says. Raises UserError: no index, or one of a newer version."""
    if not (folder / ABOUT).is_file():
        raise UserError(f"{folder} is not an index: it has no {ABOUT}; python -m steps.index --index {folder} makes one")
    try:
        found = read_json(folder / ABOUT)
        about = About(**{**found, "seconds": tuple(found["seconds"])})
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{folder / ABOUT} is damaged, or of a newer version; {AGAIN}") from None
    if about.format != FORMAT:
        raise UserError(f"{folder} is an index of format {about.format}, and this version reads {FORMAT}; {AGAIN}")
    return about


def check_bundle(folder: Path, about: About, bundle: str) -> None:
    """Raise UserError where an index is of another bundle."""
    if about.bundle != bundle:
        raise UserError(f"the index {folder} was made with another bundle; give that one as --bundle, or another --index")


def whole_shards(folder: Path) -> List[Dict[str, Any]]:
    """The journal's lines of shards that are there, in order. Raises UserError: a shard was changed."""
    rows: Dict[str, Dict[str, Any]] = {}
    for row in journal_rows(folder / JOURNAL, {"shard", "sha256", "files"}) if (folder / JOURNAL).exists() else ():
        rows[row["shard"]] = row  # of two lines of one name, the first is of a killed run
    for name, row in rows.items():
        if (folder / name).exists() and digest(folder / name) != row["sha256"]:
            raise UserError(f"{folder / name} was changed since it was made (SHA-256 differs); {AGAIN}")
    return [row for name, row in sorted(rows.items()) if (folder / name).exists()]


def read_shards(folder: Path) -> List[Shard]:
    """All shards, checked. Raises UserError: a shard is damaged."""
    out: List[Shard] = []
    later: Dict[str, Tuple[int, int]] = {}
    for row in whole_shards(folder):
        path = folder / row["shard"]
        content = content_of(path)
        told = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        sources = [Source(**one) for one in json.loads(told["sources"])]
        shard = Shard(sources, json.loads(told["words"]), **load(content))
        for number, source in enumerate(sources):
            before = later.get(source.file["path"])
            if before:
                out[before[0]].dropped.append(before[1])
            later[source.file["path"]] = (len(out), number)
        out.append(shard)
    return out
