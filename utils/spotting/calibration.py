"""Thresholds for a rate of false alarms, from speech and noise without the keywords; exact bounds of rates."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from scipy.special import gammaincinv

from utils.core.errors import UserError
from utils.core.files import read_json, write_json
from utils.spotting.keywords import Keyword

KEPT = 100  # scores of each keyword: those of the strongest false alarms


@dataclass
class Calibration:
    """What keywords scored where nobody said them."""

    bundle: str  # fingerprint of the training that it was made with
    settings: Dict[str, float]  # of the spotter
    hours: float = 0.0
    scores: Dict[str, List[float]] = field(default_factory=dict)  # keyword -> its highest scores, falling
    forms: Dict[str, List[Any]] = field(default_factory=dict)  # keyword -> what it was made of

    def add(self, keyword: Keyword, scores: Sequence[float]) -> float:
        """Take more false alarms of a keyword; returns the lowest score that still counts."""
        kept = sorted([*self.scores.get(keyword.name, ()), *scores], reverse=True)[:KEPT]
        self.scores[keyword.name], self.forms[keyword.name] = kept, _form(keyword)
        return kept[-1] if len(kept) == KEPT else -math.inf

    def threshold(self, keyword: Keyword, rate: float) -> float:
        """The lowest score that gives at most so many false alarms an hour here.

        Raises:
          UserError: a keyword that was not calibrated, or otherwise made; a rate above what was kept.
        """
        if keyword.name not in self.scores:
            raise UserError(f"the keyword '{keyword.name}' was not calibrated; there are {', '.join(self.scores) or 'none'}")
        if self.forms.get(keyword.name) != _form(keyword):
            raise UserError(f"the keyword '{keyword.name}' was calibrated with another pronunciation or other recordings")
        if rate * self.hours >= KEPT:
            raise UserError(f"rates above {KEPT / self.hours:.1f} an hour are not known of {self.hours:.1f} h; take a lower one")
        return threshold(self.scores[keyword.name], self.hours, rate)

    def write(self, path: Path) -> None:
        """As JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path, bundle: str, settings: Dict[str, float]) -> "Calibration":
        """What `write` wrote.

        Raises:
          UserError: no such file, or another content; made with another bundle, or with other weights.
        """
        try:
            found = read_json(path)
            scores = {name: list(map(float, some)) for name, some in found["scores"].items()}
            made = cls(str(found["bundle"]), dict(found["settings"]), float(found["hours"]), scores, dict(found["forms"]))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no calibration, which --calibrate writes: {error}") from None
        if made.bundle != bundle:
            raise UserError(f"{path} was made with another bundle; calibrate with this one")
        if made.settings != settings:
            raise UserError(f"{path} was made with other weights of the scores; calibrate again")
        return made


def _form(keyword: Keyword) -> List[Any]:
    return [keyword.spoken, keyword.words, keyword.recordings]


def threshold(scores: Sequence[float], hours: float, rate: float) -> float:
    """The lowest score above which at most `rate` * `hours` of these false alarms are."""
    allowed = math.floor(rate * hours + 1e-9)
    falling = sorted(scores, reverse=True)
    return float(np.nextafter(falling[allowed], np.inf)) if allowed < len(falling) else -math.inf


def bounds(count: int, hours: float, level: float = 0.95) -> Tuple[float, float]:
    """The exact interval of a rate an hour from `count` events in `hours` (Garwood 1936): quantiles of gamma distributions."""
    beyond = (1 - level) / 2
    low = gammaincinv(count, beyond) if count else 0.0
    return float(low / hours), float(gammaincinv(count + 1, 1 - beyond) / hours)
