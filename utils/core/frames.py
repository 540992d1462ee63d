"""How many frames subsampling leaves."""

from typing import TypeVar

Number = TypeVar("Number")  # int or an integer tensor


def output_frames(num_frames: Number, stride: int) -> Number:
    """Frames that remain after subsampling: ceil(num_frames / stride)."""
    return (num_frames + stride - 1) // stride
