"""Which utterances are decoded together. Last bits of scores depend on it, so stage 6 and a bundle's users follow one rule."""

from typing import Callable, List, Sequence, Tuple, TypeVar

Item = TypeVar("Item")
BATCH_SECONDS = 60.0  # of a batch in decoding, padding included
WORD_FRAME = 0.08  # seconds, roughly, a frame of the word head
SCORES = 1.5e7  # most frames x words in a batch, unless one utterance has more: 60 MB in float32


def batch_seconds(words: int) -> float:
    """Seconds of audio in a batch of decoding: fewer if the vocabulary is large, so that memory stays bounded."""
    return min(BATCH_SECONDS, SCORES * WORD_FRAME / max(words, 1))


def by_length(items: Sequence[Item], about: Callable[[Item], Tuple[float, str]], seconds: float) -> List[List[Item]]:
    """Batches, longest first: this keeps padding small, and the most memory is needed at the start.

    Args:
      about: seconds and id of an item.
      seconds: most of a batch, with padding, unless it has one item.
    """
    out: List[List[Item]] = []
    longest = 0.0
    for item in sorted(items, key=lambda item: (-about(item)[0], about(item)[1])):
        length = about(item)[0]
        if not out or longest * (len(out[-1]) + 1) > seconds:
            out.append([])
            longest = length
        out[-1].append(item)
    return out
