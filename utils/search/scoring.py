"""Scores of terms against what the network says of a recording: by their word vectors, by their sounds, and by both.

A term is one word or several, each a row of `Rows`. Nothing here depends on how many words the model knows, except
`normaliser`, which is a number a frame and can be stored.
"""

from dataclasses import dataclass
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np

from utils.bundle.evidence import Evidence, Rows

TILE = 1 << 22  # most scores that are computed at once: 16 MB
GAP = 1.0  # most seconds from the frame of one word of a term to that of the next
UNREACHABLE = np.float32(-1e9)

Term = List[int]  # the rows of its words


@dataclass(frozen=True)
class Found:
    """The best place of each of K terms in a recording."""

    score: np.ndarray  # (K,) natural log; UNREACHABLE where a term does not fit into the recording
    start: np.ndarray  # (K,) seconds
    end: np.ndarray  # (K,) seconds


def normaliser(frames: np.ndarray, blank: np.ndarray, table: Rows) -> np.ndarray:
    """Log of the sum of exp over the blank and all words of a table, in each frame: (T,).

    Args:
      frames, blank: (T, dim), (T,), of `Evidence`.
      table: usually the vocabulary, `Recogniser.rows()`.
    """
    out = blank.astype(np.float32).copy()
    for part in _tiles(len(frames), len(table.words)):
        scores = frames[part] @ table.vectors.T + table.bias
        highest = scores.max(1)
        out[part] = np.logaddexp(out[part], highest + np.log(np.exp(scores - highest[:, None]).sum(1)))
    return out


def vector_scores(frames: np.ndarray, normaliser: np.ndarray, vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Log-probability of words in each frame, against the blank and the words of the normaliser: (T, W), float32.

    The formula is that of `utils.vectors.wordvec.word_scores` and a softmax. Words beyond the normaliser's may get more than 0.

    Args:
      frames: (T, dim); normaliser: (T,); vectors: (W, dim); bias: (W,).
    """
    return frames @ vectors.T + (bias - normaliser[:, None])


def by_vectors(evidence: Evidence, normaliser: np.ndarray, rows: Rows, terms: Optional[Sequence[Term]] = None) -> Found:
    """The best place of each term in a recording by the vectors of its words.

    One word: the frame with its highest log-probability. Several: the best frames in this order, at most GAP apart; the score
    is the mean over the words. A frame of the word head lies near the end of a word.

    Args:
      terms: rows of the words of each; None: each row is a term.
    """
    alone = terms is None
    terms = [[n] for n in range(len(rows.words))] if terms is None else terms
    score = np.full(len(terms), UNREACHABLE)
    first, last = np.zeros((2, len(terms)), np.int64)
    frames = len(evidence.frames)
    if frames:
        singles = np.array([k for k, term in enumerate(terms) if len(term) == 1], np.int64)
        for part in _tiles(len(singles), frames):
            own = singles[part]
            words = own if alone else np.array([terms[k][0] for k in own])
            scores = vector_scores(evidence.frames, normaliser, rows.vectors[words], rows.bias[words])
            peak = scores.argmax(0)
            score[own], first[own], last[own] = scores[peak, np.arange(len(own))], peak, peak
        for k, term in enumerate(terms):
            if len(term) > 1:
                scores = vector_scores(evidence.frames, normaliser, rows.vectors[term], rows.bias[term])
                score[k], first[k], last[k] = sequence(scores, max(1, round(GAP / evidence.word_seconds)))
    return Found(score, first * evidence.word_seconds, np.minimum((last + 1) * evidence.word_seconds, evidence.seconds))


def sequence(scores: np.ndarray, gap: int) -> Tuple[float, int, int]:
    """The best increasing frames of a sequence of words: mean score, first frame, last frame.

    Args:
      scores: (T, W), a column a word, in order.
      gap: most frames from one word to the next.
    """
    frames, words = scores.shape
    if frames < words:
        return float(UNREACHABLE), 0, 0
    total, back = scores[:, 0], []
    for n in range(1, words):
        padded = np.concatenate((np.full(gap, UNREACHABLE), total))[: frames + gap - 1]
        windows = np.lib.stride_tricks.sliding_window_view(padded, gap)  # (T, gap): frames t - gap to t - 1
        place = windows.argmax(1)
        back.append(np.arange(frames) - gap + place)
        total = windows[np.arange(frames), place] + scores[:, n]
    last = first = int(total.argmax())
    for before in reversed(back):
        first = int(before[first])
    return float(total[last]) / words, first, last


@dataclass(frozen=True)
class Sounds:
    """Pronunciations of K terms as states of left-to-right models: units, with an optional blank between two.

    All states stand in one row, (S,), so that one step of the search is a few operations on arrays.
    """

    labels: np.ndarray  # (S,) column of `Evidence.subword`
    first: np.ndarray  # (P,) the first state of each pronunciation
    last: np.ndarray  # (P,)
    skip: np.ndarray  # (S,) float32, 0 where a state may follow the one before the one before it, else UNREACHABLE
    edges: np.ndarray  # (K,) the first pronunciation of each term; every term has one
    units: np.ndarray  # (P,) number of units


def sounds(spoken: Sequence[Sequence[Sequence[int]]]) -> Sounds:
    """The states of terms. spoken: of each term its pronunciations, none of them empty; see `pronunciations`."""
    labels: List[int] = []
    skip: List[bool] = []
    first: List[int] = []
    last, edges, units = [], [], []  # type: List[int], List[int], List[int]
    for variants in spoken:
        edges.append(len(first))
        for variant in variants:
            first.append(len(labels))
            units.append(len(variant))
            for before, unit in zip([None, *variant], variant):
                if before is not None:
                    labels.append(0)
                    skip.append(False)
                labels.append(unit)
                skip.append(before is not None and before != unit)
            last.append(len(labels) - 1)
    jumps = np.where(np.array(skip, bool), np.float32(0), UNREACHABLE)
    states, begins, ends, terms, lengths = (np.array(part, np.int64) for part in (labels, first, last, edges, units))
    return Sounds(states, begins, ends, jumps, terms, lengths)


def pronunciations(rows: Rows, term: Term, most: int = 8) -> List[List[int]]:
    """Pronunciations of a term: one variant of each word after the other, at most `most` of the combinations."""
    out: List[List[int]] = [[]]
    for n in term:
        out = [[*before, *variant] for before in out for variant in rows.spoken[n]][:most]
    return out


@dataclass
class Search:
    """Where the search for sounds stands: it goes on with the next frames of a stream."""

    total: np.ndarray  # (S,) of the best path into each state
    start: np.ndarray  # (S,) the frame in which it began
    frame: int  # the next


def begin(terms: Sounds) -> Search:
    """Before the first frame."""
    states = len(terms.labels)
    return Search(np.full(states, UNREACHABLE), np.zeros(states, np.int32), 0)


def relative(subword: np.ndarray, blank_penalty: float = 0.0) -> np.ndarray:
    """Log-probabilities (T, V) of the sub-word head against the best unit of each frame, all at most 0.

    Args:
      blank_penalty: is subtracted from the blank's log-probability before, which otherwise hides weak units.
    """
    scores = subword.astype(np.float32)
    if blank_penalty:
        scores[:, 0] -= blank_penalty
    return scores - scores.max(1, keepdims=True)


def advance(search: Search, terms: Sounds, scores: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The best path of each pronunciation that ends in each frame, and the frame in which it began: (T, P), (T, P).

    A path (CTC: every unit in one frame or several, blanks between units where wanted) may begin in any frame. Its score is its
    log-probability against the best path of any units over the same frames.

    Args:
      search: is changed.
      scores: (T, V), of `relative`.
    """
    out = np.empty((len(scores), len(terms.last)), np.float32)
    starts = np.empty(out.shape, np.int32)
    total, start = search.total, search.start
    step, jump = np.full((2, len(total)), UNREACHABLE)
    from_step, from_jump = np.zeros((2, len(total)), np.int32)
    for row, values in enumerate(scores):
        step[1:], jump[2:] = total[:-1], total[:-2]
        jump += terms.skip
        from_step[1:], from_jump[2:] = start[:-1], start[:-2]
        step[terms.first], from_step[terms.first] = 0.0, search.frame
        later = jump > step
        np.copyto(step, jump, where=later)
        np.copyto(from_step, from_jump, where=later)
        later = step > total
        np.copyto(total, step, where=later)
        np.copyto(start, from_step, where=later)
        total += values[terms.labels]
        out[row], starts[row] = total[terms.last], start[terms.last]
        search.frame += 1
    return out, starts


def by_sounds(evidence: Evidence, terms: Sounds, blank_penalty: float = 0.0) -> Found:
    """The best place of each term in a recording by the sub-word head; of its pronunciations the best counts."""
    count = len(terms.edges)
    if not len(evidence.subword):
        return Found(np.full(count, UNREACHABLE), *np.zeros((2, count)))
    search, best = begin(terms), np.full(len(terms.last), UNREACHABLE)
    first, last = np.zeros((2, len(best)), np.int64)
    for part in _tiles(len(evidence.subword), len(terms.labels)):
        scores, starts = advance(search, terms, relative(evidence.subword[part], blank_penalty))
        peak, every = scores.argmax(0), np.arange(len(best))
        better = scores[peak, every] > best
        best[better], first[better] = scores[peak, every][better], starts[peak, every][better]
        last[better] = peak[better] + part.start
    own = _best_variants(best, terms.edges)
    seconds = evidence.subword_seconds
    return Found(best[own], first[own] * seconds, np.minimum((last[own] + 1) * seconds, evidence.seconds))


def _best_variants(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The pronunciation of each term that scores best: (K,)."""
    ends = np.append(edges[1:], len(scores))
    if (ends - edges == 1).all():
        return edges
    return np.array([a + int(scores[a:b].argmax()) for a, b in zip(edges, ends)], np.int64)


def _tiles(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` rows with at most TILE values each."""
    size = max(1, TILE // max(1, width))
    return (slice(begin, min(count, begin + size)) for begin in range(0, count, size))
