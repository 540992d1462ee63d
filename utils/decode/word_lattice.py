"""Word lattices: each word of a k2 lattice becomes one arc, from the frame at which it is entered to that of the next word.

So the span of a word is known anywhere in the lattice, and the word head's score of the span is one more attribute of the arc.
"""

from dataclasses import dataclass
from typing import Any, List, Sequence, Tuple

import numpy as np

from utils.lang.fsa import arc_labels

TINY = 1e-6  # rounding errors
PLACES = 1000  # most words on one arc of a k2 lattice


@dataclass
class WordLattice:
    """The lattice of one utterance. A node is where a word is entered; they are in topological order, from start to end."""

    frames: np.ndarray  # (N,), of each node
    levels: np.ndarray  # (N,), ascending; no arc joins two nodes of one level
    source: np.ndarray  # (A,), node of each arc
    target: np.ndarray  # (A,), ascending
    words: np.ndarray  # (A,), word ids; 0 before the first word
    am: np.ndarray  # (A,), acoustic score of the best alignment, natural log
    lm: np.ndarray  # (A,), the graph's LM score, unscaled

    def spans(self) -> Tuple[np.ndarray, np.ndarray]:
        """First frame of each arc, and the frame after its last: (A,), (A,)."""
        return self.frames[self.source], self.frames[self.target]

    def ahead(self, scores: np.ndarray, best: bool = False) -> np.ndarray:
        """Log of the sum over paths from the start to each node, or the score of the best path: (N,).

        Args:
          scores: (A,), natural log.
        """
        total = np.full(len(self.frames), -np.inf)
        total[0] = 0.0
        for arcs, nodes, firsts in self.by_level():
            total[nodes] = _gathered(total[self.source[arcs]] + scores[arcs], firsts, best)
        return total

    def behind(self, scores: np.ndarray, best: bool = False) -> np.ndarray:
        """As `ahead`, from each node to the end: (N,)."""
        total = np.full(len(self.frames), -np.inf)
        total[-1] = 0.0
        order = np.argsort(self.source, kind="stable")
        source = self.source[order]
        for arcs in reversed(_runs(self.levels[source])):
            firsts = _firsts(source[arcs])
            total[source[arcs][firsts]] = _gathered(total[self.target[order[arcs]]] + scores[order[arcs]], firsts, best)
        return total

    def posteriors(self, scores: np.ndarray) -> np.ndarray:
        """Posterior of each arc: its share of the probability of all paths, (A,)."""
        ahead = self.ahead(scores)
        return np.exp(ahead[self.source] + scores + self.behind(scores)[self.target] - ahead[-1])

    def best(self, scores: np.ndarray) -> np.ndarray:
        """Arcs of the path with the highest score, in order."""
        total, path, node = self.ahead(scores, best=True), [], len(self.frames) - 1
        edges = np.searchsorted(self.target, np.arange(len(self.frames) + 1))
        while node:
            arcs = slice(edges[node], edges[node + 1])
            path.append(edges[node] + int(np.argmax(total[self.source[arcs]] + scores[arcs])))
            node = int(self.source[path[-1]])
        return np.array(path[::-1], dtype=np.int64)

    def within(self, scores: np.ndarray, beam: float) -> np.ndarray:
        """Whether each arc lies on a path at most `beam` worse than the best: (A,)."""
        ahead, behind = self.ahead(scores, best=True), self.behind(scores, best=True)
        return ahead[self.source] + scores + behind[self.target] >= ahead[-1] - beam - TINY

    def kept(self, arcs: np.ndarray) -> "WordLattice":
        """The lattice with some of its arcs: (A,) bool. Each kept arc must lie on a path of kept arcs."""
        there = np.arange(len(self.frames)) == 0
        there[self.source[arcs]] = there[self.target[arcs]] = True
        number = np.cumsum(there) - 1
        ends = number[self.source[arcs]], number[self.target[arcs]]
        return WordLattice(self.frames[there], self.levels[there], *ends, self.words[arcs], self.am[arcs], self.lm[arcs])

    def occurrences(self, posteriors: np.ndarray, floor: float) -> List[Tuple[int, int, int, float]]:
        """Where each word is probably said: word id, first frame, frame after the last, posterior; in order of time.

        The posterior of a word in a frame is the sum over its arcs there. Consecutive frames with a posterior above `floor` are
        one occurrence, which gets the highest of them (Wessel et al. 2001).
        """
        starts, ends = self.spans()
        frames, found = int(self.frames[-1]) + 1, []
        for word in np.unique(self.words[self.words > 0]).tolist():
            own = self.words == word
            steps = np.zeros(frames + 1)
            np.add.at(steps, starts[own], posteriors[own])
            np.add.at(steps, np.maximum(ends[own], starts[own] + 1), -posteriors[own])
            there = np.cumsum(steps)
            edges = np.flatnonzero(np.diff(np.concatenate(([False], there > floor, [False]))))
            found += [(word, a, b, min(1.0, float(there[a:b].max()))) for a, b in edges.reshape(-1, 2).tolist()]
        return sorted(found, key=lambda hit: hit[1:3])

    def by_level(self) -> List[Tuple[slice, np.ndarray, np.ndarray]]:
        """For each level: the arcs into it, its nodes, and where among these arcs those of each node begin."""
        out = []
        for arcs in _runs(self.levels[self.target]):
            firsts = _firsts(self.target[arcs])
            out.append((arcs, self.target[arcs][firsts], firsts))
        return out


def word_lattices(lattices: Any, lm_scale: float, beam: float) -> List[WordLattice]:
    """Word lattices of k2 lattices whose paths have one arc a frame, as `utils.decode.first_pass.lattices` makes them.

    Paths that differ only in their alignment become one, with the score of the best.

    Args:
      lattices: k2.FsaVec with the attributes `lm_scores` and `aux_labels`.
      lm_scale: factor of the LM in the scores of the lattices.
      beam: how far the best path through an arc may be below the best path of the lattice.
    Returns:
      a lattice for each utterance; one with a single node for an empty lattice.
    """
    edges, owner, source, destination, gaps = _states(lattices)
    values, splits = arc_labels(lattices)
    kept = np.flatnonzero(gaps <= beam)
    first = np.searchsorted(source[kept], np.arange(edges[-1] + 1))  # of the arcs that leave each state, among those kept
    degree, destination, counts = np.diff(first), destination[kept], np.diff(splits)[kept]
    scores, lm = (part.detach().double().numpy()[kept] for part in (lattices.scores, lattices.lm_scores))

    nodes, there = _Nodes(len(edges) - 1), np.unique(owner[kept])  # lattices that are not empty
    arcs = [(np.zeros(0, dtype=np.int64),) * 2 + (np.zeros(0),) * 2]  # source, target, score, LM
    state, origin, total, grammar = edges[there], there, np.zeros(len(there)), np.zeros(len(there))
    frame = 0
    while len(state):
        done = degree[state] == 0
        if done.any():
            none = np.zeros(done.sum(), dtype=np.int64)
            ended = nodes.add(nodes.utterance(origin[done]), none, frame - 1, state[done], PLACES - 1)
            arcs.append((origin[done], ended, total[done], grammar[done]))
        number = degree[state]
        entry = np.repeat(np.arange(len(state)), number)
        arc = first[state][entry] + np.arange(len(entry)) - np.repeat(np.cumsum(number) - number, number)
        state, origin = destination[arc], origin[entry]
        total, grammar = total[entry] + scores[arc], grammar[entry] + lm[arc]
        silent = counts[arc] == 0
        after = [(state[silent], origin[silent], total[silent], grammar[silent])]
        for length in np.unique(counts[arc[~silent]]).tolist():  # number of words on an arc, nearly always one
            own = counts[arc] == length
            key = state[own] if length == 1 else -1 - arc[own]
            for place in range(length):
                word, utterance = values[splits[kept[arc[own]]] + place], nodes.utterance(origin[own])
                entered = nodes.add(utterance, word, frame, key, place)
                spent = (total[own], grammar[own]) if place == 0 else (np.zeros(own.sum()),) * 2
                arcs.append((origin[own], entered, *spent))
                origin[own] = entered
            after.append((state[own], origin[own], np.zeros(own.sum()), np.zeros(own.sum())))
        state, origin, total, grammar = _best(*(np.concatenate(part) for part in zip(*after)))
        frame += 1
    found = nodes.lattices(arcs, len(edges) - 1, lm_scale)
    return [one.kept(one.within(one.am + lm_scale * one.lm, beam)) for one in found]


def _states(lattices: Any) -> Tuple[np.ndarray, ...]:
    """Where each lattice's states begin among all, (N + 1,), and for each arc its lattice, its two states, and its distance.

    The distance is how far the best path through the arc is below the lattice's best path: inf if the arc leads nowhere.
    """
    shape = lattices.arcs.shape()
    edges, arcs = shape.row_splits(1).numpy().astype(np.int64), lattices.arcs.values()[:, :2].numpy()
    owner = np.repeat(np.arange(len(edges) - 1), np.diff(shape.row_splits(2).numpy()[edges]))
    source, destination = (edges[owner] + arcs[:, n] for n in (0, 1))
    ahead = lattices.get_forward_scores(use_double_scores=True, log_semiring=False).numpy()
    behind = lattices.get_backward_scores(use_double_scores=True, log_semiring=False).numpy()
    through = ahead[source] + lattices.scores.detach().double().numpy() + behind[destination]
    return edges, owner, source, destination, behind[edges[owner]] - through


class _Nodes:
    """Nodes of all lattices, in the order in which they are found."""

    def __init__(self, utterances: int) -> None:
        """With the start nodes of this number of utterances."""
        begin = np.zeros(utterances, dtype=np.int64)
        self.owner, self.count = np.arange(utterances), utterances
        self.parts = [(self.owner, begin, begin, begin - 1)]  # utterance, word, frame, level

    def utterance(self, nodes: np.ndarray) -> np.ndarray:
        """The utterance of each node."""
        return self.owner[nodes]

    def add(self, utterance: np.ndarray, word: np.ndarray, frame: int, key: np.ndarray, place: int = 0) -> np.ndarray:
        """The node of each entry; entries with the same key and word share a node.

        Args:
          place: of the word on its arc.
        """
        both, first, number = np.unique(np.stack((key, word)), axis=1, return_index=True, return_inverse=True)
        frames = np.full(both.shape[1], frame)
        self.parts.append((utterance[first], both[1], frames, frames * PLACES + place))
        self.owner = np.concatenate((self.owner, utterance[first]))
        self.count += both.shape[1]
        return self.count - both.shape[1] + number.reshape(-1)

    def lattices(self, arcs: Sequence[Tuple[np.ndarray, ...]], count: int, lm_scale: float) -> List[WordLattice]:
        """All `count` lattices. arcs: source, target, score and LM score, between these nodes."""
        utterance, word, frame, level = (np.concatenate(part) for part in zip(*self.parts))
        order = np.lexsort((level, utterance))
        number = np.empty(len(order), dtype=np.int64)
        number[order] = np.arange(len(order))
        source, target, score, lm = _best(*(np.concatenate(part) for part in zip(*arcs)))
        words = word[source]
        source, target = number[source], number[target]
        sort = np.lexsort((source, target))
        source, target, words, score, lm = (part[sort] for part in (source, target, words, score, lm))
        utterance, frame, level = utterance[order], frame[order], level[order]
        edges = np.searchsorted(utterance, np.arange(count + 1))
        ends = np.searchsorted(target, edges)
        am = score - lm_scale * lm
        return [
            WordLattice(frame[a:b], level[a:b], source[c:d] - a, target[c:d] - a, words[c:d], am[c:d], lm[c:d])
            for a, b, c, d in zip(edges, edges[1:], ends, ends[1:])
        ]


def _best(one: np.ndarray, two: np.ndarray, score: np.ndarray, lm: np.ndarray) -> Tuple[np.ndarray, ...]:
    """Among entries with the same `one` and `two`, the one with the highest score; sorted by `two`."""
    order = np.lexsort((-score, one, two))
    one, two = one[order], two[order]
    kept = np.ones(len(one), dtype=bool)
    kept[1:] = (one[1:] != one[:-1]) | (two[1:] != two[:-1])
    return one[kept], two[kept], score[order[kept]], lm[order[kept]]


def _gathered(values: np.ndarray, firsts: np.ndarray, best: bool) -> np.ndarray:
    """Log of the sum, or the maximum, of the runs of values that begin at `firsts`."""
    highest = np.maximum.reduceat(values, firsts)
    if best:
        return highest
    lengths = np.diff(np.append(firsts, len(values)))
    return highest + np.log(np.add.reduceat(np.exp(values - np.repeat(highest, lengths)), firsts))


def _firsts(values: np.ndarray) -> np.ndarray:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.diff(values, prepend=values[:1] - 1))


def _runs(values: np.ndarray) -> List[slice]:
    """Runs of equal values."""
    edges = _firsts(values).tolist()
    return [slice(first, last) for first, last in zip(edges, [*edges[1:], len(values)])]
