"""Small language models of random weights in Hugging Face's layout, and their tokenizer."""

import json
from pathlib import Path
from typing import Any, Dict, Sequence

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from support.corpora import SENTENCES

WIDTH, HEADS, KV, HEAD, HIDDEN, LAYERS, TOKENS = 32, 4, 2, 8, 24, 7, 340
KINDS = {
    "llama": {"rope_theta": 500.0, "bos_token_id": 7},
    "llama3": {
        "model_type": "llama",
        "rope_theta": 500.0,
        "bos_token_id": 7,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    "mistral": {"bos_token_id": 7, "sliding_window": None},
    "qwen2": {"rope_theta": 1000.0},
    "qwen3": {"rope_theta": 1000.0},
    "gemma3_text": {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "query_pre_attn_scalar": HEAD, "bos_token_id": 7},
}


def settings(kind: str) -> Dict[str, Any]:
    """config.json."""
    return {
        "model_type": kind,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "head_dim": HEAD,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "rms_norm_eps": 1e-5,
        "vocab_size": TOKENS,
        "tie_word_embeddings": True,
        **KINDS[kind],
    }


def weights(kind: str) -> Dict[str, torch.Tensor]:
    """Random weights under Hugging Face's names."""
    make = torch.Generator().manual_seed(0)

    def matrix(*shape):
        return torch.randn(shape, generator=make) * (0.7 if len(shape) > 1 else 0.2)

    found = {"model.embed_tokens.weight": matrix(TOKENS, WIDTH), "model.norm.weight": matrix(WIDTH)}
    shapes = {
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
        "self_attn.q_proj.weight": (HEADS * HEAD, WIDTH),
        "self_attn.k_proj.weight": (KV * HEAD, WIDTH),
        "self_attn.v_proj.weight": (KV * HEAD, WIDTH),
        "self_attn.o_proj.weight": (WIDTH, HEADS * HEAD),
        "mlp.gate_proj.weight": (HIDDEN, WIDTH),
        "mlp.up_proj.weight": (HIDDEN, WIDTH),
        "mlp.down_proj.weight": (WIDTH, HIDDEN),
    }
    if kind == "qwen2":
        shapes.update({f"self_attn.{which}_proj.bias": (n * HEAD,) for which, n in (("q", HEADS), ("k", KV), ("v", KV))})
    if kind in ("qwen3", "gemma3_text"):
        shapes.update({"self_attn.q_norm.weight": (HEAD,), "self_attn.k_norm.weight": (HEAD,)})
    if kind == "gemma3_text":
        shapes.update({"pre_feedforward_layernorm.weight": (WIDTH,), "post_feedforward_layernorm.weight": (WIDTH,)})
    found.update({f"model.layers.{n}.{name}": matrix(*shape) for n in range(LAYERS) for name, shape in shapes.items()})
    return {name: tensor + (kind != "gemma3_text") * ("norm" in name) for name, tensor in found.items()}


def byte_level(text: Sequence[str] = tuple(map(" ".join, SENTENCES))) -> Tokenizer:
    """A token begins with the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(text, trainer)
    return tokenizer


def write_decoder(folder: Path, kind: str) -> Path:
    """A folder that transformers reads too."""
    save_file(weights(kind), str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(settings(kind)))
    byte_level().save(str(folder / "tokenizer.json"))
    return folder
