"""Hypotheses and n-best lists beside the references of stage 0: which utterances are scored, the oracle of the lists."""

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy as np

from utils.core.errors import UserError
from utils.core.files import read_jsonl
from utils.text.scoring import error_rate, oracle


class Cut(NamedTuple):
    """What the data stage says of an utterance."""

    text: str  # normalised
    language: str = ""
    speaker: str = ""
    transcribed: bool = True  # whether `text` is what is said, so that the utterance is scored


Row = Dict[str, Any]  # {"id", "ref": words, "hyp": words} of one utterance, or {"id", "ref", "paths"}


def scored(rows: List[Row], cuts: Dict[str, Cut], where: Path) -> List[Row]:
    """The rows of utterances that have a transcript.

    Args:
      cuts: by id, of the split in the data stage.
      where: the file of `rows`, for messages.
    Raises:
      UserError: an utterance occurs twice, is not in the split, or has a reference that differs from its text.
    """
    _same_utterances(rows, cuts, where)
    return [row for row in rows if cuts[row["id"]].transcribed]


def oracle_rate(path: Path, cuts: Dict[str, Cut], units: Callable[[List[str]], List[str]] = list) -> float:
    """Oracle error rate (percent) of an n-best file.

    Args:
      units: the units of words in which errors are counted: `scoring.characters`, or words.
    """
    rows = scored(read_jsonl(path), cuts, path)
    best = oracle((row["id"], units(row["ref"]), [units(p["words"]) for p in row["paths"]]) for row in rows)
    return _rate_of(list(best.values()), [units(row["ref"]) for row in rows])


def lattice_oracle(rows: Sequence[Row]) -> float:
    """Oracle WER (percent) of lattices, from rows with `oracle`: the fewest errors of any path through the lattice."""
    return _rate_of([row["oracle"] for row in rows], [row["ref"] for row in rows])


def _rate_of(errors: Sequence[int], references: Sequence[List[str]]) -> float:
    return round(error_rate(np.array(errors), np.array([len(reference) for reference in references])), 4)


def _same_utterances(rows: List[Dict[str, Any]], cuts: Dict[str, Cut], where: Path) -> None:
    seen = set()
    for name, words in ((row["id"], row["ref"]) for row in rows):
        wrong = None
        if name in seen:
            wrong = "occurs twice"
        elif name not in cuts:
            wrong = "is not in this split of the data stage"
        elif " ".join(words) != cuts[name].text:
            wrong = f"has the reference '{' '.join(words)}', the data stage '{cuts[name].text}'"
        if wrong:
            raise UserError(f"{where}: utterance {name} {wrong}; delete {where.parent} and run its stage again")
        seen.add(name)
