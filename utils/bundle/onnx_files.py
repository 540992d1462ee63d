"""What stage 9 writes for the engine without torch and k2, beside model.onnx and what every bundle has."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Mapping

from safetensors.torch import save

from utils.bundle.onnx_engine import ADDED, SETTINGS
from utils.core.files import atomic_path, write_bytes, write_json
from utils.decode.pieces import read_word_table
from utils.decode.search_weights import read_weights
from utils.features.front_end import FrontEnd
from utils.lang.lexicon import read_lexicon
from utils.lang.vocabulary import used_lang
from utils.pipeline.config import made_with


def write_onnx_files(inputs: Mapping[str, Path], bundle: Path) -> None:
    """Write onnx.json, and onnx_added.safetensors where the decoding had vocabulary packs.

    Args:
      inputs: stage -> its finished folder.
    """
    features, model, decode = made_with(inputs["features"]), made_with(inputs["train"]).model, made_with(inputs["decode"]).decode
    own, used = read_lexicon(inputs["lang"]), read_lexicon(used_lang(inputs["lang"], inputs["decode"]))
    table = read_word_table(inputs["decode"])
    if len(used.words) > len(own.words) and table is not None:
        rows = {name: value[len(own.words) :].contiguous() for name, value in table._asdict().items()}
        write_bytes(bundle / ADDED, save(rows))
    about = {
        "rate": features.data.sampling_rate,  # Hz
        "features": vars(features.features),
        "tick": 2.0**FrontEnd.tick_power,  # features are rounded to its multiples
        "subsampling": {"subword": model.subword_subsampling, "word": model.word_subsampling},
        "search": {graph: asdict(weights) for graph, weights in read_weights(inputs["decode"]).items()},
        "beam": decode.beam,
        "max_active": decode.max_active,
        "added": used.words[len(own.words) :],
        "added_spellings": [" ".join((word, *units)) for word, units in used.entries[len(own.entries) :]],
    }
    write_json(bundle / SETTINGS, about)


def quantise(path: Path) -> None:
    """Store the matrices of an ONNX file as 8-bit integers, a row at a time; what is multiplied by them follows at run time.

    Convolutions keep their precision: ONNX Runtime lacks some of them in integers.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a preprocessing, which changes nothing here
    try:
        with atomic_path(path) as temporary:
            quantize_dynamic(path, temporary, ["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    finally:
        root.setLevel(level)
