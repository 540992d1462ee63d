"""Splits held out of train: their sizes, by speaker where that makes sense; and what makes a dev set unfit to rank models."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from utils.corpus.held_out import hold_out
from utils.corpus.manifests import Utterance
from utils.corpus.ranking import faults, fitness

LOG = logging.getLogger(__name__)


def corpus(*sizes, seconds=4.0):
    """Speakers who say as many utterances each."""
    return [
        Utterance(f"s{s}-{i}", "train", "yes", f"s{s}", "en", Path("a.wav"), i * seconds, (i + 1) * seconds)
        for s, size in enumerate(sizes)
        for i in range(size)
    ]


@pytest.mark.parametrize("sizes", [[100] * 12, [20] * 100, [5] * 400, [*range(5, 65)]])
def test_whole_speakers_are_held_out_in_the_right_size(sizes):
    found = hold_out(corpus(*sizes), ("test", "dev"), 0.1, LOG)
    for split in ("dev", "test"):
        own = [u for u in found if u.split == split]
        assert 0.05 * sum(sizes) <= len(own) <= 0.15 * sum(sizes) and len(own) >= 100
        assert not {u.speaker for u in own} & {u.speaker for u in found if u.split == "train"}
    assert found == hold_out(corpus(*sizes), ("test", "dev"), 0.1, LOG)
    alone = hold_out(corpus(*sizes), ("test",), 0.1, LOG)  # test stays the same whether a dev is held out or not
    assert [u.id for u in alone if u.split == "test"] == [u.id for u in found if u.split == "test"]


@pytest.mark.parametrize("sizes, why", [([300, 280] + [5] * 24, "some say most of it"), ([900, 950, 1000], "they are too few")])
def test_utterances_are_held_out_where_speakers_do_not_allow_it(sizes, why, caplog):
    with caplog.at_level(logging.INFO):
        found = hold_out(corpus(*sizes), ("test", "dev"), 0.1, LOG)
    for split in ("dev", "test"):
        own = [u for u in found if u.split == split]
        assert 0.05 * sum(sizes) <= len(own) <= 0.11 * sum(sizes)
        large = sum(u.speaker in ("s0", "s1", "s2") for u in own) / len(own)
        assert large > 0.7  # as in the corpus: not the smallest speakers alone
    assert caplog.text.count(why) == 2 and "error rates are lower than those of other speakers" in caplog.text


def test_a_small_corpus_gives_a_tenth_and_at_least_one():
    assert sum(u.split == "dev" for u in hold_out(corpus(60), ("dev",), 0.1, LOG)) == 6
    assert [u.split for u in hold_out(corpus(3), ("test", "dev"), 0.1, LOG)].count("train") == 1


def cut(speaker, features, seconds=4.0, words=8):
    said = SimpleNamespace(text=" ".join(["yes"] * words), speaker=speaker)
    return SimpleNamespace(supervisions=[said], duration=seconds, load_features=lambda: features)


def test_a_dev_set_that_cannot_rank_models_is_named_with_what_to_do():
    draw = np.random.default_rng(3)
    train = [cut(f"s{n % 9}", draw.standard_normal((50, 8)) + draw.standard_normal(8)) for n in range(400)]
    same = [cut(f"t{n % 7}", draw.standard_normal((50, 8)) + draw.standard_normal(8)) for n in range(160)]
    assert faults(fitness(train, same)) == []
    few = faults(fitness(train, same[:19]))
    assert len(few) == 1 and "19 utterances and 1.3 minutes are few" in few[0] and "take a dev set of 100 utterances" in few[0]
    distorted = [cut(f"t{n % 7}", draw.standard_normal((50, 8)) + 4.0) for n in range(160)]
    assert "sound unlike those of train" in faults(fitness(train, distorted))[0]
    assert "one speaker says 100% of it" in faults(fitness(train, [cut("t", c.load_features()) for c in same]))[0]
    fast = [cut(f"t{n % 7}", c.load_features(), words=20) for n, c in enumerate(same)]
    assert "2.5 times as many words a second" in faults(fitness(train, fast))[0]
