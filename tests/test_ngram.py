"""The Kneser-Ney estimator against a direct evaluation of the published formula, and the ARPA file."""

import math
import random
from collections import Counter

import pytest

from support.corpora import SENTENCES
from utils.core.errors import UserError
from utils.core.files import read_json
from utils.ngrams import estimating, ngram
from utils.ngrams.mixture import Mixture


def probability(word, context, order, text):
    """P(word | context) by recursion over Chen and Goodman (1998), section 3: no back-off form, no shared tables."""
    sentences = [("<s>", *s, "</s>") for s in text]

    def grams(n):
        return [s[i : i + n] for s in sentences for i in range(len(s) - n + 1)]

    def count(gram):
        if len(gram) == order or gram[0] == "<s>":
            return grams(len(gram)).count(gram)
        return len({g[0] for g in grams(len(gram) + 1) if g[1:] == gram})

    def discounts(n):
        counts = [count(g) for g in set(grams(n)) if g != ("<s>",)]
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        raw = [
            1 - 2 * y * n2 / n1 if n2 else -1,
            2 - 3 * y * n3 / n2 if n2 and n3 else -1,
            3 - 4 * y * n4 / n3 if n3 and n4 else -1,
        ]
        return [d if 0 < d < k else k / 2 for k, d in enumerate(raw, 1)]

    vocabulary = {w for s in sentences for w in s} - {"<s>"}

    def p(context):
        d = discounts(len(context) + 1)
        following = {w: count((*context, w)) for w in vocabulary}
        total = sum(following.values())
        lower = p(context[1:]) if context else {w: 1 / len(vocabulary) for w in vocabulary}
        if not total:
            return lower
        taken = {w: min(c, d[min(c, 3) - 1]) if c else 0.0 for w, c in following.items()}
        gamma = sum(taken.values()) / total
        return {w: (c - taken[w]) / total + gamma * lower[w] for w, c in following.items()}

    return p(context)[word]


@pytest.mark.parametrize("unknown", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_context_sums_to_one(order, unknown):
    model = estimating.estimate(SENTENCES, order)
    if unknown:
        model = model.with_words(["<unk>"], 0.05)
        assert model.word(("please", "enter"), "<unk>") <= model.word((), "<unk>") == pytest.approx(math.log10(0.05))
    words = [g[0] for g in model.logp if len(g) == 1 and g[0] != "<s>"]
    for context in [(), ("never", "heard"), *model.backoff]:
        assert sum(10 ** model.word(context, w) for w in words) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(
    "frequency, shares",
    [
        ({}, (1 / 3, 1 / 3, 1 / 3)),
        (
            {"nuptse": 3e-5, "lhotse": 1e-5},
            (3 / 6, 1 / 6, 2 / 6),
        ),  # a word whose frequency isn't known counts as the others' mean
    ],
)
def test_added_words_divide_their_share_by_frequency(frequency, shares):
    model = estimating.estimate(SENTENCES, 3).with_words(["nuptse", "lhotse", "zermatt"], 0.06, frequency)
    for word, share in zip(("nuptse", "lhotse", "zermatt"), shares):
        assert 10 ** model.word((), word) == pytest.approx(0.06 * share)
    words = [g[0] for g in model.logp if len(g) == 1 and g[0] != "<s>"]
    for context in model.backoff:
        assert sum(10 ** model.word(context, w) for w in words) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_added_words_occur_in_the_contexts_of_the_words_that_they_are_like(order):
    plain = estimating.estimate(SENTENCES, order)
    like = {"nuptse": {"the": 0.5, "please": 0.5}, "lhotse": {"the": 1.0}}
    model = plain.with_words(["nuptse", "lhotse", "zermatt"], 0.06, {}, like)
    words = [g[0] for g in model.logp if len(g) == 1 and g[0] != "<s>"]
    for context in [(), ("never", "heard"), ("enter", "nuptse"), ("nuptse", "please"), *model.backoff]:
        assert sum(10 ** model.word(context, w) for w in words) == pytest.approx(1.0, abs=1e-9)
    assert 10 ** model.word((), "zermatt") == pytest.approx(0.02)
    for context in (
        (),
        ("enter",),
        ("followed", "by"),
    ):  # in every context lhotse gets the same share of the probability of "the"
        rate = 10 ** (model.word(context, "lhotse") - model.word(context, "the"))
        assert rate == pytest.approx(10 ** (model.word((), "lhotse") - model.word((), "the")))
        if order > 1 and context:
            assert model.word(context, "lhotse") > model.word((), "lhotse")
    if order > 1:  # what follows "the" follows lhotse
        for last in words:
            assert model.word(("lhotse",), last) == pytest.approx(model.word(("the",), last))
        half = (10 ** model.word((other,), "enter") / 2 for other in ("the", "please"))
        assert 10 ** model.word(("nuptse",), "enter") == pytest.approx(sum(half))


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 2, 3])
def test_agrees_with_the_formula(order):
    model = estimating.estimate(SENTENCES, order)
    draw = random.Random(order)
    words = sorted({w for s in SENTENCES for w in s}) + ["</s>"]
    seen = [("<s>", *s, "</s>") for s in SENTENCES]
    for _ in range(12):
        sentence = draw.choice(seen)
        end = draw.randrange(order, len(sentence))
        context = tuple(sentence[end - order + 1 : end])
        for word in (sentence[end], draw.choice(words)):
            assert 10 ** model.word(context, word) == pytest.approx(probability(word, context, order, SENTENCES), rel=1e-9)


def test_a_longer_context_explains_the_text_better():
    perplexities = [estimating.estimate(SENTENCES, order).perplexity(SENTENCES) for order in (1, 2, 3)]
    assert len({w for s in SENTENCES for w in s}) > perplexities[0] > perplexities[1] > perplexities[2] > 1


def test_two_words_are_enough():
    model = estimating.estimate([["yes", "no"], ["yes", "yes"]], 3)
    assert sum(10 ** model.word(("<s>", "yes"), w) for w in ("yes", "no", "</s>")) == pytest.approx(1.0)
    assert estimating.estimate([["yes"]], 2).sentence(["yes"]) < 0


def test_perplexity_skips_unknown_words():
    model = estimating.estimate(SENTENCES, 3)
    assert math.isfinite(model.perplexity([["please", "enter", "xyzzy", "now"]]))


def test_arpa_round_trip(tmp_path):
    model = estimating.estimate(SENTENCES, 3)
    ngram.write_arpa(model, tmp_path / "a.arpa")
    again = ngram.read_arpa(tmp_path / "a.arpa")
    assert again.order == 3 and set(again.logp) == set(model.logp) and set(again.backoff) == set(model.backoff)
    assert again.sentence(SENTENCES[0]) == pytest.approx(model.sentence(SENTENCES[0]), abs=1e-5)
    ngram.write_arpa(estimating.estimate(list(reversed(SENTENCES)), 3), tmp_path / "b.arpa")
    assert (tmp_path / "a.arpa").read_bytes() == (tmp_path / "b.arpa").read_bytes()


def test_bad_input_is_named(tmp_path):
    with pytest.raises(UserError, match="no text"):
        estimating.estimate([], 2)
    with pytest.raises(UserError, match="order"):
        estimating.estimate(SENTENCES, 0)
    (tmp_path / "bad.arpa").write_text("\\data\\\nngram 1=1\n\n\\1-grams:\n-1.0 one two three\n")
    with pytest.raises(UserError, match="line 5"):
        ngram.read_arpa(tmp_path / "bad.arpa")


MORE = [
    ["call", "the", "agent", "again"],
    ["please", "call", "again", "now"],
    ["enter", "the", "zermatt", "number"],
    ["again"],
] * 2


def grams(words, order):
    tokens = ("<s>", *words, "</s>")
    return [tokens[i : i + n] for n in range(1, order + 1) for i in range(len(tokens) - n + 1)]


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("least", [1, 3])
def test_a_mixture_is_word_by_word_and_every_context_sums_to_one(order, least):
    own = estimating.estimate(SENTENCES, order)
    words = [g[0] for g in own.logp if len(g) == 1 and g[0] not in ("<s>", "</s>")]
    text = list(estimating.of_words(MORE, words))
    other = estimating.estimate(text, order)
    assert ("<unk>",) in other.logp
    often = Counter(g for s in text for g in grams(s, order))
    listed = {g for g in other.logp if len(g) == 1 or often[g] >= least}
    made = Mixture(own, other, 0.3).static(listed)
    assert {g for g in made.logp if len(g) == 1} == {g for g in own.logp if len(g) == 1} and own.logp.keys() <= made.logp.keys()
    assert any(g in made.logp and g not in own.logp for g in other.logp) == (order > 1 and least == 1)
    for gram, logp in made.logp.items():
        if gram == ("<s>",):
            continue
        context, word = gram[:-1], gram[-1]
        theirs = 10 ** other.word(context, word) / (1 - 10 ** other.word(context, "<unk>")) if (word,) in other.logp else 0.0
        assert 10**logp == pytest.approx(0.7 * 10 ** own.word(context, word) + 0.3 * theirs)
    for context in [(), ("never", "heard"), *made.backoff]:
        assert sum(10 ** made.word(context, w) for w in (*words, "</s>")) == pytest.approx(1.0, abs=1e-9)


def test_the_weight_of_a_mixture_maximises_the_likelihood():
    own = estimating.estimate(SENTENCES, 2)
    words = {g[0] for g in own.logp}
    text = list(estimating.of_words(MORE, words))
    mixture, dev = Mixture(own, estimating.estimate(text, 2)), [SENTENCES[0], [w for w in MORE[1] if w in words], SENTENCES[1]]

    def perplexity(weight):
        return Mixture(own, mixture.other, weight).static(mixture.other.logp).perplexity(dev)

    found = mixture.tuned(dev).weight
    assert 0.02 < found < 0.98
    assert perplexity(found) < min(perplexity(found - 0.02), perplexity(found + 0.02))


@pytest.mark.slow
def test_more_text_for_the_language_models_of_a_corpus(kaldi_source, run_stages, exp, tmp_path, caplog, capfd):
    more = tmp_path / "more"
    more.mkdir()
    said = ["the leader is invalid", "your conference is full", "users are muted by the leader"]
    table = kaldi_source / "dev" / "text"  # the audio does not match, which stage 2 does not notice
    names = [line.split()[0] for line in table.read_text().splitlines()]
    table.write_text("".join(f"{name} {said[n % 3]}\n" for n, name in enumerate(names)))
    (more / "prompts.txt").write_text("".join(f"{line.upper()}!\nzermatt {line}\n" for line in said * 3))
    words = ["--corpus", "kaldi_dir", "--nj", "1", "--threads", "1", "--stop-stage", "lang"]
    for item in ("data.module=kaldi_dir", f"data.source={kaldi_source}", "lang.units=char", "features.speed_perturb=[]"):
        words += ["--set", item]
    assert run_stages(*words) == 0 and run_stages(*words, "--set", f"lang.text={more}") == 0
    folders = {p.name: p for p in exp.glob("kaldi_dir/lang-????????")}
    (mixed,) = (p for p in folders.values() if (p / "text-3gram.json").exists())
    (alone,) = (p for p in folders.values() if p != mixed)
    about = read_json(mixed / "text-3gram.json")
    assert about["weight"] > 0.3 and about["dev_perplexity"] < 0.7 * about["dev_perplexity_without"]
    assert read_json(mixed / "summary.json")["dev_perplexity"] == pytest.approx(about["dev_perplexity"], rel=1e-3)
    assert (mixed / "words.txt").read_bytes() == (alone / "words.txt").read_bytes()  # no new words by it
    assert "<unk>" not in (mixed / "lm.arpa").read_text() and (mixed / "text-2gram.json").exists()
    (more / "prompts.txt").write_text("ни слова\n")
    assert run_stages(*words, "--set", f"lang.text={more}") == 1  # another text, another lang folder
    (log,) = exp.glob("kaldi_dir/lang-*.partial/log.txt")
    assert "has none of the training text's" in log.read_text()
    assert run_stages(*words, "--set", "lang.text=/no/text") == 2
    assert (
        "lang.text=/no/text: there is no such file or folder" in capfd.readouterr().err + caplog.text
    )  # the one or the other: see conftest.drive
