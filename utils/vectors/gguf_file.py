"""Single tensors and the tokenizer of a GGUF file, without reading the rest.

The library's GGUFReader makes an array object of every string, half a minute for a vocabulary of 262,144; its quantised types are
taken from it all the same.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Dict, Tuple

import numpy as np

from utils.core.errors import UserError

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}  # GGUF value types
STRING, ARRAY = 8, 9
TABLE = "token_embd.weight"


@dataclass(frozen=True)
class GgufTensor:
    """A tensor in a GGUF file, not loaded."""

    path: Path
    offset: int  # bytes
    kind: int  # GGMLQuantizationType
    shape: Tuple[int, ...]  # as torch has it: the last index is the one that moves fastest

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows, whatever they are quantised to: (n,) -> (n, width) float32; of a vector, some of its values."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize

        kind = GGMLQuantizationType(self.kind)
        block, size = GGML_QUANT_SIZES[kind]
        shape = (*self.shape[:1], prod(self.shape[1:]) // block * size)
        if self.offset + prod(shape) > self.path.stat().st_size:
            raise UserError(f"{self.path} is cut short: one of its tensors ends behind its end; get it again")
        found = np.array(np.memmap(self.path, np.uint8, "r", self.offset, shape)[numbers])
        try:
            values = np.asarray(dequantize(found, kind), dtype=np.float32)
        except NotImplementedError:
            raise UserError(f"{self.path}: a tensor is quantised as {kind.name}, which the gguf library can't read") from None
        return values.reshape(len(found), *self.shape[1:])


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
    """Read the header. Raises UserError for another file, one that is cut short, or one without a table of embeddings."""
    try:
        with open(path, "rb") as stream:
            if stream.read(4) != b"GGUF":
                raise UserError(f"{path} is not a GGUF file")
            version, count, keys = _take(stream, "IQQ")
            if version < 2:
                raise UserError(f"{path} is GGUF version {version}; 2 and 3 can be read")
            metadata = {_string(stream): _value(stream, *_take(stream, "I")) for _ in range(keys)}
            infos = {}
            for _ in range(count):
                name, (dimensions,) = _string(stream), _take(stream, "I")
                shape = _take(stream, f"{dimensions}Q")
                infos[name] = (shape, *_take(stream, "IQ"))
            header = stream.tell()
    except (struct.error, UnicodeDecodeError, KeyError) as error:
        raise UserError(f"{path} is cut short or damaged ({error}); get it again") from None
    if TABLE not in infos or len(infos[TABLE][0]) != 2:
        raise UserError(f"{path} has no {TABLE}: it holds no language model with a table of embeddings")
    alignment = int(metadata.get("general.alignment", 32))
    data = -(-header // alignment) * alignment
    found = {name: GgufTensor(path, data + offset, kind, shape[::-1]) for name, (shape, kind, offset) in infos.items()}
    return GgufFile(path, metadata, found)


def _take(stream: BinaryIO, form: str) -> tuple:
    form = "<" + form
    return struct.unpack(form, stream.read(struct.calcsize(form)))


def _string(stream: BinaryIO) -> str:
    (length,) = _take(stream, "Q")
    if length > 100_000_000:
        raise struct.error(f"a text of {length} bytes")
    data = stream.read(length)
    if len(data) < length:
        raise struct.error("its end comes within a text")
    return data.decode("utf-8", errors="replace")  # some vocabularies have pieces that are bytes


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _string(stream)
    if kind == ARRAY:
        element, length = _take(stream, "IQ")
        if element in SCALARS:
            return list(_take(stream, f"{length}{SCALARS[element]}"))
        return [_value(stream, element) for _ in range(length)]
    return _take(stream, SCALARS[kind])[0]
