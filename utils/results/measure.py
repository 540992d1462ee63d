"""The measured part of a results record: error rates, recall and intervals, from recognised words and the cuts of a split."""

from pathlib import Path
from typing import Any, Collection, Dict, List, Optional, Tuple

import numpy as np

from utils.core.errors import UserError
from utils.core.files import read_jsonl
from utils.results.records import set_digest
from utils.text.scoring import GAP, Scores, characters, error_rate, interval, oracle, recall, score

Cut = Tuple[str, str]  # normalised text, language


def measure(
    rows: List[Dict[str, Any]], cuts: Dict[str, Cut], vocabulary: Collection[str], resamples: int, where: Path
) -> Tuple[Scores, Dict[str, Any]]:
    """Score one decoding of one split.

    Args:
      rows: {"id", "ref": words, "hyp": words}.
      cuts: id -> (text, language) of the split in the data stage.
      vocabulary: words of the training text.
      resamples: number of bootstrap resamples.
      where: the file of `rows`, for messages.
    Returns: the alignments, and the keys of a record from `utterances` to `utterance_errors`, without `oracle_wer`.
    Raises:
      UserError: an utterance occurs twice, is not in the split, or has a reference that differs from its text.
    """
    _same_utterances(rows, cuts, where)
    scores = score((row["id"], row["ref"], row["hyp"]) for row in rows)
    errors, words = scores.errors, scores.words
    languages = [cuts[name][1] for name in scores.ids]
    chinese = np.array([language.startswith("zh") for language in languages])
    out = {
        "utterances": len(scores.ids),
        "utterances_left_out": len(cuts) - len(scores.ids),
        "words": int(words.sum()),
        "errors": int(errors.sum()),
        "insertions": int(scores.insertions.sum()),
        "deletions": int(scores.deletions.sum()),
        "substitutions": int(scores.substitutions.sum()),
        "wer": round(error_rate(errors, words), 4),
        "wer_interval": _ends(errors, words, resamples),
        **_character_rate(scores, chinese, resamples),
        **{
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in recall(scores.alignments, vocabulary).items()
        },
        "by_language": {},
        "utterance_set": set_digest(scores.ids),
        "utterance_words": words.tolist(),
        "utterance_errors": errors.tolist(),
    }
    if len(set(languages)) > 1:
        for language in sorted(set(languages)):
            own = np.array([other == language for other in languages])
            out["by_language"][language] = {
                "utterances": int(own.sum()),
                "words": int(words[own].sum()),
                "errors": int(errors[own].sum()),
                "wer": round(error_rate(errors[own], words[own]), 4),
                "wer_interval": _ends(errors[own], words[own], resamples),
                "utterance_set": set_digest(name for name, kept in zip(scores.ids, own) if kept),
            }
    return scores, out


def oracle_rate(path: Path, cuts: Dict[str, Cut]) -> Optional[float]:
    """Oracle WER (percent) of an n-best file; None where the file is missing."""
    if not path.exists():
        return None
    rows = read_jsonl(path)
    _same_utterances(rows, cuts, path)
    best = oracle((row["id"], row["ref"], [p["words"] for p in row["paths"]]) for row in rows)
    return round(error_rate(np.array(list(best.values())), np.array([len(row["ref"]) for row in rows])), 4)


def lattice_oracle(rows: List[Dict[str, Any]]) -> float:
    """Oracle WER (percent) of lattices, from rows with `oracle`: the fewest errors of any path through the lattice."""
    return round(error_rate(*(np.array(n) for n in zip(*((row["oracle"], len(row["ref"])) for row in rows)))), 4)


def _same_utterances(rows: List[Dict[str, Any]], cuts: Dict[str, Cut], where: Path) -> None:
    seen = set()
    for name, words in ((row["id"], row["ref"]) for row in rows):
        wrong = None
        if name in seen:
            wrong = "occurs twice"
        elif name not in cuts:
            wrong = "is not in this split of the data stage"
        elif " ".join(words) != cuts[name][0]:
            wrong = f"has the reference '{' '.join(words)}', the data stage '{cuts[name][0]}'"
        if wrong:
            raise UserError(f"{where}: utterance {name} {wrong}; delete {where.parent} and run its stage again")
        seen.add(name)


def _character_rate(scores: Scores, chosen: np.ndarray, resamples: int) -> Dict[str, Any]:
    """`cer` and its interval over the Chinese utterances; None without such utterances."""
    if not chosen.any():
        return {"cer": None, "cer_interval": None}
    kept = [(name, pairs) for name, pairs, chinese in zip(scores.ids, scores.alignments, chosen) if chinese]
    spelled = score(
        (name, characters(r for r, _ in pairs if r != GAP), characters(h for _, h in pairs if h != GAP)) for name, pairs in kept
    )
    return {
        "cer": round(error_rate(spelled.errors, spelled.words), 4),
        "cer_interval": _ends(spelled.errors, spelled.words, resamples),
    }


def _ends(errors: np.ndarray, words: np.ndarray, resamples: int) -> List[float]:
    return [round(end, 4) for end in interval(errors, words, resamples)]
