"""Files of torch, written whole: torch itself ends the process where the disk is full in the middle of a file."""

import io
from pathlib import Path
from typing import Any

import torch

from utils.core.files import write_bytes


def save(value: Any, path: Path) -> None:
    """Write what `torch.load` reads, atomically; equal values give equal bytes, whatever the file is called.

    Raises:
      OSError: the disk is full, or the folder may not be written.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_bytes(path, buffer.getbuffer())
