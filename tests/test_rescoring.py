"""Lattices, n-best lists and rescoring: scores equal independent sums, zero weights change nothing, weights come from dev."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from utils.decode.candidates import Candidates
from utils.decode.first_pass import best_paths, lattices
from utils.decode.nbest import nbest
from utils.lang import graphs, lexicon
from utils.lang.fsa import some
from utils.lang.hypothesis import Hypothesis
from utils.ngrams import estimating
from utils.rescore.nbest_lists import NBestList, ScoredPath, read_lists, write_lists
from utils.rescore.rescoring import FEATURES, choose, flatten, pruned
from utils.rescore.scores import Kinds
from utils.vectors.wordscore import MARGIN, sequence_scores, span_scores

k2 = pytest.importorskip("k2")
SEARCH = SimpleNamespace(beam=100.0, output_beam=100.0, max_active=10_000)


@pytest.fixture(scope="module")
def small():
    """A lattice of three words without a language model, over six frames of random scores."""
    graph = k2.ctc_topo(3, modified=True)
    graph.lm_scores = torch.where(graph.aux_labels > 0, torch.tensor(-0.7), torch.tensor(0.0))
    graph.scores = graph.lm_scores.clone()
    log_probs = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    return lattices(log_probs, torch.tensor([6, 5]), k2.arc_sort(graph), SEARCH), log_probs


def test_path_scores_are_sums_of_frame_scores_and_lm_scores(small):
    found, log_probs = small
    for n, paths in enumerate(nbest(found, paths=50, scale=0.3, lm_scale=1.0)):
        frames = 6 - n
        for path in paths[:10]:
            assert path.frames == frames
            assert path.lm == pytest.approx(-0.7 * len(path.words), abs=1e-4)
            best = max(
                log_probs[n, range(frames), labels].sum().item()
                for labels in itertools.product(range(4), repeat=frames)
                if says(labels, path.words)
            )
            assert path.am <= best + 1e-3  # a sampled path: never above the best alignment of its words
        assert [p.am + p.lm for p in paths] == sorted((p.am + p.lm for p in paths), reverse=True)


def says(labels, words):
    """Whether a frame string can be read as `words`: runs of one label are one word or several."""
    runs = [label for label, _ in itertools.groupby(labels)]
    spoken = [label for label in runs if label]
    return spoken == list(words)


def test_the_first_of_the_list_is_the_lattice_best_path(small):
    found, _ = small
    lists = nbest(found, paths=3, scale=0.1, lm_scale=1.0)
    assert [list(paths[0].words) for paths in lists] == best_paths(found)


def test_lattices_one_by_one_have_the_best_paths_of_all_together(small):
    found, _ = small
    together = nbest(found, 20, 1.0, 1.0)
    alone = [nbest(some(found, n, n + 1), 20, 1.0, 1.0)[0] for n in range(2)]
    assert [paths[0] for paths in alone] == [paths[0] for paths in together]
    assert some(found, 0, 2) is found


def test_sampling_is_repeatable(small):
    found, _ = small
    assert nbest(found, 20, 0.5, 1.0) == nbest(found, 20, 0.5, 1.0)


def test_span_score_equals_brute_force():
    ratio = torch.randn(7, 2, generator=torch.Generator().manual_seed(1))
    path = Hypothesis((5, 9), 0.0, 0.0, (2, 8), 14)  # times at twice the head's rate: words enter at frames 1 and 4 of 7
    (score,) = span_scores(ratio, [path], {5: 0, 9: 1}, 0.5)

    def brute(column, start, end):
        start, end = max(0, start - MARGIN), min(7, end + MARGIN)
        return np.log(sum(np.exp(ratio[a:b, column].sum().item()) for a in range(start, end) for b in range(a + 1, end + 1)))

    assert score == pytest.approx(brute(0, 1, 4) + brute(1, 4, 7), abs=1e-4)


def test_span_score_of_nothing_is_zero_and_prefers_the_word_that_is_there():
    ratio = torch.full((20, 2), -6.0)
    ratio[9:11, 0] = 5.0
    nothing, right, wrong = span_scores(
        ratio,
        [Hypothesis((), 0, 0, (), 20), Hypothesis((1,), 0, 0, (9,), 20), Hypothesis((2,), 0, 0, (9,), 20)],
        {1: 0, 2: 1},
        1.0,
    )
    assert nothing == 0.0 and right > 9 and wrong < 0


def test_sequence_score_equals_brute_force():
    log_probs = torch.randn(5, 3, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    score, impossible = sequence_scores(
        log_probs, [Hypothesis((4, 8), 0, 0, (0, 1), 5), Hypothesis((4,) * 6, 0, 0, (0,) * 6, 5)], {4: 0, 8: 1}
    )
    total = sum(
        np.exp(log_probs[range(5), labels].sum().item())
        for labels in itertools.product(range(3), repeat=5)
        if [label for label, _ in itertools.groupby(labels) if label] == [1, 2]
    )
    assert score == pytest.approx(np.log(total) - log_probs[:, 0].sum().item(), abs=1e-4)
    assert np.isfinite(impossible) and impossible < score - 10


def nbest_list(ref, *paths, id="a"):
    """An n-best list; paths: words, and scores by name."""
    return NBestList(id, ref, [ScoredPath(words, {"am": 0.0, "lm": 0.0, **scores}) for words, scores in paths])


LISTS = [
    nbest_list(
        ["press", "one"],
        (["press", "won"], {"am": -5.0, "lm": -9.0, "word": 1.0}),
        (["press", "one"], {"am": -6.0, "lm": -4.0, "word": 6.0}),
    ),
    nbest_list(
        ["two"], (["two"], {"am": -1.0, "lm": -1.0, "word": 3.0}), (["too"], {"am": -1.5, "lm": -3.0, "word": 1.0}), id="b"
    ),
    nbest_list([], ([], {"word": 0.0}), id="c"),
]


def test_lists_come_back_from_their_file(tmp_path):
    LISTS[0].log_probs["press"] = -0.25
    write_lists(tmp_path / "lists.jsonl", LISTS)
    assert read_lists(tmp_path / "lists.jsonl") == LISTS
    first = (tmp_path / "lists.jsonl").read_text().splitlines()[0]
    assert first.startswith(
        '{"id": "a", "ref": ["press", "one"], "paths": [{"words": ["press", "won"], "am": -5.0, "lm": -9.0, "word": 1.0}'
    )
    assert first.endswith('"heard": {"press": -0.25}}')


def test_zero_weights_return_the_acoustic_order_and_first_pass_weights_the_first_pass():
    lists = flatten(LISTS)
    assert choose(lists, {"lm": 0.0}).tolist() == [0, 2, 4]
    assert lists.errors.tolist() == [1, 0, 0, 1, 0]
    tied = flatten([nbest_list(["a"], (["b"], {}), (["a"], {}))])
    assert choose(tied, {"lm": 1.0, "word": 1.0, "penalty": 1.0}).tolist() == [0]


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A lang folder of three words, one with two pronunciations, and its Candidates."""
    folder = tmp_path_factory.mktemp("lang")
    entries = [("a", ("A",)), ("a", ("E", "I")), ("bee", ("B", "I")), ("an", ("A", "N"))]
    words, units = ["a", "an", "bee"], ["A", "B", "E", "I", "N"]
    lex = lexicon.Lexicon(words, units, entries, folder)
    graphs.save_fsa(graphs.lexicon_fst(lex, disambiguation=False), folder / "L.pt")
    return Candidates(estimating.estimate([["a", "bee"], ["an", "a"], ["bee"]], 2), lex), lex


def test_totals_sum_over_alignments_and_pronunciations(joined):
    candidates, lex = joined
    log_probs = torch.randn(6, 6, generator=torch.Generator().manual_seed(3)).log_softmax(-1)
    hypotheses = [(1,), (1, 3), (), (2, 2), (3, 1, 3)]
    for words, total in zip(hypotheses, candidates.totals(log_probs, hypotheses)):
        said = {
            tuple(u for units in choice for u in units)
            for choice in itertools.product(*([e[1] for e in lex.entries if e[0] == lex.words[w - 1]] for w in words))
        }
        targets = [[lex.token_id[u] for u in units] for units in said]
        each = [
            -torch.nn.functional.ctc_loss(
                log_probs[:, None],
                torch.tensor([t], dtype=torch.int64),
                torch.tensor([6]),
                torch.tensor([len(t)]),
                reduction="none",
            )
            for t in targets
        ]
        assert total == pytest.approx(torch.logsumexp(torch.cat(each), 0).item(), abs=1e-4)
    assert candidates.totals(log_probs[:2], [(3, 3)]) == [-np.inf]  # four units, two frames


def test_totals_of_many_long_hypotheses_are_those_of_each_alone(joined):
    rng, labels = np.random.default_rng(7), {2: [1, 5], 3: [2, 4]}  # an, bee: words of one pronunciation
    said = [2 + int(word) for word in rng.integers(0, 2, 40)]
    hypotheses = {tuple(said)}
    while len(hypotheses) < 60:  # each lacks some words, and has others in place of some
        hypotheses.add(tuple(5 - w if rng.random() < 0.04 else w for w in said if rng.random() < 0.98))
    frames = [label for word in said for unit in labels[word] for label in (unit, 0, 0)]
    log_probs = torch.randn(len(frames), 6, generator=torch.Generator().manual_seed(1))
    log_probs[torch.arange(len(frames)), torch.tensor(frames)] += 6
    log_probs = log_probs.log_softmax(-1)
    for words, total in zip(hypotheses, joined[0].totals(log_probs, list(hypotheses))):
        target = [unit for word in words for unit in labels[word]]
        lengths = torch.tensor([len(frames)]), torch.tensor([len(target)])
        loss = torch.nn.functional.ctc_loss(log_probs[:, None].double(), torch.tensor([target]), *lengths, reduction="none")
        assert total == pytest.approx(-loss.item(), abs=1e-6)


def test_ten_minutes_of_words_are_scored(joined):
    words, log_probs = (1,) * 1500, torch.full((3000, 6), -50.0)
    log_probs[::2, 1], log_probs[1::2, 0] = -0.001, 0.0  # "a" of one unit, and the blank, in turn
    assert joined[0].totals(log_probs, [words]) == [pytest.approx(-1.5)]


def test_added_words_are_weighed():
    lists = [nbest_list(["press"], (["new"], {"am": -1.0}), (["press"], {"am": -2.0}))]
    added = flatten(lists, Kinds(added={"new"}))
    assert choose(added, {}).tolist() == [0] and choose(added, {"added": -2.0}).tolist() == [1]
    assert choose(flatten(lists), {"added": -2.0}).tolist() == [0]


def test_words_that_no_vocabulary_has_are_weighed_apart_from_those_of_a_pack():
    rows = [nbest_list(["b"], *(([word], {}) for word in ("a", "b", "<unk>", "press")))]
    lists = flatten(rows, Kinds({"b"}, {"<unk>", "a"}))
    columns = [1 + FEATURES.index(name) for name in ("penalty", "unknown", "added")]
    assert lists.scores[:, columns].tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 0], [1, 0, 0]]
    assert choose(lists, {"unknown": -1.0, "added": 1.0}).tolist() == [1]


def test_letters_and_proposals_are_weighed():
    lists = flatten([nbest_list(["b"], (["a", "to"], {}), (["press"], {}), (["<unk>", "b"], {"proposed": 1.0}))])
    assert lists.scores[:, 1 + FEATURES.index("letters")].tolist() == [3, 5, 1]  # <unk> is no spelling
    assert lists.scores[:, 1 + FEATURES.index("proposed")].tolist() == [0, 0, 1]
    assert [choose(lists, w).tolist() for w in ({}, {"letters": 0.1}, {"letters": 0.1, "proposed": 1.0})] == [[0], [1], [2]]


def test_unknown_words_are_weighed_and_count_nothing_for_the_word_head():
    lists = flatten([nbest_list(["press"], (["<unk>"], {"am": -1.0}), (["press"], {"am": -2.0}))])
    assert choose(lists, {}).tolist() == [0] and choose(lists, {"unknown": -2.0}).tolist() == [1]
    ratio = torch.randn(6, 1, generator=torch.Generator().manual_seed(1))
    with_unknown, without = Hypothesis((9, 1), 0.0, 0.0, (0, 3), 6), Hypothesis((1,), 0.0, 0.0, (3,), 6)
    assert span_scores(ratio, [with_unknown], {1: 0}, 1.0) == span_scores(ratio, [without], {1: 0}, 1.0)
    log_probs = torch.randn(6, 2, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    assert sequence_scores(log_probs, [with_unknown], {1: 0}) == sequence_scores(log_probs, [without], {1: 0})


def test_hypotheses_of_both_lattices_are_scored_alike(joined):
    candidates, lex = joined
    log_probs = torch.randn(8, 6, generator=torch.Generator().manual_seed(4)).log_softmax(-1)
    subword = [Hypothesis((1, 3), -3.0, -1.0, (0, 4), 8), Hypothesis((3,), -4.0, -2.0, (2,), 8)]
    word = [Hypothesis((1, 3), -9.0, -1.0, (1, 2), 4), Hypothesis((2,), -9.0, -1.0, (3,), 4)]
    paths = candidates.join(subword, word, log_probs, 0.5, 1.0)
    assert {p.words: p.starts for p in paths} == {(1, 3): (0, 4), (3,): (2,), (2,): (6,)}  # times in sub-word frames
    for path in paths:
        assert path.lm == pytest.approx(candidates.lm.sentence(lex.ids_to_words(path.words)))
        assert path.am == pytest.approx(candidates.totals(log_probs, [path.words])[0])
    assert [p.am + p.lm for p in paths] == sorted((p.am + p.lm for p in paths), reverse=True)
    assert candidates.join([Hypothesis((3, 3), -1.0, -1.0, (0, 1), 2)], [], log_probs[:2], 0.5, 1.0)[0].words == (3, 3)
    proposed = candidates.join(subword, word, log_probs, 0.5, 1.0, [(3,), (2, 1)])
    assert {p.words: p.starts for p in proposed} == {(1, 3): (0, 4), (3,): (2,), (2,): (6,), (2, 1): ()}
    assert [p.words for p in proposed if p.words != (2, 1)] == [p.words for p in paths]


def test_pruned_lists_keep_what_other_weights_may_still_choose():
    scores = (("x", -9.0, 0.0), ("y", -1.0, -3.0), ("z", -2.0, -1.0), ("v", -30.0, 0.0))
    long = nbest_list(["x"], *(([w], {"am": am, "lm": lm}) for w, am, lm in scores))
    lists = [long, NBestList("b", ["x"], long.paths[:1])]

    def kept(count, margin):
        return [[p.words[0] for p in one.paths] for one in pruned(lists, flatten(lists), {"lm": 1.0}, count, margin)]

    assert kept(2, 100.0) == [["y", "z"], ["x"]] and kept(4, 6.0) == [["x", "y", "z"], ["x"]] and kept(4, 0.5) == [["z"], ["x"]]
    long.paths[3].scores["proposed"] = long.paths[2].scores["proposed"] = 1.0
    assert kept(1, 6.0) == [["z", "v"], ["x"]]  # the decoder that proposed them has not scored them yet
    long.paths[3].scores["attention"] = -1.0
    assert kept(1, 6.0) == [["z"], ["x"]]


@pytest.mark.parametrize("ragged", [False, True])
def test_an_utterance_without_any_path_has_no_words(small, ragged):
    _, log_probs = small
    graph = k2.ctc_topo(3, modified=True)
    graph.lm_scores = torch.zeros(graph.num_arcs)
    if ragged:
        graph.aux_labels = k2.RaggedTensor([[word] if word else [] for word in graph.aux_labels.tolist()])
    dead = log_probs[:1].repeat(3, 1, 1)
    dead[2] = dead[0] = -np.inf  # nothing can be said: the last lattice is empty, and one before it
    found = lattices(dead, torch.tensor([6, 6, 6]), k2.arc_sort(graph), SEARCH)
    words = best_paths(found)
    assert words[0] == words[2] == [] and words[1]
    lists = nbest(found, paths=5, scale=0.5, lm_scale=1.0)
    assert lists[0] == lists[2] == [] and list(lists[1][0].words) == words[1]
    uniform = k2.arc_sort(k2.add_epsilon_self_loops(k2.Fsa.from_str("0 0 1 0\n0 0 2 0\n0 0 3 0\n0 1 -1 0\n1")))
    uniform.lm_scores = uniform.scores.clone()
    again = best_paths(graphs.rescored(found, k2.create_fsa_vec([uniform]), 1.0, 20.0))
    assert again == words


def test_a_search_that_loses_all_paths_is_done_again_with_a_wider_beam():
    """Two hundred first words look better than the one that may follow them, and fifteen is more than the beam."""
    arcs = [f"0 {n} {n} {n} 0" for n in range(1, 201)] + ["0 201 201 201 -15", "201 202 202 202 0", "202 203 -1 -1 0"]
    graph = k2.arc_sort(k2.Fsa.from_str("\n".join(sorted(arcs, key=lambda a: int(a.split()[0]))) + "\n203", acceptor=False))
    log_probs = torch.full((1, 2, 203), -1.0)
    narrow = SimpleNamespace(beam=10.0, output_beam=10.0, max_active=50)
    assert best_paths(lattices(log_probs, torch.tensor([2]), graph, narrow)) == [[201, 202]]
    one = k2.DenseFsaVec(log_probs, torch.tensor([[0, 0, 2]], dtype=torch.int32))
    assert best_paths(k2.intersect_dense_pruned(graph, one, 10.0, 10.0, 30, 50)) == [[]]
