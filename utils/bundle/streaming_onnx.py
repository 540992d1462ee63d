"""The causal network of a bundle in ONNX Runtime, chunk by chunk; without torch."""

import json
from typing import Any, Dict

import numpy as np

from utils.bundle.files import BundleFiles
from utils.core.errors import UserError
from utils.nn.streaming import HEARD, StreamingNetwork

FILE = "streaming.onnx"  # in a bundle


def open_network(files: BundleFiles, threads: int = 1) -> StreamingNetwork:
    """The network of a bundle for streams; threads may share it.

    Raises:
      UserError: the bundle has none, or ONNX Runtime can't load it.
    """
    if FILE not in files.names:
        raise UserError(
            f"the bundle {files.path} has no {FILE}: its network sees whole utterances, or it was made with export.onnx=false; "
            "train with model.causal=true and run stage 9 with export.onnx=true"
        )
    subsampling = json.loads(files.read("onnx.json").decode("utf-8"))["subsampling"]
    try:
        return streaming_network(files.read(FILE), subsampling["word"], threads)
    except UserError:
        raise
    except Exception as error:  # its errors share no class
        raise UserError(f"ONNX Runtime can't load {FILE} of the bundle {files.path}: {error}") from None


def streaming_network(content: bytes, stride: int, threads: int) -> StreamingNetwork:
    """The network in the bytes of an ONNX file; stride: feature frames in a frame of the word head."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    shapes = {one.name: tuple(one.shape[1:]) for one in session.get_inputs() if one.name not in ("x", "lengths", HEARD)}

    def step(inputs: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, inputs)))

    return StreamingNetwork(step, shapes, stride)
