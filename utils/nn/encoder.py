"""Acoustic encoder: a small conformer (Gulati et al. 2020) with rotary positions (Su et al. 2021).

It has layer norm instead of batch norm, and masks padding before every convolution: the output of an utterance depends neither on
its batch nor on the padding after its end. Under autocast the residual stream and the inputs of norms stay in single precision.

A causal encoder works in chunks: a frame sees its own chunk and a limited number of frames before it, in attention (Zhang et al.
2020, "Unified streaming and non-streaming two-pass") and in convolutions (Li et al. 2023, "Dynamic chunk convolution"). The size
of the chunks is drawn for each batch of training, so one set of weights serves every size, and the whole utterance.
utils/nn/streaming.py runs it chunk by chunk.
"""

from typing import NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.core.frames import output_frames


class Chunks(NamedTuple):
    """How a causal encoder works; in frames of the coarse stream."""

    sizes: Sequence[int]  # of a chunk, one of which is drawn for each training batch; 0: the whole utterance
    left: int  # frames before its chunk that a frame attends to


class Sight(NamedTuple):
    """What the frames of a stream see."""

    valid: Tensor  # (N, T): 1 within the utterance, else 0
    hidden: Tensor  # bool, broadcast to (N, heads, T, S): which of the S keys a frame does not attend to
    rotation: Tuple[Tensor, Tensor]  # cosines and sines of the positions of the S keys; the T frames are the last of them
    chunk: int = 0  # frames of a chunk; 0: the whole utterance


class Encoder(nn.Module):
    """Features -> frames at two rates, each (N, T', dim); with the usual subsampling of fbank every 40 ms and every 80 ms.

    A very small version of zipformer (Yao et al. 2023): a few blocks at the fine rate and most blocks at the coarse rate, where
    they cost half. The coarse output is repeated and added to the fine stream, for the head that needs finer times.
    """

    def __init__(
        self,
        feature_dim: int,
        strides: Tuple[int, int],
        dim: int,
        fine_layers: int,
        coarse_layers: int,
        heads: int,
        kernel: int,
        dropout: float,
        chunks: Optional[Chunks] = None,
    ) -> None:
        """
        Args:
          strides: subsampling factors of the fine and of the coarse stream, by default (4, 8).
          chunks: of a causal encoder; None: every frame sees the whole utterance.
        """
        super().__init__()
        fine, coarse = strides
        causal = chunks is not None
        self.convolutions = nn.ModuleList(
            [Subsampling(feature_dim, dim, 5, 2, causal)]
            + [Subsampling(dim, dim, 5, 2, causal) for _ in range(fine.bit_length() - 2)]
        )
        self.ratio, self.stride, self.chunks = coarse // fine, coarse, chunks
        self.chunk = chunks.sizes[0] if chunks else 0  # in evaluation, in frames of the coarse stream; 0: the whole utterance
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.fine = nn.ModuleList([Block(dim, heads, kernel, dropout) for _ in range(fine_layers)])
        self.down = Subsampling(dim, dim, 3, self.ratio, causal)
        self.coarse = nn.ModuleList([Block(dim, heads, kernel, dropout) for _ in range(coarse_layers)])
        self.coarse_norm = nn.LayerNorm(dim)
        self.fine_norm = nn.LayerNorm(dim)
        self.head_dim = dim // heads

    def forward(self, x: Tensor, lengths: Tensor) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Encode a padded batch.

        Args:
          x: (N, T, feature_dim), normalised features.
          lengths: (N,), frames of each utterance.
        Returns:
          the fine stream (N, ceil(T / strides[0]), dim), the coarse stream, and the frames of each utterance (N,) in the one and
          in the other.
        """
        chunk = self._chunk()
        for convolution in self.convolutions:
            x = F.silu(convolution(x * valid_frames(lengths, x.shape[1])[..., None]))
            lengths = output_frames(lengths, 2)
        sight = self._sight(lengths, x.shape[1], chunk, self.ratio)
        fine = _blocks(self.fine, self.dropout(self.norm(x.float())), sight)
        coarse_lengths = output_frames(lengths, self.ratio)
        down = self.down(fine * sight.valid[..., None])
        coarse = _blocks(self.coarse, down.float(), self._sight(coarse_lengths, down.shape[1], chunk, 1))
        return (*self.joined(fine, coarse), lengths, coarse_lengths)

    def joined(self, fine: Tensor, coarse: Tensor) -> Tuple[Tensor, Tensor]:
        """The streams as they leave, (N, T', dim) each: the coarse one is repeated and added to the fine one."""
        n, t, c = coarse.shape
        fine = fine + coarse[:, :, None].expand(n, t, self.ratio, c).reshape(n, self.ratio * t, c)[:, : fine.shape[1]]
        return self.fine_norm(fine), self.coarse_norm(coarse)

    def _chunk(self) -> int:
        if not self.training or self.chunks is None:
            return self.chunk
        return self.chunks.sizes[int(torch.randint(len(self.chunks.sizes), ()))]

    def _sight(self, lengths: Tensor, frames: int, chunk: int, rate: int) -> Sight:
        """rate: frames of this stream in a frame of the coarse one."""
        valid = valid_frames(lengths, frames)
        hidden = valid[:, None, None] == 0
        if chunk:
            assert self.chunks is not None
            place = torch.arange(frames, device=lengths.device)
            begins = place - place % (chunk * rate)  # of each frame's chunk
            inside = (place < begins[:, None] + chunk * rate) & (place >= begins[:, None] - self.chunks.left * rate)
            hidden = hidden | ~inside
        return Sight(valid, hidden, rotary(frames, self.head_dim, lengths.device), chunk * rate)


def _blocks(blocks: nn.ModuleList, x: Tensor, sight: Sight) -> Tensor:
    for block in blocks:
        x, _ = block(x, sight)
    return x


class Subsampling(nn.Conv1d):
    """A convolution over time with a stride: (N, T, C) -> (N, ceil(T / stride), C').

    If it is causal, an output sees nothing after the inputs that it stands for, input stride * (n + 1) - 1 being the last.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, causal: bool) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=0 if causal else kernel // 2)
        self.causal, self.left = causal, max(kernel - stride, 0)

    def forward(self, x: Tensor, past: Optional[Tensor] = None) -> Tensor:
        """x: (N, T, C); past: (N, left, C), the inputs before them, if there were some and T is a multiple of the stride."""
        if past is not None:
            x = torch.cat((past, x), 1)
        elif self.causal:
            x = F.pad(x, (0, 0, self.left, self.kernel_size[0] - 1 - self.left))
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Past(NamedTuple):
    """What a block keeps of the frames before those that it gets."""

    attention: Tensor  # (N, L, 2 C), keys and values
    convolution: Tensor  # (N, kernel // 2, C)


class Block(nn.Module):
    """Self-attention, convolution and feed-forward, each with a residual connection."""

    def __init__(self, dim: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.convolution = Convolution(dim, kernel)
        self.feed_forward = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, sight: Sight, past: Optional[Past] = None) -> Tuple[Tensor, Optional[Past]]:
        """x: (N, T, C) -> (N, T, C); and with `past` what it becomes with these frames after it: longer by T."""
        attended, keys = self.attention(x, sight, None if past is None else past.attention)
        x = x + self.dropout(attended)
        convolved, inputs = self.convolution(x, sight, None if past is None else past.convolution)
        x = x + self.dropout(convolved)
        return x + self.dropout(self.feed_forward(x)), None if past is None else Past(keys, inputs)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.inputs = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, sight: Sight, past: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """x: (N, T, C); past: (N, L, 2 C), keys and values before them -> (N, T, C); past and new ones, (N, L + T, 2 C)."""
        n, t, c = x.shape
        q, stored = self.inputs(self.norm(x)).split((c, 2 * c), -1)
        if past is not None:
            stored = torch.cat((past, stored), 1)
        q = q.reshape(n, t, self.heads, c // self.heads).transpose(1, 2)
        k, v = stored.reshape(n, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        cos, sin = sight.rotation
        own = (cos[-t:], sin[-t:])
        scores = rotate(q, own) @ rotate(k, sight.rotation).transpose(2, 3) * (c // self.heads) ** -0.5  # (N, H, T, S)
        scores = scores.masked_fill(sight.hidden, torch.finfo(scores.dtype).min)
        return self.output((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c)), stored


class Convolution(nn.Module):
    """Gated pointwise and depthwise convolution over time."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inputs = nn.Linear(dim, 2 * dim)
        # Conv2d with a (1, k) kernel: torch 1.13's depthwise Conv1d is slow backwards on CPU
        self.half = kernel // 2
        self.depthwise = nn.Conv2d(dim, dim, (1, kernel), padding=(0, self.half), groups=dim)
        self.middle = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, sight: Sight, past: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """x: (N, T, C); past: (N, K, C), K = kernel // 2, inputs before them -> (N, T, C); past and new inputs, (N, K + T, C)."""
        x = F.glu(self.inputs(self.norm(x)), -1) * sight.valid[..., None]
        if past is not None:
            x = torch.cat((past, x), 1)
            y = self._within(x[:, None])
        elif sight.chunk:
            y = self._within(windows(x, sight.chunk, self.half))[:, : x.shape[1]]
        else:
            y = self.depthwise(x.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2)
        return self.output(F.silu(self.middle(y.float()))), x

    def _within(self, x: Tensor) -> Tensor:
        """x: (N, chunks, kernel // 2 + chunk, C), with the frames before each -> (N, chunks x chunk, C); zeros follow a chunk."""
        y = F.conv2d(F.pad(x.permute(0, 3, 1, 2), (0, self.half)), self.depthwise.weight, self.depthwise.bias, groups=x.shape[3])
        return y.flatten(2).transpose(1, 2)


def windows(x: Tensor, chunk: int, before: int) -> Tensor:
    """Chunks of a padded batch with the frames before them: (N, T, C) -> (N, ceil(T / chunk), before + chunk, C)."""
    n, t, c = x.shape
    count = (t + chunk - 1) // chunk
    starts = torch.arange(count, device=x.device)[:, None] * chunk
    places = starts + torch.arange(before + chunk, device=x.device)
    return F.pad(x, (0, 0, before, chunk - 1)).index_select(1, places.flatten()).view(n, -1, before + chunk, c)


def valid_frames(lengths: Tensor, frames: int) -> Tensor:
    """(N, frames): 1.0 within each utterance, else 0.0."""
    return (torch.arange(frames, device=lengths.device) < lengths[:, None]).float()


def rotary(frames: int, dim: int, device: torch.device) -> Tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, each (frames, dim / 2)."""
    rates = 10000.0 ** (-torch.arange(0, dim, 2, device=device) / dim)
    angles = torch.arange(frames, device=device)[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the halves of the last dimension of x: (..., T, dim) by their positions."""
    cos, sin = (r.to(x.dtype) for r in rotation)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), -1)
