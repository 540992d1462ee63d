"""The measured part of a results record: error rates, recall and intervals, from recognised words and the cuts of a split."""

from typing import Any, Collection, Dict, List, Optional

import numpy as np

from utils.results.records import set_digest
from utils.text.references import Cut
from utils.text.scoring import Scores, error_rate, interval, recall, spelled


def measure(
    scores: Scores, cuts: Dict[str, Cut], vocabulary: Collection[str], resamples: int, in_characters: Optional[Scores]
) -> Dict[str, Any]:
    """The keys of a record from `utterances` to `utterance_errors`, without the oracle, of one decoding of one split.

    Args:
      scores: alignments of the utterances, of which a reference has a word.
      cuts: by id, of the split in the data stage.
      vocabulary: words of the training text.
      resamples: number of bootstrap resamples.
      in_characters: `scores` in characters, where these are the measure.
    """
    languages = [cuts[name].language for name in scores.ids]
    out: Dict[str, Any] = {
        "utterances": len(scores.ids),
        "utterances_left_out": sum(cut.transcribed for cut in cuts.values()) - len(scores.ids),
        **_counts(scores),
        "wer": round(error_rate(scores.errors, scores.words), 4),
        "wer_interval": _ends(scores.errors, scores.words, resamples),
        "cer": None,
        "cer_interval": None,
        "characters": _counts(in_characters) if in_characters and in_characters.ids == scores.ids else None,
        **_character_rate(in_characters, resamples),
        **{
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in recall(scores.alignments, vocabulary).items()
        },
        "by_language": {},
        "utterance_set": set_digest(scores.ids),
    }
    if len(set(languages)) > 1:
        for language in sorted(set(languages)):
            part = _language(scores, np.array([other == language for other in languages]), language, resamples)
            if part:
                out["by_language"][language] = part
    return out


def _counts(scores: Scores) -> Dict[str, Any]:
    """The keys of `records.COUNTED`."""
    return {
        "words": int(scores.words.sum()),
        "errors": int(scores.errors.sum()),
        "insertions": int(scores.insertions.sum()),
        "deletions": int(scores.deletions.sum()),
        "substitutions": int(scores.substitutions.sum()),
        "utterance_words": scores.words.tolist(),
        "utterance_errors": scores.errors.tolist(),
    }


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
