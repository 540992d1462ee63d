"""Files of torch: written whole, as torch itself ends the process where the disk is full; read without running what they name."""

import io
import os
import pickle
import re
import zipfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import torch

from utils.core.files import write_bytes

NAMED = {  # what a pickle may name; storages are named too, which torch itself looks up
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("_k2.ragged", "RaggedTensor"),
}
FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # an environment variable that torch reads
DAMAGE = (pickle.UnpicklingError, zipfile.BadZipFile, AssertionError)  # what a damaged file also raises


class Unreadable(ValueError):
    """A file that is damaged, or holds something else than tensors and plain values; its text is one line."""


def save(value: Any, path: Path) -> None:
    """Write what `load` reads, atomically; equal values give equal bytes, whatever the file is called.

    Raises:
      OSError: the disk is full, or the folder may not be written.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    write_bytes(path, buffer.getbuffer())


def load(path: Path, device: str = "cpu") -> Any:
    """Read a file of torch. Its pickle can call nothing but what rebuilds tensors.

    torch's own `weights_only` reads neither numbers with a point (torch 1.13) nor k2's ragged tensors; and torch 1.13 ignores
    the `pickle_module` that `torch.load` is given.

    Raises:
      Unreadable: see there; or the file can't be opened.
    """
    try:
        if not zipfile.is_zipfile(path):  # the format of torch before 1.6
            return torch.load(path, map_location=device, weights_only=True)
        with open(path, "rb") as stream, torch.serialization._open_zipfile_reader(stream) as archive:
            return torch.serialization._load(archive, device, SimpleNamespace(Unpickler=_Unpickler))
    except (*DAMAGE, RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, OSError) as error:
        raise Unreadable(_reason(error)) from None


@contextmanager
def weights_only() -> Iterator[None]:
    """Let every `torch.load` within, as of a library, refuse what is not tensors. Raises Unreadable where one does."""
    before = os.environ.get(FORCED)
    os.environ[FORCED] = "1"
    try:
        yield
    except pickle.UnpicklingError as error:
        raise Unreadable(_reason(error)) from None
    finally:
        if before is None:
            del os.environ[FORCED]
        else:
            os.environ[FORCED] = before


def _reason(error: Exception) -> str:
    """One line, without torch's advice to read the file without `weights_only`, which could run code."""
    reason = re.sub(r"(?s)^Weights only load failed.*?(?:WeightsUnpickler error: |$)", "", str(error)).strip()
    return reason.split("\n")[0] or type(error).__name__


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)
