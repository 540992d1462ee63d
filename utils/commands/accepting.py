"""Whether a recording is a command at all: what tells commands from other sounds, and its logistic regression."""

from typing import Hashable, List, Optional, Sequence, Tuple

import kaldialign
import numpy as np

from utils.bundle.evidence import Evidence
from utils.bundle.recogniser import Recogniser
from utils.commands.weights import Weights


def features(
    behind: float, frames: int, vectors: float, words: int, sounds: float, decoder: Optional[float] = None, letters: float = 0.0
) -> Tuple[float, ...]:
    """What tells commands from other sounds.

    Args:
      behind: log p of the grammar's best sentence in the sub-word head, minus that of the best path without a grammar.
      vectors: score of the sentence by its word vectors.
      words: in the sentence.
      sounds: `alike` of its units and of those of that best path.
      decoder: log p of the sentence by Whisper's decoder; None without one.
      letters: `alike` of its letters and of those of what that decoder itself would write.
    Returns:
      per frame, what the grammar costs; per word, the score of the word vectors; `sounds`; with a decoder, log p per word, and
      `letters`.
    """
    own = (behind / max(frames, 1), vectors / max(words, 1), sounds)
    return own if decoder is None else (*own, decoder / max(words, 1), letters)


def probability(found: Sequence[float], weights: Weights) -> float:
    """That something was a command: logistic regression on `features`."""
    constant, *factors = weights.accept if len(found) > 3 else weights.accept_alone
    z = constant + sum(factor * value for factor, value in zip(factors, found))
    return float(1 / (1 + np.exp(-np.clip(z, -50, 50))))


def least(found: Sequence[float], weights: Weights) -> float:
    """The least probability of a command, with these features."""
    return weights.threshold if len(found) > 3 else weights.threshold_alone


def own_text(evidence: Evidence, recogniser: Recogniser) -> Optional[List[str]]:
    """What Whisper's decoder itself would write; None without one."""
    return None if evidence.features is None else recogniser.decoder_words(evidence.features, beam=1)


def alike(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """How alike two sequences are, from 0 to 1: 1 - edits / length of the longer one."""
    return 1 - kaldialign.edit_distance(list(one), list(other))["total"] / max(len(one), len(other), 1)


def letters(words: Sequence[str]) -> List[str]:
    """The letters of a sentence."""
    return list(" ".join(words))
