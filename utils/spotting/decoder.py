"""A second look at hits: how likely the decoder of the front end's Whisper model finds the keyword in the sound around a hit."""

from dataclasses import replace
from typing import List, Sequence

import numpy as np

from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.spotting.spotter import Hit, Spotter


def looks(recogniser: Recogniser) -> bool:
    """Whether a bundle has a decoder for the second look."""
    return recogniser.decoder_scores(np.zeros((0, 0), np.float32), []) is not None


def hits(recogniser: Recogniser, spotter: Spotter, samples: np.ndarray, rate: int) -> List[Hit]:
    """The hits in a recording, those of the spotter that are still above their threshold after the second look.

    Args:
      samples: (T,) float32; rate: Hz.
    Raises:
      UserError: a bundle without a sub-word head.
    """
    (evidence,) = recogniser.evidence([(samples, rate)])
    if len(evidence.frames) and not len(evidence.subword):
        raise UserError("this bundle has no sub-word head, which keywords need; take one of a recipe with both heads")
    return looked_at(recogniser, spotter, spotter.hits(evidence), samples, rate)


def looked_at(
    recogniser: Recogniser, spotter: Spotter, found: Sequence[Hit], samples: np.ndarray, rate: int, start: float = 0.0
) -> List[Hit]:
    """Hits with the decoder's score added, those that are still above their threshold.

    Args:
      found: hits of keywords of `spotter`.
      samples: (T,) float32, in which they are; rate: Hz.
      start: seconds, of the samples on the clock of the hits.
    """
    if not spotter.settings.decoder or not looks(recogniser):
        return list(found)
    words = [spotter.keywords[spotter.places[hit.keyword]].words for hit in found]
    parts = [_around(hit, spotter.settings.decoder_around, samples, rate, start) for hit in found]
    asked = [n for n, part in enumerate(parts) if words[n] and len(part)]
    features = recogniser.front_end_features([(parts[n], rate) for n in asked])
    out = list(found)
    for n, own in zip(asked, features):
        scores = None if own is None else recogniser.decoder_scores(own, [words[n]])
        if scores is not None:
            out[n] = replace(out[n], score=out[n].score + spotter.settings.decoder * scores[0], decoder=scores[0])
    return [hit for hit in out if hit.score >= spotter.thresholds[spotter.places[hit.keyword]]]


def _around(hit: Hit, around: float, samples: np.ndarray, rate: int, start: float) -> np.ndarray:
    """The sound of a hit and so many seconds before and after, at its highest level."""
    first, last = (round((edge - start) * rate) for edge in (hit.start - around, hit.end + around))
    part = samples[max(0, first) : max(0, last)]
    return part / max(1e-6, float(np.abs(part).max())) if len(part) else part
