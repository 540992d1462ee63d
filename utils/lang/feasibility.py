"""Exact CTC feasibility: whether an utterance's frames can hold its symbols."""

from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence

from utils.core.frames import output_frames
from utils.lang.lexicon import Lexicon


@dataclass(frozen=True)
class Head:
    """One output of the network."""

    name: str  # subword, word
    stride: int  # fbank frames a frame


@dataclass(frozen=True)
class Need:
    """What one head has and needs for one utterance, in frames."""

    id: str
    head: str
    frames: int
    needed: int

    @property
    def feasible(self) -> bool:
        """Whether CTC has at least one path."""
        return self.frames >= self.needed


def frames_needed(symbols: Sequence[int]) -> int:
    """S + R: a frame for each of S symbols, and a blank between each of R equal neighbours (Graves et al. 2006)."""
    return len(symbols) + sum(a == b for a, b in zip(symbols, symbols[1:]))


def needs(cuts: Iterable, lexicon: Lexicon, heads: Sequence[Head]) -> List[Need]:
    """What every cut needs of every head, for what training makes of its text: words in the lexicon, first pronunciations.

    Args:
      cuts: Lhotse cuts with features, the speed-perturbed ones among them.
    """
    targets: Dict[str, Dict[str, int]] = {}  # text -> head -> frames; copies of a cut share it
    out: List[Need] = []
    for cut in cuts:
        text = cut.supervisions[0].text
        if text not in targets:
            words = [word for word in text.split() if word in lexicon.word_id]
            targets[text] = {
                "subword": frames_needed(lexicon.words_to_token_ids(words)),
                "word": frames_needed(lexicon.words_to_ids(words)),
            }
        out += [Need(cut.id, head.name, output_frames(cut.num_frames, head.stride), targets[text][head.name]) for head in heads]
    return out
