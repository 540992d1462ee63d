"""The network of wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021) and WavLM (Chen et al. 2022): one for all three.

Parts and weights have the names that the library `transformers` gives them. We do not use a library for it: torchaudio 0.13
(the one for torch 1.13) lacks WavLM, and transformers 4.46.3 (the last one for torch 1.13; 83 MB) needs huggingface_hub < 1 and
tokenizers < 0.21, older than the tested versions of faster-whisper. Also, some of the layers can run, be trained and be
exported to ONNX without the others.
"""

import math
from dataclasses import dataclass
from typing import List, Optional, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.encoder import valid_frames


@dataclass(frozen=True)
class Architecture:
    """The keys of `config.json` that define the network, with the defaults of transformers, and how its input is prepared."""

    model_type: str = "wav2vec2"  # wav2vec2, hubert, wavlm
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    conv_dim: Sequence[int] = (512,) * 7
    conv_kernel: Sequence[int] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: Sequence[int] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    feat_extract_norm: str = "group"  # group: of the first convolution, over time; layer: of each, over channels
    feat_proj_layer_norm: bool = True
    do_stable_layer_norm: bool = False  # norms before attention and feed-forward, not after
    layer_norm_eps: float = 1e-5
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    num_buckets: int = 320  # of WavLM's relative positions
    max_bucket_distance: int = 800  # frames
    do_normalize: bool = True  # of preprocessor_config.json: zero mean and unit variance of each waveform


class Wav2Vec2(nn.Module):
    """Samples -> hidden states up to layer `last`."""

    def __init__(self, a: Architecture, last: int) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor(a)
        self.feature_projection = FeatureProjection(a)
        self.encoder = Transformer(a, 0, last)

    def forward(self, samples: Tensor) -> List[Tensor]:
        """samples: (N, S) at 16 kHz, all of one length -> (N, T, hidden_size) before the first layer and after each."""
        return self.encoder(self.feature_projection(self.feature_extractor(samples[:, None]).transpose(1, 2)))


class FeatureExtractor(nn.Module):
    """Convolutions over the waveform: (N, 1, S) -> (N, conv_dim[-1], T)."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        shapes = zip((1, *a.conv_dim), a.conv_dim, a.conv_kernel, a.conv_stride)
        self.conv_layers = nn.ModuleList([ConvLayer(a, n, *shape) for n, shape in enumerate(shapes)])

    def forward(self, x: Tensor) -> Tensor:
        """Samples x: (N, 1, S) -> (N, C, T)."""
        for layer in self.conv_layers:
            x = layer(x)
        return x


class ConvLayer(nn.Module):
    """Convolution, normalisation, GELU."""

    def __init__(self, a: Architecture, n: int, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, bias=a.conv_bias)
        self.over_channels = a.feat_extract_norm == "layer"
        if self.over_channels:
            self.layer_norm: Optional[nn.Module] = nn.LayerNorm(outputs)
        else:
            self.layer_norm = nn.GroupNorm(outputs, outputs) if n == 0 else None

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, T) -> (N, outputs, T')."""
        x = self.conv(x)
        if self.over_channels and self.layer_norm is not None:
            x = self.layer_norm(x.transpose(1, 2)).transpose(1, 2)
        elif self.layer_norm is not None:
            x = self.layer_norm(x)
        return F.gelu(x)


class FeatureProjection(nn.Module):
    """Channels of the convolutions -> hidden_size."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(a.conv_dim[-1], eps=a.layer_norm_eps) if a.feat_proj_layer_norm else nn.Identity()
        self.projection = nn.Linear(a.conv_dim[-1], a.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, C) -> (N, T, hidden_size)."""
        return self.projection(self.layer_norm(x))


class Transformer(nn.Module):
    """The layers from hidden state `first` to hidden state `last`; they keep their numbers in the whole network as names."""

    def __init__(self, a: Architecture, first: int, last: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.before, self.stable = first == 0 and a.model_type != "whisper", a.do_stable_layer_norm
        if self.before:
            self.pos_conv_embed = PositionalConvolution(a)
        self.layers = nn.ModuleDict({str(n): Layer(a, dropout) for n in range(first, last)})
        here = last == a.num_hidden_layers if self.stable else self.before
        self.layer_norm = nn.LayerNorm(a.hidden_size, eps=a.layer_norm_eps) if here else None
        self.rel_attn_embed = nn.Embedding(a.num_buckets, a.num_attention_heads) if a.model_type == "wavlm" else None
        self.max_distance = a.max_bucket_distance

    def forward(self, x: Tensor, lengths: Optional[Tensor] = None) -> List[Tensor]:
        """Hidden states `first` (with `first` > 0: x itself) to `last`.

        Args:
          x: (N, T, hidden_size).
          lengths: (N,), frames of each utterance; None if all have T frames.
        """
        if self.before:
            x = x + self.pos_conv_embed(x)
            x = x if self.stable or self.layer_norm is None else self.layer_norm(x)
        bias = None if self.rel_attn_embed is None else self._position_bias(x.shape[1], x.device)
        padding = None if lengths is None else valid_frames(lengths, x.shape[1])[:, None, None] == 0
        states = [x]
        for layer in self.layers.values():
            states.append(layer(states[-1], bias, padding))
        if self.stable and self.layer_norm is not None:
            states[-1] = self.layer_norm(states[-1])
        return states

    def _position_bias(self, frames: int, device: torch.device) -> Tensor:
        """Learned numbers for distances as in T5, exact for near frames, in logarithmic steps for far ones: (heads, T, T)."""
        assert self.rel_attn_embed is not None  # WavLM alone has these biases
        half = self.rel_attn_embed.num_embeddings // 2
        exact = half // 2
        positions = torch.arange(frames, device=device)
        offset = positions[None] - positions[:, None]
        distance = offset.abs()
        steps = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact) * (half - exact)
        far = (exact + steps).long().clamp(max=half - 1)
        return self.rel_attn_embed((offset > 0).long() * half + torch.where(distance < exact, distance, far)).permute(2, 0, 1)


class PositionalConvolution(nn.Module):
    """A wide convolution instead of position embeddings; its weight norm is multiplied out when weights are read."""

    def __init__(self, a: Architecture) -> None:
        super().__init__()
        kernel = a.num_conv_pos_embeddings
        self.conv = nn.Conv1d(a.hidden_size, a.hidden_size, kernel, padding=kernel // 2, groups=a.num_conv_pos_embedding_groups)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, C) -> (N, T, C)."""
        return F.gelu(self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))


class Layer(nn.Module):
    """Self-attention and feed-forward, normalised before (`do_stable_layer_norm`) or after."""

    def __init__(self, a: Architecture, dropout: float) -> None:
        super().__init__()
        self.stable = a.do_stable_layer_norm
        self.attention = Attention(a, dropout)
        self.layer_norm = nn.LayerNorm(a.hidden_size, eps=a.layer_norm_eps)
        self.feed_forward = FeedForward(a, dropout)
        self.final_layer_norm = nn.LayerNorm(a.hidden_size, eps=a.layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Optional[Tensor], padding: Optional[Tensor]) -> Tensor:
        """x: (N, T, C); bias: (heads, T, T), added to the attention; padding: (N, 1, 1, T), true after the end."""
        if self.stable:
            x = x + self.dropout(self.attention(self.layer_norm(x), bias, padding))
            return x + self.dropout(self.feed_forward(self.final_layer_norm(x)))
        x = self.layer_norm(x + self.dropout(self.attention(x, bias, padding)))
        return self.final_layer_norm(x + self.dropout(self.feed_forward(x)))


class FeedForward(nn.Module):
    """Two linear layers with GELU."""

    def __init__(self, a: Architecture, dropout: float) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(a.hidden_size, a.intermediate_size)
        self.output_dense = nn.Linear(a.intermediate_size, a.hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, T, C) -> (N, T, C)."""
        return self.output_dense(self.dropout(F.gelu(self.intermediate_dense(x))))


class Attention(nn.Module):
    """Multi-head self-attention; WavLM adds a gated relative position bias (Chen et al. 2022, section III-B)."""

    def __init__(self, a: Architecture, dropout: float) -> None:
        super().__init__()
        self.heads, width = a.num_attention_heads, a.hidden_size
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        if a.model_type == "wavlm":
            self.gru_rel_pos_linear = nn.Linear(width // self.heads, 8)
            self.gru_rel_pos_const = nn.Parameter(torch.ones(1, self.heads, 1, 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Optional[Tensor], padding: Optional[Tensor]) -> Tensor:
        """x: (N, T, C); bias: (heads, T, T); padding: (N, 1, 1, T), true after the end."""
        n, t, c = x.shape
        q, k, v = (p(x).view(n, t, self.heads, c // self.heads).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        scores = q @ k.transpose(2, 3) * (c // self.heads) ** -0.5  # (N, H, T, T)
        if bias is not None:
            scores = scores + self._gate(x.view(n, t, self.heads, c // self.heads).transpose(1, 2)) * bias
        if padding is not None:
            scores = scores.masked_fill(padding, torch.finfo(scores.dtype).min)
        return self.out_proj((self.dropout(scores.softmax(-1)) @ v).transpose(1, 2).reshape(n, t, c))

    def _gate(self, x: Tensor) -> Tensor:
        """x: (N, H, T, C / H) -> (N, H, T, 1)."""
        n, h, t, _ = x.shape
        update, reset = torch.sigmoid(self.gru_rel_pos_linear(x).view(n, h, t, 2, 4).sum(-1)).chunk(2, -1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0
