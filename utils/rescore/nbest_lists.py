"""n-best lists, and the files that hold them: nbest-<split>.jsonl and those of single pieces, a line an utterance."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List

from utils.core.files import read_jsonl, write_jsonl


@dataclass
class ScoredPath:
    """A hypothesis with its scores."""

    words: List[str]
    scores: Dict[str, float]  # natural log: `am`, the acoustic score, and scores of utils.rescore.scores.SCORES by name

    def as_json(self) -> Dict[str, Any]:
        """As files have it."""
        return {"words": self.words, **self.scores}

    @staticmethod
    def of_json(row: Dict[str, Any]) -> "ScoredPath":
        """The reverse of `as_json`."""
        return ScoredPath(row["words"], {name: value for name, value in row.items() if name != "words"})


@dataclass
class NBestList:
    """The hypotheses of one utterance."""

    id: str
    ref: List[str]
    paths: List[ScoredPath]
    log_probs: Dict[str, float] = field(default_factory=dict)  # word -> the word head's highest log-probability in any frame


def read_lists(path: Path) -> List[NBestList]:
    """Read a file of n-best lists."""
    return [NBestList(r["id"], r["ref"], [ScoredPath.of_json(p) for p in r["paths"]], r["heard"]) for r in read_jsonl(path)]


def write_lists(path: Path, lists: Iterable[NBestList]) -> None:
    """Write n-best lists, atomically."""
    rows = ({"id": one.id, "ref": one.ref, "paths": [p.as_json() for p in one.paths], "heard": one.log_probs} for one in lists)
    write_jsonl(path, rows)
