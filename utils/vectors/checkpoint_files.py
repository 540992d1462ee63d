"""Single tensors out of checkpoint files, read by rows from where they lie: safetensors, and torch's .bin, whose code is not run.

A checkpoint of billions of weights is never loaded: its header says where the wanted tensor begins.
"""

import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from utils.core.errors import UserError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # safetensors' names; numpy has no bf16
STORAGES = {"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, not loaded."""

    path: Path
    offset: int  # bytes
    dtype: str  # a key of DTYPES, or another that `rows` refuses
    shape: Tuple[int, ...]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows of a matrix: (n,) -> (n, D) float32. Raises UserError for numbers that aren't floating point."""
        if self.dtype not in DTYPES:
            raise UserError(f"{self.path}: the table holds {self.dtype}; there are {', '.join(DTYPES)}")
        table = np.memmap(self.path, DTYPES[self.dtype], "r", self.offset, self.shape)
        found = table[numbers]
        return (found.astype(np.uint32) << 16).view(np.float32) if self.dtype == "BF16" else found.astype(np.float32)


def tensors(path: Path) -> Dict[str, StoredTensor]:
    """All tensors of a `.safetensors` or `.bin` file by name.

    Raises:
      UserError: a file that is missing, cut short, or in another format.
    """
    try:
        size = path.stat().st_size
        found = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing, though the checkpoint's index names it: get the whole checkpoint") from None
    except (ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        reason = f"{type(error).__name__}: {str(error)[:150]}"
        raise UserError(f"{path} is cut short or not a checkpoint ({reason}); get it again") from None
    for name, tensor in found.items():
        if tensor.dtype in DTYPES and tensor.offset + prod(tensor.shape) * np.dtype(DTYPES[tensor.dtype]).itemsize > size:
            raise UserError(f"{path} is cut short: {size} bytes, and '{name}' ends behind them; get it again")
    return found


def _safetensors(path: Path) -> Dict[str, StoredTensor]:
    with open(path, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(path.stat().st_size, 100_000_000):
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(path, 8 + length + entry["data_offsets"][0], entry["dtype"], tuple(entry["shape"]))
        for name, entry in header.items()
    }


def _torch(path: Path) -> Dict[str, StoredTensor]:
    """torch's zip format: a pickle that describes the tensors, and a file for each one's numbers, not compressed."""
    with open(path, "rb") as stream:
        if stream.read(2) == b"\x80\x02":
            raise UserError(f"{path} is in torch's format of before 1.6: convert it by torch.load and torch.save")
    with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:
        (description,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        with archive.open(description) as pickled:
            described = _Describe(pickled).load()
        out = {}
        for name, tensor in _flat(described):
            number, dtype, first, shape, strides = tensor
            if strides != tuple(prod(shape[n + 1 :]) for n in range(len(shape))):
                continue  # a view: no embedding table is one
            info = archive.getinfo(f"{description[: -len('data.pkl')]}data/{number}")
            stream.seek(info.header_offset + 26)
            name_length, extra = struct.unpack("<HH", stream.read(4))
            start = info.header_offset + 30 + name_length + extra
            width = np.dtype(DTYPES[dtype]).itemsize if dtype in DTYPES else 1
            out[name] = StoredTensor(path, start + first * width, dtype, shape)
    return out


def _flat(described: Any) -> List[Tuple[str, tuple]]:
    """Named tensors of a state dict, which may be one level down (`model`, `state_dict`)."""
    inner = [value for value in described.values() if isinstance(value, dict)]
    return [(name, value[1:]) for part in (described, *inner) for name, value in part.items() if _is_tensor(value)]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, tuple) and value[:1] == ("tensor",)


class _Describe(pickle.Unpickler):
    """Reads the description alone: a tensor becomes a tuple, and no function of the file's choice is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _tensor if name == "_rebuild_tensor_v2" else lambda data, *_: data
        if module == "torch" and name.endswith("Storage"):
            return type(name, (), {})
        return _Anything

    def persistent_load(self, pid: Any) -> Any:
        _, kind, number, _, _ = pid
        return number, STORAGES.get(kind.__name__, kind.__name__)


class _Anything:
    """What else a checkpoint may hold: ignored."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _tensor(storage: Tuple[str, str], offset: int, shape: Tuple[int, ...], strides: Tuple[int, ...], *_: Any) -> tuple:
    return ("tensor", *storage, offset, tuple(shape), tuple(strides))
