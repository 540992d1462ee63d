"""Export of a trained model as ONNX."""

import inspect
import warnings
from pathlib import Path
from typing import List, Mapping, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from utils.bundle.streaming_onnx import streaming_network
from utils.core.errors import UserError
from utils.core.files import atomic_path
from utils.nn.model import AcousticModel
from utils.nn.streaming import HEARD, ChunkOutput
from utils.nn.streaming_model import StreamingModel, input_names
from utils.nn.streaming_model import output_names as streaming_output_names

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
    axes = {
        "x": {0: "n", 1: "t"},
        "lengths": {0: "n"},
        **{name: {0: "n"} if name.endswith("lengths") else {0: "n", 1: f"t_{name}"} for name in names},
    }
    traced = (torch.randn(2, 96, feature_dim), torch.tensor([96, 80]))
    write_onnx(flat, dict(zip(("x", "lengths"), traced)), names, axes, path)
    worst = difference(flat, feature_dim, path)
    if worst > TOLERANCE:
        raise UserError(
            f"{path}: ONNX Runtime differs from torch by {worst:.2g}; export with --set export.onnx=false and report it"
        )
    return worst


def write_onnx(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], axes: Mapping[str, Mapping[int, str]], path: Path
) -> None:
    """Write a module as ONNX. inputs: an example of each, by name, in order; axes: the dimensions that may vary, with names."""
    old_exporter = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(temporary),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=16,
            dynamic_axes={name: dict(which) for name, which in axes.items()},
            **old_exporter,
        )


def export_streaming(model: AcousticModel, feature_dim: int, path: Path) -> float:
    """Write a causal network as ONNX with caches as inputs and outputs, and check it against torch, which gets all at once.

    Returns:
      the largest difference found.
    Raises:
      UserError: the outputs differ.
    """
    streaming = StreamingModel(model).eval()
    names, outputs = input_names(streaming), streaming_output_names(streaming)
    stride = model.encoder.stride
    caches = {name: torch.zeros(2, *shape) for name, shape in streaming.shapes.items()}
    inputs = {"x": torch.randn(2, 3 * stride, feature_dim), "lengths": torch.tensor([3 * stride, stride + 1])}
    inputs.update({HEARD: torch.tensor([0, 2]), **caches})
    axes = {name: {0: "n"} for name in (*names, *outputs)}
    axes["x"][1] = "t"
    axes.update({name: {0: "n", 1: f"t_{name}"} for name in streaming.outputs})
    write_onnx(streaming, inputs, outputs, axes, path)
    worst = streaming_difference(model, feature_dim, path.read_bytes())
    if worst > TOLERANCE:
        raise UserError(
            f"{path}: ONNX Runtime differs from torch by {worst:.2g}; export with --set export.onnx=false and report it"
        )
    return worst


@torch.no_grad()
def streaming_difference(model: AcousticModel, feature_dim: int, content: bytes) -> float:
    """Largest difference between streams in ONNX Runtime and the whole utterances in torch, for two sizes of chunks."""
    network = streaming_network(content, model.encoder.stride, 1)
    draw, before, worst = torch.Generator().manual_seed(0), model.encoder.chunk, 0.0
    for chunk in (2, 5):
        model.encoder.chunk, size = chunk, chunk * model.encoder.stride
        lengths = [3 * size, 5 * size + 3]
        x = torch.randn(2, max(lengths), feature_dim, generator=draw)
        expected = model(x, torch.tensor(lengths))
        caches = [network.start(), network.start()]
        said: List[List[ChunkOutput]] = [[], []]
        for turn in range(7):  # the second stream begins a turn later
            places = [(n, (turn - n) * size) for n in range(2) if 0 <= (turn - n) * size < lengths[n]]
            made, new = network(
                [x[n, at : min(at + size, lengths[n])].numpy() for n, at in places], [caches[n] for n, _ in places]
            )
            for (n, _), output, cache in zip(places, made, new):
                said[n].append(output)
                caches[n] = cache
        for n, own in enumerate(said):
            for name in StreamingModel(model).outputs:
                got = np.concatenate([getattr(one, name) for one in own])
                worst = max(worst, float(np.abs(getattr(expected, name)[n, : len(got)].numpy() - got).max()))
    model.encoder.chunk = before
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
