"""Recognised files as text, JSON, tables, subtitles, and Praat's TextGrid."""

import json
import re
import textwrap
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from utils.bundle.transcript import Word
from utils.core.errors import printable
from utils.recognition.outcomes import Outcome, Segment
from utils.text.letters import joined

LINE, LINES = 42, 2  # most characters of a line of subtitles, and lines of one
LONGEST_CUE = 7.0  # seconds
BREAK = 1.0  # seconds without a word that end a subtitle
SHORTEST = 0.001  # seconds of an interval of a TextGrid


@dataclass(frozen=True)
class Format:
    """A form of output."""

    suffix: str
    write: Callable[[Outcome], str]
    header: str = ""  # before the first file
    line: Optional[Callable[[Outcome], str]] = None  # a file among several that are printed; None: they need a folder


def text(outcome: Outcome) -> str:
    """A line a segment; with several channels, the channel's number before it."""
    return "".join(f"{_who(s, '{}: ')}{_said(outcome, s.words)}\n" for s in _spoken(outcome)) or "\n"


def text_line(outcome: Outcome) -> str:
    """Name of the file, tab, its words; a line a channel."""
    lines = [f"{_field(outcome.name)}\t{_said(outcome, words)}\n" for _, words in outcome.by_channel()]
    return "".join(lines) or f"{_field(outcome.name)}\t\n"


def as_json(outcome: Outcome, indent: Optional[int] = 1) -> str:
    """Everything that is known."""
    return json.dumps(_value(outcome), ensure_ascii=False, indent=indent) + "\n"


def ctm(outcome: Outcome) -> str:
    """NIST's CTM: file, channel (from 1), start, duration, word, confidence where there is one."""
    rows = [(channel, word) for channel, words in outcome.by_channel() for word in words]
    return "".join(
        f"{_field(outcome.id, '_')} {(channel or 0) + 1} {w.start:.3f} {w.end - w.start:.3f} {w.text}{_figure(w, ' {:.3f}')}\n"
        for channel, w in rows
    )


TSV = "file\tchannel\tstart\tend\tword\tconfidence\tuncertain\n"


def tsv(outcome: Outcome) -> str:
    """A line a word."""
    return "".join(
        f"{_field(outcome.name)}\t{'' if channel is None else channel}\t{word.start:.3f}\t{word.end:.3f}\t{word.text}\t"
        f"{_figure(word, '{:.3f}')}\t{int(outcome.marked(word))}\n"
        for channel, words in outcome.by_channel()
        for word in words
    )


def srt(outcome: Outcome) -> str:
    """SubRip."""
    return "\n".join(
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_who(segment, '{}: ')}{_wrapped(words)}\n"
        for number, (segment, start, end, words) in enumerate(_cues(outcome), 1)
    )


def vtt(outcome: Outcome) -> str:
    """WebVTT."""
    cues = [
        f"\n{_clock(start, '.')} --> {_clock(end, '.')}\n{_who(segment, '<v {}>')}{_escaped(_wrapped(words))}\n"
        for segment, start, end, words in _cues(outcome)
    ]
    return "WEBVTT\n" + "".join(cues)


def textgrid(outcome: Outcome) -> str:
    """Praat's TextGrid, in its long form: a tier of words a channel, without gaps."""
    tiers = outcome.by_channel() or [(None, [])]
    last = max([outcome.seconds] + [word.end for _, words in tiers for word in words]) + SHORTEST
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {last:.3f}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (channel, words) in enumerate(tiers, 1):
        intervals = _intervals([(w.start, w.end, outcome.shown(w)) for w in words], last)
        name = "words" if channel is None else f"words {channel}"
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"', "        xmin = 0"]
        lines += [f"        xmax = {last:.3f}", f"        intervals: size = {len(intervals)}"]
        for n, (start, end, label) in enumerate(intervals, 1):
            quoted = label.replace('"', '""')
            lines += [f"        intervals [{n}]:", f"            xmin = {start:.3f}", f"            xmax = {end:.3f}"]
            lines.append(f'            text = "{quoted}"')
    return "\n".join(lines) + "\n"


FORMATS: Dict[str, Format] = {
    "txt": Format(".txt", text, line=text_line),
    "json": Format(".json", as_json, line=lambda outcome: as_json(outcome, None)),
    "ctm": Format(".ctm", ctm, line=ctm),
    "srt": Format(".srt", srt),
    "vtt": Format(".vtt", vtt),
    "textgrid": Format(".TextGrid", textgrid),
    "tsv": Format(".tsv", lambda outcome: TSV + tsv(outcome), TSV, tsv),
}


def _value(outcome: Outcome) -> Dict[str, Any]:
    def word(w: Word) -> Dict[str, Any]:
        others = [{"text": other, "confidence": _rounded(c)} for other, c in w.alternatives]
        times = {"text": w.text, "start": _rounded(w.start), "end": _rounded(w.end), "confidence": _rounded(w.confidence)}
        return {**times, "uncertain": outcome.marked(w), "alternatives": others}

    def segment(s: Segment) -> Dict[str, Any]:
        nbest = [{"text": h.text, "score": _rounded(h.score)} for h in s.transcript.nbest]
        span = {"channel": s.channel, "start": _rounded(s.start), "end": _rounded(s.end), "text": s.transcript.text}
        return {**span, "words": [word(w) for w in s.words], "nbest": nbest}

    whole = joined([s.transcript.text for s in _spoken(outcome)])
    about = {"file": printable(outcome.name), "language": outcome.language, "seconds": _rounded(outcome.seconds), "text": whole}
    return {**about, "remarks": outcome.remarks, "segments": [segment(s) for s in outcome.segments]}


def _spoken(outcome: Outcome) -> List[Segment]:
    return [segment for segment in outcome.segments if segment.transcript.words]


def _said(outcome: Outcome, words: List[Word]) -> str:
    return joined([outcome.shown(word) for word in words])


def _who(segment: Segment, form: str) -> str:
    return "" if segment.channel is None else form.format(segment.channel)


def _field(name: str, blank: str = " ") -> str:
    """A name that is one field of a line."""
    return re.sub(r"\s", blank, printable(name))


def _figure(word: Word, form: str) -> str:
    return "" if word.confidence is None else form.format(word.confidence)


def _rounded(value: Optional[float]) -> Optional[float]:
    return None if value is None else round(float(value), 4)


def _cues(outcome: Outcome) -> Iterator[Tuple[Segment, float, float, str]]:
    """Segment, start, end and text of each subtitle."""
    for segment in _spoken(outcome):
        held: List[Word] = []
        for word in segment.words:
            long = held and (
                len(_lines(_said(outcome, [*held, word]))) > LINES
                or word.end - held[0].start > LONGEST_CUE
                or word.start - held[-1].end > BREAK
            )
            if long:
                yield segment, held[0].start, held[-1].end, _said(outcome, held)
                held = []
            held.append(word)
        yield segment, held[0].start, held[-1].end, _said(outcome, held)


def _lines(words: str) -> List[str]:
    return textwrap.wrap(words, LINE, break_on_hyphens=False)


def _wrapped(words: str) -> str:
    return "\n".join(_lines(words))


def _clock(seconds: float, point: str) -> str:
    """01:02:03,004."""
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d}{point}{ms % 1000:03d}"


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _intervals(words: List[Tuple[float, float, str]], last: float) -> List[Tuple[float, float, str]]:
    """Words with empty intervals between them: none overlaps, and none is empty."""
    out, at = [], 0.0
    for start, end, label in words:
        start = max(start, at)
        end = max(end, start + SHORTEST)
        if start - at >= SHORTEST:
            out.append((at, start, ""))
        out.append((start if start - at >= SHORTEST else at, end, label))
        at = end
    return [*out, (at, last, "")] if last - at >= SHORTEST else out
