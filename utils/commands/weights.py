"""What weighs the scores of a command against each other, and decides whether something was a command."""

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Dict, Mapping, Tuple

from utils.bundle.recogniser import Recogniser
from utils.core.errors import UserError
from utils.core.files import write_json

log = logging.getLogger("nuptse")
FILE = "commands.json"  # of a bundle: the weights that suit a grammar


@dataclass(frozen=True)
class Weights:
    """The weights of scores come from trials on other commands to a coffee machine than the benchmark's, not from a search.

    What rejects was fitted to synthesised commands in noise of 6 dB, dev of speechocean762, a third of Common Voice's clips, and
    a sixth of the noises. `tuning` finds others.

    A sentence's total is: log p of its units + `word` x CTC score of its word vectors + `decoder` x log p by Whisper's decoder +
    `bonus` x number of its words.
    """

    blank_penalty: float = 3.0  # taken from the blank's log-probability in the sub-word head
    word_blank_penalty: float = 3.0  # and in the word head
    word: float = 0.25
    decoder: float = 0.6
    bonus: float = 0.0
    read: int = 6  # sentences that the decoder scores: the best by the two heads
    scale: float = 0.3  # of totals, before they become posteriors
    # Logistic regression of "is a command": constant, and factors of what `accepting.features` gives; without a decoder, of the
    # first three.
    accept: Tuple[float, ...] = (-1.063, 0.659, 0.139, 4.639, 0.174, 3.106)
    accept_alone: Tuple[float, ...] = (-1.729, 0.691, 0.198, 6.912)
    threshold: float = 0.67  # least probability of a command: that of 1 in 240 sentences of speechocean762's dev is larger
    threshold_alone: float = 0.62  # without a decoder


DEFAULT = Weights()


def write_weights(folder: Path, weights: Weights, grammar: str, measured: Mapping[str, Any]) -> None:
    """Write FILE.

    Args:
      grammar: the name of that which they suit.
      measured: what was measured on held-out sentences.
    """
    write_json(folder / FILE, {"grammar": grammar, "weights": asdict(weights), "measured": dict(measured)})


def weights_of(recogniser: Recogniser, grammar: str) -> Weights:
    """The weights of a bundle for a grammar's name; DEFAULT where it has none. Raises UserError: a bundle of another version."""
    content = recogniser.content(FILE)
    if content is None:
        return DEFAULT
    read = json.loads(content)
    found = read["weights"]
    if read["grammar"] != grammar:
        log.warning(
            "the bundle's %s is tuned to %s, not to %s; steps.commands train makes another", FILE, read["grammar"], grammar
        )
    if set(found) != {one.name for one in fields(Weights)}:
        raise UserError(f"the bundle's {FILE} is of another version of this program; run steps.commands train again")
    values: Dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    return Weights(**values)
