"""Documents that keywords are taken from: recognised files, what `steps.recognise --format json` wrote of them, and texts."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from utils.bundle.transcript import Transcript, Word
from utils.core.errors import UserError
from utils.core.languages import family, in_characters
from utils.recognition.outcomes import Outcome, Segment
from utils.text.encoding import utf8_lines
from utils.text.letters import UNSPACED, apart, of_word
from utils.text.normalise import folded
from utils.text.segmentation import jieba_words, unsegmented

PAUSE = 0.5  # seconds without a word that no phrase spans
LEAST = 0.02  # posterior of an alternative that is looked at
ENDS = re.compile(  # no phrase spans them
    r"[.,:](?!\w)|(?<!\w)[.,:]|[!?;()\[\]{}\"“”«»„…|/]|\s[-–—]+\s|[。，、！？；：「」『』（）《》〈〉؟،؛।]|\n\s*\n"
)
HYPHEN = re.compile(r"(?<=\w)[-‐‑](?=\w)")
POSSESSIVE = re.compile(r"'s?$")
ELIDED = re.compile(r"^(?:[^\W\d_]|qu|(?:d|n|s)?(?:all|ell|ull)|un)'(?=\w\w)", re.I)  # the articles of l'heure, dell'arte
ELIDING = ("ca", "fr", "it")


@dataclass(frozen=True)
class Slot:
    """A place in a document, with what may have been said there."""

    words: Tuple[Tuple[str, float], ...]  # each with its posterior; the recognised one first
    start: Optional[float] = None  # seconds
    end: Optional[float] = None
    shown: str = ""  # how a text writes the first; empty: as it is


@dataclass
class Document:
    """What one list of keywords is made of."""

    name: str
    language: str
    runs: List[List[Slot]] = field(default_factory=list)  # phrases lie within one of them
    seconds: Optional[float] = None  # of audio
    remarks: List[str] = field(default_factory=list)
    files: List[str] = field(default_factory=list)  # of each run, where a document has several

    @property
    def words(self) -> int:
        """How many it has."""
        return sum(map(len, self.runs))


def of_text(name: str, text: str, language: str) -> Document:
    """A document of a text as it is written.

    Raises:
      UserError: a NUL, which no text has; a text without blanks between words, but for Chinese, which jieba cuts.
    """
    if "\0" in text:
        raise UserError(f"{name} is not text: it has the character NUL (U+0000)")
    runs = [part.split() for part in ENDS.split(HYPHEN.sub(" ", text)) if part.strip()]
    chinese = family(language) == "zh"
    if chinese:
        runs = [jieba_words(apart(" ".join(run))).split() for run in runs]
    elif in_characters(language) and unsegmented(" ".join(run) for run in runs):
        raise UserError(
            f"{name} has no blanks between its words: cut it into words first (of such languages, only Chinese is cut)"
        )
    return Document(name, language, list(_slots(runs, language)))


def read_text(path: Path, shown: str, language: str) -> Document:
    """A document of a UTF-8 text file.

    Raises:
      UserError: it can't be read, has another encoding, or is not text.
    """
    try:
        return of_text(shown, "\n".join(utf8_lines(path)), language)
    except OSError as error:
        raise UserError(f"{shown} can't be read: {error.strerror}") from None


def of_outcome(outcome: Outcome) -> Document:
    """A document of a recognised file."""
    runs = [run for segment in outcome.segments for run in _at_pauses(segment.words)]
    document = Document(outcome.name, outcome.language, [], outcome.seconds, list(outcome.remarks))
    words = [word.text for run in runs for word in run]
    if family(outcome.language) == "zh" and sum(map(len, words)) < 1.3 * len(words):  # the model's words are characters
        document.runs = [_cut(run) for run in runs]
    else:
        document.runs = [[Slot(_posteriors(word, outcome.language), word.start, word.end) for word in run] for run in runs]
    return document


def read_outcome(path: Path, shown: str) -> Document:
    """A document of a file that `steps.recognise --format json` wrote.

    Raises:
      UserError: it can't be read, or is something else.
    """
    try:
        value = json.loads("\n".join(utf8_lines(path)))
        segments = [_segment(one) for one in value["segments"]]
        outcome = Outcome(shown, path.stem, str(value["language"]), float(value["seconds"]), segments, list(value["remarks"]))
    except OSError as error:
        raise UserError(f"{shown} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{shown} is not what steps.recognise --format json writes; a text needs --text") from None
    return of_outcome(outcome)


def together(documents: Sequence[Document]) -> Document:
    """Several documents as one; the times of its keywords name their files.

    Raises:
      UserError: their languages differ.
    """
    languages = sorted({family(one.language) for one in documents})
    if len(languages) > 1:
        raise UserError(f"documents of the languages {', '.join(languages)} can't be taken together")
    known = [one.seconds for one in documents if one.seconds is not None]
    whole = Document(f"{len(documents)} files", documents[0].language, [], sum(known) if known else None)
    for one in documents:
        whole.runs += one.runs
        whole.files += [one.name] * len(one.runs)
        whole.remarks += [f"{one.name}: {remark}" for remark in one.remarks]
    return whole


def _slots(runs: Iterable[Sequence[str]], language: str) -> Iterator[List[Slot]]:
    for run in runs:
        slots = []
        for written in run:
            word = folded(written, language)
            word = "".join(c for at, c in enumerate(word) if of_word(word, at) or c.isalnum())
            if word:
                shown = written.strip("".join(c for c in written if not c.isalnum())).replace("’", "'")
                slots.append(Slot(((_bare(word, language), 1.0),), shown=_bare(shown, language)))
        if slots:
            yield slots


def _bare(word: str, language: str) -> str:
    """A word without a possessive ending and without an elided article."""
    word = POSSESSIVE.sub("", word)
    return ELIDED.sub("", word) if family(language) in ELIDING else word


def _at_pauses(words: Sequence[Word]) -> Iterator[List[Word]]:
    run: List[Word] = []
    for word in words:
        if run and word.start - run[-1].end > PAUSE:
            yield run
            run = []
        run.append(word)
    if run:
        yield run


def _posteriors(word: Word, language: str) -> Tuple[Tuple[str, float], ...]:
    """A recognised word and its alternatives; an engine without confidences is believed."""
    own = 1.0 if word.confidence is None else word.confidence
    share = sum(p for _, p in word.alternatives)
    scale = min(1.0, (1.0 - own) / share) if share else 0.0
    others = [(_bare(other, language), p * scale) for other, p in word.alternatives if p * scale >= LEAST]
    return ((_bare(word.text, language), own), *others)


def _cut(run: Sequence[Word]) -> List[Slot]:
    """Recognised characters as the words of jieba."""
    slots, at = [], 0
    said = "".join(word.text if re.match(f"[{UNSPACED}]", word.text) else f" {word.text} " for word in run)
    for word in jieba_words(said).split():
        first, length = at, 0
        while length < len(word):
            length += len(run[at].text)
            at += 1
        parts = run[first:at]
        own = 1.0
        for part in parts:
            own *= 1.0 if part.confidence is None else part.confidence
        slots.append(Slot(((word, own),), parts[0].start, parts[-1].end))
    return slots


def _segment(value: Dict[str, Any]) -> Segment:
    """A segment of the JSON, whose words count their times from the beginning of the file."""
    words = [
        Word(
            str(w["text"]),
            float(w["start"]),
            float(w["end"]),
            None if w["confidence"] is None else float(w["confidence"]),
            [(str(other["text"]), float(other["confidence"])) for other in w["alternatives"]],
        )
        for w in value["words"]
    ]
    return Segment(0.0, Transcript(words, [], float(value["end"])), value["channel"])
