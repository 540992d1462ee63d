"""k2 graphs as arrays: what a bundle has of them, since a pickle could run code."""

from typing import Any, Dict

import torch

from utils.lang.graphs import need_k2


def fsa_arrays(fsa: Any) -> Dict[str, torch.Tensor]:
    """Arcs and attributes of a graph as int32 and float32 arrays, of which `fsa_of_arrays` makes the very same graph.

    A ragged attribute is two arrays, NAME.values and NAME.row_splits.
    """
    out: Dict[str, torch.Tensor] = {}
    for name, value in fsa.to("cpu").as_dict().items():
        if isinstance(value, torch.Tensor):
            out[name] = value.contiguous()
        elif hasattr(value, "shape"):
            out[f"{name}.values"], out[f"{name}.row_splits"] = value.values.contiguous(), value.shape.row_splits(1).contiguous()
    return out


def fsa_of_arrays(arrays: Dict[str, torch.Tensor], device: str = "cpu") -> Any:
    """The reverse of `fsa_arrays`."""
    k2 = need_k2()
    values = {name: value for name, value in arrays.items() if not name.endswith((".values", ".row_splits"))}
    for name, value in arrays.items():
        if name.endswith(".values"):
            name = name[: -len(".values")]
            shape = k2.ragged.create_ragged_shape2(arrays[f"{name}.row_splits"], None)
            values[name] = k2.RaggedTensor(shape, value)
    return k2.Fsa.from_dict(values).to(device)
