"""The measured part of a results record: error rates, recall and intervals, from recognised words and the cuts of a split."""

from pathlib import Path
from typing import Any, Collection, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from utils.core.errors import UserError
from utils.core.files import read_jsonl
from utils.results.records import set_digest
from utils.text.scoring import Scores, error_rate, interval, oracle, recall, spelled


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


def measure(
    scores: Scores, cuts: Dict[str, Cut], vocabulary: Collection[str], resamples: int, in_characters: Optional[Scores]
) -> Dict[str, Any]:
    """The keys of a record from `utterances` to `utterance_errors`, without `oracle_wer`, of one decoding of one split.

    Args:
      scores: alignments of the utterances, of which a reference has a word.
      cuts: by id, of the split in the data stage.
      vocabulary: words of the training text.
      resamples: number of bootstrap resamples.
      in_characters: `scores` in characters, where these are the measure.
    """
    languages = [cuts[name].language for name in scores.ids]
    out = {
        "utterances": len(scores.ids),
        "utterances_left_out": sum(cut.transcribed for cut in cuts.values()) - len(scores.ids),
        "words": int(scores.words.sum()),
        "errors": int(scores.errors.sum()),
        "insertions": int(scores.insertions.sum()),
        "deletions": int(scores.deletions.sum()),
        "substitutions": int(scores.substitutions.sum()),
        "wer": round(error_rate(scores.errors, scores.words), 4),
        "wer_interval": _ends(scores.errors, scores.words, resamples),
        "cer": None,
        "cer_interval": None,
        **_character_rate(in_characters, resamples),
        **{
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in recall(scores.alignments, vocabulary).items()
        },
        "by_language": {},
        "utterance_set": set_digest(scores.ids),
        "utterance_words": scores.words.tolist(),
        "utterance_errors": scores.errors.tolist(),
    }
    if len(set(languages)) > 1:
        for language in sorted(set(languages)):
            part = _language(scores, np.array([other == language for other in languages]), language, resamples)
            if part:
                out["by_language"][language] = part
    return out


def _language(scores: Scores, own: np.ndarray, language: str, resamples: int) -> Dict[str, Any]:
    """The entry of `by_language` for the utterances chosen by `own`: (U,) bool; empty where no reference has a word."""
    errors, words = scores.errors[own], scores.words[own]
    names = [name for name, kept in zip(scores.ids, own) if kept]
    pairs = [alignment for alignment, kept in zip(scores.alignments, own) if kept]
    if not words.sum():
        return {}
    return {
        "utterances": int(own.sum()),
        "words": int(words.sum()),
        "errors": int(errors.sum()),
        "wer": round(error_rate(errors, words), 4),
        "wer_interval": _ends(errors, words, resamples),
        **_character_rate(spelled(names, pairs, [language] * len(names)), resamples),
        "utterance_set": set_digest(names),
    }


def oracle_rate(path: Path, cuts: Dict[str, Cut]) -> Optional[float]:
    """Oracle WER (percent) of an n-best file; None where the file is missing."""
    if not path.exists():
        return None
    rows = scored(read_jsonl(path), cuts, path)
    best = oracle((row["id"], row["ref"], [p["words"] for p in row["paths"]]) for row in rows)
    return _rate_of(list(best.values()), rows)


def lattice_oracle(rows: Sequence[Row]) -> float:
    """Oracle WER (percent) of lattices, from rows with `oracle`: the fewest errors of any path through the lattice."""
    return _rate_of([row["oracle"] for row in rows], rows)


def _rate_of(errors: Sequence[int], rows: Sequence[Row]) -> float:
    return round(error_rate(np.array(errors), np.array([len(row["ref"]) for row in rows])), 4)


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


def _character_rate(scores: Optional[Scores], resamples: int) -> Dict[str, Any]:
    """`cer` and its interval, of scores in characters; nothing without them."""
    if scores is None or not scores.words.sum():
        return {}
    return {
        "cer": round(error_rate(scores.errors, scores.words), 4),
        "cer_interval": _ends(scores.errors, scores.words, resamples),
    }


def _ends(errors: np.ndarray, words: np.ndarray, resamples: int) -> List[float]:
    return [round(end, 4) for end in interval(errors, words, resamples)]
