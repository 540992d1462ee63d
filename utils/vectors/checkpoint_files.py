"""Single tensors of checkpoint files, read by rows: safetensors, and torch's `.bin` without running its code.

Safetensors files are read through their library. `.bin` files are not read through torch: `torch.load` reads the whole file (its
`mmap=True` is new in torch 2.1). So their description, a pickle, is read here by an unpickler that calls no function which the
file names, and the rows are read from where they lie.
"""

import pickle
import struct
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Dict, Iterator, NamedTuple, Protocol, Tuple

import numpy as np
from safetensors import SafetensorError, safe_open

from utils.core.errors import UserError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}  # safetensors' names; numpy has no bfloat16
STORAGES = {"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"}


class StoredTensor(Protocol):
    """A tensor in a file, not loaded."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def shape(self) -> Tuple[int, ...]:
        """As torch has it."""

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows: (n,) -> (n, width) float32; of a vector, some of its values.

        Raises:
          UserError: the numbers are of a type that can't be read.
        """


@dataclass(frozen=True)
class SafetensorsTensor:
    """A tensor in a safetensors file."""

    path: Path
    name: str
    dtype: str  # safetensors' name
    shape: Tuple[int, ...]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """See StoredTensor."""
        _check_dtype(self.path, self.dtype)
        with safe_open(str(self.path), framework="pt") as file:
            return file.get_slice(self.name)[numbers.tolist()].float().numpy()


@dataclass(frozen=True)
class BinTensor:
    """A tensor in a `.bin` file."""

    path: Path
    offset: int  # bytes
    dtype: str  # as safetensors names it, where it is a key of DTYPES; else torch's name of the storage
    shape: Tuple[int, ...]

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """See StoredTensor."""
        _check_dtype(self.path, self.dtype)
        rows = np.memmap(self.path, DTYPES[self.dtype], "r", self.offset, self.shape)[numbers]
        return (rows.astype(np.uint32) << 16).view(np.float32) if self.dtype == "BF16" else rows.astype(np.float32)


def tensors(path: Path) -> Dict[str, StoredTensor]:
    """All tensors of a `.safetensors` or `.bin` file by name.

    Raises:
      UserError: the file is missing, cut short, or in another format.
    """
    try:
        return _safetensors(path) if path.suffix == ".safetensors" else _bin(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing, though the checkpoint's index names it: get the whole checkpoint") from None
    except (SafetensorError, ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        reason = f"{type(error).__name__}: {str(error)[:150]}"
        raise UserError(f"{path} is cut short or not a checkpoint ({reason}); get it again") from None


def _check_dtype(path: Path, dtype: str) -> None:
    if dtype not in DTYPES:
        raise UserError(f"{path}: the tensor's type is {dtype}; {', '.join(DTYPES)} can be read")


def _safetensors(path: Path) -> Dict[str, StoredTensor]:
    with safe_open(str(path), framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {name: SafetensorsTensor(path, name, s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}


class _Described(NamedTuple):
    """A tensor as the pickle of a `.bin` file describes it."""

    storage: str  # name of the archive's file with the numbers
    dtype: str
    first: int  # number in the storage that the tensor begins with
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]


def _bin(path: Path) -> Dict[str, StoredTensor]:
    """torch's zip format: a pickle that describes the tensors, and an uncompressed file with the numbers of each storage."""
    found: Dict[str, StoredTensor] = {}
    size = path.stat().st_size
    with open(path, "rb") as stream:
        if stream.read(2) == b"\x80\x02":
            raise UserError(f"{path} is in the format of torch before 1.6: convert it by torch.load and torch.save")
        with zipfile.ZipFile(path) as archive:
            (description,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(description) as pickled:
                state = _Describer(pickled).load()
            for name, tensor in _flat(state):
                if tensor.strides != tuple(prod(tensor.shape[n + 1 :]) for n in range(len(tensor.shape))):
                    continue  # a view by columns, which no embedding table is
                info = archive.getinfo(f"{description[: -len('data.pkl')]}data/{tensor.storage}")
                stream.seek(info.header_offset + 26)
                name_length, extra = struct.unpack("<HH", stream.read(4))
                width = np.dtype(DTYPES[tensor.dtype]).itemsize if tensor.dtype in DTYPES else 0
                offset = info.header_offset + 30 + name_length + extra + tensor.first * width
                if offset + prod(tensor.shape) * width > size:
                    raise UserError(f"{path} is cut short: '{name}' ends beyond its {size} bytes; get it again")
                found[name] = BinTensor(path, offset, tensor.dtype, tensor.shape)
    return found


def _flat(state: Dict[str, Any]) -> Iterator[Tuple[str, _Described]]:
    """Named tensors of a state dict, which may be one level down (`model`, `state_dict`)."""
    for part in (state, *(value for value in state.values() if isinstance(value, dict))):
        for name, value in part.items():
            if isinstance(value, _Described):
                yield name, value


class _Describer(pickle.Unpickler):
    """Reads descriptions of tensors. No function that the file names is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        """Substitutes of our own for whatever the file names."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _described
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if module == "torch" and name.endswith("Storage"):
            return type(name, (), {})
        return _Ignored

    def persistent_load(self, pid: Any) -> Tuple[str, str]:
        """Name and type of a storage."""
        _, kind, name, _, _ = pid
        return name, STORAGES.get(kind.__name__, kind.__name__)


class _Ignored:
    """Takes the place of what a checkpoint holds besides tensors."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _described(storage: Tuple[str, str], first: int, shape: Tuple[int, ...], strides: Tuple[int, ...], *_: Any) -> _Described:
    """Takes the place of the function that rebuilds a tensor."""
    name, dtype = storage
    return _Described(name, dtype, first, tuple(shape), tuple(strides))
