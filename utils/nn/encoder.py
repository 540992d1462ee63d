"""Acoustic encoder: a small conformer (Gulati et al. 2020) with rotary positions (Su et al. 2021).

It has layer norm instead of batch norm, and masks padding before every convolution: the output of an utterance depends neither on
its batch nor on the padding after its end. Under autocast the residual stream and the inputs of norms stay in single precision.
"""

from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.core.frames import output_frames


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
    ) -> None:
        """strides: subsampling factors of the fine and of the coarse stream, by default (4, 8)."""
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
          the fine stream (N, ceil(T / strides[0]), dim) and its frames of each utterance (N,); likewise the coarse stream.
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
    """Self-attention, convolution and feed-forward, each with a residual connection."""

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
        """x: (N, T, C); valid: (N, T), 1 within the utterance, else 0 -> (N, T, C)."""
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
        """x: (N, T, C); valid: (N, T), 1 within the utterance, else 0 -> (N, T, C)."""
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
