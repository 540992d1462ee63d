"""Layers between the hidden states of a pre-trained encoder and our encoder: a mix of layers, or upper layers to fine-tune."""

from pathlib import Path
from typing import Dict, Optional, Tuple, Union

import torch
from torch import Tensor, nn

from utils.core.errors import UserError
from utils.core.files import read_json
from utils.features.front_end import DESCRIPTION
from utils.features.hidden_states import fill
from utils.features.whisper_model import whisper_folder
from utils.nn.wav2vec2 import Architecture, Transformer
from utils.pipeline.config import made_with


class LayerMix(nn.Module):
    """A weighted sum of layers; the weights are a learned softmax (SUPERB: Yang et al. 2021, section 3.2)."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (N, T, layers x C) -> (N, T, C)."""
        n, t, c = x.shape
        return self.weights.softmax(0) @ x.view(n, t, len(self.weights), c // len(self.weights))


class UpperLayers(nn.Module):
    """The layers of a pre-trained encoder above the hidden state that stage 1 stored. They are trained."""

    def __init__(self, architecture: Architecture, first: int, dropout: float) -> None:
        super().__init__()
        self.first, self.last = first, architecture.num_hidden_layers
        self.encoder = Transformer(architecture, first, self.last, dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (N, T, C), hidden state `first` -> (N, T, C), the last; lengths: (N,), frames."""
        return self.encoder(x, lengths)[-1]

    def depths(self) -> Dict[nn.Parameter, int]:
        """Depth of each weight: 1 in the top layer and the norm after it, one more for each layer below."""
        numbers = {p: int(n) for n, layer in self.encoder.layers.items() for p in layer.parameters()}
        outside = {"layer_norm": self.last - 1, "rel_attn_embed": self.first}
        numbers.update({p: outside[name.split(".")[0]] for name, p in self.encoder.named_parameters() if p not in numbers})
        return {p: self.last - n for p, n in numbers.items()}


def make_front(folder: Path, width: int, finetune: bool, dropout: float) -> Tuple[Optional[Union[LayerMix, UpperLayers]], int]:
    """The first part of a model on the features of stage 1, and the width of its output.

    Args:
      folder: of stage 1.
      width: columns of its features.
      finetune: whether the layers above are trained.
    Raises:
      UserError: there is no layer above the stored one.
    """
    if not (folder / DESCRIPTION).is_file():
        return None, width
    said = read_json(folder / DESCRIPTION)
    if not finetune:
        several = len(said["layers"])
        return (LayerMix(several), width // several) if several > 1 else (None, width)
    architecture = Architecture(**said["architecture"])
    (first,) = said["layers"]
    last = architecture.num_hidden_layers
    if not 0 < first < last:
        raise UserError(f"model.finetune=true trains the layers above features.layers=[{first}]: give one of 1 to {last - 1}")
    return UpperLayers(architecture, first, dropout), width


def load_pretrained(front: UpperLayers, folder: Path) -> None:
    """Load the weights of the model that the features in `folder` were made with."""
    from utils.features import ssl_model  # imports torchaudio
    from utils.nn import whisper_encoder

    config = made_with(folder).features
    if config.front_end == "whisper":
        weights = whisper_encoder.read(whisper_folder(config.model, "features"))[1]
    else:
        weights = ssl_model.read(config.model)[1]
    inside = {name[len("encoder.") :]: value for name, value in weights.items() if name.startswith("encoder.")}
    fill(front.encoder, inside, config.model)
