"""Acoustic models made from the folders of finished stages, and their word tables."""

from pathlib import Path
from types import SimpleNamespace
from typing import Mapping

import torch
from safetensors.torch import load as of_bytes

from utils.core.files import read_json
from utils.corpus.cuts import read_cuts
from utils.lang.lexicon import Lexicon
from utils.nn.model import AcousticModel, build, load
from utils.pipeline.config import made_with
from utils.train.pretrained_layers import make_front
from utils.vectors.wordvec import SoftmaxTable, WordTable

NEVER = -1e4  # score of a word that can't be recognised, natural log


def make_model(config: SimpleNamespace, lexicon: Lexicon, inputs: Mapping[str, Path], feature_dim: int) -> AcousticModel:
    """A model with fresh weights, for the word-vector table and the units in the folders `inputs` (by stage)."""
    table = of_bytes((inputs["vectors"] / "table.safetensors").read_bytes())
    dim = read_json(inputs["vectors"] / "provenance.json")["dim"]
    front, width = make_front(inputs["features"], feature_dim, config.finetune, config.dropout)
    frame_shift = made_with(inputs["features"]).features.frame_shift
    return build(config, width, len(lexicon.tokens) + 1, len(lexicon.words), table, dim, front, frame_shift)


def trained_model(
    folder: Path, inputs: Mapping[str, Path], lexicon: Lexicon, feature_dim: int = 0, chunk: float = 0.0
) -> AcousticModel:
    """The model of a finished training, in evaluation mode.

    Args:
      folder: of the stage train.
      inputs: the folders that it was made from, by stage.
      feature_dim: columns of the features; 0: as the cuts of dev have.
      chunk: seconds of a causal encoder's chunk (decode.chunk); 0: the whole utterance.
    """
    feature_dim = feature_dim or next(iter(read_cuts(inputs["features"], "dev"))).num_features
    config = made_with(folder).model
    model = make_model(config, lexicon, inputs, feature_dim)
    load(model, folder / "model.safetensors")
    model.encoder.chunk = round(chunk / made_with(inputs["features"]).features.frame_shift / config.word_subsampling)
    return model.eval()


def with_added(model: AcousticModel, vectors: torch.Tensor, bias: torch.Tensor, added: torch.Tensor) -> WordTable:
    """The table `vectors`, `bias` with words added: (n, dim). A learned softmax has no rows for them, so never says them."""
    assert model.word is not None
    learned = isinstance(model.word.words, SoftmaxTable)
    rows = vectors.new_zeros(len(added), vectors.shape[1]) if learned else added.to(vectors)
    return WordTable(torch.cat((vectors, rows)), torch.cat((bias, bias.new_full((len(added),), NEVER if learned else 0.0))))


def composed_table(model: AcousticModel, words: int, device: str) -> WordTable:
    """The word head's table of the first words of the vocabulary."""
    assert model.word is not None
    with torch.no_grad():
        return model.word.table(torch.arange(words, device=device))
