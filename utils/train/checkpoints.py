"""Resumable training state, written atomically. A damaged file is skipped in favour of the one before it."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Optional

from utils.core import torch_files
from utils.core.errors import UserError

KEEP = 2


def save(folder: Path, step: int, state: Dict[str, Any]) -> None:
    """Write checkpoint-<step>.pt and remove all but the newest two."""
    torch_files.save(state, folder / f"checkpoint-{step:08d}.pt")
    for old in _all(folder)[:-KEEP]:
        old.unlink()


def load(folder: Path, log: logging.Logger) -> Optional[Dict[str, Any]]:
    """The newest complete checkpoint, or None if there are no checkpoints.

    Raises:
      UserError: none of the checkpoints can be read.
    """
    files = _all(folder)
    for path in reversed(files):
        try:
            return torch_files.load(path)
        except torch_files.Unreadable as error:
            log.warning("%s is damaged (%s): passed over", path, error)
    if files:
        raise UserError(f"no checkpoint in {folder} can be read; remove that folder to train from the start")
    return None


def _all(folder: Path) -> List[Path]:
    return sorted(folder.glob("checkpoint-*.pt"))
