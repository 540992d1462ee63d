"""Error rates against a plain Levenshtein, recall by hand, what bootstrap intervals promise, the n-best oracle."""

import random
import time
from functools import lru_cache
from typing import Sequence

import numpy as np
import pytest

from support.fabricate import SENTENCES, noisy
from utils.core.errors import UserError
from utils.text.listing import inline, listing
from utils.text.scoring import characters, difference, error_rate, interval, oracle, recall, score, spelled


def levenshtein(a: Sequence[str], b: Sequence[str]) -> int:
    """By the recursive definition."""

    @lru_cache(None)
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return distance(len(a), len(b))


def some(rate: float, seed: int = 0):
    rng = random.Random(seed)
    return [(key, text.split(), noisy(text.split(), rate, rng)) for key, text in SENTENCES.items()]


@pytest.mark.parametrize("rate", (0.0, 0.3, 0.9))
def test_errors_are_the_edit_distance_and_their_kinds_add_up(rate):
    rows = some(rate)
    scores = score(rows)
    expected = {key: levenshtein(ref, hyp) for key, ref, hyp in rows}
    assert dict(zip(scores.ids, scores.errors)) == expected
    lengths = {key: (len(ref), len(hyp)) for key, ref, hyp in rows}
    for name, i, d in zip(scores.ids, scores.insertions, scores.deletions):
        assert lengths[name][1] - lengths[name][0] == i - d
    assert error_rate(scores.errors, scores.words) == pytest.approx(
        100 * sum(expected.values()) / sum(len(r) for _, r, _ in rows)
    )


def test_kinds_of_errors_by_hand():
    scores = score([("b", "thank you".split(), []), ("a", "press one now".split(), "please press two now".split())])
    assert scores.ids == ["a", "b"]
    assert (
        scores.insertions.tolist() == [1, 0] and scores.deletions.tolist() == [0, 2] and scores.substitutions.tolist() == [1, 0]
    )
    assert error_rate(scores.errors, scores.words) == pytest.approx(80.0)


def test_a_reference_without_words_has_no_error_rate():
    with pytest.raises(UserError, match="no word"):
        error_rate(np.array([1]), np.array([0]))


def test_chinese_counts_han_characters_and_whole_words_of_other_scripts():
    assert characters(["打开", "wifi", "设置", "一百"]) == ["打", "开", "wifi", "设", "置", "一", "百"]
    assert characters([]) == []
    rows = [("u", characters(["今天", "天气"]), characters(["今", "天天", "气"]))]
    assert score(rows).errors.sum() == 0  # another segmentation is no error


@pytest.mark.parametrize(
    "language, reference, recognised, errors, units",
    (
        ("ja", "東京 タワー まで 5km", "東京 タワ まで 5km", 1, 8),
        ("th", "สวัสดี ครับ", "สวัสดีครับ", 0, 10),
        ("my", "မင်္ဂလာပါ", "မင်္ဂလာပ", 1, 9),
    ),
)
def test_languages_without_spaces_are_measured_in_characters(language, reference, recognised, errors, units):
    scores = score([("a", reference.split(), recognised.split()), ("b", ["one"], ["two"])])
    found = spelled(scores.ids, scores.alignments, [language, "en"])
    assert found.ids == ["a"] and (found.errors.sum(), found.words.sum()) == (errors, units)
    assert spelled(scores.ids, scores.alignments, ["ko", "vi"]) is None


def test_recall_of_in_vocabulary_and_out_of_vocabulary_words():
    vocabulary = {"press": 3, "one": 1, "now": 2}
    alignments = score(
        [
            ("a", "press mute one".split(), "press mute two".split()),  # OOV right, in vocabulary 1 of 2
            ("b", "unmute now".split(), "now".split()),  # OOV lost
            ("c", "now".split(), "now umlaut".split()),
        ]
    ).alignments  # an inserted OOV is no reference word
    assert recall(alignments, vocabulary) == {"oov_words": 2, "oov_recall": 50.0, "iv_recall": 75.0}


def test_recall_is_none_where_there_is_no_such_word():
    alignments = score([("a", ["one"], ["one"])]).alignments
    assert recall(alignments, {"one": 1}) == {"oov_words": 0, "oov_recall": None, "iv_recall": 100.0}
    assert recall(alignments, {}) == {"oov_words": 1, "oov_recall": 100.0, "iv_recall": None}


def test_intervals_cover_the_true_rate_about_19_times_in_20():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        words = rng.integers(3, 15, 120)
        low, high = interval(rng.binomial(words, 0.3), words, resamples=300, seed=trial)
        covered += low <= 30.0 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_intervals_are_reproducible_and_shrink_with_more_utterances():
    rng = np.random.default_rng(2)
    words = rng.integers(3, 15, 4000)
    errors = rng.binomial(words, 0.3)
    small, large = interval(errors[:100], words[:100]), interval(errors, words)
    assert small == interval(errors[:100], words[:100])
    assert large[1] - large[0] < (small[1] - small[0]) / 4
    assert interval(np.zeros(5), np.ones(5)) == (0.0, 0.0)


def test_paired_difference_turns_sign_when_the_systems_are_swapped():
    rng = np.random.default_rng(3)
    words = rng.integers(3, 15, 300)
    a, b = rng.binomial(words, 0.2), rng.binomial(words, 0.3)
    there, back = difference(a, b, words), difference(b, a, words)
    assert there.value == pytest.approx(-back.value) and there.p == back.p < 0.01
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.low < there.value < there.high < 0


def test_a_system_doesnt_differ_from_itself():
    words = np.array([5, 4, 3])
    same = difference(np.array([1, 0, 2]), np.array([1, 0, 2]), words)
    assert (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_pairing_detects_a_small_steady_gain_that_separate_intervals_hide():
    rng = np.random.default_rng(4)
    words = np.full(200, 10)
    b = rng.integers(0, 9, 200)
    a = np.maximum(b - (rng.random(200) < 0.3), 0)
    assert interval(a, words)[1] > interval(b, words)[0]  # they overlap
    assert difference(a, b, words).p < 0.01


def test_systems_of_equal_quality_rarely_differ():
    rng = np.random.default_rng(5)
    words = rng.integers(3, 15, 120)
    found = sum(
        difference(rng.binomial(words, 0.3), rng.binomial(words, 0.3), words, 300, trial).p < 0.05 for trial in range(200)
    )
    assert found / 200 < 0.1


def test_oracle_is_the_best_path_of_each_list():
    rng = random.Random(6)
    lists = [(key, text.split(), [noisy(text.split(), 0.5, rng) for _ in range(20)]) for key, text in SENTENCES.items()]
    assert oracle(lists) == {key: min(levenshtein(ref, path) for path in paths) for key, ref, paths in lists}
    assert oracle([("x", ["thank", "you"], [])]) == {"x": 2}


def test_oracle_and_bootstrap_are_fast_500_utterances_of_100_paths():
    rng = random.Random(7)
    texts = [text.split() for text in SENTENCES.values()]
    paths = [[noisy(text, 0.5, rng) for _ in range(100)] for text in texts]
    lists = [(str(i), texts[i % len(texts)], paths[i % len(texts)]) for i in range(500)]
    started = time.process_time()
    errors = np.array(list(oracle(lists).values()))
    interval(errors, np.array([len(ref) for _, ref, _ in lists]))
    assert time.process_time() - started < 6


def test_listing_shows_errors_inline_and_counts_them():
    scores = score(
        [("a", "please press one now".split(), "press two three now".split()), ("b", "thank you".split(), "thank you".split())]
    )
    speakers = {"a": "anna", "b": "bob"}
    assert inline(scores.alignments[0]) == "(please->*) press (one->two three) now"
    text = "\n".join(listing(scores, {"press": 7, "thank": 2, "you": 2, "now": 1, "please": 1}, speakers))
    assert "WER 50.00% = 3/6" in text and "1 insertions, 1 deletions, 1 substitutions; 4 correct" in text
    assert "1 of 2 utterances without an error" in text
    assert "b:\tthank you" in text
    assert "    1  please\n" in text and "one\t0\t1\t1\t0\tOOV" in text and "press\t1\t0\t1\t1\t7" in text


def test_a_star_in_the_text_is_no_gap():
    scores = score([("a", ["*", "one"], ["one"])])
    assert scores.deletions.sum() == 1 and scores.errors.sum() == 1
