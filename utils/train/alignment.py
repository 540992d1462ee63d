"""Where the words of transcripts are said, by forced alignment, and CTM files of it."""

from pathlib import Path
from typing import Dict, Iterable, List, NamedTuple, Sequence, Tuple

from torch import Tensor

from utils.core.files import write_lines
from utils.core.frames import Span, word_spans
from utils.lang.lexicon import Lexicon
from utils.nn.ctc import align


class Head(NamedTuple):
    """What a head says of a batch, and what it should say."""

    log_probs: Tensor  # (N, T, V), blank first
    lengths: Tensor  # (N,), frames
    targets: List[List[int]]  # symbols of each utterance, from 1


Heads = Dict[str, Head]  # subword, word


def word_frames(heads: Heads, words: Sequence[Sequence[int]], lexicon: Lexicon, ratio: int) -> List[List[Span]]:
    """The frames of the word head that each word of each utterance takes; none for an utterance that can't be aligned.

    The sub-word head aligns the words if the model has one, otherwise the word head does.

    Args:
      words: ids of each transcript.
      ratio: frames of the sub-word head a frame of the word head.
    """
    by_units = "subword" in heads
    log_probs, lengths, targets = heads["subword" if by_units else "word"]
    ratio = ratio if by_units else 1

    def labels(word: int) -> int:
        """How many labels of the alignment a word has."""
        units = lexicon.spell(lexicon.words[word - 1]) if by_units else [word]
        assert units is not None  # a word of the lexicon can be spelled
        return len(units)

    out = []
    for row, peaks, frames in zip(words, align(log_probs, lengths, targets), heads["word"].lengths.tolist()):
        spans = word_spans(peaks, list(map(labels, row)), frames * ratio) if peaks else []
        out.append([(start // ratio, max(start // ratio + 1, min(-(-end // ratio), frames))) for start, end in spans])
    return out


def write_ctm(path: Path, rows: Iterable[Tuple[str, float, float, str]]) -> None:
    """Write timed words in NIST's CTM format, one a line: utterance, channel 1, start and duration in seconds, word."""
    write_lines(path, (f"{name} 1 {start:.2f} {duration:.2f} {word}" for name, start, duration, word in rows))
