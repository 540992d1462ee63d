"""Tuning of the rescoring weights: the risk and its gradient, what many utterances teach, and how little a few do."""

import numpy as np
import pytest

from utils.rescore.rescoring import FEATURES, Lists, choose
from utils.rescore.scores import SCORES
from utils.rescore.tuning import risk, tune

NAMES = ("lm", "word", "penalty")
USUAL = {score.name: score.usual for score in SCORES}
SPREAD = {score.name: score.spread for score in SCORES}


def made(utterances, weights, noise=0.0, paths=12, seed=0):
    """n-best lists in which the paths that `weights` rank first have the fewest errors; with noise, not always."""
    rng = np.random.default_rng(seed)
    scores = np.zeros((utterances * paths, 1 + len(FEATURES)))
    scores[:, 0] = rng.normal(-40, 4, len(scores))
    scores[:, 1] = rng.normal(-20, 4, len(scores))
    scores[:, 2] = rng.normal(-20, 4, len(scores))
    scores[:, 3] = rng.integers(3, 9, len(scores))
    true = scores[:, :4] @ np.array([1.0, *weights]) + noise * rng.normal(size=len(scores))
    order = (-true.reshape(utterances, paths)).argsort(1).argsort(1)
    return Lists(scores, np.arange(0, len(scores) + 1, paths), np.minimum(order, 4).reshape(-1))


def wrong(lists, weights):
    return lists.errors[choose(lists, weights)].sum()


def test_risk_is_the_sum_over_paths_of_probability_times_errors():
    lists, weights = made(5, (0.5, 1.5, 0.2)), np.array([0.4, 0.9])
    base, columns = lists.scores[:, 0], lists.scores[:, [1, 2]]
    expected = 0.0
    for first, last in zip(lists.splits, lists.splits[1:]):
        weight = np.exp(0.3 * (base[first:last] + columns[first:last] @ weights))
        expected += (weight / weight.sum()) @ lists.errors[first:last]
    value, slope = risk(weights, columns, base, lists, 0.3)
    assert value == pytest.approx(expected)
    for n in range(2):
        ends = [risk(weights + sign * 1e-5 * np.eye(2)[n], columns, base, lists, 0.3)[0] for sign in (1, -1)]
        assert slope[n] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


@pytest.mark.parametrize("true", [(0.3, 2.4, 1.5), (2.0, 0.0, -1.0)])
def test_weights_of_many_utterances_are_as_good_as_those_that_made_them(true):
    tuned, held_out = made(300, true, noise=1.0), made(300, true, noise=1.0, seed=1)
    weights, errors = tune(tuned, NAMES)
    assert set(weights) == set(NAMES) and errors == wrong(tuned, weights)
    best = wrong(held_out, dict(zip(NAMES, true)))
    usual = wrong(held_out, {name: USUAL[name] for name in NAMES})
    assert best < 0.8 * usual and wrong(held_out, weights) - best < 0.15 * (usual - best)


def test_a_few_utterances_or_ones_without_errors_say_little():
    """Where errors are random, or there are none, the weights stay close to the usual ones."""
    for seed in range(3):
        lists = made(8, (1.0, 1.0, 0.0), seed=seed)
        lists.errors[:] = np.random.default_rng(seed).integers(0, 3, len(lists.errors))
        weights, _ = tune(lists, NAMES)
        assert all(abs(weights[name] - USUAL[name]) < 1.5 for name in NAMES)
    lists.errors[:] = 0
    assert tune(lists, NAMES) == ({name: USUAL[name] for name in NAMES}, 0)


def test_a_score_that_misleads_gets_no_weight_rather_than_a_negative_one():
    weights, _ = tune(made(200, (1.0, -0.8, 0.0)), NAMES)
    assert weights["word"] == 0.0 and weights["lm"] > 0.2


@pytest.mark.parametrize("seed", range(4))
def test_one_utterance_moves_the_weights_a_little_and_costs_no_errors(seed):
    lists, usual = made(1, (1.0, 1.0, 0.0), seed=seed), {name: USUAL[name] for name in NAMES}
    weights, errors = tune(lists, NAMES)
    assert errors == wrong(lists, weights) <= wrong(lists, usual)
    moved = [abs(weights[name] - usual[name]) / SPREAD[name] for name in NAMES]
    assert 0 < max(moved) < 0.2
