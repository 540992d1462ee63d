"""What a row of the table of corpora says, and what its functions share."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from lhotse import Recording, SupervisionSegment
from lhotse.audio.backend import LibsndfileBackend, LibsndfileCompatibleAudioInfo

from utils.core.errors import UserError, printable
from utils.corpus.manifests import LeftOut
from utils.text.encoding import utf8_lines

UNKNOWN = 100000.0  # seconds: stands for the length of a file without a readable header, until stage 0 decodes it


class Asked(NamedTuple):
    """What is to be read of a corpus."""

    source: Path  # the folder that a user named, or that a download made
    language: str  # as the corpus calls it
    options: Dict[str, Any]  # data.options with the corpus's defaults
    work: Path  # an empty folder that is deleted afterwards
    downloads: Path  # where downloads of the corpus go, and what has to be unpacked
    inputs: List[Path]  # files beside the audio that were read; functions add theirs

    def reads(self, path: Path) -> Path:
        """`path`, noted as one of the files that decide what is read: stage 0 is made again where it changes."""
        self.inputs.append(path)
        return path

    def reads_text(self, path: Path) -> Path:
        """The same of a text file; raises UserError where it is not UTF-8, which Lhotse would not say of which file."""
        for _ in utf8_lines(path):
            pass
        return self.reads(path)


class Spoken(NamedTuple):
    """An utterance as a recipe of Lhotse describes it."""

    split: str
    recording: Recording
    supervision: SupervisionSegment


class Archive(NamedTuple):
    """A file that is downloaded, and the folder that unpacking it makes; no folder: it stays as it is."""

    url: str
    folder: str


Read = Callable[[Asked], Iterator[Union[Spoken, LeftOut]]]


@dataclass(frozen=True)
class Recipe:
    """A corpus: how to get it, what may be chosen, how to read it."""

    title: str  # as its publisher calls it
    page: str  # where it is published
    layout: str  # what data.source is, in words
    languages: Mapping[str, str]  # data.language -> what the corpus calls it
    read: Read
    options: Mapping[str, Any] = field(default_factory=dict)  # with their defaults
    published: Mapping[str, int] = field(default_factory=dict)  # utterances of a split, or of a part that options list
    archives: Optional[Callable[[Asked], List[Archive]]] = None  # None: it has to be asked for at `page`


def folder(source: Path, name: str) -> Path:
    """The folder `name` in `source`, also where an archive was unpacked into a folder of its name; else `source` itself."""
    return next((path for path in (source / name / name, source / name) if path.is_dir()), source)


def need(path: Path, recipe_layout: str, why: str = "") -> Path:
    """`path`, which must exist; raises UserError, which says what is there instead."""
    if path.exists():
        return path
    there = path.parent
    while not there.is_dir():
        there = there.parent
    names = sorted(p.name for p in there.iterdir())
    shown = ", ".join(map(printable, names[:8])) + " ..." * (len(names) > 8)
    raise UserError(f"{path} is missing{why}; {there} has {shown or 'nothing'}. data.source=FOLDER names {recipe_layout}")


def rows(table: Path, columns: int, separator: Optional[str] = None) -> Iterator[List[str]]:
    """The fields of a table's lines, at least `columns` of them; empty lines are passed over.

    Args:
      separator: None: blanks, of which the last field may have more.
    Raises:
      UserError: a line has fewer.
    """
    for number, line in enumerate(utf8_lines(table), 1):
        if line.strip():
            fields = line.split(separator, -1 if separator else columns - 1)
            if len(fields) < columns:
                raise UserError(
                    f"{table}, line {number}: {len(fields)} fields instead of {columns}: '{printable(line[:80])}'; "
                    "get the file again"
                )
            yield fields


def spoken(split: str, manifests: Mapping[str, Any]) -> Iterator[Spoken]:
    """The utterances of a split of what `prepare_*` returns."""
    recordings = {recording.id: recording for recording in manifests["recordings"]}
    for supervision in manifests["supervisions"]:
        yield Spoken(split, recordings[supervision.recording_id], supervision)


def paired(
    found: Sequence[Spoken],
    transcribed: Mapping[str, str],
    audio: Sequence[Path],
    reason: str = "a transcript, but no audio file",
) -> Iterator[LeftOut]:
    """What a recipe of Lhotse passes over: transcripts without audio, and audio without a transcript.

    Args:
      transcribed: utterance -> its split or "-", of every transcript.
      audio: every file that could be used.
      reason: why a transcript is not used.
    """
    known = {s.supervision.id for s in found}
    lost = [(name, split) for name, split in transcribed.items() if name not in known]
    yield from (LeftOut(name, split, reason) for name, split in lost)
    used = {source.source for s in found for source in s.recording.sources}
    stems = {name for name, _ in lost}
    for path in audio:
        if str(path) not in used and path.stem not in stems:
            yield LeftOut(path.stem, "-", f"no transcript of {path.resolve()}")  # not of a link of `view`


def files(folder: Path, pattern: str) -> List[Path]:
    """Files of a folder and those below it, sorted, without hidden ones."""
    return sorted(path for path in folder.rglob(pattern) if not path.name.startswith("."))


def view(work: Path, links: Mapping[str, Path]) -> Path:
    """A folder of links in `work`, for a recipe that expects other names than the publisher's."""
    for name, target in links.items():
        link = work / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.abspath(target))
    return work


class Headers(LibsndfileBackend):
    """Reads headers for recipes of Lhotse, which would end at the first bad file; stage 0 tells later what is wrong with it."""

    def info(self, path_or_fd: Any, force_opus_sampling_rate: Optional[int] = None) -> LibsndfileCompatibleAudioInfo:
        """As libsndfile reads it, by its content; a file without a readable header is `UNKNOWN` seconds long."""
        try:
            return super().info(path_or_fd, force_opus_sampling_rate)
        except Exception:  # whatever libsndfile, the system or Lhotse raises: the file is looked at again
            return LibsndfileCompatibleAudioInfo(1, int(UNKNOWN * 16000), 16000, UNKNOWN)


def by_split(chosen: Mapping[str, Any]) -> Iterator[Tuple[str, str]]:
    """(split, part) for options train, dev and test that list the corpus's own parts."""
    for split in ("train", "dev", "test"):
        for part in chosen[split]:
            yield split, part
