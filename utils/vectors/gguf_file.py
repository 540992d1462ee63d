"""Metadata and single tensors of a GGUF file (version 2 or 3).

The format's constants and the quantised types come from the library gguf. Its GGUFReader is not used: it makes several arrays of
every string, which takes 13 s and 440 MB for a vocabulary of 262,144 (0.4 s and 24 MB here; gguf 0.19).
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Dict, Tuple

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGUF_MAGIC, GGMLQuantizationType, GGUFValueType
from gguf.quants import dequantize

from utils.core.errors import UserError

SCALARS = {  # struct's letters
    GGUFValueType.UINT8: "B",
    GGUFValueType.INT8: "b",
    GGUFValueType.UINT16: "H",
    GGUFValueType.INT16: "h",
    GGUFValueType.UINT32: "I",
    GGUFValueType.INT32: "i",
    GGUFValueType.FLOAT32: "f",
    GGUFValueType.BOOL: "?",
    GGUFValueType.UINT64: "Q",
    GGUFValueType.INT64: "q",
    GGUFValueType.FLOAT64: "d",
}
TABLE = "token_embd.weight"
LONGEST_STRING = 100_000_000  # bytes; a longer one means a damaged file


@dataclass(frozen=True)
class GgufTensor:
    """A tensor in a GGUF file, not loaded; a StoredTensor."""

    path: Path
    offset: int  # bytes
    kind: GGMLQuantizationType
    shape: Tuple[int, ...]  # as torch has it: the last index moves fastest

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows, whatever their quantisation: (n,) -> (n, width) float32; of a vector, some of its values.

        Raises:
          UserError: the file is cut short, or the library can't read this quantisation.
        """
        block, size = GGML_QUANT_SIZES[self.kind]
        shape = (*self.shape[:1], prod(self.shape[1:]) // block * size)
        if self.offset + prod(shape) > self.path.stat().st_size:
            raise UserError(f"{self.path} is cut short: a tensor ends beyond the end of the file; get it again")
        rows = np.array(np.memmap(self.path, np.uint8, "r", self.offset, shape)[numbers])
        try:
            values = np.asarray(dequantize(rows, self.kind), dtype=np.float32)
        except NotImplementedError:
            raise UserError(
                f"{self.path}: a tensor is quantised as {self.kind.name}, which the library gguf can't read"
            ) from None
        return values.reshape(len(rows), *self.shape[1:])


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file: its metadata, and where its tensors lie."""

    path: Path
    metadata: Dict[str, Any]
    tensors: Dict[str, GgufTensor]

    @property
    def table(self) -> GgufTensor:
        """The token embeddings."""
        return self.tensors[TABLE]


def read(path: Path) -> GgufFile:
    """Read the header.

    Raises:
      UserError: the file is of another format, cut short, or has no table of token embeddings.
    """
    infos: Dict[str, Tuple[Tuple[int, ...], GGMLQuantizationType, int]] = {}
    try:
        with open(path, "rb") as stream:
            if stream.read(4) != struct.pack("<I", GGUF_MAGIC):
                raise UserError(f"{path} is not a GGUF file")
            version, count, keys = _unpack(stream, "IQQ")
            if version not in (2, 3):
                raise UserError(f"{path} is GGUF version {version}; 2 and 3 can be read")
            metadata = {_string(stream): _value(stream, *_unpack(stream, "I")) for _ in range(keys)}
            for _ in range(count):
                name, (dimensions,) = _string(stream), _unpack(stream, "I")
                shape = _unpack(stream, f"{dimensions}Q")
                kind, offset = _unpack(stream, "IQ")
                infos[name] = shape[::-1], GGMLQuantizationType(kind), offset
            header = stream.tell()
    except (struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise UserError(f"{path} is cut short or damaged ({error}); get it again") from None
    if TABLE not in infos or len(infos[TABLE][0]) != 2:
        raise UserError(f"{path} has no {TABLE}: it is not a language model with a table of token embeddings")
    alignment = int(metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT))
    data = -(-header // alignment) * alignment
    found = {name: GgufTensor(path, data + offset, kind, shape) for name, (shape, kind, offset) in infos.items()}
    return GgufFile(path, metadata, found)


def _unpack(stream: BinaryIO, form: str) -> Tuple[Any, ...]:
    form = "<" + form
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _string(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "Q")
    if length > LONGEST_STRING:
        raise struct.error(f"a string of {length} bytes")
    data = stream.read(length)
    if len(data) < length:
        raise struct.error("it ends within a string")
    return data.decode("utf-8", errors="replace")  # some vocabularies have pieces that are bytes


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == GGUFValueType.STRING:
        return _string(stream)
    if kind == GGUFValueType.ARRAY:
        element, length = _unpack(stream, "IQ")
        if element in SCALARS:
            return list(_unpack(stream, f"{length}{SCALARS[element]}"))
        return [_value(stream, element) for _ in range(length)]
    return _unpack(stream, SCALARS[GGUFValueType(kind)])[0]
