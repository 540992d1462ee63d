"""Kaldi data directories: wav.scp, text, utt2spk and, where recordings hold several utterances, segments.

What makes a table unreadable (a missing file, an id that occurs twice, bytes that aren't UTF-8, a refused pipe) stops with one
error; an utterance that lacks its text, audio or speaker, or whose line of segments is wrong, is left out with the reason.
"""

import math
import re
import shlex
import unicodedata
from codecs import BOM_UTF8
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from utils.core.errors import UserError
from utils.corpus import channels, paths, pipes
from utils.corpus.manifests import Corpus, LeftOut, Utterance
from utils.text.encoding import control_character, utf8_lines

TABLES = ("wav.scp", "text", "utt2spk", "segments", "reco2file_and_channel")
ARCHIVE = re.compile(r".*\.ark:\d+$")
SECONDS = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # float() also reads nan, 1_000 and other digits
CHANNEL = re.compile(r"-1|\d{1,3}", re.ASCII)
Span = Tuple[str, float, Optional[float], Optional[int]]  # recording; start, end in seconds, None: its end; channel, if named


def read(
    folder: Path, source: Path, split: str, language: str, channel: Optional[int] = None, commands: Optional[Path] = None
) -> Corpus:
    """The utterances of one data directory, and what is incomplete in it. Only in the split test may utterances lack a text.

    Args:
      folder: the data directory.
      source: where relative paths of wav.scp start, in commands too (then: the repository).
      split: the split that its utterances get.
      language: ISO 639-1.
      channel: of recordings with several, where reco2file_and_channel and segments name none.
      commands: a folder for the output of commands in wav.scp; None refuses them.
    Raises:
      UserError: a table is missing or can't be read.
    """
    waves = table(folder / "wav.scp")
    texts = {} if split == "test" and _blank(folder / "text") else table(folder / "text", empty=True)
    speakers = table(folder / "utt2spk")
    segments = _segments(folder / "segments")
    named = folder / "reco2file_and_channel"
    own = channels.channel_of(table(named), named) if named.is_file() else {}
    for recording, path in waves.items():
        if path.endswith("|") and commands is None:
            raise UserError(
                f"{folder / 'wav.scp'}: recording '{recording}' is a command ({path}); run the commands yourself and "
                "name the audio files, or, if you trust them, allow them by --set data.options.allow_pipes=true"
            )
        if ARCHIVE.match(path):
            raise UserError(
                f"{folder / 'wav.scp'}: recording '{recording}' is in a Kaldi archive ({path}); write it to an "
                "audio file first (Kaldi: wav-copy)"
            )
    where: Dict[str, Span]
    wrong: Dict[str, str]
    if segments is None:
        where, wrong = {recording: (recording, 0.0, None, None) for recording in waves}, {}
        table_name = "wav.scp"
    else:
        (where, wrong), table_name = segments, "segments"
    utterances, left_out = [], []
    for identity in sorted({*texts, *where}):
        recording, start, end, taken = where.get(identity, ("", 0.0, None, None))
        reason = (
            f"a text without audio: not in {folder / table_name}"
            if identity not in where
            else f"{folder / table_name}: {wrong[identity]}"
            if identity in wrong
            else f"audio without a text: not in {folder / 'text'}"
            if identity not in texts and split != "test"
            else f"no audio: its recording '{recording}' is not in {folder / 'wav.scp'}"
            if recording not in waves
            else f"no speaker: not in {folder / 'utt2spk'}"
            if identity not in speakers
            else None
        )
        if reason:
            left_out.append(LeftOut(identity, split, reason))
        else:
            audio = _audio(waves[recording], recording, source, commands)
            utterances.append(
                Utterance(
                    identity,
                    split,
                    texts.get(identity, ""),
                    _composed(speakers[identity]),
                    language,
                    audio,
                    start,
                    end,
                    own.get(recording, channel) if taken is None else taken,
                    recording,
                    transcribed=identity in texts,
                )
            )
    unused = sorted(set(waves) - {span[0] for span in where.values()} - {item.id for item in left_out})
    left_out += [
        LeftOut(recording, split, f"audio without a text: no segment of it in {folder / 'segments'}") for recording in unused
    ]
    read_by = [path for command in waves.values() if command.endswith("|") for path in pipes.files(command[:-1], source)]
    return Corpus(utterances, left_out, read_by)


def table(path: Path, empty: bool = False) -> Dict[str, str]:
    """Id -> the rest of the line. Ids are in Unicode's composed form (NFC), so that tables of different origin agree.

    Raises:
      UserError: the file is missing, a line isn't UTF-8, an id occurs twice, a line holds nothing but an id (unless `empty`).
    """
    if not path.is_file():
        ids = next((name for name in ("text", "segments") if not _blank(path.with_name(name))), "wav.scp")
        remedy = {
            "utt2spk": f"; where speakers aren't known, make it by: awk '{{print $1, $1}}' {ids} > utt2spk",
            "text": "; only a test set may lack it, and is then recognised without being scored",
        }
        raise UserError(f"{path} is missing{remedy.get(path.name, '')}; a Kaldi data directory holds wav.scp, text and utt2spk")
    out: Dict[str, str] = {}
    for number, line in enumerate(utf8_lines(path), 1):
        words = line.split(maxsplit=1)
        if not words:
            continue
        identity, value = _composed(words[0]), words[1].strip() if len(words) > 1 else ""
        control = control_character(identity)
        if control:
            raise UserError(f"{path}, line {number}: {control} in the id '{identity}'; the file is damaged, write it again")
        if identity in out:
            again = f"{path}, line {number}: the id '{identity}' occurs a second time"
            if value == out[identity]:  # as where a script that appends ran twice
                name = shlex.quote(str(path))
                raise UserError(f"{again}, with the same; where the whole file was written twice: sort -u -o {name} {name}")
            raise UserError(f"{again}; every line needs an id of its own{' before the speaker' * (path.name == 'utt2spk')}")
        if not value and not empty:
            raise UserError(f"{path}, line {number}: nothing follows the id '{identity}'")
        out[identity] = value
    if not out:
        raise UserError(f"{path} is empty")
    return out


def _composed(text: str) -> str:
    """Letters with marks as one character (é), as most write them; macOS writes two."""
    return unicodedata.normalize("NFC", text)


def _blank(path: Path) -> bool:
    """Whether a table does not exist or has no line."""
    return not path.is_file() or not path.read_bytes().lstrip(BOM_UTF8).strip()


def _segments(path: Path) -> Optional[Tuple[Dict[str, Span], Dict[str, str]]]:
    """The span of each utterance, and what is wrong with those that have none; None without the file."""
    if not path.is_file():
        return None
    found = {identity: _span(value) for identity, value in table(path, empty=True).items()}
    return {i: span for i, (span, _) in found.items()}, {i: wrong for i, (_, wrong) in found.items() if wrong}


def _span(value: str) -> Tuple[Span, str]:
    """What follows the id in a line of segments, and what is wrong with it; whether the recording is as long shows later."""
    fields = _composed(value).split()
    nothing: Span = (fields[0] if fields else "", 0.0, None, None)
    if len(fields) not in (3, 4) or not CHANNEL.fullmatch("".join(fields[3:]) or "-1"):
        return nothing, f"'{value}' is not RECORDING START END (seconds), or these with the number of a channel, from 0"
    for written in fields[1:3]:
        if not SECONDS.fullmatch(written) or math.isinf(float(written)):
            point = "; the decimal sign is a point" if "," in written else ""
            return nothing, f"'{written}' is not a number of seconds{point} (-1 as END: the end of the recording)"
    start, end, channel = float(fields[1]), float(fields[2]), int((fields + ["-1"])[3])
    return (fields[0], start, None if end == -1 else end, None if channel == -1 else channel), ""


def _audio(path: str, recording: str, source: Path, commands: Optional[Path]) -> Path:
    if path.endswith("|"):
        assert commands is not None
        return pipes.output(path[:-1], recording, source, commands)
    return paths.located(path, source)


def files(source: Path) -> List[Path]:
    """The tables of a folder and of the folders in it: the files that identify a local copy."""
    return sorted(p for name in TABLES for p in (*source.glob(name), *source.glob(f"*/{name}")))
