"""Causal language models from files: a Hugging Face folder, or a GGUF file."""

import math
from pathlib import Path
from typing import Any, Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from utils.core.errors import UserError
from utils.nn.causal_lm import CausalLM, Shape
from utils.vectors import gguf_file
from utils.vectors.checkpoint_files import StoredTensor
from utils.vectors.embedding_table import EmbeddingTable, checkpoint, read_settings

Table = Union[StoredTensor, gguf_file.GgufTensor]  # a tensor whose rows are read one by one
ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma3")
LLAMA3 = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")  # settings of its scaled positions
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


def load(model: EmbeddingTable) -> Tuple[CausalLM, Table, Optional[int]]:
    """Read the network.

    Args:
      model: as opened for its token embeddings.
    Returns:
      the network; the tensor of the output layer, (tokens, D); the token that starts a text, if the model has one.
    Raises:
      UserError: an unknown architecture, unknown scaling of positions, or missing weights.
    """
    return _folder(model) if model.gguf is None else _gguf(model, model.gguf)


def _known(path: Path, architecture: str) -> None:
    if architecture not in ARCHITECTURES:
        raise UserError(f"{path} is a model of the kind {architecture}; known are {', '.join(ARCHITECTURES)}")


def _gguf(model: EmbeddingTable, stored: gguf_file.GgufFile) -> Tuple[CausalLM, Table, Optional[int]]:
    """`load` from GGUF."""
    path, about = model.path, stored.metadata
    kind = about.get("general.architecture", "?")
    _known(path, kind)

    def get(key: str, otherwise: Any = None) -> Any:
        return about.get(f"{kind}.{key}", otherwise)

    def read(name: str) -> Optional[Tensor]:
        tensor = stored.tensors.get(name)
        return None if tensor is None else torch.from_numpy(tensor.rows(np.arange(tensor.shape[0])))

    scaling = get("rope.scaling.type", "none")
    if scaling != "none":
        raise UserError(f"{path}: its positions are scaled ({scaling}), which is not supported")
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
        pairs=kind == "llama",  # its converter reorders the rows
        frequency_divisors=read("rope_freqs.weight"),
    )
    first = about.get("tokenizer.ggml.bos_token_id") if about.get("tokenizer.ggml.add_bos_token", kind != "qwen2") else None
    output: Table = stored.tensors["output.weight"] if "output.weight" in stored.tensors else model.table
    return CausalLM(shape, read), output, first


def _bases(kind: str, layers: int, base: float, local: float, every: int) -> Tuple[float, ...]:
    """One base a layer. In Gemma 3 every sixth layer attends to the whole text; the others attend locally, with another base."""
    return tuple(local if kind == "gemma3" and (n + 1) % every else base for n in range(layers))


def _frequency_divisors(
    base: float, width: int, factor: float, low_freq_factor: float, high_freq_factor: float, original_max_position_embeddings: int
) -> Tensor:
    """Llama 3.1's divisors of the rotary frequencies: 1 for high ones, `factor` for low ones, interpolated in between."""
    turns = original_max_position_embeddings * base ** (-torch.arange(0, width, 2) / width) / (2 * math.pi)
    fast = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0, 1)
    return 1 / (fast + (1 - fast) / factor)


def _folder(model: EmbeddingTable) -> Tuple[CausalLM, Table, Optional[int]]:
    """`load` from a folder."""
    path = model.path
    settings = read_settings(path / "config.json")
    kind = str(settings.get("model_type")).replace("_text", "")
    _known(path, kind)
    rope = settings.get("rope_scaling") or settings.get("rope_parameters") or {}
    scaling = rope.get("rope_type") or rope.get("type") or "default"
    if scaling not in ("default", "llama3"):
        raise UserError(f"{path}: its positions are scaled ({scaling}), which is not supported")
    found = {
        name[name.find("layers.") :] if "layers." in name else name.rsplit("model.", 1)[-1]: tensor
        for name, tensor in checkpoint(path).items()
        if "vision" not in name
    }
    heads, layers = settings["num_attention_heads"], settings["num_hidden_layers"]
    width = settings.get("head_dim") or settings["hidden_size"] // heads
    base = settings.get("rope_theta") or rope.get("rope_theta") or 10000.0
    local, every = settings.get("rope_local_base_freq") or 10000.0, settings.get("sliding_window_pattern") or 6
    divisors = _frequency_divisors(base, width, **{key: rope[key] for key in LLAMA3}) if scaling == "llama3" else None
    scale = 1 / math.sqrt(settings.get("query_pre_attn_scalar") or width)
    bases, kv_heads = _bases(kind, layers, base, local, every), settings.get("num_key_value_heads") or heads
    shape = Shape(kind, layers, heads, kv_heads, width, settings["rms_norm_eps"], bases, scale, frequency_divisors=divisors)
    names = FOLDER_NAMES if kind == "gemma3" else {**FOLDER_NAMES, "ffn_norm": "post_attention_layernorm"}
    shift = 1.0 if kind == "gemma3" else 0.0  # Gemma's folders store the norms' weights minus 1

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
    return CausalLM(shape, read), found.get("lm_head.weight", model.table), settings.get("bos_token_id") if begins else None
