"""Edit distances over a word lattice: posteriors of a hypothesis's words, and the fewest errors of any path."""

from typing import List, Sequence, Tuple

import numpy as np

from utils.decode.word_lattice import WordLattice

NEGLIGIBLE = 1e-4  # arcs are dropped if their best path is less probable than this share of the best path of all


def word_posteriors(lattice: WordLattice, scores: np.ndarray, words: Sequence[int]) -> List[float]:
    """Posterior of each word of a hypothesis: the probability that the lattice has the same word in its place.

    All paths are aligned with the hypothesis at once, by the recursion of Xu, Povey, Mangu and Zhu 2011 ("Minimum Bayes risk
    decoding and system combination based on a recursion for edit distance").

    Args:
      lattice: with at least one arc.
      scores: (A,), natural log, scaled so that they give calibrated posteriors.
      words: word ids, without 0; usually those of the best path.
    """
    likely = lattice.within(scores, -np.log(NEGLIGIBLE))
    lattice, scores = lattice.kept(likely), scores[likely]
    ahead = lattice.ahead(scores)
    shares = np.exp(ahead[lattice.source] + scores - ahead[lattice.target])  # share of an arc among those into its node
    slots = np.zeros(2 * len(words) + 1, dtype=np.int64)  # an empty slot between any two words, for insertions
    slots[1::2] = words
    vocabulary, posteriors = _aligned(lattice, shares, slots)
    return posteriors[np.arange(len(words)) * 2 + 1, np.searchsorted(vocabulary, words)].tolist()


def extended(errors: np.ndarray, words: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Edit distances after one more arc, for A arcs at once.

    Args:
      errors: (A, Q + 1), between the paths before each arc and the first 0 .. Q slots.
      words: (A,), the arcs' words; 0 for none.
      slots: (Q,), words; 0 for an empty slot, which costs nothing to skip.
    Returns:
      (A, Q + 1), the distances after the arcs.
    """
    said = (words != 0).astype(float)[:, None]
    stay = errors + said
    stay[:, 1:] = np.minimum(stay[:, 1:], errors[:, :-1] + (words[:, None] != slots))
    skipped = np.concatenate(([0.0], np.cumsum(slots != 0)))
    return np.minimum.accumulate(stay - skipped, 1) + skipped


def oracle(lattice: WordLattice, reference: Sequence[int]) -> int:
    """Fewest word errors of any path against a reference of word ids, none of them 0."""
    slots = np.array(reference, dtype=np.int64)
    errors = np.zeros((len(lattice.frames), len(slots) + 1))
    errors[0] = np.arange(len(slots) + 1)
    for arcs, nodes, firsts in lattice.by_level():
        errors[nodes] = np.minimum.reduceat(extended(errors[lattice.source[arcs]], lattice.words[arcs], slots), firsts)
    return int(errors[-1, -1])


def _aligned(lattice: WordLattice, shares: np.ndarray, slots: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Align the paths of the lattice with slots (Q,), 0 for an empty one.

    Args:
      shares: (A,), probability of each arc among those into its target node.
    Returns:
      word ids (W,), ascending, 0 first; the probability of each word in each slot, (Q, W).
    """
    vocabulary = np.unique(np.concatenate(([0], slots, lattice.words)))
    column, count = np.searchsorted(vocabulary, lattice.words), len(slots)
    expected = np.zeros((len(lattice.frames), count + 1))  # edit distance between the paths into a node and the first slots
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
    back = np.zeros_like(expected)  # probability of reaching a node with so many slots filled
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
    found[:, 0] += np.cumsum(back[0, ::-1])[:-1][::-1]  # at the start node all remaining slots are empty
    return vocabulary, found
