"""Acoustic encoder: a small conformer (Gulati et al. 2020) with rotary positions (Su et al. 2021).

Layer norm stands where the original has batch norm, and padding is masked before every convolution, so that an utterance's
output depends neither on its batch nor on what lies behind its end. Under autocast the stream and what goes into a norm stay in
single precision.
"""

from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.core.frames import output_frames


class Encoder(nn.Module):
    """fbank -> frames at 40 ms and at 80 ms, each (N, T', dim).

    The shape is zipformer's (Yao et al. 2023) at its smallest: a few blocks at 40 ms, most blocks at 80 ms, where a frame costs
    half, and their output repeated and added to the 40 ms stream for the head that needs the finer times.
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
    ) -> None:
        """strides: features a frame of the fine and of the coarse stream, (4, 8) unless configured otherwise."""
        super().__init__()
        fine, coarse = strides
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(feature_dim, dim, 5, stride=2, padding=2)]
            + [nn.Conv1d(dim, dim, 5, stride=2, padding=2) for _ in range(fine.bit_length() - 2)]
        )
        self.ratio = coarse // fine
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.fine = nn.ModuleList([Block(dim, heads, kernel, dropout) for _ in range(fine_layers)])
        self.down = nn.Conv1d(dim, dim, 3, stride=self.ratio, padding=1)
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
          the fine stream (N, ceil(T / strides[0]), dim) and the frames of each utterance (N,); the coarse stream and its frames.
        """
        x = x.transpose(1, 2)
        for convolution in self.convolutions:
            x = F.silu(convolution(x * valid_frames(lengths, x.shape[2])[:, None]))
            lengths = output_frames(lengths, 2)
        fine = self._blocks(self.fine, self.dropout(self.norm(x.transpose(1, 2).float())), lengths)
        coarse_lengths = output_frames(lengths, self.ratio)
        down = self.down((fine * valid_frames(lengths, fine.shape[1])[..., None]).transpose(1, 2)).transpose(1, 2)
        coarse = self._blocks(self.coarse, down.float(), coarse_lengths)
        n, t, c = coarse.shape
        fine = fine + coarse[:, :, None].expand(n, t, self.ratio, c).reshape(n, self.ratio * t, c)[:, : fine.shape[1]]
        return self.fine_norm(fine), lengths, self.coarse_norm(coarse), coarse_lengths

    def _blocks(self, blocks: nn.ModuleList, x: Tensor, lengths: Tensor) -> Tensor:
        valid = valid_frames(lengths, x.shape[1])
        rotation = rotary(x.shape[1], self.head_dim, x.device)
        for block in blocks:
            x = block(x, valid, rotation)
        return x


class Block(nn.Module):
    """Self-attention, convolution, feed-forward, each added to the stream."""

    def __init__(self, dim: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.convolution = Convolution(dim, kernel)
        self.feed_forward = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor, rotation: Tuple[Tensor, Tensor]) -> Tensor:
        """x: (N, T, C); valid: (N, T), 1 within the utterance, else 0."""
        x = x + self.dropout(self.attention(x, valid, rotation))
        x = x + self.dropout(self.convolution(x, valid))
        return x + self.dropout(self.feed_forward(x))


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.inputs = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, valid: Tensor, rotation: Tuple[Tensor, Tensor]) -> Tensor:
        """x: (N, T, C); valid: (N, T), 1 in frames that an utterance has -> (N, T, C)."""
        n, t, c = x.shape
        q, k, v = self.inputs(self.norm(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = rotate(q, rotation) @ rotate(k, rotation).transpose(2, 3) * (c // self.heads) ** -0.5  # (N, H, T, T)
        scores = scores.masked_fill(valid[:, None, None] == 0, torch.finfo(scores.dtype).min)
        return self.output((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))


class Convolution(nn.Module):
    """Gated pointwise and depthwise convolution over time."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inputs = nn.Linear(dim, 2 * dim)
        # Conv2d with a (1, k) kernel: torch 1.13's depthwise Conv1d is slow backwards on CPU
        self.depthwise = nn.Conv2d(dim, dim, (1, kernel), padding=(0, kernel // 2), groups=dim)
        self.middle = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x: (N, T, C); valid: (N, T), 1 in frames that an utterance has -> (N, T, C)."""
        x = F.glu(self.inputs(self.norm(x)), -1) * valid[..., None]
        x = self.depthwise(x.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2)
        return self.output(F.silu(self.middle(x.float())))


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
