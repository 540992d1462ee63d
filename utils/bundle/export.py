"""Export of a trained model as ONNX."""

import inspect
import warnings
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from utils.core.errors import UserError
from utils.core.files import atomic_path
from utils.nn.model import AcousticModel

TOLERANCE = 1e-3  # largest difference between torch and ONNX Runtime, of log-probabilities


class Flat(nn.Module):
    """The model with a tuple of tensors as output, as ONNX needs it."""

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, lengths: Tensor) -> Tuple[Tensor, ...]:
        """x: (N, T, feature_dim); lengths: (N,) -> the tensors that `output_names` names."""
        output = self.model(x, lengths)
        return tuple(getattr(output, name) for name in output_names(self.model))


def output_names(model: AcousticModel) -> List[str]:
    """The fields of utils.nn.model.Output that this model fills; always with the lengths."""
    names = (["subword"] if model.subword is not None else []) + (["frames", "blank"] if model.word is not None else [])
    return names + ["subword_lengths", "word_lengths"]


def export_onnx(model: AcousticModel, feature_dim: int, path: Path) -> float:
    """Write the network as ONNX, for any batch size and length, and check it against torch on other sizes than the traced one.

    Returns:
      the largest difference found.
    Raises:
      UserError: the outputs of ONNX Runtime and torch differ.
    """
    flat, names = Flat(model).eval(), output_names(model)  # eval: exporting restores the mode from before
    x, lengths = torch.randn(2, 96, feature_dim), torch.tensor([96, 80])
    old_exporter = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            flat,
            (x, lengths),
            str(temporary),
            input_names=["x", "lengths"],
            output_names=names,
            opset_version=16,
            dynamic_axes={
                "x": {0: "n", 1: "t"},
                "lengths": {0: "n"},
                **{name: {0: "n"} if name.endswith("lengths") else {0: "n", 1: f"t_{name}"} for name in names},
            },
            **old_exporter,
        )
    worst = difference(flat, feature_dim, path)
    if worst > TOLERANCE:
        raise UserError(
            f"{path}: ONNX Runtime differs from torch by {worst:.2g}; export with --set export.onnx=false and report it"
        )
    return worst


def difference(flat: Flat, feature_dim: int, path: Path) -> float:
    """Largest difference between torch and ONNX Runtime on three utterances of different lengths."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    lengths = torch.tensor([231, 154, 9])
    x = torch.randn(3, 231, feature_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = flat(x, lengths)
    got = session.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
    worst = 0.0
    fields = dict(zip(output_names(flat.model), zip(expected, got)))
    for name, (want, have) in fields.items():
        if name.endswith("lengths"):
            worst = max(worst, float(np.abs(want.numpy() - have).max()))
            continue
        frames = fields["subword_lengths" if name == "subword" else "word_lengths"][0]
        for n, length in enumerate(frames.tolist()):
            worst = max(worst, float(np.abs(want[n, :length].numpy() - have[n, :length]).max()))
    return worst
