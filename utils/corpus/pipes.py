"""Commands in wav.scp ("sox ... |"): their output as files, and the files that they read."""

import hashlib
import re
import shlex
import subprocess
from pathlib import Path
from typing import List

from utils.core.errors import UserError
from utils.core.files import ROOT, atomic_path


def output(command: str, recording: str, source: Path, folder: Path) -> Path:
    """The output of a command as a file in `folder`, under a name that no other recording and no other command has.

    Relative paths in the command start where those of plain lines start: from `source`, or, where the command fails there, from
    the repository. A finished file is kept.

    Raises:
      UserError: the command fails in both.
    """
    read = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files(command, source)]  # another file, another output
    key = hashlib.sha256(f"{recording}\n{command}\n{read}".encode()).hexdigest()[:16]
    wav = folder / f"{re.sub('[^A-Za-z0-9-]', '_', recording)[:40]}-{key}.wav"
    if not wav.exists():
        with atomic_path(wav) as temporary:
            failed = _run(command, source, temporary)
            if failed and _run(command, ROOT, temporary):
                where = f"relative paths in it start from {source}"
                raise UserError(f"wav.scp: the command of recording '{recording}' failed with {failed}; {where}")
    return wav


def files(command: str, source: Path) -> List[Path]:
    """The files that words of a command name. What a command reads besides is not known."""
    try:
        words = shlex.split(command)
    except ValueError:  # an open quote: the command itself fails
        return []
    named = [next((p for p in (source / word, ROOT / word) if p.is_file()), None) for word in words if len(word) < 1000]
    return [path for path in named if path]


def _run(command: str, folder: Path, out: Path) -> str:
    """Run a command in `folder`, its output to `out`; returns what went wrong, '' where nothing did."""
    with open(out, "wb") as stream:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    return f"status {done.returncode}: {command.strip()}: {done.stderr.strip()[-300:]}" if done.returncode else ""
