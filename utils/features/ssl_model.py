"""Self-supervised speech encoders: architecture and weights of a folder of transformers, or of a bundle of torchaudio.

Untested on real weights: tests compare this code with transformers and torchaudio on random weights, and no record has been made
with a published checkpoint.
"""

import json
import re
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any, Dict, List, Tuple, Union

import torchaudio
from safetensors.torch import load as of_bytes
from torch import Tensor

from utils.core import download, torch_files
from utils.core.errors import UserError
from utils.nn.wav2vec2 import Architecture

RATE = 16000  # Hz
FRAME = 320  # samples a frame: 20 ms
KINDS = ("wav2vec2", "hubert", "wavlm")
SETTINGS, PREPARATION = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Keys of config.json that would need another network, with the only values that are supported.
FIXED = {"hidden_act": "gelu", "feat_extract_activation": "gelu", "conv_pos_batch_norm": False, "adapter_attn_dim": None}
RENAMED = (
    (r"^(wav2vec2|hubert|wavlm)\.", ""),  # transformers' models with a head
    (r"^encoder\.feature_projection\.", "feature_projection."),  # torchaudio
    (r"^encoder\.transformer\.", "encoder."),
    (r"\.attention\.attention\.", ".attention."),
    (r"\.layers\.0\.attention\.rel_attn_embed\.", ".rel_attn_embed."),  # all layers share the first one's
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),  # torch 2.1 and later
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
)


def read(model: Union[str, Path]) -> Tuple[Architecture, Dict[str, Tensor]]:
    """Architecture and weights of the encoder that `features.model` names, by the names of utils.nn.wav2vec2.Wav2Vec2.

    Raises:
      UserError: neither a folder nor a bundle, files are missing or damaged, a model of another kind, or the download failed.
    """
    if not isinstance(model, str):
        architecture, weights = _from_folder(model)
    elif model and Path(model).is_dir():
        architecture, weights = _from_folder(Path(model))
    elif model in bundles():
        architecture, weights = _from_bundle(model)
    else:
        raise UserError(
            f"features.model={model or '(empty)'} is neither a folder of transformers ({SETTINGS}, {PREPARATION}, {WEIGHTS[0]}) "
            f"nor a bundle of torchaudio {torchaudio.__version__}: {', '.join(bundles())}"
        )
    if prod(architecture.conv_stride) != FRAME:
        raise UserError(f"features.model={model} makes a frame of {prod(architecture.conv_stride)} samples; it must be {FRAME}")
    return architecture, _renamed(weights)


def bundles() -> List[str]:
    """Names of torchaudio's bundles of such models; those of WavLM are in torchaudio 2."""
    kind = torchaudio.pipelines.Wav2Vec2Bundle
    return sorted(name for name, value in vars(torchaudio.pipelines).items() if isinstance(value, kind))


def _from_folder(folder: Path) -> Tuple[Architecture, Dict[str, Tensor]]:
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    missing = [name for name in (SETTINGS, PREPARATION) if not (folder / name).is_file()]
    missing += [] if found else [" or ".join(WEIGHTS)]
    if missing:
        raise UserError(f"features.model={folder} has no {' and no '.join(missing)}: it is not a speech encoder of transformers")
    settings, preparation = (_json(folder / name) for name in (SETTINGS, PREPARATION))
    if settings.get("model_type") not in KINDS:
        raise UserError(f"features.model={folder} is of the type {settings.get('model_type')}; there are {', '.join(KINDS)}")
    for key, value in FIXED.items():
        if settings.get(key, value) != value:
            raise UserError(f"features.model={folder}: {key}={settings[key]} in {SETTINGS} is not supported, only {value}")
    if preparation.get("sampling_rate", RATE) != RATE:
        raise UserError(f"features.model={folder} is for audio at {preparation['sampling_rate']} Hz; it must be {RATE}")
    try:
        weights = of_bytes(found[0].read_bytes()) if found[0].name == WEIGHTS[0] else torch_files.load(found[0])
    except Exception as error:  # the two readers raise errors of many types
        raise UserError(f"{found[0]} can't be read ({type(error).__name__}: {str(error)[:200]}): get it again") from None
    known = {field.name for field in fields(Architecture)}
    chosen = {key: value for key, value in settings.items() if key in known}
    return Architecture(**{**chosen, "do_normalize": preparation.get("do_normalize", True)}), weights


def _json(path: Path) -> Dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from None


def _from_bundle(name: str) -> Tuple[Architecture, Dict[str, Tensor]]:
    bundle, folder = getattr(torchaudio.pipelines, name), download.folder("torchaudio")
    try:
        with torch_files.weights_only():
            weights = bundle._get_state_dict({"model_dir": str(folder)})
    except torch_files.Unreadable as error:
        raise UserError(f"{folder / bundle._path} can't be read ({error}): delete it and run again") from None
    except Exception as error:  # torch.hub raises errors of many types
        cause = download.root_cause(error)
        raise UserError(
            f"torchaudio's bundle {name} can't be downloaded to {folder} ({type(cause).__name__}: {str(cause)[:200]}); run "
            f"again, copy the file there, or name a folder of transformers by --set features.model=FOLDER"
        ) from None
    p = bundle._params
    dim, kernel, stride = zip(*p["extractor_conv_layer_config"])
    wavlm = "encoder_num_buckets" in p
    return Architecture(
        model_type="wavlm" if wavlm else "wav2vec2",
        hidden_size=p["encoder_embed_dim"],
        num_hidden_layers=p["encoder_num_layers"],
        num_attention_heads=p["encoder_num_heads"],
        intermediate_size=p["encoder_ff_interm_features"],
        conv_dim=dim,
        conv_kernel=kernel,
        conv_stride=stride,
        conv_bias=p["extractor_conv_bias"],
        feat_extract_norm="layer" if p["extractor_mode"] == "layer_norm" else "group",
        do_stable_layer_norm=p["encoder_layer_norm_first"],
        num_conv_pos_embeddings=p["encoder_pos_conv_kernel"],
        num_conv_pos_embedding_groups=p["encoder_pos_conv_groups"],
        do_normalize=p["extractor_mode"] == "layer_norm",  # as in torchaudio 2; 0.13 leaves it to the caller
        num_buckets=p["encoder_num_buckets"] if wavlm else 320,
        max_bucket_distance=p["encoder_max_distance"] if wavlm else 800,
    ), weights


def _renamed(weights: Dict[str, Tensor]) -> Dict[str, Tensor]:
    """Weights by the names of utils.nn.wav2vec2: stacked projections are split, weight norm is multiplied out."""
    out: Dict[str, Tensor] = {}
    for name, value in weights.items():
        for pattern, new in RENAMED:
            name = re.sub(pattern, new, name)
        stacked = re.match(r"(.*\.attention\.)in_proj_(weight|bias)$", name)
        if not name.startswith(("feature_extractor.", "feature_projection.", "encoder.")):
            continue  # heads, and parts that only pre-training uses
        if stacked:
            out.update({f"{stacked[1]}{part}_proj.{stacked[2]}": third for part, third in zip("qkv", value.chunk(3))})
        else:
            out[name] = value
    conv = "encoder.pos_conv_embed.conv.weight"
    if f"{conv}_g" in out and f"{conv}_v" in out:  # w = g v / |v| at each position of the kernel (Salimans and Kingma 2016)
        g, v = out.pop(f"{conv}_g").float(), out.pop(f"{conv}_v").float()
        out[conv] = v * (g / v.norm(dim=(0, 1), keepdim=True))
    return out
