"""Files that are either complete or absent."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional, Union

from utils.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]  # the repository; every relative path in a manifest starts here
TEMPORARY = re.compile(r"\.tmp-([\w.-]+-)?\d+-")  # names of `unfinished` begin so; older ones lack the machine
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)  # errors of a file or folder that may not be written


def files_in(folder: Path) -> List[Path]:
    """All files of a folder and the folders in it, sorted, without hidden ones, which systems leave there (.DS_Store, ._name)."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not any(n.startswith(".") for n in p.relative_to(folder).parts))


def unfinished(path: Path) -> Path:
    """A path beside `path` for what this process has not finished; TEMPORARY fits its name.

    It keeps the suffixes of `path`, because libraries choose a format by them. It has the machine's name, since processes of
    several machines may write the same file.
    """
    return path.with_name(f".tmp-{os.uname().nodename}-{os.getpid()}-{path.name}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it to `path` once the block has ended well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = unfinished(path)
    try:
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def in_memory(text: str) -> Iterator[Path]:
    """A path from which a library that only reads files reads `text`, which is never on a disk. Linux alone has such files.

    Raises:
      UserError: on another system.
    """
    if not hasattr(os, "memfd_create"):
        raise UserError("adding words to a bundle in memory needs Linux's memfd_create; run it on Linux")
    descriptor = os.memfd_create("text")
    with os.fdopen(descriptor, "wb", closefd=False) as stream:
        stream.write(text.encode())
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: Union[bytes, memoryview]) -> None:
    """Write bytes, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write one line an item, atomically."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read and git can diff, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path: Path) -> List[Any]:
    """Read one JSON value a line."""
    with open(path, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON value a line, atomically."""
    write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def relative(path: Path) -> str:
    """`path` as manifests store it: relative to the repository if it is inside, else absolute."""
    path = Path(path).resolve()
    return str(path.relative_to(ROOT)) if ROOT in path.parents else str(path)


def content_of(path: Path) -> bytes:
    """The bytes of a file; raises UserError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}") from None


def digest(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    state = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            state.update(block)
    return state.hexdigest()


class LogFile(logging.FileHandler):
    """Prints nothing when a line can't be written: on a full disk the work's own write raises the error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Do nothing."""


def remove_unfinished(folder: Path) -> None:
    """Remove what `atomic_path` had not finished in a folder and those below."""
    for stray in list(folder.rglob(".tmp-*")):
        if stray.is_dir():
            shutil.rmtree(stray)
        else:
            stray.unlink()


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(error: BaseException, folder: Path) -> str:
    """Why a file could not be written, and what to do: a full disk or quota, no permission, a read-only disk; else ''.

    Args:
      folder: below NUPTSE_EXP, where the work that raised the error writes.
    """
    full = _disk_full(error, folder)
    if full:
        return f"the disk is full ({full}); free space, or set NUPTSE_EXP to a folder with more"
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return f"{error}; set NUPTSE_EXP to a folder where you may write"
    return ""


def _disk_full(error: BaseException, folder: Path) -> str:
    """The path that could not be written, where an error or its cause is a full disk or quota; else ''.

    Libraries wrap the system's error in their own, so the text of the error and the free space at `folder` count too.
    """
    seen: Optional[BaseException] = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return str(seen.filename or folder)
        if os.strerror(errno.ENOSPC) in str(seen):
            return str(folder)
        seen = seen.__cause__ or seen.__context__
    try:
        return str(folder) if os.statvfs(folder).f_bavail == 0 else ""
    except OSError:
        return ""
