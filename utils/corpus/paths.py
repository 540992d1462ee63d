"""Where a path of wav.scp leads, and what to do about one that leads nowhere."""

import os
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Dict, List

from utils.text.encoding import control_character


def located(path: str, source: Path) -> Path:
    """The file that a plain line of wav.scp names: absolute, or from `source`, or from the repository.

    Letters with marks are written in two forms, composed (é, NFC) and decomposed (e and a mark, NFD, as macOS writes names):
    where a file has the other form of the name, it is taken.
    """
    for form in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
        for found in (source / form, Path(form)):  # an absolute path stays what it is
            if os.path.exists(found):  # Path.exists raises at names that are too long
                return found
    return source / path


def remedy(path: Path) -> str:
    """What is probably wrong with a path that does not exist, to be added to an error; '' where nothing tells."""
    name = str(path)
    control = control_character(name)
    if control:
        return f": {control} in it; wav.scp is damaged, write it again"
    if any(part.startswith("~") for part in path.parts):
        return ": ~ stands for itself here, write the whole path"
    if any(part[-1] == ":" and len(part) > 2 for part in path.parts):
        return ": it looks like the address of a page or an object; a path is needed"
    if any(quote in name for quote in "\"'"):
        return ": quotes are a part of the name here, leave them out"
    if "\\" in name:
        return ": a backslash is a part of the name here, separate folders by /"
    if "$" in name:
        return ": variables stay as they are here, write the whole path"
    if os.path.islink(path):
        return f": a symbolic link to {os.readlink(path)}, where nothing is"
    try:
        alike = _siblings(path.parent).get(path.stem.casefold(), [])
        return f": there is {alike[0]}" if alike else "" if path.parent.is_dir() else _case(path.parent)
    except OSError as error:
        return f": {error.strerror}"


def _case(folder: Path) -> str:
    """That a folder does not exist, and the folder whose name has other capitals."""
    while not folder.parent.is_dir():
        folder = folder.parent
    others = [p.name for p in folder.parent.iterdir() if p.name.casefold() == folder.name.casefold()]
    return f": there is no folder {folder}" + (f", but {others[0]}" if others else "")


@lru_cache(maxsize=64)
def _siblings(folder: Path) -> Dict[str, List[str]]:
    """Names in a folder by their stem without capitals: 00A.WAV for 00a.wav, 00a.flac."""
    names: Dict[str, List[str]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        names.setdefault(Path(name).stem.casefold(), []).append(name)
    return names
