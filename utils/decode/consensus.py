"""Consensus: the words with the fewest expected errors over a word lattice (minimum Bayes risk)."""

from typing import List, Sequence, Tuple

import numpy as np

from utils.decode.word_lattice import WordLattice

NEGLIGIBLE = 1e-4  # probability of the best path through an arc, beside that of the best path
ITERATIONS = 10  # at most; two or three as a rule


def consensus(lattice: WordLattice, scores: np.ndarray, first: Sequence[int]) -> Tuple[List[float], List[int], List[float]]:
    """Words of minimum expected edit distance, by the iteration of Xu, Povey, Mangu and Zhu 2011 ("Minimum Bayes risk decoding and
    system combination based on a recursion for edit distance"): from some words, each place takes its most probable word of the
    lattice's alignment with them, until nothing changes.

    Args:
      lattice: with arcs.
      scores: (A,), natural log, as flat as a posterior should be.
      first: word ids to begin with, those of the best path as a rule.
    Returns:
      the posteriors of `first`, the words found, and their posteriors.
    """
    likely = lattice.within(scores, -np.log(NEGLIGIBLE))
    lattice, scores = lattice.kept(likely), scores[likely]
    ahead = lattice.ahead(scores)
    shares = np.exp(ahead[lattice.source] + scores - ahead[lattice.target])  # of an arc among those into its node
    said, least, own, best = list(first), np.inf, [], ([], [])
    for n in range(ITERATIONS):
        slots = np.zeros(2 * len(said) + 1, dtype=np.int64)  # room for a word more between any two
        slots[1::2] = said
        errors, vocabulary, posteriors = _aligned(lattice, shares, slots)
        sure = posteriors[np.arange(len(said)) * 2 + 1, np.searchsorted(vocabulary, said)].tolist()
        own = sure if n == 0 else own
        if errors >= least:
            break
        least, best = errors, (said, sure)
        said = [word for word in vocabulary[posteriors.argmax(1)].tolist() if word]
        if said == best[0]:
            break
    return (own, *best)


def extended(errors: np.ndarray, words: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Edit distances one arc further, for A arcs: from what precedes an arc to each number of slots, (A, Q + 1), to the same behind
    its word (A,), 0 for none.
    """
    said = (words != 0).astype(float)[:, None]
    stay = errors + said
    stay[:, 1:] = np.minimum(stay[:, 1:], errors[:, :-1] + (words[:, None] != slots))
    skipped = np.concatenate(([0.0], np.cumsum(slots != 0)))
    return np.minimum.accumulate(stay - skipped, 1) + skipped


def oracle(lattice: WordLattice, reference: Sequence[int]) -> int:
    """Fewest word errors of any path against a reference of word ids, other than 0."""
    slots = np.array(reference, dtype=np.int64)
    errors = np.zeros((len(lattice.frames), len(slots) + 1))
    errors[0] = np.arange(len(slots) + 1)
    for arcs, nodes, firsts in lattice.by_level():
        errors[nodes] = np.minimum.reduceat(extended(errors[lattice.source[arcs]], lattice.words[arcs], slots), firsts)
    return int(errors[-1, -1])


def _aligned(lattice: WordLattice, shares: np.ndarray, slots: np.ndarray) -> Tuple[float, np.ndarray, np.ndarray]:
    """The lattice's paths aligned with slots (Q,), 0 for an empty one.

    Returns:
      the expected edit distance; word ids (W,), 0 first, ascending; the probability of each in each slot (Q, W).
    """
    vocabulary = np.unique(np.concatenate(([0], slots, lattice.words)))
    column, count = np.searchsorted(vocabulary, lattice.words), len(slots)
    expected = np.zeros((len(lattice.frames), count + 1))
    expected[0] = np.concatenate(([0], np.cumsum(slots != 0)))
    steps = []
    for arcs, nodes, firsts in lattice.by_level():
        before, words = expected[lattice.source[arcs]], lattice.words[arcs]
        here = extended(before, words, slots)
        expected[nodes] = np.add.reduceat(shares[arcs, None] * here, firsts)
        match = before[:, :-1] + (words[:, None] != slots)
        other = np.minimum(before[:, 1:] + (words != 0)[:, None], here[:, :-1] + (slots != 0))
        matched = match <= other
        steps.append((arcs, matched, ~matched & (before[:, 1:] + (words != 0)[:, None] <= here[:, 1:])))
    back = np.zeros_like(expected)  # probability of being at a node with so many slots filled
    back[-1, -1] = 1.0
    found = np.zeros((count, len(vocabulary)))
    for arcs, matched, stays in reversed(steps):
        source, here = lattice.source[arcs], shares[arcs, None] * back[lattice.target[arcs]]
        for slot in range(count - 1, -1, -1):
            flow, filled, stayed = here[:, slot + 1], matched[:, slot], stays[:, slot]
            np.add.at(found[slot], column[arcs][filled], flow[filled])
            np.add.at(back[:, slot], source[filled], flow[filled])
            np.add.at(back[:, slot + 1], source[stayed], flow[stayed])
            skipped = ~(filled | stayed)
            found[slot, 0] += flow[skipped].sum()
            here[:, slot] += flow * skipped
        np.add.at(back[:, 0], source, here[:, 0])
    found[:, 0] += np.cumsum(back[0, ::-1])[:-1][::-1]  # at the beginning every slot left is empty
    return float(expected[-1, -1]), vocabulary, found
