"""The language model of word vectors: its scores, and words that it was not trained with."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

from utils.core.errors import UserError
from utils.nn import word_lm
from utils.nn.word_lm import VectorLM, padded, word_vectors

TRAINED = ["call", "now", "one", "please", "two"]
ADDED = ["seven", "three", "later"]
TEXT = [["call", "one"], ["call", "two", "now"], ["please", "call", "one", "now"], []]


def model(vectors=True, words=(*TRAINED, *ADDED)):
    torch.manual_seed(1)
    return VectorLM(words, len(TRAINED), torch.randn(len(words), 6) if vectors else None, 6, seed=0)


def one_by_one(lm: VectorLM, sentence, offsets):
    """The chain rule, a symbol at a time, from the formula."""
    total, table = 0.0, lm.vectors
    for n, word in enumerate([*sentence, None]):
        state = None
        for before in [None, *sentence[:n]]:
            x = lm.model.ends[0] if before is None else table[lm.ids[before] - 1]
            h, state = lm.model.lstm(torch.nn.functional.silu(lm.model.input(x))[None, None], state)
        aim = lm.model.output(h[0, 0])
        scores = torch.stack([aim @ lm.model.ends[1], *(aim @ row for row in table)]) + offsets
        total += scores.log_softmax(0)[0 if word is None else lm.ids[word]].item()
    return total


@pytest.mark.parametrize("cells", [2e7, 30])
def test_scores_are_the_chain_rule_in_any_order_and_batch(cells, monkeypatch):
    monkeypatch.setattr(word_lm, "CELLS", cells)
    lm = model()
    lm.offset = -1.5
    offsets = torch.tensor([0.0] * (1 + len(TRAINED)) + [-1.5] * len(ADDED))
    said = [["call", "seven", "now"], *TEXT, ["later", "please"]]
    expected = [one_by_one(lm, sentence, offsets) for sentence in said]
    assert lm(said) == pytest.approx(expected, rel=1e-4)
    assert lm(said[::-1]) == pytest.approx(expected[::-1], rel=1e-4)


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("closed", [True, False])
def test_probabilities_of_all_short_sentences_stay_below_one(vectors, closed):
    lm = model(vectors)
    words = TRAINED if closed else TRAINED + ADDED
    of_length = [sum(map(math.exp, lm(list(itertools.product(words, repeat=n)), closed))) for n in range(4)]
    totals = list(itertools.accumulate(of_length))
    assert all(a < b for a, b in zip(totals, totals[1:])) and totals[-1] < 1
    rest = [1 - total for total in totals]  # what is longer: about as much of it goes on each time
    assert rest[3] / rest[2] == pytest.approx(rest[2] / rest[1], rel=0.05)


def test_a_word_has_the_probability_that_the_softmax_gives_it_and_unk_is_shared():
    lm = model(vectors=False)
    now = [lm([["call", word]])[0] - lm([["call"]])[0] for word in ADDED]
    assert now == pytest.approx([now[0]] * len(ADDED))  # alike: the learned table has no vector for them
    probabilities = []
    for word in TRAINED + ADDED:  # what comes behind <s>, from two sentences' difference at the first word
        before, _ = padded([lm.numbers([word])])
        scores = lm.model.eval()(before[:, :1], lm.table()).log_softmax(-1)[0, 0]
        number = lm.numbers([word])[0]
        probabilities.append(math.exp(scores[number].item()) / (len(ADDED) if word in ADDED else 1))
    end = math.exp(lm.model(before[:, :1], lm.table()).log_softmax(-1)[0, 0, 0].item())
    assert sum(probabilities) + end == pytest.approx(1, rel=1e-5)


def test_words_that_nobody_knows_are_passed_over():
    lm = model()
    assert lm([["call", "<unk>", "now"]]) == pytest.approx(lm([["call", "now"]]))


def test_added_words_together_get_their_share():
    lm = model()
    lm.level(TEXT, 0.07)
    found = []
    for sentence in map(lm.numbers, TEXT):
        before, _ = padded([sentence])
        scores = lm.model(before, lm.vectors)[0]
        scores[:, 1 + len(TRAINED) :] += lm.offset
        found += scores.softmax(-1)[:, 1 + len(TRAINED) :].sum(-1).tolist()
    assert len(found) == sum(len(s) + 1 for s in TEXT)
    assert sum(found) / len(found) == pytest.approx(0.07, rel=1e-3)


def test_a_word_is_expected_where_words_of_like_vectors_are():
    """Digits follow 'press', names follow 'call': so do a digit and a name that the text has not."""
    digits, names = [f"digit{n}" for n in range(8)], [f"name{n}" for n in range(8)]
    trained = ["press", "call", *digits[:-1], *names[:-1]]
    words = [*trained, digits[-1], names[-1]]
    generator = torch.Generator().manual_seed(0)
    centre = {kind: torch.randn(12, generator=generator) for kind in ("digit", "name", "press", "call")}
    vectors = torch.stack([centre[word.rstrip("0123456789")] + 0.5 * torch.randn(12, generator=generator) for word in words])
    text = [["press", digit] for digit in digits[:-1]] + [["call", name] for name in names[:-1]]
    lm = VectorLM(words, len(trained), vectors, 12, seed=0)
    assert lm.fit(text, text, epochs=60) < 12  # of a choice between 7 behind each of two
    lm.level(text, 0.1)
    right, wrong = lm([["press", "digit7"], ["call", "name7"]]), lm([["press", "name7"], ["call", "digit7"]])
    assert all(r > w + 1 for r, w in zip(right, wrong))


def test_training_again_gives_the_same_model_and_files_keep_it(tmp_path):
    made = [model() for _ in range(2)]
    found = [lm.fit(TEXT, TEXT[:2], epochs=3) for lm in made]
    assert found[0] == found[1] == pytest.approx(made[0].perplexity(TEXT[:2], closed=True))
    made[0].save(tmp_path / "lm.safetensors")
    fresh = model()
    fresh.load(tmp_path / "lm.safetensors")
    assert fresh(TEXT) == made[0](TEXT) == made[1](TEXT)


def test_vectors_are_of_the_words_and_made_alike_for_added_ones(tmp_path):
    path = tmp_path / "vectors.txt"
    rows = {word: torch.randn(4).tolist() for word in [*TRAINED, "seven"]}
    path.write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows.items()))
    config = SimpleNamespace(source="file", path=str(path), width=2)
    found = word_vectors(config, [*TRAINED, *ADDED], len(TRAINED), None)
    assert found.shape == (8, 2) and found[:6].abs().sum(1).min() > 0 and not found[6:].any()
    alone = word_vectors(config, TRAINED, len(TRAINED), None)
    torch.testing.assert_close(found[:5], alone)  # what is added changes nothing
    assert word_vectors(SimpleNamespace(source="learned"), TRAINED, 5, None) is None
    path.write_text("zermatt 1 2 3 4\n")
    config.path = str(path)
    with pytest.raises(UserError, match="has none of the 5 words"):
        word_vectors(config, TRAINED, 5, None)
