"""How many frames subsampling leaves."""

from typing import Any


def output_frames(num_frames: Any, stride: int) -> Any:
    """Frames that remain after subsampling: ceil(num_frames / stride). num_frames: an int, or a tensor of integers."""
    return (num_frames + stride - 1) // stride
