"""Kaldi data directories: wav.scp, text, utt2spk and, where recordings hold several utterances, segments.

What makes a table unreadable (a missing file, an id that occurs twice, bytes that aren't UTF-8, a refused pipe) stops with one
error; an utterance that lacks its text, audio or speaker is left out with the reason.
"""

import re
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from utils.core.errors import UserError
from utils.corpus import channels, pipes
from utils.corpus.manifests import Corpus, LeftOut, Utterance

TABLES = ("wav.scp", "text", "utt2spk", "segments", "reco2file_and_channel")
ARCHIVE = re.compile(r".*\.ark:\d+$")


def read(
    folder: Path, source: Path, split: str, language: str, channel: Optional[int] = None, commands: Optional[Path] = None
) -> Corpus:
    """The utterances of one data directory, and what is incomplete in it.

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
    texts = table(folder / "text", empty=True)
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
    where: Dict[str, Tuple[str, float, Optional[float]]]
    if segments is None:
        where = {recording: (recording, 0.0, None) for recording in waves}
        table_name = "wav.scp"
    else:
        where, table_name = segments, "segments"
    utterances, left_out = [], []
    for identity in sorted({*texts, *where}):
        recording, start, end = where.get(identity, ("", 0.0, None))
        reason = (
            f"a text without audio: not in {folder / table_name}"
            if identity not in where
            else f"audio without a text: not in {folder / 'text'}"
            if identity not in texts
            else f"no audio: its recording '{recording}' is not in {folder / 'wav.scp'}"
            if recording not in waves
            else f"no speaker: not in {folder / 'utt2spk'}"
            if identity not in speakers
            else None
        )
        if reason:
            left_out.append(LeftOut(identity, split, reason))
        else:
            audio, taken = _audio(waves[recording], recording, source, commands), own.get(recording, channel)
            utterances.append(
                Utterance(identity, split, texts[identity], speakers[identity], language, audio, start, end, taken, recording)
            )
    unused = sorted(set(waves) - {recording for recording, _, _ in where.values()} - {item.id for item in left_out})
    left_out += [
        LeftOut(recording, split, f"audio without a text: no segment of it in {folder / 'segments'}") for recording in unused
    ]
    return Corpus(utterances, left_out)


def table(path: Path, empty: bool = False) -> Dict[str, str]:
    """Id -> the rest of the line.

    Raises:
      UserError: the file is missing, a line isn't UTF-8, an id occurs twice, a line holds nothing but an id (unless `empty`).
    """
    if not path.is_file():
        remedy = "; where speakers aren't known, make it by: awk '{print $1, $1}' text > utt2spk"
        raise UserError(
            f"{path} is missing{remedy if path.name == 'utt2spk' else ''}; a Kaldi data directory holds wav.scp, text and utt2spk"
        )
    out: Dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            words = line.decode("utf-8-sig" if number == 1 else "utf-8").split(maxsplit=1)
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}, line {number}: not UTF-8 ({error.reason} at byte {error.start + 1}); convert the file, for "
                "example with: iconv -f ISO-8859-1 -t UTF-8"
            ) from None
        if not words:
            continue
        identity, value = words[0], words[1].strip() if len(words) > 1 else ""
        if identity in out:
            raise UserError(f"{path}, line {number}: the id '{identity}' occurs a second time; every line needs an id of its own")
        if not value and not empty:
            raise UserError(f"{path}, line {number}: nothing follows the id '{identity}'")
        out[identity] = value
    if not out:
        raise UserError(f"{path} is empty")
    return out


def _segments(path: Path) -> Optional[Dict[str, Tuple[str, float, Optional[float]]]]:
    """Utterance -> (recording, start, end) in seconds, end None for the end of the recording; None without the file."""
    if not path.is_file():
        return None
    out: Dict[str, Tuple[str, float, Optional[float]]] = {}
    for identity, value in table(path).items():
        try:
            recording, start, end = value.split()
            out[identity] = recording, float(start), None if float(end) == -1 else float(end)
        except ValueError:
            raise UserError(f"{path}, utterance '{identity}': '{value}' is not RECORDING START END (seconds)") from None
    return out


def _audio(path: str, recording: str, source: Path, commands: Optional[Path]) -> Path:
    if path.endswith("|"):
        assert commands is not None
        return pipes.output(path[:-1], recording, source, commands)
    beside = source / path  # an absolute path stays what it is
    return beside if beside.exists() or not Path(path).exists() else Path(path)


def files(source: Path) -> List[Path]:
    """The tables of a folder and of the folders in it: the files that identify a local copy."""
    return sorted(p for name in TABLES for p in (*source.glob(name), *source.glob(f"*/{name}")))
