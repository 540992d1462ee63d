"""Exact CTC feasibility: whether an utterance's frames can hold its symbols."""

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Sequence

from utils.core.frames import output_frames
from utils.lang.lexicon import Lexicon

INFEASIBLE = "infeasible.tsv"  # of stage 4: utterances of train and dev that a head can't align, with their frames


@dataclass(frozen=True)
class Head:
    """One output of the network."""

    name: str  # subword, word
    subsampling: int  # feature frames for one frame


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


def infeasible(folder: Path) -> List[str]:
    """Ids of the utterances that stage 4, whose folder this is, found infeasible."""
    return [line.split("\t")[0] for line in (folder / INFEASIBLE).read_text(encoding="utf-8").splitlines()]


def needs(cuts: Iterable, lexicon: Lexicon, heads: Sequence[Head]) -> List[Need]:
    """What every head has and needs for every cut; a text counts as in training: words of the lexicon, first pronunciations.

    Args:
      cuts: Lhotse cuts with features, also speed-perturbed ones.
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
        out += [
            Need(cut.id, head.name, output_frames(cut.num_frames, head.subsampling), targets[text][head.name]) for head in heads
        ]
    return out
