"""The network of a causal language model: Llama, Mistral, Qwen2, Qwen3, Gemma 3.

Libraries for such models need a later torch than k2 has, or score one text at a time. This one runs a tree of texts at once.
"""

import math
from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.core.errors import UserError

Read = Callable[[str], Optional[Tensor]]  # a tensor by its name in GGUF, or None
Cache = List[Tuple[Tensor, Tensor]]  # keys and values of each layer: (kv heads, T, head width)

NAMES = (  # GGUF's names of a layer's weights
    *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "attn_q_norm", "attn_k_norm", "post_attention_norm"),
    *("ffn_norm", "post_ffw_norm", "ffn_gate", "ffn_up", "ffn_down"),
)
LAYER_TENSORS = [f"{name}.weight" for name in NAMES] + [f"attn_{which}.bias" for which in "qkv"]


@dataclass(frozen=True)
class Shape:
    """Hyperparameters."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    epsilon: float
    bases: Tuple[float, ...]  # of the rotary position embedding, one a layer
    scale: float  # of the dot products of attention
    pairs: bool = False  # rotate neighbouring values instead of the two halves of a head
    frequency_divisors: Optional[Tensor] = None  # (head width / 2,), of the rotary position embedding


class CausalLM:
    """Layers of a pre-trained Transformer decoder: RMSNorm, rotary positions, grouped queries, gated feed-forward."""

    def __init__(self, shape: Shape, read: Read) -> None:
        """Read the weights. Raises UserError where some are missing."""
        self.shape = shape
        self.layers = [{name: read(f"blk.{n}.{name}") for name in LAYER_TENSORS} for n in range(shape.layers)]
        self.norm = read("output_norm.weight")
        for n, layer in enumerate(self.layers):
            missing = [name for name in ("attn_q.weight", "attn_output.weight", "ffn_down.weight") if layer[name] is None]
            if missing or self.norm is None:
                raise UserError(f"the language model lacks {', '.join(missing) or 'its last norm'} in layer {n}: get it again")

    @torch.no_grad()
    def __call__(self, embedded: Tensor, positions: Tensor, seen: Tensor, past: Optional[Cache]) -> Tuple[Tensor, Cache]:
        """Run some tokens.

        Args:
          embedded: (N, D), the tokens' embeddings.
          positions: (N,), from 0 at the start of the text.
          seen: (N, N) bool, which of these tokens each attends to; all attend to the whole of `past`.
          past: keys and values of the tokens before these.
        Returns:
          last hidden states (N, D); keys and values of these tokens, (kv heads, N, head width) each, for every layer.
        """
        shape, x, new = self.shape, embedded, []
        before = past[0][0].shape[1] if past else 0
        mask = torch.zeros(len(x), before + len(x)).masked_fill_(~F.pad(seen, (before, 0), value=True), -math.inf)
        gemma = shape.architecture == "gemma3"
        if gemma:
            x = x * math.sqrt(x.shape[1])
        for n, layer in enumerate(self.layers):
            y = self._norm(x, layer["attn_norm.weight"])
            q, k, v = (
                F.linear(y, layer[f"attn_{which}.weight"], layer[f"attn_{which}.bias"])
                .view(len(x), -1, shape.head_width)
                .transpose(0, 1)
                for which in "qkv"
            )
            if layer["attn_q_norm.weight"] is not None:
                q, k = self._norm(q, layer["attn_q_norm.weight"]), self._norm(k, layer["attn_k_norm.weight"])
            q, k = (self._rotate(t, positions, shape.bases[n]) for t in (q, k))
            new.append((k, v))
            if past:
                k, v = torch.cat((past[n][0], k), 1), torch.cat((past[n][1], v), 1)
            k, v = (t.repeat_interleave(shape.heads // shape.kv_heads, 0) for t in (k, v))
            y = (q @ k.transpose(1, 2) * shape.scale + mask).softmax(-1) @ v
            y = F.linear(y.transpose(0, 1).reshape(len(x), -1), layer["attn_output.weight"])
            x = x + (self._norm(y, layer["post_attention_norm.weight"]) if gemma else y)
            y = self._norm(x, layer["ffn_norm.weight"])
            gate = F.linear(y, layer["ffn_gate.weight"])
            gate = F.gelu(gate, approximate="tanh") if gemma else F.silu(gate)
            y = F.linear(gate * F.linear(y, layer["ffn_up.weight"]), layer["ffn_down.weight"])
            x = x + (self._norm(y, layer["post_ffw_norm.weight"]) if gemma else y)
        return self._norm(x, self.norm), new

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """Zhang and Sennrich 2019, equation 4."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.shape.epsilon) * weight

    def _rotate(self, x: Tensor, positions: Tensor, base: float) -> Tensor:
        """Su et al. 2021, equation 34: (heads, N, width)."""
        width = x.shape[-1]
        angles = positions[:, None] * base ** (-torch.arange(0, width, 2) / width)
        if self.shape.frequency_divisors is not None:
            angles = angles / self.shape.frequency_divisors
        cos, sin = angles.cos(), angles.sin()
        a, b = (x[..., ::2], x[..., 1::2]) if self.shape.pairs else x.chunk(2, -1)
        rotated = (a * cos - b * sin, b * cos + a * sin)
        return torch.stack(rotated, -1).flatten(-2) if self.shape.pairs else torch.cat(rotated, -1)
