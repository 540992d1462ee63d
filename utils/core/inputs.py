"""Files that a finished stage read besides what its fingerprint holds: their sizes, times and hashes, and whether they changed.

The list lies in the stage's folder. A file counts as changed where its size differs, or its time and its content. With
NUPTSE_CHECK_FILES=content, the content of every file is compared, whatever its time. A file that is gone has not changed: what
was made from it is as good as before.
"""

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

from utils.core.files import digest, read_jsonl, write_bytes, write_jsonl

log = logging.getLogger("nuptse")
NAME = "inputs.jsonl"  # a line a file: path, size in bytes (-1: not there), time in ns, SHA-256


def write_inputs(folder: Path, files: Iterable[Path], nj: int) -> None:
    """Write the list of a stage's folder; `nj` files are read at once."""
    from utils.core.parallel import threaded  # needs a package, and planning a stage must not

    paths = sorted({os.path.abspath(path) for path in files})  # links stay links: they may lead elsewhere tomorrow
    write_jsonl(folder / NAME, threaded(look, paths, nj, "checksums"))


def same_inputs(earlier: Path, folder: Path) -> None:
    """Give a stage that reads the same files the list of the earlier stage, whose folder may be deleted and made anew."""
    if (earlier / NAME).is_file():
        write_bytes(folder / NAME, (earlier / NAME).read_bytes())


def fingerprint(identity: Dict[str, Any], exp: Path) -> str:
    """Hash of what identifies a stage's output `exp`/<stage>-<fingerprint>: eight hexadecimal digits.

    Where a finished output has that name, but files on its list changed since, the output that replaces it gets another.
    """
    changed = None
    while True:
        found = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
        folder = exp / f"{identity['stage']}-{found}"
        if changed and not folder.exists():
            log.warning("%s changed since %s-%s was made: it is made again", changed, identity["stage"], identity["replaces"])
        changed = first_change(folder)
        if changed is None:
            return found
        identity = {**identity, "replaces": found}


def first_change(folder: Path) -> Optional[str]:
    """The first file that is other than it was when the stage of `folder` read it; None where all are the same, or no list is."""
    path, touched = folder / NAME, False
    if not path.is_file():
        return None
    rows: List[Dict[str, Any]] = read_jsonl(path)
    thorough = os.environ.get("NUPTSE_CHECK_FILES") == "content"
    for row in rows:
        now = _stat(row["path"])
        if now["size"] < 0:
            continue
        if not unchanged(row, thorough):
            return str(row["path"])
        touched = touched or now["time"] != row["time"]
        row.update(now)
    if touched:  # the same content at another time: the next look is quick again
        with suppress(OSError):
            write_jsonl(path, rows)
    return None


def unchanged(row: Dict[str, Any], thorough: bool = False) -> bool:
    """Whether a file is as it was when `look` gave the row: by size and time, or by size and content.

    Args:
      thorough: by the content, whatever the time is.
    """
    now = _stat(row["path"])
    return now.items() <= row.items() and not thorough or now["size"] == row["size"] and _digest(row["path"]) == row["sha256"]


def _stat(path: str) -> Dict[str, Any]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return {"path": path, "size": -1, "time": 0}
    return {"path": path, "size": found.st_size, "time": found.st_mtime_ns}


def look(path: str) -> Dict[str, Any]:
    """What identifies a file's content: path, size, time, SHA-256."""
    found = _stat(path)
    return {**found, "sha256": _digest(path)}


def _digest(path: str) -> str:
    try:
        return digest(Path(path))
    except (OSError, ValueError):  # not there, not to be read, or no name of a file (NUL)
        return ""
