"""Where recognised files are written, and which of them are there already.

`FOLDER/.recognised.jsonl` has a line for every output, written before it: its name, the SHA-256 of its content, what it was made
of (size, time and SHA-256 of the audio file) and with (a hash of the bundle's files and of the options). An output is there where
such a line fits the output, the audio file and the options. An output that no line fits was written or edited by somebody else,
and is never replaced.
"""

import errno
import fcntl
import hashlib
import json
import os
import unicodedata
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Dict, List, Sequence, Set

from utils.audio.given import Given
from utils.core.errors import UserError
from utils.core.files import TEMPORARY, digest, write_text
from utils.core.inputs import unchanged

JOURNAL = ".recognised.jsonl"
LONGEST_NAME = 200  # bytes of a file's name, of 255 that systems allow


def output_names(files: Sequence[Given]) -> List[str]:
    """A name for each file's output, without suffix, that no other file has, also where case does not count.

    It is the file's path from what was given (calls/a/1.wav of calls -> a/1); where two files have the same, with its suffix
    (a/1.wav), or with as many folders before it as are needed.
    """
    names = [_names(file) for file in files]
    level = [0] * len(files)
    while True:
        now = [each[n] for each, n in zip(names, level)]
        count = Counter(_folded(name) for name in now)
        twice = [i for i, name in enumerate(now) if count[_folded(name)] > 1]
        if not twice:
            return now
        for i in twice:
            level[i] += 1


def _names(file: Given) -> List[str]:
    path, inner = file.path, file.inner
    before = path.parts[1 : len(path.parts) - len(inner.parts)]
    longer = ["/".join((*before[len(before) - n :], inner.as_posix())) for n in range(len(before) + 1)]
    key = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    names = [inner.with_suffix("").as_posix(), *longer, f"{longer[-1]}-{key}"]
    return [name if len(os.fsencode(name.rpartition("/")[2])) <= LONGEST_NAME else f"{_cut(name)}-{key}" for name in names]


def _cut(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last[:40]}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


class Outputs:
    """The folder of outputs."""

    def __init__(self, folder: Path, suffix: str, made_with: str) -> None:
        """See the module.

        Args:
          suffix: of outputs.
          made_with: a hash of the bundle and of the options.
        Raises:
          UserError: the folder can't be made or written, or another run writes to it.
        """
        self.folder, self._suffix, self._made_with = folder, suffix, made_with
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._journal = open(folder / JOURNAL, "a", encoding="utf-8")  # noqa: SIM115 - open, and so locked, as long as this process
            lock(self._journal, folder)
            self._rows: Dict[str, List[Dict[str, Any]]] = {}
            for row in journal_rows(folder / JOURNAL, {"output", "sha256", "made_with", "input"}):
                self._rows.setdefault(row["output"], []).append(row)
            remove_strays(folder, suffix)
        except OSError as error:
            raise UserError(unwritten(error, folder)) from None

    def path(self, name: str) -> Path:
        """Where the output of a name is."""
        return self.folder / f"{name}{self._suffix}"

    def state(self, name: str, source: Path) -> str:
        """'done', 'missing', or why the output may not be written."""
        path = self.path(name)
        if not os.path.lexists(path):
            return "missing"
        content = digest(path) if path.is_file() else ""
        ours = [row for row in self._rows.get(name + self._suffix, []) if row["sha256"] == content]
        if not ours:
            return f"{path} was not written by this command, or was edited since; move it, or give another --output"
        source_path = os.path.abspath(source)
        fits = (r for r in ours if r["made_with"] == self._made_with and r["input"]["path"] == source_path)
        return "done" if any(unchanged(row["input"]) for row in fits) else "missing"

    def write(self, name: str, content: str, source: Dict[str, Any]) -> None:
        """Write an output, whole or not at all.

        Args:
          source: what `utils.core.inputs.look` saw before the file was recognised.
        Raises:
          UserError: it can't be written.
        """
        row = {
            "output": name + self._suffix,
            "sha256": hashlib.sha256(content.encode("utf-8")).hexdigest(),
            "made_with": self._made_with,
            "input": source,
        }
        try:
            self._journal.write("\n" + json.dumps(row))  # a line that a full disk or a kill cut short ends here
            self._journal.flush()
            write_text(self.path(name), content)
        except OSError as error:
            raise UserError(unwritten(error, self.path(name))) from None


def unwritten(error: OSError, path: Path) -> str:
    """Why a file can't be written, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full ({path}); finished files are kept: free space, and run the same command again"
    return f"can't write {path}: {error.strerror or error}; finished files are kept: give an --output that can be written"


def journal_rows(path: Path, keys: Set[str]) -> List[Dict[str, Any]]:
    """The lines of a journal that are whole: those with these keys."""
    out = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and row.keys() >= keys:
                out.append(row)
    return out


def lock(stream: IO[str], folder: Path) -> None:
    """Let one run at a time write to a folder: what is half written there is then a killed run's."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another run writes to {folder}: wait for its end, or give another --output") from None
    except OSError:  # a file system without locks
        pass


def remove_strays(folder: Path, suffix: str) -> None:
    """Remove what killed runs had begun to write."""
    for stray in folder.rglob(f".tmp-*{suffix}"):
        if TEMPORARY.match(stray.name):
            stray.unlink()
