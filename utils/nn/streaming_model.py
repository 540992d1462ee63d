"""A causal network with explicit caches, in torch; utils/nn/streaming.py drives it, and its form in ONNX."""

from typing import Dict, List, Tuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.core.frames import output_frames
from utils.nn.encoder import Past, Sight, rotary, valid_frames
from utils.nn.model import AcousticModel
from utils.nn.streaming import HEARD, StreamingNetwork


class StreamingModel(nn.Module):
    """One call of a causal model: chunks and caches -> outputs and caches. All dimensions but N and T are fixed."""

    def __init__(self, model: AcousticModel) -> None:
        """Raises UserError: the model is not causal."""
        super().__init__()
        if model.encoder.chunks is None:
            raise UserError("this model sees whole utterances, so it can't stream; train one with model.causal=true")
        self.model, self.encoder, self.left = model, model.encoder, model.encoder.chunks.left
        self.outputs = (["subword"] if model.subword is not None else []) + (
            ["frames", "blank"] if model.word is not None else []
        )
        self.shapes = self._shapes()

    def _shapes(self) -> Dict[str, Tuple[int, ...]]:
        encoder, shapes = self.encoder, {}
        for n, convolution in enumerate((*encoder.convolutions, encoder.down)):
            if convolution.left:
                shapes[f"subsampling{n}"] = (convolution.left, convolution.in_channels)
        for name, rate in (("fine", encoder.ratio), ("coarse", 1)):
            for n, block in enumerate(getattr(encoder, name)):
                width = block.attention.output.in_features
                shapes[f"{name}{n}_attention"] = (self.left * rate, 2 * width)
                shapes[f"{name}{n}_convolution"] = (block.convolution.half, width)
        return {name: shape for name, shape in shapes.items() if shape[0]}

    def forward(self, x: Tensor, lengths: Tensor, heard: Tensor, *caches: Tensor) -> Tuple[Tensor, ...]:
        """Encode a chunk of each stream.

        Args:
          x: (N, T, feature_dim), normalised features; T is a multiple of the coarse stream's stride.
          lengths: (N,), frames of each chunk; a multiple of the stride unless the stream ends with it.
          heard: (N,), frames of the coarse stream that the caches have of the stream.
          caches: (N, ...) each, as `shapes` lists them.
        Returns:
          the outputs that `outputs` names, as in utils.nn.model.Output, then their numbers of frames (N,) in the fine and in the
          coarse stream, then `heard` and the caches.
        """
        encoder = self.encoder
        old = dict(zip(self.shapes, caches))
        new: Dict[str, Tensor] = {}

        def subsampled(x: Tensor, lengths: Tensor, n: int, convolution: nn.Module) -> Tensor:
            x = x * valid_frames(lengths, x.shape[1])[..., None]
            past = old.get(f"subsampling{n}", x[:, :0])
            new[f"subsampling{n}"] = last_frames(torch.cat((past, x), 1), lengths, past.shape[1])
            return convolution(x, past)

        for n, convolution in enumerate(encoder.convolutions):
            x = F.silu(subsampled(x, lengths, n, convolution))
            lengths = output_frames(lengths, 2)
        fine = self._blocks("fine", encoder.norm(x), lengths, heard, encoder.ratio, old, new)
        coarse_lengths = output_frames(lengths, encoder.ratio)
        down = subsampled(fine, lengths, len(encoder.convolutions), encoder.down)
        coarse = self._blocks("coarse", down, coarse_lengths, heard, 1, old, new)
        output = self.model.output(*encoder.joined(fine, coarse), lengths, coarse_lengths)
        made = tuple(getattr(output, name) for name in (*self.outputs, "subword_lengths", "word_lengths"))
        return (*made, (heard + coarse_lengths).clamp(max=self.left), *(new[name] for name in self.shapes))

    def _blocks(
        self, name: str, x: Tensor, lengths: Tensor, heard: Tensor, rate: int, old: Dict[str, Tensor], new: Dict[str, Tensor]
    ) -> Tensor:
        """The blocks `name` (fine, coarse) of all chunks; rate: frames of this stream in a frame of the coarse one."""
        frames, left = x.shape[1], self.left * rate
        valid = valid_frames(lengths, frames)
        past = (torch.arange(left, device=x.device) >= left - rate * heard[:, None]).float()
        hidden = torch.cat((past, valid), 1)[:, None, None] == 0
        sight = Sight(valid, hidden, rotary(left + frames, self.encoder.head_dim, x.device))
        for n, block in enumerate(getattr(self.encoder, name)):
            names = [f"{name}{n}_attention", f"{name}{n}_convolution"]
            before = Past(old.get(names[0], x[:, :0].repeat(1, 1, 2)), old.get(names[1], x[:, :0]))
            x, after = block(x, sight, before)
            for key, value, was in zip(names, after, before):
                new[key] = last_frames(value, lengths, was.shape[1])
        return x


def last_frames(x: Tensor, lengths: Tensor, keep: int) -> Tensor:
    """The `keep` frames that end `lengths` (N,) frames after the first `keep` of x: (N, keep + T, C) -> (N, keep, C)."""
    n, t, c = x.shape
    rows = torch.arange(n, device=x.device)[:, None] * t + lengths[:, None] + torch.arange(keep, device=x.device)
    return x.reshape(-1, c).index_select(0, rows.flatten()).view(n, keep, c)


def torch_network(model: AcousticModel) -> StreamingNetwork:
    """The network in torch, on the model's device. Raises UserError: the model is not causal."""
    streaming = StreamingModel(model).eval()
    device = next(model.parameters()).device
    names = output_names(streaming)

    @torch.no_grad()
    def step(inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        made = streaming(*(torch.from_numpy(inputs[name]).to(device) for name in input_names(streaming)))
        return {name: value.cpu().numpy() for name, value in zip(names, made)}

    return StreamingNetwork(step, streaming.shapes, model.encoder.stride)


def input_names(model: StreamingModel) -> List[str]:
    """Names of what its `forward` takes."""
    return ["x", "lengths", HEARD, *model.shapes]


def output_names(model: StreamingModel) -> List[str]:
    """Names of what its `forward` returns."""
    return [*model.outputs, "subword_lengths", "word_lengths", *(f"new_{name}" for name in (HEARD, *model.shapes))]
