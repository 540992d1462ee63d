"""Arrays in a file of the safetensors format, read with NumPy alone."""

import json
from typing import Dict

import numpy as np

from utils.core.errors import UserError

TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U8": "|u1",
    "BOOL": "|b1",
}


def read_arrays(content: bytes, where: str) -> Dict[str, np.ndarray]:
    """The arrays in a file's bytes, read-only: 8 bytes with the size of a JSON header, the header, the data.

    Args:
      where: the file's name, for errors.
    Raises:
      UserError: not a safetensors file.
    """
    try:
        data = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:data].decode("utf-8"))
        return {
            name: np.frombuffer(content[data + about["data_offsets"][0] : data + about["data_offsets"][1]], TYPES[about["dtype"]])
            .reshape(about["shape"])
            for name, about in header.items()
            if name != "__metadata__"
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where} is not a safetensors file ({error}); copy the bundle again") from None
