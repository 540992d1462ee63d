"""A language model's decoder in torch, and what it makes of hypotheses: Llama, Mistral, Qwen2, Qwen3, Gemma 3; GGUF or folder.

The libraries that run such models want a later torch than k2 has, or score one text at a time. Here the hypotheses of many
utterances are one tree, in which what they share is computed once, and the softmax is over the tokens of the recogniser's words
alone.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.vectors import gguf_file
from utils.vectors.checkpoint_files import StoredTensor
from utils.vectors.embedding_table import EmbeddingTable, checkpoint, open_embedding_table, read_settings

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma3")
LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")  # of its scaled positions
NODES = 512  # tokens that run at once
LONGEST_CONTEXT = 480  # tokens; shorter than any model's sliding window
Read = Callable[[str], Optional[Tensor]]  # a tensor by its name in GGUF, or None
Cache = List[Tuple[Tensor, Tensor]]  # keys and values of each layer: (kv heads, T, head width)

FOLDER_NAMES = {  # GGUF's names of a layer's tensors -> Hugging Face's
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
LAYER_TENSORS = [f"{name}.weight" for name in FOLDER_NAMES] + [f"attn_{which}.bias" for which in "qkv"]


@dataclass(frozen=True)
class Shape:
    """Hyperparameters of a decoder."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    epsilon: float
    bases: Tuple[float, ...]  # of the rotary position embedding, a layer
    scale: float  # of the attention's products
    pairs: bool = False  # rotate neighbouring values instead of the two halves of a head
    slower: Optional[Tensor] = None  # (head width / 2,), by which the rotations' frequencies are divided


class Decoder:
    """Layers of a pre-trained Transformer decoder: RMSNorm, rotary positions, grouped queries, gated feed-forward."""

    def __init__(self, shape: Shape, read: Read) -> None:
        self.shape = shape
        self.layers = [{name: read(f"blk.{n}.{name}") for name in LAYER_TENSORS} for n in range(shape.layers)]
        self.norm = read("output_norm.weight")
        for n, layer in enumerate(self.layers):
            missing = [name for name in ("attn_q.weight", "attn_output.weight", "ffn_down.weight") if layer[name] is None]
            if missing or self.norm is None:
                raise UserError(f"the language model lacks {', '.join(missing) or 'its last norm'} in layer {n}: get it again")

    @torch.no_grad()
    def __call__(self, embedded: Tensor, positions: Tensor, seen: Tensor, past: Optional[Cache]) -> Tuple[Tensor, Cache]:
        """Last hidden states, and the keys and values of these tokens.

        Args:
          embedded: (N, D), the tokens' embeddings.
          positions: (N,), counted from the beginning of the text.
          seen: (N, N) bool, which tokens each attends to among these; all attend to the whole of `past`.
          past: keys and values of the tokens before.
        Returns:
          (N, D), and (kv heads, N, head width) twice a layer.
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
        if self.shape.slower is not None:
            angles = angles / self.shape.slower
        cos, sin = angles.cos(), angles.sin()
        a, b = (x[..., ::2], x[..., 1::2]) if self.shape.pairs else x.chunk(2, -1)
        turned = (a * cos - b * sin, b * cos + a * sin)
        return torch.stack(turned, -1).flatten(-2) if self.shape.pairs else torch.cat(turned, -1)


class SentenceScorer:
    """log p of sentences in a text of their kind, one a line, under a language model that knows only certain words."""

    def __init__(self, path: Union[str, Path], words: Sequence[str], context: Sequence[Sequence[str]]) -> None:
        """Read the model.

        Args:
          path: a Hugging Face folder, or a GGUF file.
          words: all that sentences may have; the others count nothing.
          context: sentences that stand before each that is scored; as many as fit in `LONGEST_CONTEXT` tokens.
        Raises:
          UserError: a wrong path, a damaged file, an unknown architecture, or a tokenizer without a newline.
        """
        model = open_embedding_table(path)
        if model.newline is None:
            raise UserError(f"{path}: its tokenizer has no token for the end of a line, which ends a sentence here")
        self.newline = model.newline
        self.tokens = dict(zip(words, model.words(words)))
        self.decoder, output, first = _gguf(model) if model.gguf else _folder(model.path, model.table)
        known = sorted({self.newline}.union(*self.tokens.values()))
        self.column = {token: n for n, token in enumerate(known)}
        self.rows = torch.from_numpy(model.table.rows(np.array(known)))  # (S, D), as is the output layer's
        self.output = self.rows if output is model.table else torch.from_numpy(output.rows(np.array(known)))
        text = [first if first is not None else self.newline]
        for sentence in context:
            line = [*self._tokens(sentence), self.newline]
            if len(text) + len(line) > LONGEST_CONTEXT:
                break
            text += line
        embedded, self.position = torch.from_numpy(model.table.rows(np.array(text))), len(text) - 1
        self.first_row, self.past = embedded[-1:], None  # the last token is the root of each tree
        if self.position:
            seen = torch.ones(self.position, self.position, dtype=torch.bool).tril()
            self.past = self.decoder(embedded[:-1], torch.arange(self.position), seen, None)[1]

    def _tokens(self, sentence: Iterable[str]) -> List[int]:
        return [token for word in sentence for token in self.tokens.get(word, ())]

    def __call__(self, sentences: Sequence[Sequence[str]]) -> List[float]:
        """Natural log of each sentence's probability, with its end."""
        wanted = [tuple(self.column[token] for token in self._tokens(sentence)) for sentence in sentences]
        scores: Dict[Tuple[int, ...], float] = {}
        tree = Tree()
        for tokens in sorted(set(wanted)):  # those with the same beginning lie together
            if len(tree.tokens) + len(tokens) > NODES and tree.ends:
                self._run(tree, scores)
                tree = Tree()
            tree.add(tokens)
        if tree.ends:
            self._run(tree, scores)
        return [scores[tokens] for tokens in wanted]

    def _run(self, tree: "Tree", scores: Dict[Tuple[int, ...], float]) -> None:
        columns, parents = torch.tensor(tree.tokens, dtype=torch.int64), torch.tensor(tree.parents, dtype=torch.int64)
        embedded = torch.cat((self.first_row, self.rows[columns]))  # the root is the last token of the context
        depth, seen = [self.position], torch.eye(len(embedded), dtype=torch.bool)
        for node, parent in enumerate(tree.parents, 1):
            depth.append(depth[parent] + 1)
            seen[node] |= seen[parent]
        hidden, _ = self.decoder(embedded, torch.tensor(depth), seen, self.past)
        log_probs = F.log_softmax(hidden @ self.output.T, -1)
        totals = [0.0]
        for parent, step in zip(tree.parents, log_probs[parents, columns].tolist()):
            totals.append(totals[parent] + step)
        ends = log_probs[:, self.column[self.newline]].tolist()
        scores.update((tokens, totals[node] + ends[node]) for tokens, node in tree.ends.items())


class Tree:
    """Sentences of tokens that share their beginnings. Node 0 is before the first token; node n has token n - 1."""

    def __init__(self) -> None:
        self.tokens: List[int] = []
        self.parents: List[int] = []
        self.children: Dict[Tuple[int, int], int] = {}
        self.ends: Dict[Tuple[int, ...], int] = {}

    def add(self, tokens: Tuple[int, ...]) -> None:
        """Where they end is in `ends`."""
        node = 0
        for token in tokens:
            if (node, token) not in self.children:
                self.tokens.append(token)
                self.parents.append(node)
                self.children[node, token] = len(self.tokens)
            node = self.children[node, token]
        self.ends[tokens] = node


def model_bytes(path: Union[str, Path]) -> int:
    """Size of a model's file, or of the weights in its folder."""
    path = Path(path)
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.suffix in (".safetensors", ".bin")]
    return sum(file.stat().st_size for file in files)


def _known(path: Path, architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise UserError(f"{path} is a model of the kind {architecture}; known are {', '.join(ARCHITECTURES)}")


def _gguf(model: EmbeddingTable) -> Tuple[Decoder, gguf_file.GgufTensor, Optional[int]]:
    """The decoder, the rows of the output layer, and the token that begins a text, if any does."""
    stored, path, about = model.gguf, model.path, model.gguf.metadata
    kind = about.get("general.architecture", "?")
    _known(path, kind)

    def get(key: str, otherwise: Any = None) -> Any:
        return about.get(f"{kind}.{key}", otherwise)

    def read(name: str) -> Optional[Tensor]:
        tensor = stored.tensors.get(name)
        return None if tensor is None else torch.from_numpy(tensor.rows(np.arange(tensor.shape[0])))

    scaling = get("rope.scaling.type", "none")
    if scaling != "none":
        raise UserError(f"{path}: its positions are scaled ({scaling}), which is not known here")
    heads, layers = get("attention.head_count"), get("block_count")
    width = get("attention.key_length") or get("embedding_length") // heads
    shape = Shape(
        kind,
        layers,
        heads,
        get("attention.head_count_kv", heads),
        width,
        get("attention.layer_norm_rms_epsilon"),
        _bases(kind, layers, get("rope.freq_base", 10000.0), 10000.0, 6),
        1 / math.sqrt(width),
        pairs=kind == "llama",  # whose converter has reordered the rows
        slower=read("rope_freqs.weight"),
    )
    first = about.get("tokenizer.ggml.bos_token_id") if about.get("tokenizer.ggml.add_bos_token", kind != "qwen2") else None
    return Decoder(shape, read), stored.tensors.get("output.weight", model.table), first


def _bases(kind: str, layers: int, base: float, local: float, every: int) -> Tuple[float, ...]:
    """Gemma 3 looks far in each sixth layer alone; the others have a base of their own."""
    return tuple(local if kind == "gemma3" and (n + 1) % every else base for n in range(layers))


def _slower(
    base: float, width: int, factor: float, low_freq_factor: float, high_freq_factor: float, original_max_position_embeddings: int
) -> Tensor:
    """Llama 3.1's divisors of the frequencies: 1 for the fast ones, `factor` for the slow ones, their inverses mixed in between."""
    turns = original_max_position_embeddings * base ** (-torch.arange(0, width, 2) / width) / (2 * math.pi)
    fast = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0, 1)
    return 1 / (fast + (1 - fast) / factor)


def _folder(path: Path, table: StoredTensor) -> Tuple[Decoder, StoredTensor, Optional[int]]:
    """As `_gguf`."""
    settings = read_settings(path / "config.json")
    kind = str(settings.get("model_type")).replace("_text", "")
    _known(path, kind)
    rope = settings.get("rope_scaling") or settings.get("rope_parameters") or {}
    scaling = rope.get("rope_type") or rope.get("type") or "default"
    if scaling not in ("default", "llama3"):
        raise UserError(f"{path}: its positions are scaled ({scaling}), which is not known here")
    found = {
        name[name.find("layers.") :] if "layers." in name else name.rsplit("model.", 1)[-1]: tensor
        for name, tensor in checkpoint(path).items()
        if "vision" not in name
    }
    heads, layers = settings["num_attention_heads"], settings["num_hidden_layers"]
    width = settings.get("head_dim") or settings["hidden_size"] // heads
    base = settings.get("rope_theta") or rope.get("rope_theta") or 10000.0
    local, every = settings.get("rope_local_base_freq") or 10000.0, settings.get("sliding_window_pattern") or 6
    slower = _slower(base, width, **{key: rope[key] for key in LLAMA3}) if scaling == "llama3" else None
    scale = 1 / math.sqrt(settings.get("query_pre_attn_scalar") or width)
    bases, kv_heads = _bases(kind, layers, base, local, every), settings.get("num_key_value_heads") or heads
    shape = Shape(kind, layers, heads, kv_heads, width, settings["rms_norm_eps"], bases, scale, slower=slower)
    names = FOLDER_NAMES if kind == "gemma3" else {**FOLDER_NAMES, "ffn_norm": "post_attention_layernorm"}
    shift = 1.0 if kind == "gemma3" else 0.0  # Gemma's folders hold what its norms' weights are more than 1

    def read(name: str) -> Optional[Tensor]:
        if name == "output_norm.weight":
            tensor = found.get("norm.weight")
        else:
            _, layer, part, what = name.split(".")
            tensor = found.get(f"layers.{layer}.{names[part]}.{what}")
        if tensor is None:
            return None
        values = torch.from_numpy(tensor.rows(np.arange(tensor.shape[0])))
        return values + shift if "norm" in name else values

    begins = kind not in ("qwen2", "qwen3")
    return Decoder(shape, read), found.get("lm_head.weight", table), settings.get("bos_token_id") if begins else None
