"""Acoustic encoder: a small conformer (Gulati et al. 2020) at 40 ms a frame, with rotary positions (Su et al. 2021).

Layer norm stands where the original has batch norm, and padding is masked before every convolution, so that an utterance's
output depends neither on its batch nor on what lies behind its end.
"""
from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.feasibility import output_frames


class Encoder(nn.Module):
    """fbank (N, T, num_mel_bins) -> (N, ceil(T / 4), dim)."""

    stride = 4

    def __init__(self, num_mel_bins: int, dim: int, layers: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([
            nn.Conv1d(num_mel_bins, dim, 5, stride=2, padding=2), nn.Conv1d(dim, dim, 5, stride=2, padding=2)])
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([Block(dim, heads, kernel, dropout) for _ in range(layers)])
        self.head_dim = dim // heads

    def forward(self, x: Tensor, lengths: Tensor) -> Tuple[Tensor, Tensor]:
        """Encode a padded batch.

        Args:
          x: (N, T, num_mel_bins), normalised features.
          lengths: (N,), frames of each utterance.
        Returns:
          (N, ceil(T / 4), dim), zero behind each utterance's end, and the frames of each, (N,).
        """
        x = x.transpose(1, 2)
        for convolution in self.convolutions:
            x = F.silu(convolution(x * valid_frames(lengths, x.shape[2])[:, None]))
            lengths = output_frames(lengths, 2)
        valid = valid_frames(lengths, x.shape[2])
        x = self.dropout(self.norm(x.transpose(1, 2)))
        rotation = rotary(x.shape[1], self.head_dim, x.device)
        for block in self.blocks:
            x = block(x, valid, rotation)
        return x * valid[..., None], lengths


class Block(nn.Module):
    """Half a feed-forward, self-attention, convolution, half a feed-forward, norm."""

    def __init__(self, dim: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.feed_forward1 = feed_forward(dim, dropout)
        self.attention = Attention(dim, heads, dropout)
        self.convolution = Convolution(dim, kernel, dropout)
        self.feed_forward2 = feed_forward(dim, dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, valid: Tensor, rotation: Tuple[Tensor, Tensor]) -> Tensor:
        """x: (N, T, C); valid: (N, T), 1 within the utterance, else 0."""
        x = x + 0.5 * self.feed_forward1(x)
        x = x + self.attention(x, valid, rotation)
        x = x + self.convolution(x, valid)
        x = x + 0.5 * self.feed_forward2(x)
        return self.norm(x)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.inputs = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor, rotation: Tuple[Tensor, Tensor]) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.inputs(self.norm(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        scores = rotate(q, rotation) @ rotate(k, rotation).transpose(2, 3) * (c // self.heads) ** -0.5  # (N, H, T, T)
        scores = scores.masked_fill(valid[:, None, None] == 0, torch.finfo(scores.dtype).min)
        mixed = self.dropout(scores.softmax(-1)) @ v
        return self.dropout(self.output(mixed.transpose(1, 2).reshape(n, t, c)))


class Convolution(nn.Module):
    """Gated pointwise and depthwise convolution over time."""

    def __init__(self, dim: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.inputs = nn.Linear(dim, 2 * dim)
        # Conv2d with a (1, k) kernel: torch 1.13's depthwise Conv1d is slow backwards on CPU
        self.depthwise = nn.Conv2d(dim, dim, (1, kernel), padding=(0, kernel // 2), groups=dim)
        self.middle = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = F.glu(self.inputs(self.norm(x)), -1) * valid[..., None]
        x = self.depthwise(x.transpose(1, 2)[:, :, None])[:, :, 0].transpose(1, 2)
        return self.dropout(self.output(F.silu(self.middle(x))))


def feed_forward(dim: int, dropout: float) -> nn.Sequential:
    """Norm, expansion by four, SiLU, projection back."""
    return nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Dropout(dropout),
                         nn.Linear(4 * dim, dim), nn.Dropout(dropout))


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
