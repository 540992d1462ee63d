"""A second look at hits: how likely the decoder of the front end's Whisper model finds the keyword in the sound around a hit."""

from dataclasses import replace
from typing import List, Optional, Sequence

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
    if not spotter.settings.decoder:
        return list(found)
    places = {keyword.name: n for n, keyword in enumerate(spotter.keywords)}
    out = []
    for hit in found:
        words, around = spotter.keywords[places[hit.keyword]].words, spotter.settings.decoder_around
        first, last = (round((edge - start) * rate) for edge in (hit.start - around, hit.end + around))
        part = samples[max(0, first) : max(0, last)]
        score = _score(recogniser, part, rate, words) if words and len(part) else None
        if score is not None:
            hit = replace(hit, score=hit.score + spotter.settings.decoder * score, decoder=score)
        if hit.score >= spotter.thresholds[places[hit.keyword]]:
            out.append(hit)
    return out


def _score(recogniser: Recogniser, samples: np.ndarray, rate: int, words: Sequence[str]) -> Optional[float]:
    """Natural log of p(words | speech); None without such a decoder."""
    (evidence,) = recogniser.evidence([(samples / max(1e-6, float(np.abs(samples).max())), rate)], features=True)
    scores = None if evidence.features is None else recogniser.decoder_scores(evidence.features, [words])
    return None if scores is None else scores[0]
