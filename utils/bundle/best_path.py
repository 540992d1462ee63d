"""The words of a best path in seconds."""

from typing import List, Sequence

from utils.bundle.transcript import Word, to_milliseconds
from utils.core.frames import word_spans
from utils.decode.path_words import Found


def placed(found: Found, texts: Sequence[str], frames: int, shift: float, seconds: float) -> List[Word]:
    """The words in seconds.

    Args:
      texts: of the words.
      frames: of the recording; `shift`: seconds between them.
      seconds: length of the recording.
    """
    spans = word_spans(found.peaks, found.units, frames) if texts else []
    return [
        Word(text, *to_milliseconds(start * shift, end * shift, seconds), confidence)
        for text, (start, end), confidence in zip(texts, spans, found.confidence)
    ]
