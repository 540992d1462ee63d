"""The encoder of Whisper (Radford et al. 2022) in torch, with the weights of a model in CTranslate2's format.

It gives the hidden states of lower layers and lets the upper ones be trained. The whole frozen encoder runs faster in CTranslate2
(utils/features/whisper_front_end.py).
"""

import struct
from pathlib import Path
from typing import BinaryIO, Dict, List, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.nn.wav2vec2 import Architecture, Transformer

VERSION = 6  # format of model.bin that CTranslate2 2 to 4 write
FLOATS = {0: "<f4", 4: "<f2"}  # CTranslate2's number of a type -> numpy's name
PARTS = (  # of a layer: name in CTranslate2, name here
    ("self_attention/layer_norm", "layer_norm"),
    ("self_attention/linear_1", "attention.out_proj"),
    ("ffn/layer_norm", "final_layer_norm"),
    ("ffn/linear_0", "feed_forward.intermediate_dense"),
    ("ffn/linear_1", "feed_forward.output_dense"),
)


class WhisperEncoder(nn.Module):
    """Log-mel frames -> hidden states up to layer `last`."""

    def __init__(self, a: Architecture, mels: int, positions: int, last: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(mels, a.hidden_size, 3, padding=1)
        self.conv2 = nn.Conv1d(a.hidden_size, a.hidden_size, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(positions, a.hidden_size))
        self.encoder = Transformer(a, 0, last)

    def forward(self, mel: Tensor) -> List[Tensor]:
        """mel: (N, mels, T), all of one length -> (N, ceil(T / 2), hidden_size) before the first layer and after each."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        return self.encoder(x + self.positions[: x.shape[1]])


def read(folder: Path) -> Tuple[Architecture, Dict[str, Tensor]]:
    """The shape of the encoder, and its weights in float32 by their names in WhisperEncoder; the decoder is not read.

    Raises:
      UserError: `model.bin` is cut short, of another version or model, or quantised.
    """
    path = folder / "model.bin"
    try:
        stored = _variables(path)
    except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} can't be read as weights in CTranslate2's format, version {VERSION}, in float16 or float32 ({error}): copy "
            f"it again, or convert the model anew by ct2-transformers-converter --quantization float16"
        ) from None
    weights = {}
    for name in ("conv1", "conv2"):
        weights.update({f"{name}.{kind}": stored[f"{name}/{kind}"] for kind in ("weight", "bias")})
    weights["positions"] = stored["position_encodings/encodings"]
    layers = 0
    while f"layer_{layers}/ffn/linear_0/weight" in stored:
        theirs, ours = f"layer_{layers}/", f"encoder.layers.{layers}."
        for part, own in PARTS:
            weights.update(_renamed(stored, theirs + part, ours + own))
        for kind in ("weight", "bias"):
            thirds = stored[f"{theirs}self_attention/linear_0/{kind}"].chunk(3)
            weights.update({f"{ours}attention.{part}_proj.{kind}": third for part, third in zip("qkv", thirds)})
        layers += 1
    weights.update(_renamed(stored, "layer_norm", "encoder.layer_norm"))
    width = len(stored["conv1/bias"])
    return Architecture(
        model_type="whisper",
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=int(stored["num_heads"]),
        intermediate_size=len(stored["layer_0/ffn/linear_0/bias"]),
        do_stable_layer_norm=True,
    ), weights


def _renamed(stored: Dict[str, Tensor], theirs: str, ours: str) -> Dict[str, Tensor]:
    kinds = ("weight", "bias") if f"{theirs}/weight" in stored else ("gamma", "beta")
    return {f"{ours}.{own}": stored[f"{theirs}/{kind}"] for own, kind in zip(("weight", "bias"), kinds)}


def _variables(path: Path) -> Dict[str, Tensor]:
    """The variables below `encoder/` in model.bin.

    The file holds version, name and revision of the model, then each variable's name, shape, type and bytes (ModelSpec._serialize
    in CTranslate2's Python package). Raises ValueError, KeyError or struct.error where it does not.
    """
    out: Dict[str, Tensor] = {}
    with path.open("rb") as stream:
        version, name, _, count = _number(stream, "I"), _text(stream), _number(stream, "I"), _number(stream, "I")
        if version != VERSION or name != "WhisperSpec":
            raise ValueError(f"it is a {name[:40]} of version {version}")
        for _ in range(count):
            name = _text(stream)
            shape = [_number(stream, "I") for _ in range(_number(stream, "B"))]
            kind, size = _number(stream, "B"), _number(stream, "I")
            if not name.startswith("encoder/"):
                stream.seek(size, 1)
            elif kind in FLOATS:
                values = np.frombuffer(stream.read(size), FLOATS[kind]).reshape(shape).astype(np.float32)
                out[name[len("encoder/") :]] = torch.from_numpy(values)
            elif not shape:  # a setting
                out[name[len("encoder/") :]] = torch.tensor(int.from_bytes(stream.read(size), "little"))
            else:
                raise ValueError(f"{name} is quantised")
    return out


def _number(stream: BinaryIO, kind: str) -> int:
    return struct.unpack(f"<{kind}", stream.read(struct.calcsize(kind)))[0]


def _text(stream: BinaryIO) -> str:
    return stream.read(_number(stream, "H"))[:-1].decode()  # ends with a zero
