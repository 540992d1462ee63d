"""When words are said: by forced alignment of the chosen words, as stage 5 aligns transcripts."""

from typing import List, Sequence, Tuple

from utils.bundle.transcript import to_milliseconds
from utils.core.frames import word_spans
from utils.decode.pieces import HeadOutputs
from utils.nn.ctc import align
from utils.rescore.rescorer import Rescorer


def word_times(
    outputs: HeadOutputs, n: int, words: Sequence[str], rescorer: Rescorer, frame_seconds: Tuple[float, float], seconds: float
) -> List[Tuple[float, float]]:
    """Start and end of each word of utterance n of a batch, in seconds.

    The sub-word head aligns them if the model has one, otherwise the word head does. Words that no alignment fits share the
    recording evenly.

    Args:
      frame_seconds: a frame of the sub-word head, and of the word head.
      seconds: length of the recording.
    """
    if not words:
        return []
    lexicon = rescorer.vocabulary.lexicon
    if outputs.subword is not None:
        log_probs, frame = outputs.subword_log_probs(n), frame_seconds[0]
        units = [min(lexicon.pronunciations[word], key=len) for word in words]
    else:
        ids = lexicon.words_to_ids(words)
        occurring = sorted(set(ids))
        log_probs, frame = rescorer.view(outputs, n, occurring)[0], frame_seconds[1]
        units = [[occurring.index(i) + 1] for i in ids]
    (peaks,) = align(log_probs[None], log_probs.new_tensor([len(log_probs)]).int(), [[label for part in units for label in part]])
    if not peaks:
        part = seconds / len(words)
        return [to_milliseconds(k * part, (k + 1) * part, seconds) for k in range(len(words))]
    spans = word_spans(peaks, list(map(len, units)), len(log_probs))
    return [to_milliseconds(start * frame, end * frame, seconds) for start, end in spans]
