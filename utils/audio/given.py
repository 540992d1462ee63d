"""The audio files that a command line names: files, folders, standard input and pipes."""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import files_in

# Suffixes of audio and video.
MEDIA = {
    f".{suffix}"
    for suffix in (
        "3ga 3gp aac aif aifc aiff alac amr ape asf au avi caf dss f4v flac flv m4a m4b m4v mka mkv mov mp2 mp3 mp4 mpeg mpg mts "
        "nist oga ogg ogv opus ra rf64 rm snd sph spx ts tta voc w64 wav webm wma wmv wv wv1 wv2"
    ).split()
}


@dataclass(frozen=True)
class Given:
    """An audio file that was asked for."""

    path: Path  # from the root, without following links
    inner: Path  # from the folder that was asked for; the name of a single file
    shown: str  # as the user would name it


def given(words: Sequence[str], stack: ExitStack) -> Tuple[List[Given], int]:
    """The audio files that words name, each once, and how many others their folders have.

    A file that is named is taken whatever its name is, and of a folder the files that have a suffix of audio or video. Standard
    input (-) and pipes are copied to temporary files, which last as long as `stack`.

    Raises:
      UserError: a folder without audio; a copy that can't be written.
    """
    found: Dict[Path, Given] = {}
    others = 0
    for word in words:
        path = Path(word)
        if word != "-" and not os.path.exists(word):  # whoever opens it says why; Path's questions fail at long names
            found.setdefault(_absolute(path), Given(_absolute(path), Path(path.name), word))
        elif word == "-" or path.is_fifo() or path.is_char_device():
            path = _copy(word, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            found[path] = Given(path, Path(path.name), "standard input" if word == "-" else word)
        elif path.is_dir():
            inside = files_in(path)
            media = [p for p in inside if p.suffix.lower() in MEDIA]
            others += len(inside) - len(media)
            if not media:
                raise UserError(_no_audio(path, inside))
            for p in media:
                found.setdefault(_absolute(p), Given(_absolute(p), p.relative_to(path), str(p)))
        else:
            found.setdefault(_absolute(path), Given(_absolute(path), Path(path.name), word))
    return list(found.values()), others


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))


def _no_audio(folder: Path, inside: Sequence[Path]) -> str:
    if not inside:
        return f"no audio in the folder {folder}: it is empty"
    kinds = ", ".join(f"{n} {kind or 'without suffix'}" for kind, n in Counter(p.suffix for p in inside).most_common(3))
    there = f"its {len(inside)} files ({kinds}) have no suffix of audio or video; name them one by one"
    return f"no audio in the folder {folder}: {there}"


def _copy(word: str, folder: Path) -> Path:
    """A file with what standard input (-) or a pipe brings."""
    path = folder / ("stdin" if word == "-" else Path(word).name)
    try:
        with open(0 if word == "-" else word, "rb", closefd=word != "-") as source, open(path, "wb") as copy:
            shutil.copyfileobj(source, copy)
    except OSError as error:
        what = "standard input" if word == "-" else word
        raise UserError(f"can't copy {what} to {folder}: {error.strerror}; TMPDIR names another place") from None
    return path
