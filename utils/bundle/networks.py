"""The network of a bundle as ONNX: for whole utterances, and of a causal model for streams too."""

from pathlib import Path
from typing import Dict

from utils.bundle import streaming_onnx
from utils.bundle.export import export_onnx, export_streaming
from utils.bundle.onnx_files import quantise
from utils.nn.model import AcousticModel

WHOLE = "model.onnx"


def write_networks(model: AcousticModel, feature_dim: int, bundle: Path, int8: bool) -> Dict[str, float]:
    """Write the files.

    Args:
      int8: whether their matrices are stored as 8-bit integers.
    Returns:
      largest differences from torch before that, as the bundle's description names them.
    Raises:
      UserError: as `export_onnx` and `export_streaming` do.
    """
    found, paths = {"onnx_difference": export_onnx(model, feature_dim, bundle / WHOLE)}, [bundle / WHOLE]
    if model.encoder.chunks:
        paths.append(bundle / streaming_onnx.FILE)
        found["streaming_difference"] = export_streaming(model, feature_dim, paths[1])
    for path in paths if int8 else ():
        quantise(path)
    return found


def is_quantised(path: Path) -> bool:
    """Whether `quantise` made an ONNX file."""
    return b"MatMulInteger" in path.read_bytes()
