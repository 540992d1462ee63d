"""Alignment, error rates, recall, bootstrap intervals, n-best oracle.

Rates are in percent of the reference words (or characters), as papers give them. All edits cost 1.
"""

import re
from dataclasses import dataclass
from typing import Collection, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import kaldialign
import numpy as np

from utils.core.errors import UserError
from utils.core.languages import in_characters

GAP = ""  # in an alignment: no word on this side. Words are never empty, so it is unambiguous.
Alignment = List[Tuple[str, str]]  # (reference word, recognised word)

# The scripts of the languages that are measured in characters. Each of their code points is a unit; what other letters or digits
# spell stays a whole word, as in WeNet and in the mixed error rate of code-switching (Shi et al. 2020).
_SPACELESS_SCRIPTS = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana, and the marks that repeat or lengthen
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9fe\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u1950-\u19df\u1a20-\u1aad\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
)
_CHARACTER = re.compile(f"[{_SPACELESS_SCRIPTS}]|[^\\s{_SPACELESS_SCRIPTS}]+")


@dataclass(frozen=True)
class Scores:
    """Alignments and edit counts by utterance, in the order of `ids`. U utterances."""

    ids: List[str]
    alignments: List[Alignment]
    words: np.ndarray  # (U,) reference words
    insertions: np.ndarray  # (U,)
    deletions: np.ndarray  # (U,)
    substitutions: np.ndarray  # (U,)

    @property
    def errors(self) -> np.ndarray:
        """Edits by utterance: (U,)."""
        return self.insertions + self.deletions + self.substitutions


@dataclass(frozen=True)
class Difference:
    """Error rate of a system minus that of another on the same utterances, percent absolute."""

    value: float
    low: float  # 95% interval
    high: float
    p: float  # two-sided: twice the share of resamples in which the sign changes


def score(utterances: Iterable[Tuple[str, Sequence[str], Sequence[str]]]) -> Scores:
    """Align each (id, reference words, recognised words); the result is sorted by id.

    Where several alignments have the fewest edits, kaldialign chooses one. The number of edits does not depend on the choice;
    which words count as recognised may.
    """
    utterances = sorted(utterances, key=lambda u: u[0])
    alignments = [kaldialign.align(list(ref), list(hyp), GAP) for _, ref, hyp in utterances]

    def count(kind) -> np.ndarray:
        return np.array([sum(kind(r, h) for r, h in pairs) for pairs in alignments], dtype=np.int64)

    return Scores(
        ids=[u[0] for u in utterances],
        alignments=alignments,
        words=np.array([len(u[1]) for u in utterances], dtype=np.int64),
        insertions=count(lambda r, h: r == GAP),
        deletions=count(lambda r, h: h == GAP),
        substitutions=count(lambda r, h: GAP not in (r, h) and r != h),
    )


def error_rate(errors: np.ndarray, words: np.ndarray) -> float:
    """Percent; raises UserError where the reference has no word."""
    if not words.sum():
        raise UserError("the reference has no word, so there is no error rate; check the transcripts of this split")
    return float(100.0 * errors.sum() / words.sum())


def characters(words: Iterable[str]) -> List[str]:
    """The units of a character error rate: each code point of a script without spaces by itself, other words whole."""
    return [unit for word in words for unit in ([word] if word.isascii() else _CHARACTER.findall(word))]


def edits(reference: Iterable[str], recognised: Iterable[str]) -> int:
    """The errors that weights are tuned by: those of characters in scripts without spaces, of words in all others."""
    return kaldialign.edit_distance(characters(reference), characters(recognised))["total"]


def spelled(ids: Sequence[str], alignments: Sequence[Alignment], languages: Sequence[str]) -> Optional[Scores]:
    """Scores in characters of the utterances whose language is measured so; None without such utterances.

    Args:
      ids, alignments, languages: of each utterance.
    """
    kept = [
        (name, [r for r, _ in pairs if r != GAP], [h for _, h in pairs if h != GAP])
        for name, pairs, language in zip(ids, alignments, languages)
        if in_characters(language)
    ]
    return score((name, characters(said), characters(recognised)) for name, said, recognised in kept) if kept else None


def by_speaker(scores: Scores, speakers: Mapping[str, str]) -> Dict[str, np.ndarray]:
    """Speaker -> utterances, words, insertions, deletions, substitutions: (5,); the highest error rate first.

    Args:
      speakers: utterance -> speaker.
    """
    counts = np.stack([np.ones_like(scores.words), scores.words, scores.insertions, scores.deletions, scores.substitutions])
    names = np.array([speakers[name] for name in scores.ids])
    sums = {name: counts[:, names == name].sum(1) for name in sorted({speakers[i] for i in scores.ids})}
    return dict(sorted(sums.items(), key=lambda item: (-item[1][2:].sum() / max(item[1][1], 1), item[0])))


def recall(alignments: Iterable[Alignment], vocabulary: Collection[str]) -> Dict[str, object]:
    """Share of the reference words recognised, separately for words in the training `vocabulary` and out of it (OOV).

    Returns: `oov_words` (reference tokens that are OOV), `oov_recall` and `iv_recall` in percent, None where there is none.
    """
    total, right = {True: 0, False: 0}, {True: 0, False: 0}
    for pairs in alignments:
        for reference, recognised in pairs:
            if reference != GAP:
                known = reference in vocabulary
                total[known] += 1
                right[known] += reference == recognised
    percent = {known: 100.0 * right[known] / total[known] if total[known] else None for known in total}
    return {"oov_words": total[False], "oov_recall": percent[False], "iv_recall": percent[True]}


def interval(errors: np.ndarray, words: np.ndarray, resamples: int = 1000, seed: int = 0) -> Tuple[float, float]:
    """95% percentile interval of the error rate over resampled utterances (Bisani & Ney 2004, section 2).

    Args:
      errors, words: (U,) by utterance.
    """
    rates = np.concatenate([_rates(errors[i], words[i]) for i in _resampled(len(words), resamples, seed)])
    low, high = np.percentile(rates, (2.5, 97.5))
    return float(low), float(high)


def difference(errors: np.ndarray, baseline: np.ndarray, words: np.ndarray, resamples: int = 2000, seed: int = 0) -> Difference:
    """Paired bootstrap of two systems: each resample takes the same utterances of both (Bisani & Ney 2004, section 3).

    Args:
      errors, baseline, words: (U,) by utterance, `words` shared; sums over seeds where there are several.
    """
    deltas = np.concatenate(
        [_rates(errors[i], words[i]) - _rates(baseline[i], words[i]) for i in _resampled(len(words), resamples, seed)]
    )
    low, high = np.percentile(deltas, (2.5, 97.5))
    sign = min(np.count_nonzero(deltas <= 0), np.count_nonzero(deltas >= 0))
    p = min(1.0, 2.0 * (sign + 1) / (resamples + 1))  # never 0: the number of resamples limits the resolution
    return Difference(error_rate(errors, words) - error_rate(baseline, words), float(low), float(high), p)


def oracle(utterances: Iterable[Tuple[str, Sequence[str], Iterable[Sequence[str]]]]) -> Dict[str, int]:
    """The fewest errors of any path in each n-best list.

    Args:
      utterances: (id, reference words, paths), or in characters; no path counts as an empty one.
    Returns: id -> errors.
    """
    out: Dict[str, int] = {}
    for name, reference, paths in utterances:
        reference, best = list(reference), -1
        for path in {tuple(p) for p in paths} or {()}:
            if best < 0 or abs(len(path) - len(reference)) < best:  # otherwise the difference in length alone costs as much
                errors = kaldialign.edit_distance(reference, list(path))["total"]
                best = errors if best < 0 else min(best, errors)
        out[name] = best
    return out


def _rates(errors: np.ndarray, words: np.ndarray) -> np.ndarray:
    """(B, U) resampled utterances -> (B,) percent."""
    return 100.0 * errors.sum(1) / np.maximum(words.sum(1), 1)


def _resampled(utterances: int, resamples: int, seed: int) -> Iterable[np.ndarray]:
    """Blocks of (b, U) utterance numbers, drawn with replacement, at most about 4 million at a time."""
    random, block = np.random.default_rng(seed), max(1, 4_000_000 // max(utterances, 1))
    for start in range(0, resamples, block):
        yield random.integers(0, utterances, (min(block, resamples - start), utterances))
