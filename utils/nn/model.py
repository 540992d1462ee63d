"""The acoustic model of every recipe: one encoder, a sub-word head at 40 ms, a word head at 80 ms."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Mapping, Optional, Union

import torch
from safetensors.torch import load as of_bytes
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from utils.core.files import atomic_path
from utils.nn.encoder import Chunks, Encoder
from utils.vectors.wordvec import SoftmaxTable, WordHead, WordVectors, word_scores


@dataclass
class Output:
    """Outputs of the network for a batch; log-probabilities are natural logarithms."""

    subword: Optional[Tensor]  # (N, T, units), log-probabilities, blank first
    subword_lengths: Tensor  # (N,), frames
    frames: Optional[Tensor]  # (N, T2, dim), vectors in the word space, multiplied by the scale
    blank: Optional[Tensor]  # (N, T2), score of the blank
    word_lengths: Tensor  # (N,), frames


class AcousticModel(nn.Module):
    """Encoder and heads; `build` makes one."""

    def __init__(
        self, encoder: Encoder, subword: Optional[nn.Linear], word: Optional[WordHead], front: Optional[nn.Module] = None
    ) -> None:
        super().__init__()
        self.front = front
        self.encoder = encoder
        self.subword = subword
        self.word = word

    def forward(self, x: Tensor, lengths: Tensor) -> Output:
        """x: (N, T, feature_dim), normalised features; lengths: (N,), frames."""
        if self.front is not None:
            x = self.front(x, lengths)
        fine, coarse, fine_lengths, coarse_lengths = self.encoder(x, lengths)
        return self.output(fine, coarse, fine_lengths, coarse_lengths)

    def output(self, fine: Tensor, coarse: Tensor, fine_lengths: Tensor, coarse_lengths: Tensor) -> Output:
        """What the heads make of the encoder's streams."""
        subword = frames = blank = None
        if self.subword is not None:
            subword = self.subword(fine).float().log_softmax(-1)
        if self.word is not None:
            frames, blank = self.word(coarse)
        return Output(subword, fine_lengths, frames, blank, coarse_lengths)

    def word_log_probs(
        self, output: Output, words: Tensor, dropout: Mapping[str, float] = {}, offsets: Union[Tensor, float] = 0.0
    ) -> Tensor:
        """Log-probabilities (N, T2, 1 + W) of blank and the table's rows `words` (W,); `offsets` are added to the scores."""
        assert self.word is not None, "this model has no word head"
        vectors, bias = self.word.table(words, dropout)
        return word_scores(output.frames, output.blank, vectors, bias + offsets).log_softmax(-1)


def build(
    config: SimpleNamespace,
    feature_dim: int,
    units: int,
    words: int,
    table: Dict[str, Tensor],
    vector_dim: int,
    front: Optional[nn.Module] = None,
    frame_shift: float = 0.01,
) -> AcousticModel:
    """Make a model with fresh weights.

    Args:
      config: the group `model`.
      feature_dim: width of the features, or of the output of `front`.
      units: sub-word units, with the blank.
      words: rows of the word-vector table.
      table: the word-vector table's parts (stage vectors).
      vector_dim: width of the word-vector space.
      front: layers before the encoder (utils/train/pretrained_layers.py).
      frame_shift: seconds from a frame of the features to the next.
    """
    encoder = make_encoder(config, feature_dim, frame_shift)
    word = None
    if config.word_head != "none":
        vectors = WordVectors(table, vector_dim) if config.word_head == "vectors" else SoftmaxTable(words, vector_dim)
        word = WordHead(config.dim, vector_dim, vectors)
    return AcousticModel(encoder, nn.Linear(config.dim, units) if config.subword_head else None, word, front)


def make_encoder(config: SimpleNamespace, feature_dim: int, frame_shift: float = 0.01) -> Encoder:
    """The encoder of `build`, with fresh weights."""
    chunks = None
    if getattr(config, "causal", False):  # models from before have no such key
        frame = frame_shift * config.word_subsampling
        chunks = Chunks([round(seconds / frame) for seconds in config.chunks], round(config.left_context / frame))
    return Encoder(
        feature_dim,
        (config.subword_subsampling, config.word_subsampling),
        config.dim,
        config.fine_layers,
        config.coarse_layers,
        config.heads,
        config.kernel,
        config.dropout,
        chunks,
    )


def parameters(model: nn.Module) -> int:
    """Number of weights; all of them are trained."""
    return sum(p.numel() for p in model.parameters())


def save(model: nn.Module, path: Path) -> None:
    """Write the weights as safetensors, atomically."""
    with atomic_path(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, str(temporary))


def load(model: nn.Module, path: Path) -> None:
    """Read weights; raises RuntimeError if names or shapes differ."""
    model.load_state_dict(of_bytes(path.read_bytes()), strict=True)


def average(paths: List[Path]) -> Dict[str, Tensor]:
    """The mean of the weights in several files."""
    states = [load_file(str(path)) for path in paths]
    return {k: torch.stack([s[k].double() for s in states]).mean(0).to(states[0][k].dtype) for k in states[0]}
