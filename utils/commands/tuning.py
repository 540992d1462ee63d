"""The weights that suit a grammar and a bundle: found on recordings of commands, synthesised or real, and on other speech."""

from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from utils.bundle.evidence import Evidence
from utils.commands.accepting import alike, features, letters, own_text
from utils.commands.recognise import Commands
from utils.commands.scoring import heads
from utils.commands.weights import Weights
from utils.grammars.grammar import Command

BLANK, WORD_BLANK = (2.0, 3.0, 4.0, 5.0), (0.0, 3.0)  # penalties that are tried in the sub-word head and in the word head
KEPT = 40  # most sentences of a recording
FOLDS = 3
RIDGE = 2e-3  # of the logarithms of weights, towards those from before
ACCEPT_RIDGE = 0.02  # of factors of features in standard deviations
PASS = 0.98  # least share of commands that pass, where other recordings can't be told from all of them


@dataclass(frozen=True)
class Trial:
    """A recording, and what both heads and the decoder say of sentences of the grammar."""

    command: bool  # whether it is one
    right: np.ndarray  # (S,) whether each sentence means what was said
    units: np.ndarray  # (len(BLANK), S) log p
    free: np.ndarray  # (len(BLANK),) log p without a grammar
    frames: int
    vectors: np.ndarray  # (len(WORD_BLANK), S)
    lengths: np.ndarray  # (S,) words
    decoder: np.ndarray  # (S,) log p; NaN where it did not score
    sounds: np.ndarray  # (len(BLANK), S) how alike its units are to those without a grammar
    letters: np.ndarray  # (S,) how alike its letters are to the decoder's own text; zeros without a decoder
    group: int  # trials of the same recording are in the same fold


@dataclass(frozen=True)
class Measured:
    """How well weights do on recordings that did not choose them (cross-validation). Shares are from 0 to 1."""

    commands: int
    found: float  # the right command is among the sentences that were compared
    right: float  # it is the best of them
    right_before: float  # and with the weights from before
    passed: float  # commands that are not rejected
    others: int
    rejected: float


def trial(commands: Commands, evidence: Evidence, meant: Optional[Command], group: int) -> Trial:
    """Ask about one recording; meant: what was said, None for other sounds."""
    weights, recogniser = commands.weights, commands.recogniser
    both = heads(evidence, commands.rows, commands.table)
    found = both.sentences(commands.graphs)
    first = both.by_units(found, weights.blank_penalty) + weights.word * both.by_words(found, weights.word_blank_penalty)
    first += weights.bonus * np.array([len(sentence) for sentence in found])
    found = [found[n] for n in np.argsort(-first, kind="stable")[:KEPT]]
    said = [commands.words(sentence) for sentence in found]
    decoder, by_letters = np.full(len(found), np.nan), np.zeros(len(found))
    own = own_text(evidence, recogniser) if weights.decoder and found else None
    if own is not None and evidence.features is not None:
        scores = recogniser.decoder_scores(evidence.features, said[: weights.read])
        decoder[: weights.read] = np.nan if scores is None else scores
        by_letters = np.array([alike(letters(words), letters(own)) for words in said])
    right = [meant is not None and commands.grammar.meaning(words) == meant for words in said]
    return Trial(
        meant is not None,
        np.array(right, bool),
        np.stack([both.by_units(found, penalty) for penalty in BLANK]),
        np.array([both.free(penalty) for penalty in BLANK]),
        len(both.units),
        np.stack([both.by_words(found, penalty) for penalty in WORD_BLANK]),
        np.array([len(words) for words in said]),
        decoder,
        np.array([[alike(way, free) for way in map(both.units_of, found)] for free in map(both.free_units, BLANK)]),
        by_letters,
        group,
    )


def tune(trials: Sequence[Trial], before: Weights, bonus: bool = False) -> Tuple[Weights, Measured]:
    """The weights that make what was said most likely, and then tell it from other sounds.

    The scores are a log-linear model (Och and Ney 2002): their weights, and the scale, maximise the posterior of the right
    command among the sentences that were found. The penalties are those whose posterior on held-out recordings is the highest.

    Args:
      bonus: whether that of a word is tuned too. One that suits synthesised speech did not suit people's.
    """
    with_decoder = any(not np.isnan(one.decoder).all() for one in trials)
    before = replace(before, decoder=before.decoder if with_decoder else 0.0)
    pairs = list(product(range(len(BLANK)), range(len(WORD_BLANK))))
    folds = _folds(trials)
    losses = [np.mean([_loss(_fit(some, pair, before, bonus), *_stacked(rest, pair)) for some, rest in folds]) for pair in pairs]
    best = pairs[int(np.argmin(losses))]
    fitted = [_with(before, best, _fit(some, best, before, bonus)) for some, _ in folds]
    own = [one for one in trials if one.command]
    right_before = [_is_right(one, before) for one in own]
    right = [_is_right(one, weights) for weights, (_, rest) in zip(fitted, folds) for one in rest if one.command]
    made = _with(before, best, _fit(trials, best, before, bonus))
    if sum(right) < sum(right_before):
        fitted, right, made = [before] * FOLDS, right_before, before
    accepting = [_accepting(some, weights, with_decoder) for weights, (some, _) in zip(fitted, folds)]
    accepted = [(one.command, _accepted(one, weights)) for weights, (_, rest) in zip(accepting, folds) for one in rest]
    measured = Measured(
        len(own),
        _share([bool(one.right[_compared(one)].any()) for one in own]),
        _share(right),
        _share(right_before),
        _share([passes for command, passes in accepted if command]),
        len(trials) - len(own),
        _share([not passes for command, passes in accepted if not command]),
    )
    return _accepting(trials, made, with_decoder), measured


def _share(those: Sequence[bool]) -> float:
    return float(np.mean(those)) if those else 1.0


def _folds(trials: Sequence[Trial]) -> List[Tuple[List[Trial], List[Trial]]]:
    """Each recording is in the second part once."""
    return [
        ([one for one in trials if one.group % FOLDS != fold], [one for one in trials if one.group % FOLDS == fold])
        for fold in range(FOLDS)
    ]


def _compared(one: Trial) -> np.ndarray:
    """Which sentences have a total: those that the decoder scored, if it scored any."""
    scored = ~np.isnan(one.decoder)
    return scored if scored.any() else np.ones(len(one.right), bool)


def _scores(one: Trial, pair: Tuple[int, int]) -> np.ndarray:
    """(compared, 4): units, word vectors, decoder, words."""
    there = _compared(one)
    return np.stack((one.units[pair[0]], one.vectors[pair[1]], np.nan_to_num(one.decoder), one.lengths), 1)[there]


def _stacked(trials: Sequence[Trial], pair: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`_scores` of the commands whose meaning was found, (N, S, 4); which are right, and which are there, (N, S)."""
    rows = [(_scores(one, pair), one.right[_compared(one)]) for one in trials if one.command]
    rows = [(scores, right) for scores, right in rows if right.any()]
    longest = max((len(right) for _, right in rows), default=1)
    scores, rights, there = (
        np.zeros((len(rows), longest, *more), kind) for more, kind in (((4,), float), ((), bool), ((), bool))
    )
    for n, (own, right) in enumerate(rows):
        scores[n, : len(own)], rights[n, : len(own)], there[n, : len(own)] = own - own.max(0), right, True
    return scores, rights, there


def _fit(trials: Sequence[Trial], pair: Tuple[int, int], before: Weights, bonus: bool) -> np.ndarray:
    """The four weights, scale included. The first three are above 0, or stay 0."""
    start = before.scale * np.array([1.0, before.word, before.decoder, before.bonus])
    used = start > 0
    used[-1] = False
    first, stacked = np.append(np.log(start[used]), [start[-1]] * bonus), _stacked(trials, pair)

    def weights_of(x: np.ndarray) -> np.ndarray:
        weights = start.copy()
        weights[used] = np.exp(x[: used.sum()])
        weights[-1] = x[-1] if bonus else start[-1]
        return weights

    def loss(x: np.ndarray) -> float:
        return _loss(weights_of(x), *stacked) + RIDGE * float(((x - first) ** 2).sum())

    return weights_of(minimize(loss, first, method="Nelder-Mead", options={"maxfev": 300}).x)


def _loss(weights: np.ndarray, scores: np.ndarray, rights: np.ndarray, there: np.ndarray) -> float:
    """Mean of -log posterior of what was said, of `_stacked`."""
    if not len(scores):
        return 0.0
    z = np.where(there, scores @ weights, -np.inf)
    return float(np.mean(logsumexp(z, axis=1) - logsumexp(np.where(rights, z, -np.inf), axis=1)))


def _with(before: Weights, pair: Tuple[int, int], found: np.ndarray) -> Weights:
    scale, word, decoder, bonus = found.tolist()
    return replace(
        before,
        blank_penalty=BLANK[pair[0]],
        word_blank_penalty=WORD_BLANK[pair[1]],
        scale=scale,
        word=word / scale,
        decoder=decoder / scale,
        bonus=bonus / scale,
    )


def _pair(weights: Weights) -> Tuple[int, int]:
    return BLANK.index(weights.blank_penalty), WORD_BLANK.index(weights.word_blank_penalty)


def _best(one: Trial, weights: Weights) -> Optional[int]:
    """The sentence with the highest total; None without any."""
    if not len(one.right):
        return None
    totals = _scores(one, _pair(weights)) @ np.array([1.0, weights.word, weights.decoder, weights.bonus])
    return int(np.flatnonzero(_compared(one))[np.argmax(totals)])


def _is_right(one: Trial, weights: Weights) -> bool:
    best = _best(one, weights)
    return best is not None and bool(one.right[best])


def _features(one: Trial, weights: Weights) -> Optional[Tuple[float, ...]]:
    best, (p, q) = _best(one, weights), _pair(weights)
    if best is None:
        return None
    more = [] if np.isnan(one.decoder[best]) else [float(one.decoder[best]), float(one.letters[best])]
    behind, vectors = float(one.units[p, best] - one.free[p]), float(one.vectors[q, best])
    return features(behind, one.frames, vectors, int(one.lengths[best]), float(one.sounds[p, best]), *more)


def _logit(found: Sequence[float], weights: Weights) -> float:
    constant, *factors = weights.accept if len(found) > 3 else weights.accept_alone
    return constant + float(np.dot(factors, found))


def _accepted(one: Trial, weights: Weights) -> bool:
    found = _features(one, weights)
    threshold = weights.threshold if found is not None and len(found) > 3 else weights.threshold_alone
    return found is not None and _logit(found, weights) >= np.log(threshold / (1 - threshold))


def _accepting(trials: Sequence[Trial], weights: Weights, with_decoder: bool) -> Weights:
    """With the regression that tells commands from other sounds, and the least probability that passes."""
    rows = [(found, one.command) for one in trials for found in [_features(one, weights)] if found is not None]
    x = np.array([found for found, _ in rows])
    y = np.array([command for _, command in rows])
    if y.all() or not y.any():
        return weights
    factors = _regression(x, y)
    z = factors[0] + x @ factors[1:]
    lowest, highest = float(np.quantile(z[y], 1 - PASS)), float(np.quantile(z[~y], 0.995))
    least = (lowest + highest) / 2 if highest < lowest else lowest
    threshold = float(np.clip(1 / (1 + np.exp(-least)), 1e-4, 1 - 1e-4))
    name = "accept" if with_decoder else "accept_alone"
    changed: Dict[str, Any] = {name: tuple(factors.tolist()), name.replace("accept", "threshold"): threshold}
    return Weights(**{**asdict(weights), **changed})


def _regression(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Constant and factors of a logistic regression; both kinds count alike, however many there are."""
    mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-6)
    z = np.column_stack((np.ones(len(x)), (x - mean) / deviation))
    share, sign = np.where(y, 0.5 / y.sum(), 0.5 / (~y).sum()), np.where(y, 1.0, -1.0)

    def loss(w: np.ndarray) -> float:
        return float(share @ np.logaddexp(0, -sign * (z @ w)) + ACCEPT_RIDGE * (w[1:] ** 2).sum())

    found = minimize(loss, np.zeros(z.shape[1])).x
    factors = found[1:] / deviation
    return np.concatenate(([found[0] - factors @ mean], factors))
