"""How many frames subsampling leaves, and which of them belong to a word."""

from itertools import accumulate
from typing import Any, List, Sequence, Tuple

Span = Tuple[int, int]  # first frame, and the frame after the last


def output_frames(num_frames: Any, subsampling: int) -> Any:
    """Frames that remain after subsampling: ceil(num_frames / subsampling). num_frames: an int, or a tensor of integers."""
    return (num_frames + subsampling - 1) // subsampling


def word_spans(peaks: Sequence[Span], units: Sequence[int], frames: int) -> List[Span]:
    """Where each word begins and ends, from the peaks of its units.

    Two neighbouring words meet in the middle of the blanks between them. A word never extends further from its peaks than the
    average distance between peaks, so silence before, after and between words belongs to none.

    Args:
      peaks: frames of each unit of the utterance, in order; at least one.
      units: number of units of each word.
      frames: of the utterance.
    """
    edges = [0, *accumulate(units)]
    first, last = [peaks[e][0] for e in edges[:-1]], [peaks[e - 1][1] for e in edges[1:]]
    reach = max(1, round((last[-1] - first[0]) / len(peaks)))
    middles = [(end + start) // 2 for end, start in zip(last, first[1:])]
    # a pause between two words belongs to neither
    starts = [max(0, first[0] - reach), *(max(m, f - reach) for m, f in zip(middles, first[1:]))]
    ends = [*(min(m, e + reach) for m, e in zip(middles, last)), min(frames, last[-1] + reach)]
    return [(start, max(end, start + 1)) for start, end in zip(starts, ends)]
