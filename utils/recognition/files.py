"""Files through a recogniser: a file as a stream, its windows in batches, one outcome a file."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from utils.audio.decoding import Undecodable
from utils.audio.levels import SILENCE
from utils.audio.recordings import Recording, recording
from utils.audio.speech import Window, Windows
from utils.bundle.transcript import Transcript
from utils.core.batches import BATCH_SECONDS
from utils.core.errors import UserError
from utils.core.inputs import look
from utils.recognition.outcomes import Outcome, Segment

SHORTEST = 0.1  # seconds; nothing shorter holds a word

Channels = Union[str, int]  # mix, each, or the number of one from 0


class Transcriber(Protocol):
    """What recognises: a `utils.bundle.recogniser.Recogniser`, or one that keeps more of what it hears."""

    @property
    def language(self) -> str:
        """ISO 639-1 code."""

    def transcribe_many(self, recordings: Sequence[Tuple[np.ndarray, int]]) -> Sequence[Transcript]:
        """A transcript of each recording, in order."""


@dataclass
class Done:
    """A file that is finished."""

    index: int  # of the file in the list
    outcome: Optional[Outcome] = None  # None where it is broken
    problem: str = ""  # why it is broken
    source: Dict[str, Any] = field(default_factory=dict)  # what `utils.core.inputs.look` saw of the file before


@dataclass
class _File:
    """A file whose windows are being recognised."""

    index: int
    path: Path
    source: Dict[str, Any]
    remarks: List[str] = field(default_factory=list)
    seconds: float = 0.0
    waiting: int = 0  # windows without a transcript
    read: bool = False  # to its end
    segments: List[Segment] = field(default_factory=list)
    problem: str = ""
    ends: str = ""  # why nothing could be read after `seconds`


_Waiting = Tuple[_File, Optional[int], Window, int]  # with the channel, and the rate in Hz


def recognise(
    files: Sequence[Tuple[int, Path]],
    recogniser: Transcriber,
    channels: Channels,
    heard: Callable[[int, float], None],
    longest: float = math.inf,
) -> Iterator[Done]:
    """Every file, as soon as it is finished, without its name.

    Windows of short files share batches. Not more than `BATCH_SECONDS` of audio and one block are held.

    Args:
      files: their indices and paths.
      heard: is told the index of the file that is read, and which share of it has been.
      longest: seconds; a longer file counts as broken.
    """
    waiting: List[_Waiting] = []
    unfinished: List[_File] = []
    for index, path in files:
        file = _File(index, path, look(str(path)))
        unfinished.append(file)
        try:
            for one in _windows(file, channels, lambda share: heard(index, share), longest):  # noqa: B023 - called before the next
                waiting.append(one)
                file.waiting += 1
                if sum(len(w.samples) / rate for _, _, w, rate in waiting) > BATCH_SECONDS:
                    _transcribe(waiting, recogniser)
                    waiting = []
        except UserError as error:
            file.problem = str(error)
        file.read = True
        heard(index, 1.0)
        finished = [f for f in unfinished if f.read and (f.problem or not f.waiting)]
        unfinished = [f for f in unfinished if f not in finished]
        yield from (_done(f, recogniser.language) for f in finished)
    _transcribe(waiting, recogniser)
    yield from (_done(f, recogniser.language) for f in unfinished)


def _windows(file: _File, channels: Channels, heard: Callable[[float], None], longest: float) -> Iterator[_Waiting]:
    """The windows of a file that may hold words, as it is read."""
    with recording(file.path) as audio:
        cutters: Dict[Optional[int], Windows] = {}
        for block in _readable(file, audio):
            file.seconds += len(block) / audio.rate
            if file.seconds > longest:
                raise UserError(f"{file.path} lasts more than {longest:g} s; give parts of it")
            for channel, samples in _chosen(block, audio, channels, file.path):
                cutter = cutters.setdefault(channel, Windows(audio.rate))
                yield from _loud(file, channel, cutter.push(samples), audio.rate)
            heard(min(1.0, file.seconds / audio.seconds) if audio.seconds else 0.0)
        for channel, cutter in cutters.items():
            yield from _loud(file, channel, cutter.finish(), audio.rate)
    if file.seconds < SHORTEST:
        audio.remarks.append(f"it lasts {file.seconds:.3f} s, too short for a word")
    file.remarks = audio.remarks


def _readable(file: _File, audio: Recording) -> Iterator[np.ndarray]:
    """The blocks up to where a damaged file can't be read: what was said before is worth keeping."""
    try:
        yield from audio.blocks
    except (UserError, Undecodable) as error:
        if not file.seconds:
            raise
        file.ends = str(error)
        audio.remarks.append(f"it can't be read after {file.seconds:.1f} s, and what follows is missing: {file.ends}")


def _chosen(block: np.ndarray, audio: Recording, channels: Channels, path: Path) -> List[Tuple[Optional[int], np.ndarray]]:
    """Channel and samples, (T,), of what is recognised of a block, (T, channels)."""
    if channels == "each" and audio.channels > 1:
        return [(channel, np.ascontiguousarray(block[:, channel])) for channel in range(audio.channels)]
    if isinstance(channels, int):
        if channels >= audio.channels:
            raise UserError(f"no channel {channels} in {path}, which has {audio.channels} (counted from 0)")
        return [(None, np.ascontiguousarray(block[:, channels]))]
    return [(None, block[:, 0] if audio.channels == 1 else block.mean(1, dtype=np.float32))]


def _loud(file: _File, channel: Optional[int], windows: Iterable[Window], rate: int) -> Iterator[_Waiting]:
    for window in windows:
        if len(window.samples) >= SHORTEST * rate and float(np.abs(window.samples).max()) >= SILENCE:
            yield file, channel, window, rate


def _transcribe(waiting: Sequence[_Waiting], recogniser: Transcriber) -> None:
    """Give the files of these windows their segments."""
    found = _transcripts([(window.samples, rate) for _, _, window, rate in waiting], recogniser)
    for (file, channel, window, rate), one in zip(waiting, found):
        file.waiting -= 1
        if isinstance(one, str):
            file.problem = file.problem or f"at {window.start:.1f} s of {file.path}: {one}"
        else:
            seconds = len(window.samples) / rate
            file.segments.append(Segment(window.start, replace(one, seconds=seconds), channel))


def _transcripts(sounds: List[Tuple[np.ndarray, int]], recogniser: Transcriber) -> List[Union[Transcript, str]]:
    """The transcript of each; where one can't be recognised, why."""
    try:
        return list(recogniser.transcribe_many(sounds))
    except Exception as error:  # whatever an engine raises at one recording must not cost the others
        if len(sounds) == 1:
            return [str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"]
    return [_transcripts([sound], recogniser)[0] for sound in sounds]


def _done(file: _File, language: str) -> Done:
    problem = file.problem or file.ends * (not any(segment.transcript.words for segment in file.segments))
    if problem:
        return Done(file.index, None, problem, file.source)
    segments = sorted(file.segments, key=lambda s: (s.start, s.channel or 0))
    return Done(
        file.index, Outcome(str(file.path), file.path.stem, language, file.seconds, segments, file.remarks), "", file.source
    )
