"""What weighs the scores of a command against each other, and decides whether something was a command."""

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Weights:
    """The weights of scores come from trials on other commands to a coffee machine than the benchmark's, not from a search.

    What rejects was set by hand on synthesised commands, dev of speechocean762, Common Voice and noises.

    A sentence's total is: log p of its units + `word` x CTC score of its word vectors + `decoder` x log p by Whisper's decoder.
    """

    blank_penalty: float = 3.0  # taken from the blank's log-probability in the sub-word head
    word_blank_penalty: float = 3.0  # and in the word head
    word: float = 0.25
    decoder: float = 0.6
    read: int = 6  # sentences that the decoder scores: the best by the two heads
    scale: float = 0.3  # of totals, before they become posteriors
    # Logistic regression of "is a command": constant, and factors of what `recognise.features_of` gives and of the agreement with
    # the decoder's own text; without a decoder, of the first two.
    accept: Tuple[float, ...] = (1.88, 2.37, 0.338, 0.164, 3.0)
    accept_alone: Tuple[float, ...] = (1.9, 2.67, 0.363)
    threshold: float = 0.62  # least probability of a command
    threshold_alone: float = 0.75  # without a decoder


DEFAULT = Weights()
