"""Whole-lattice rescoring: word lattices hold the paths of k2's, sums and posteriors equal enumeration."""

import itertools
from types import SimpleNamespace

import kaldialign
import numpy as np
import pytest
import torch

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.decode.first_pass import lattices
from utils.decode.posteriors import extended, oracle, word_posteriors
from utils.decode.word_lattice import WordLattice, word_lattices
from utils.lang.fsa import arc_labels
from utils.lang.hypothesis import Hypothesis
from utils.lang.lexicon import Lexicon
from utils.pipeline.config import load
from utils.rescore.nbest_lists import ScoredPath
from utils.rescore.whole_lattice import (
    AtScale,
    RescoredLattice,
    WholeLattices,
    calibrated,
    errors,
    evidence,
    read_lattices,
    write_lattices,
)
from utils.vectors.wordscore import span_scores

k2 = pytest.importorskip("k2")
FRAMES = 6


def searched(seed, ragged):
    """Lattices of two utterances (three words; 5 and 6 frames of random scores); ragged: one arc says word 3, then word 1."""
    graph = k2.ctc_topo(3, modified=True)
    if ragged:
        graph.aux_labels = k2.RaggedTensor([{3: [3, 1], 0: []}.get(w, [w]) for w in graph.aux_labels.tolist()])
        words = torch.tensor([len(said) if said != [-1] else 0 for said in graph.aux_labels.tolist()])
    else:
        words = (graph.aux_labels > 0).int()
    graph.lm_scores = -0.7 * words.float()
    graph.scores = graph.lm_scores.clone()
    log_probs = (1.5 * torch.randn(2, FRAMES, 4, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)
    settings = SimpleNamespace(beam=100.0, output_beam=100.0, max_active=10_000)
    return lattices(log_probs, torch.tensor([FRAMES, FRAMES - 1]), k2.arc_sort(graph), settings)


def spoken(fsa):
    """All paths of a k2 lattice: (word, first frame, the one behind the last) of each word -> best score."""
    values, splits = arc_labels(fsa)
    edges = fsa.arcs.values()[:, :2].tolist()
    leaving = {}
    for number, (source, destination) in enumerate(edges):
        leaving.setdefault(source, []).append((number, destination))
    found, final = {}, max(d for _, d in edges)

    def walk(state, frame, said, score):
        if state == final:
            starts = [start for _, start in said] + [frame - 1]
            key = tuple((word, start, end) for (word, start), end in zip(said, starts[1:]))
            found[key] = max(found.get(key, -np.inf), score)
        for number, destination in leaving.get(state, []):
            words = values[splits[number] : splits[number + 1]].tolist()
            walk(destination, frame + 1, said + [(word, frame) for word in words], score + float(fsa.scores[number]))

    walk(0, 0, [], 0.0)
    return found


def paths(lattice):
    """All paths of a word lattice: lists of arcs."""
    leaving = {}
    for arc, source in enumerate(lattice.source.tolist()):
        leaving.setdefault(source, []).append(arc)
    last = len(lattice.frames) - 1

    def walk(node):
        if node == last:
            yield []
        for arc in leaving.get(node, []):
            for rest in walk(int(lattice.target[arc])):
                yield [arc, *rest]

    return list(walk(0))


@pytest.mark.parametrize("ragged", [False, True])
def test_word_lattices_have_the_paths_of_the_lattices_and_their_best_scores(ragged):
    found = searched(0, ragged)
    for n, lattice in enumerate(word_lattices(found, 1.0, 1000.0)):
        expected, scores = spoken(found[n]), lattice.am + lattice.lm
        starts, ends = lattice.spans()
        have = {}
        for path in paths(lattice):
            said = tuple((int(lattice.words[a]), int(starts[a]), int(ends[a])) for a in path if lattice.words[a])
            have[said] = max(have.get(said, -np.inf), scores[path].sum())
            assert lattice.lm[path].sum() == pytest.approx(-0.7 * len(said), abs=1e-4)
        assert len(have) > 20 and have.keys() == expected.keys()
        assert have == pytest.approx(expected, abs=1e-4)


def test_a_beam_keeps_the_paths_within_it():
    found = searched(1, False)
    every, some = word_lattices(found, 1.0, 1000.0)[0], word_lattices(found, 1.0, 2.0)[0]
    scores = sorted((every.am + every.lm)[path].sum() for path in paths(every))
    kept = sorted((some.am + some.lm)[path].sum() for path in paths(some))
    within = [score for score in scores if score >= scores[-1] - 2]
    assert len(some.words) < len(every.words) and kept[-len(within) :] == pytest.approx(within)
    assert [some.target.min(), some.target.max()] == [1, len(some.frames) - 1] and (np.diff(some.target) >= 0).all()


def test_sums_posteriors_and_the_best_path_equal_enumeration():
    rng = np.random.default_rng(0)
    for lattice in word_lattices(searched(2, True), 1.0, 6.0):
        scores = lattice.am + rng.normal(size=len(lattice.am))
        every = paths(lattice)
        totals = np.array([scores[path].sum() for path in every])
        whole = np.logaddexp.reduce(totals)
        assert lattice.ahead(scores)[-1] == pytest.approx(whole) and lattice.behind(scores)[0] == pytest.approx(whole)
        assert lattice.ahead(scores, best=True)[-1] == pytest.approx(totals.max())
        assert lattice.best(scores).tolist() == every[int(totals.argmax())]
        shares = np.zeros(len(scores))
        for path, total in zip(every, totals):
            shares[path] += np.exp(total - whole)
        assert lattice.posteriors(scores) == pytest.approx(shares, abs=1e-9)


def made(frames, arcs):
    """A lattice from rows (source, target, word, score)."""
    source, target, words, scores = (np.array(column) for column in zip(*sorted(arcs, key=lambda arc: arc[1])))
    return WordLattice(np.array(frames), np.array(frames), source, target, words, scores.astype(float), np.zeros(len(arcs)))


def test_occurrences_are_runs_of_frames_and_their_highest_posterior():
    lattice = made([0, 4, 6, 10], [(0, 1, 7, 0.0), (0, 2, 7, 0.0), (1, 3, 8, 0.0), (2, 3, 7, 0.0)])
    hits = lattice.occurrences(np.array([0.6, 0.4, 0.4, 0.6])[[0, 1, 3, 2]], 0.05)  # arcs are sorted by target
    assert [hit[:3] for hit in hits] == [(7, 0, 10), (8, 4, 10)]
    assert hits[0][3] == pytest.approx(1.0) and hits[1][3] == pytest.approx(0.6)


def test_posteriors_of_words_are_the_shares_of_the_paths_that_have_them_at_their_place():
    arcs = [(0, 1, 1, 0.0), (0, 2, 1, 0.0), (0, 3, 9, 0.0), (1, 4, 2, 0.0), (2, 5, 8, 0.0), (3, 6, 2, 0.0)]
    arcs += [(4, 7, 7, 0.1), (5, 7, 3, 0.0), (6, 7, 3, 0.0)]
    lattice = made([0, 1, 1, 1, 2, 2, 2, 3], arcs)
    shares = np.exp([0.1, 0.0, 0.0])  # of the paths 1 2 7, 1 8 3, 9 2 3
    first, second, third = shares / shares.sum()
    best = lattice.words[lattice.best(lattice.am)].tolist()
    assert best == [1, 2, 7]
    assert word_posteriors(lattice, lattice.am, best) == pytest.approx([first + second, first + third, first])
    assert word_posteriors(lattice, lattice.am, [1, 2, 3]) == pytest.approx([first + second, first + third, second + third])
    assert word_posteriors(lattice, lattice.am, []) == []


def test_words_that_paths_insert_or_lack_do_not_move_the_others():
    arcs = [(0, 1, 1, 0.2), (0, 2, 5, 0.0), (0, 3, 5, -0.1), (2, 4, 1, 0.1), (3, 5, 1, 0.0)]
    lattice = made([0, 1, 1, 1, 2, 2, 4], [*arcs, (1, 6, 2, 0.0), (4, 6, 2, 0.0), (5, 6, 2, 0.0)])
    shares = np.exp([0.2, 0.1, -0.1])  # of the paths 1 2, 5 1 2, 5 1 2
    inserted = shares[1:].sum() / shares.sum()
    assert word_posteriors(lattice, lattice.am, [1, 2]) == pytest.approx([1.0, 1.0])
    assert word_posteriors(lattice, lattice.am, [5, 1, 2]) == pytest.approx([inserted, 1.0, 1.0])


@pytest.mark.parametrize("seed", range(4))
def test_a_lattice_with_one_likely_path_is_sure_of_its_words(seed):
    for lattice in word_lattices(searched(seed, True), 1.0, 4.0):
        scores = lattice.am + lattice.lm
        best = [w for w in lattice.words[lattice.best(scores)].tolist() if w]
        flat, sharp = (word_posteriors(lattice, scale * scores, best) for scale in (0.1, 80.0))
        assert len(flat) == len(sharp) == len(best) and all(0 < p <= 1 + 1e-9 for p in flat)
        assert sharp == pytest.approx([1.0] * len(best), abs=0.01) and sum(flat) <= sum(sharp) - 0.01 * len(best)


def test_oracle_and_edit_distances_equal_enumeration():
    reference = [1, 3, 2, 2]
    for lattice in word_lattices(searched(3, True), 1.0, 3.0):
        every = [[w for w in lattice.words[path].tolist() if w] for path in paths(lattice)]
        assert oracle(lattice, reference) == min(kaldialign.edit_distance(said, reference)["total"] for said in every)
        assert oracle(lattice, []) == min(map(len, every))
    for words in itertools.product((1, 2), repeat=3):
        row = np.arange(4.0)[None]
        for word in words:
            row = extended(row, np.array([word]), np.array([2, 1, 2]))
        assert row[0, -1] == kaldialign.edit_distance(list(words), [2, 1, 2])["total"]


NAMES = ["a", "bbb", "c"]
LEXICON = Lexicon(NAMES, ["A", "B", "C"], [("a", ("A",)), ("bbb", ("B",)), ("c", ("C",))], None)


def test_the_best_path_has_the_highest_sum_of_all_scores_and_zero_weights_leave_the_first_pass():
    found = searched(4, False)
    log_probs = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(9)).log_softmax(-1)
    reader = WholeLattices(LEXICON, 2, 0.5, 0.04, (1.0, 1000.0))  # c was added
    weights = {"lm": 0.4, "word": 0.8, "penalty": 0.3, "letters": 0.2, "added": -0.5}

    def view(n, words):
        return torch.cat((log_probs[n, :, :1], log_probs[n][:, words]), 1), {NAMES[w - 1]: -1.0 for w in words}

    rows = reader.read(found, ["u", "v"], [["a"], []], view, weights, (0.5, 1.0), {})
    first = reader.read(found, ["u", "v"], [["a"], []], view, {}, (1.0,), {})
    for n, (row, plain) in enumerate(zip(rows, first)):
        best, totals = -np.inf, spoken(found[n])
        ratio = log_probs[n, :, 1:] - log_probs[n, :, :1]
        for said, score in totals.items():
            words, starts = tuple(w for w, _, _ in said), tuple(s for _, s, _ in said)
            (word,) = span_scores(ratio, [Hypothesis(words, 0, 0, starts, FRAMES - n)], {1: 0, 2: 1, 3: 2}, 0.5)
            total = score + 0.7 * 0.6 * len(words) + 0.8 * word + 0.3 * len(words) - 0.5 * words.count(3)
            total += 0.2 * (len(words) + 2 * words.count(2))
            if total > best:
                best, expected = total, ([NAMES[w - 1] for w in words], word)
        assert row.path.words == expected[0] and row.path.scores["word"] == pytest.approx(expected[1], abs=1e-3)
        assert plain.path.words == [NAMES[w - 1] for w, _, _ in max(totals, key=totals.get)]
        at = row.scales["0.5"]
        assert len(at.posteriors) == len(row.path.words) and (row.id, row.ref) == [("u", ["a"]), ("v", [])][n]
        assert all(0 <= first < last <= 0.04 * FRAMES and 0.05 < p <= 1 for _, first, last, p in at.occurrences)
        assert set(row.log_probs) == set(NAMES)


def test_an_empty_lattice_has_no_words():
    graph = k2.ctc_topo(3, modified=True)
    graph.lm_scores = torch.zeros(graph.num_arcs)
    dead = torch.full((2, FRAMES, 4), -np.inf)
    dead[0] = 0.0
    settings = SimpleNamespace(beam=20.0, output_beam=8.0, max_active=1000)
    found = lattices(dead, torch.tensor([FRAMES, FRAMES]), k2.arc_sort(graph), settings)
    reader = WholeLattices(LEXICON, 3, 1.0, 0.04, (1.0, 8.0))
    row = reader.read(found, ["u", "v"], [[], []], None, {}, (1.0,), {})[1]
    assert row.path.words == [] and row.scales["1"] == AtScale([], [])
    assert reader.oracles(found, [["a"], ["a", "z"]]) == [0, 2]


def test_calibration_and_its_scale_come_from_the_rows():
    def row(words, by_scale):
        return RescoredLattice("u", ["a", "b"], ScoredPath(words, {}), {"a": -1.0}, by_scale)

    alike, told_apart = AtScale([0.55, 0.55], []), AtScale([0.8, 0.3], [])
    rows = [row(["a", "c"], {"0.1": alike, "0.5": told_apart})]
    posterior, log_probs = evidence(rows, 0.5)
    assert posterior.tolist() == [0.8, 0.3] and log_probs.tolist() == [-1.0, 0.0] and errors(rows) == 1
    found = calibrated(rows, (0.1, 0.5))
    assert found.scale == 0.5 and found(posterior, log_probs)[0] > found(posterior, log_probs)[1]
    faultless = [row(["a", "b"], {"1": told_apart})]
    assert calibrated(faultless, [1.0])(posterior, log_probs) == pytest.approx(posterior, abs=1e-3)  # all right: as they are


def test_rescored_lattices_come_back_from_their_file(tmp_path):
    scales = {"0.5": AtScale([0.8], [("a", 0.0, 0.4, 0.8)])}
    rows = [RescoredLattice("u", ["a"], ScoredPath(["a"], {"am": -1.0}), {"a": -0.5}, scales, oracle) for oracle in (None, 0)]
    write_lattices(tmp_path / "lattices.jsonl", rows)
    again = read_lattices(tmp_path / "lattices.jsonl")
    assert [list(map(tuple, row.scales["0.5"].occurrences)) for row in again] == [[("a", 0.0, 0.4, 0.8)]] * 2
    assert [(row.path, row.log_probs, row.oracle) for row in again] == [(row.path, row.log_probs, row.oracle) for row in rows]


def test_a_recipe_without_sub_word_lattices_is_refused():
    load("bpe_ctc", ROOT / "egs" / "yesno", ["rescore.whole_lattice=true"])
    with pytest.raises(UserError, match="rescore.whole_lattice=true needs model.subword_head=true"):
        load("wordvec_ctc", ROOT / "egs" / "yesno", ["rescore.whole_lattice=true"])
