"""What can be set of a stream, and the rules that end its segments."""

from dataclasses import dataclass
from typing import Tuple

from utils.core.errors import UserError


@dataclass(frozen=True)
class Rule:
    """A segment ends where all conditions of a rule hold; Kaldi's OnlineEndpointRule (online2/online-endpoint.h)."""

    silence: float  # seconds without speech at its end, at least
    words: bool = True  # whether a word must have been found in it
    length: float = 0.0  # seconds since it began, at least


# Kaldi's rules 2, 1 and 5, with other times: activity of the voice, not the decoder's silence, is what they see here.
RULES = (Rule(0.5), Rule(0.25, length=8.0), Rule(1.0, words=False), Rule(0.0, words=False, length=20.0))


@dataclass(frozen=True)
class Settings:
    """Of all streams of a `Live`."""

    rules: Tuple[Rule, ...] = RULES  # the first that holds ends a segment
    step: float = 0.5  # seconds of new audio between two first passes of a segment, where each encodes it anew
    share: float = 0.1  # of the segment: longer ones wait for so much new audio, so that their cost stays in bounds
    chunk: float = 0.32  # seconds of a chunk, where a causal network sees each chunk once
    before: float = 0.25  # seconds kept before speech
    after: float = 0.2  # and after it
    ahead: float = 0.3  # seconds without speech after which a final is made, in case that nothing follows
    speech: float = 0.5  # probability of speech above which it begins
    no_speech: float = 0.35  # and below which it ends
    tick: float = 0.03  # seconds between two rounds of the worker: chunks that come meanwhile share one

    def __post_init__(self) -> None:
        """Raise UserError for settings that no stream could work with."""
        if not any(rule.length for rule in self.rules if not rule.words and not rule.silence):
            raise UserError("a stream needs a rule with a length, without words and silence, so that every segment ends")
        if any(rule.words and not rule.silence for rule in self.rules):
            raise UserError("a rule that asks for words needs silence above 0 s, too")
        if any(0 < rule.silence < self.after for rule in self.rules):
            raise UserError(
                f"after={self.after:g} s of a stream is more than the silence that ends a segment by one of its rules"
            )
        if self.ahead < self.after:
            raise UserError(f"a stream's ahead={self.ahead:g} s must not be less than after={self.after:g}, which a final has")
        if not 0 < self.no_speech <= self.speech < 1:
            raise UserError(
                f"speech={self.speech:g} and no_speech={self.no_speech:g} must be probabilities, the second no larger"
            )
        if min(self.step, self.chunk, self.tick) <= 0 or min(self.before, self.after, self.share) < 0:
            raise UserError("step, chunk and tick of a stream are above 0 s; before, after and share are not below 0")

    @property
    def longest(self) -> float:
        """Seconds of the longest segment."""
        return min(rule.length for rule in self.rules if not rule.words and not rule.silence)
