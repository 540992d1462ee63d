"""From the scores of a spotter's hit to the probability that the keyword is said there: logistic regression (Platt 1999).

Fitted by `python -m tests.bench.keyword_events` on dev of speechocean762 with `whisper_wordvec`, where each keyword is said some
seven times an hour. A keyword's own rate of false alarms is what `steps.spot --calibrate` measures; this is for keywords of
which nothing else is known.
"""

import numpy as np

from utils.search.calibration import Calibration
from utils.spotting.spotter import Hit

# Of sounds, sounds by the root of the number of units, vectors, the logarithm of that number, and the decoder's score.
FIRST_LOOK = Calibration([0.1042, 0.3294, 0.4626, 2.1636], -1.3054)
SECOND_LOOK = Calibration([0.067, 0.1948, 0.377, 2.5107, -0.0148], -2.2757)


def features(hit: Hit, units: int, decoder: bool) -> np.ndarray:
    """What the probability depends on. units: of the keyword's shortest pronunciation."""
    known = [hit.sounds, hit.sounds / np.sqrt(units), hit.vectors, np.log(units)]
    return np.array([*known, *([hit.decoder] if decoder else [])])


def probability(hit: Hit, units: int, decoder: bool) -> float:
    """That the keyword is said at the place of a hit. decoder: whether there was a second look."""
    log_odds = (SECOND_LOOK if decoder else FIRST_LOOK)(features(hit, units, decoder))
    return float(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))))
