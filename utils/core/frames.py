"""How many frames subsampling leaves."""

from typing import Any


def output_frames(num_frames: Any, subsampling: int) -> Any:
    """Frames that remain after subsampling: ceil(num_frames / subsampling). num_frames: an int, or a tensor of integers."""
    return (num_frames + subsampling - 1) // subsampling
