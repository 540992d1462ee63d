"""Word confidences: posteriors among hypotheses, a calibration that recovers what made the data, measures of quality."""

import numpy as np
import pytest

from utils.rescore.confidence import Calibration, calibrate, correct, places, posteriors, quality, reliability
from utils.rescore.nbest_lists import NBestList, ScoredPath

SAID = ("press one now", "press won now", "press one", "dress one now")
NBEST = NBestList("a", ["press", "one", "now"], [ScoredPath(words.split(), {}) for words in SAID])


def test_posteriors_sum_the_paths_that_have_the_word_at_its_place():
    totals = np.log([0.4, 0.3, 0.2, 0.1])

    def of_path(chosen, scale):
        return posteriors(places(NBEST, totals, chosen, scale), NBEST.paths[chosen].words)

    assert of_path(0, 1.0) == pytest.approx([0.9, 0.7, 0.8])
    assert of_path(1, 1.0) == pytest.approx([0.9, 0.3, 0.8])
    assert of_path(2, 1.0) == pytest.approx([0.9, 0.7])
    flat = of_path(0, 1e-9)  # every path counts the same
    assert flat == pytest.approx([0.75, 0.75, 0.75], abs=1e-6)


def test_a_word_is_right_where_the_reference_has_it():
    assert correct("press one now".split(), "press won it now".split()) == [True, False, False, True]
    assert correct([], ["uh"]) == [False] and correct(["uh"], []) == []


def made(n, seed):
    rng = np.random.default_rng(seed)
    posterior, log_probs = rng.uniform(0.02, 0.98, n), rng.normal(-2, 1, n)
    truth = Calibration(0.5, 1.0, 0.7, 0.8)(posterior, log_probs)
    return posterior, log_probs, rng.random(n) < truth, truth


def test_calibration_recovers_the_model_that_made_the_data_and_takes_the_better_scale():
    posterior, log_probs, right, _ = made(20_000, 0)
    noise = np.random.default_rng(1).uniform(0.02, 0.98, len(right))
    found = calibrate({0.5: (posterior, log_probs), 1.0: (noise, log_probs)}, right)
    assert found.scale == 0.5
    assert (found.bias, found.posterior, found.log_prob) == pytest.approx((1.0, 0.7, 0.8), abs=0.08)


def test_quality_of_the_truth_of_the_base_rate_and_of_overconfidence():
    posterior, log_probs, right, truth = made(20_000, 2)
    honest, base = quality(truth, right), quality(np.full(len(right), right.mean()), right)
    assert honest["ece"] < 1.5 and honest["nce"] > 0.1
    assert base["ece"] == pytest.approx(0, abs=0.01) and base["nce"] == pytest.approx(0, abs=1e-4)
    overdone = quality(np.where(truth > 0.5, 0.999, 0.001), right)
    assert overdone["nce"] < 0 and overdone["ece"] > 10


def test_reliability_has_the_bins_with_words_in_them():
    found = reliability(np.array([0.05, 0.95, 0.97, 1.0]), np.array([False, True, True, False]))
    assert [row[2] for row in found] == [0.25, 0.75]
    assert found[1][0] == pytest.approx((0.95 + 0.97 + 1.0) / 3) and found[1][1] == pytest.approx(2 / 3)
