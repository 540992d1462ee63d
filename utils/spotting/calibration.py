"""Thresholds for a rate of false alarms, from speech and noise without the keywords; exact bounds of rates."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np
from scipy.stats import chi2

from utils.core.errors import UserError
from utils.core.files import read_json, write_json

KEPT = 200  # scores of each keyword: those of the strongest false alarms


@dataclass
class Calibration:
    """What keywords scored where nobody said them."""

    bundle: str  # what it was made with
    hours: float = 0.0
    scores: Dict[str, List[float]] = field(default_factory=dict)  # keyword -> its highest scores, falling

    def add(self, hours: float, scores: Dict[str, Sequence[float]]) -> None:
        """Take another recording. scores: of all false alarms above the lowest threshold."""
        self.hours += hours
        for name, some in scores.items():
            self.scores[name] = sorted([*self.scores.get(name, ()), *some], reverse=True)[:KEPT]

    def threshold(self, name: str, rate: float) -> float:
        """The lowest score that gives at most so many false alarms an hour here.

        Raises:
          UserError: a keyword that was not calibrated.
        """
        if name not in self.scores:
            raise UserError(f"the keyword '{name}' was not calibrated; there are {', '.join(self.scores) or 'none'}")
        return threshold(self.scores[name], self.hours, rate)

    def write(self, path: Path) -> None:
        """As JSON."""
        write_json(path, {"bundle": self.bundle, "hours": self.hours, "scores": self.scores})

    @classmethod
    def read(cls, path: Path, bundle: str) -> "Calibration":
        """What `write` wrote.

        Raises:
          UserError: no such file, or another content; made with another bundle.
        """
        try:
            found = read_json(path)
            made = cls(
                str(found["bundle"]), float(found["hours"]), {name: list(map(float, s)) for name, s in found["scores"].items()}
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path} is no calibration, which --calibrate writes: {error}") from None
        if made.bundle != bundle:
            raise UserError(f"{path} was made with another bundle; calibrate with this one")
        return made


def threshold(scores: Sequence[float], hours: float, rate: float) -> float:
    """The lowest score above which at most `rate` * `hours` of these false alarms are."""
    allowed = math.floor(rate * hours + 1e-9)
    falling = sorted(scores, reverse=True)
    return float(np.nextafter(falling[allowed], np.inf)) if allowed < len(falling) else -math.inf


def bounds(count: int, hours: float, level: float = 0.95) -> Tuple[float, float]:
    """The exact interval of a rate an hour from `count` events in `hours` (Garwood 1936): chi-squared quantiles."""
    beyond = (1 - level) / 2
    low = chi2.ppf(beyond, 2 * count) / 2 if count else 0.0
    return float(low / hours), float(chi2.ppf(1 - beyond, 2 * count + 2) / 2 / hours)
