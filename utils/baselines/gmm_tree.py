"""Decision trees that tie the states of triphones (Young, Odell and Woodland 1994), written in Kaldi's format.

kaldi-hmm-gmm reads and uses trees but can't build them from Python.
"""

import heapq
import math
import struct
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from utils.baselines.gmm import SMALLEST_VARIANCE
from utils.baselines.hmm import STATES

LEAST_FRAMES = 50.0  # in a leaf
LEFT, CENTRE, RIGHT, STATE = 0, 1, 2, -1  # keys in Kaldi's EventMap


@dataclass(frozen=True)
class Contexts:
    """Sums over the frames of K different states in their contexts."""

    keys: np.ndarray  # (K, 4): phone before (0: none), phone, phone after, state 0, 1, 2; sorted
    frames: np.ndarray  # (K,)
    first: np.ndarray  # (K, D)
    second: np.ndarray  # (K, D)


def contexts(pdfs: np.ndarray, x: np.ndarray) -> Contexts:
    """Contexts of one utterance aligned with a monophone model. pdfs: (T,), STATES * (phone - 1) + state; x: (T, D)."""
    phone, state = pdfs // STATES + 1, pdfs % STATES
    begins = (np.diff(phone, prepend=-1) != 0) | (np.diff(state, prepend=-1) < 0)
    said = np.concatenate(([0], phone[begins], [0]))
    place = np.cumsum(begins)  # of a frame's phone in `said`
    return merge([Contexts(np.stack((said[place - 1], phone, said[place + 1], state), 1), np.ones(len(x)), x, x**2)])


def merge(parts: Sequence[Contexts]) -> Contexts:
    """Add the sums of the same states in context, in the order of the parts."""
    keys, place = np.unique(np.concatenate([p.keys for p in parts]), axis=0, return_inverse=True)
    sums = []
    for name in ("frames", "first", "second"):
        rows = np.concatenate([getattr(p, name) for p in parts]).astype(np.float64)
        sums.append(np.zeros((len(keys), *rows.shape[1:])))
        np.add.at(sums[-1], place.reshape(-1), rows)
    return Contexts(keys, *sums)


@dataclass
class Node:
    """A leaf, or a question with two child nodes."""

    rows: np.ndarray  # of Contexts
    best: Optional[Tuple[float, int, int]] = None  # gain, key (LEFT, RIGHT), number of the question
    question: Optional[Tuple[int, np.ndarray]] = None  # key, phones
    below: Tuple["Node", ...] = ()
    pdf: int = -1


def build(stats: Contexts, silence: int, leaves: int) -> Tuple[bytes, Contexts]:
    """Grow a tree for each state of each phone, splitting where the likelihood gains most; silence is not split.

    Args:
      silence: the phone with the highest id.
      leaves: most pdfs.
    Returns:
      the tree in Kaldi's binary format, and the sums of each pdf in order (with zeros as `keys`).
    """
    asked = questions(stats, silence)
    roots = {(p, s): Node(_rows(stats, p, s)) for p in range(1, silence + 1) for s in range(STATES)}
    queue: List[Tuple[float, int, Node]] = []
    count = 0  # older nodes first in ties

    def enqueue(node: Node) -> None:
        nonlocal count
        node.best = _best_split(stats, node.rows, asked)
        if node.best is not None:
            heapq.heappush(queue, (-node.best[0], count, node))
            count += 1

    for (phone, _), node in roots.items():
        if phone != silence:
            enqueue(node)
    total = len(roots)
    while queue and total < leaves:
        node = heapq.heappop(queue)[2]
        assert node.best is not None  # or it would not be in the queue
        _, key, number = node.best
        yes = asked[number][stats.keys[node.rows, key]]
        node.question = (key, np.flatnonzero(asked[number]))
        node.below = (Node(node.rows[yes]), Node(node.rows[~yes]))
        for child in node.below:
            enqueue(child)
        total += 1
    pdfs: List[np.ndarray] = []
    trees = {root: _kaldi(node, pdfs) for root, node in roots.items()}
    phones = (_table(STATE, [trees[phone, state] for state in range(STATES)]) for phone in range(1, silence + 1))
    body = _table(CENTRE, [b"NULL ", *phones])
    tree = b"ContextDependency " + _int(3) + _int(1) + b"ToPdf " + body + b"EndContextDependency "
    sums = [np.array([getattr(stats, name)[rows].sum(0) for rows in pdfs]) for name in ("frames", "first", "second")]
    return tree, Contexts(np.zeros((len(pdfs), 4), int), *sums)


def questions(stats: Contexts, silence: int) -> np.ndarray:
    """Sets of phones to ask for, (Q, silence + 1) bool: single phones, and clusters of similar phones.

    Clustering merges the two sets whose middle states lose the least likelihood when they share a Gaussian, until two are left.
    """
    middle = [_sums(stats, _rows(stats, phone, STATES // 2)) for phone in range(1, silence + 1)]
    sets = [np.arange(silence + 1) == phone for phone in range(1, silence + 1)]
    alive: Dict[int, Any] = dict(enumerate(middle))
    loss = {(a, b): _loss(middle[a], middle[b]) for a in alive for b in alive if a < b}
    while len(alive) > 2:
        a, b = min(loss, key=lambda pair: (loss[pair], pair))
        new = len(sets)
        sets.append(sets[a] | sets[b])
        joined = tuple(one + other for one, other in zip(alive.pop(a), alive.pop(b)))
        loss = {pair: value for pair, value in loss.items() if not {a, b} & set(pair)}
        loss.update({(old, new): _loss(alive[old], joined) for old in alive})
        alive[new] = joined
    return np.array(sets)


def log_likelihood(frames: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Log-likelihood of frames under their best Gaussian, without constants: frames (N,), first, second (N, D) -> (N,)."""
    frames = np.maximum(frames, 1e-10)
    variance = np.maximum(second / frames[:, None] - (first / frames[:, None]) ** 2, SMALLEST_VARIANCE)
    return -0.5 * frames * (np.log(variance) + 1.0).sum(1)


def density(sums: Contexts) -> float:
    """Sum of the log densities of all frames, with a Gaussian for each row of `sums`."""
    constant = 0.5 * math.log(2 * math.pi) * sums.first.shape[1] * sums.frames.sum()
    return float(log_likelihood(sums.frames, sums.first, sums.second).sum() - constant)


def _best_split(stats: Contexts, rows: np.ndarray, asked: np.ndarray) -> Optional[Tuple[float, int, int]]:
    if stats.frames[rows].sum() < 2 * LEAST_FRAMES:
        return None
    whole, best = _sums(stats, rows), None
    for key in (LEFT, RIGHT):
        member = asked[:, stats.keys[rows, key]].astype(float)
        yes = (member @ stats.frames[rows], member @ stats.first[rows], member @ stats.second[rows])
        no = tuple(total - part for total, part in zip(whole, yes))
        gains = log_likelihood(*yes) + log_likelihood(*no) - log_likelihood(*whole)[0]
        gains[np.minimum(yes[0], no[0]) < LEAST_FRAMES] = -np.inf
        number = int(np.argmax(gains))
        if gains[number] > (best[0] if best else 0.0):
            best = (float(gains[number]), key, number)
    return best


def _rows(stats: Contexts, phone: int, state: int) -> np.ndarray:
    return np.flatnonzero((stats.keys[:, CENTRE] == phone) & (stats.keys[:, 3] == state))


def _sums(stats: Contexts, rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(table[rows].sum(0, keepdims=True) for table in (stats.frames, stats.first, stats.second))


def _loss(one: Any, other: Any) -> float:
    both = (a + b for a, b in zip(one, other))
    return float(log_likelihood(*one)[0] + log_likelihood(*other)[0] - log_likelihood(*both)[0])


def _kaldi(node: Node, pdfs: List[np.ndarray]) -> bytes:
    """Kaldi's EventMap of a node: CE a constant, SE a split; appends the rows of each new pdf to `pdfs`."""
    if node.question is None:
        pdfs.append(node.rows)
        return b"CE " + _int(len(pdfs) - 1)
    key, phones = node.question
    wanted = b"\4" + struct.pack("<i", len(phones)) + np.asarray(phones, "<i4").tobytes()
    return b"SE " + _int(key) + wanted + b"{ " + b"".join(_kaldi(child, pdfs) for child in node.below) + b"} "


def _table(key: int, entries: Sequence[bytes]) -> bytes:
    """Kaldi's table TE: an EventMap for each value of `key` from 0."""
    return b"TE " + _int(key) + b"\xfc" + struct.pack("<I", len(entries)) + b"( " + b"".join(entries) + b") "


def _int(value: int) -> bytes:
    return b"\4" + struct.pack("<i", value)
