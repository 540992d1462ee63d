"""N-grams of text of any size: what is counted on disk in little memory is right; interrupted counting goes on; bad text."""

import bz2
import errno
import gzip
import logging
import lzma
import math
import random
import shutil
import weakref
from collections import Counter

import numpy as np
import pytest

from steps import ngrams
from utils.core.errors import UserError
from utils.core.files import read_json
from utils.ngrams import estimating, kneser_ney, large_text, ngram, pruning, writing
from utils.ngrams.keys import Packing
from utils.ngrams.mixture import Mixture
from utils.ngrams.tables import Sorter, Table
from utils.text import normalise
from utils.text.text_files import BLOCK, TextFiles

LOG = logging.getLogger("nuptse.test")
LITTLE = 1000  # bytes of memory: runs of 1000 rows
WORDS = [f"{first}{last}" for first in "abcdefghij" for last in ("", "n", "rt", "y")]


def sentences(count=600, seed=3):
    draw = random.Random(seed)
    return [[draw.choice(WORDS[: draw.randint(1, len(WORDS))]) for _ in range(draw.randint(1, 14))] for _ in range(count)]


def written(path, text, packed=open):
    with packed(path, "wt", encoding="utf-8") as stream:
        stream.writelines(f"{' '.join(words)}\n" for words in text)
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("utils.text.text_files.BLOCK", 500)


def counts_of(paths, folder, order=3, words=WORDS, memory=LITTLE):
    return large_text.count_ngrams(TextFiles(paths), sorted(words), order, memory, folder, LOG)


def raw_counts(text):
    padded = (("<s>", *words, "</s>") for words in text)
    return Counter(t[i : i + n] for t in padded for n in (2, 3) for i in range(len(t) - n + 1))


def difference(one, other):
    assert one.logp.keys() == other.logp.keys() and one.backoff.keys() == other.backoff.keys()
    pairs = [(a[g], b[g]) for a, b in ((one.logp, other.logp), (one.backoff, other.backoff)) for g in a]
    return max(abs(a - b) for a, b in pairs)


@pytest.mark.parametrize("order, bits", [(1, 6), (3, 6), (5, 6), (3, 22), (5, 25)])  # the last two need 128 bits
def test_models_made_on_disk_in_little_memory_are_those_made_in_memory(tmp_path, small_blocks, monkeypatch, order, bits):
    text, listed = sentences(), sorted(WORDS)
    files = [written(tmp_path / "a.txt", text[:200]), written(tmp_path / "b.xz", text[200:400], lzma.open)]
    files += [written(tmp_path / "c", text[400:500], gzip.open), written(tmp_path / "d.bz2", text[500:], bz2.open)]
    monkeypatch.setattr(Packing, "of", lambda ids, order: Packing(max(bits, (ids - 1).bit_length()), order))
    counts = counts_of(files, tmp_path / "counts", order)
    assert counts.packing == Packing(bits, order) and counts.packing.width == (2 if bits > 20 else 1)
    assert counts.sentences == len(text) and counts.tokens == sum(len(words) + 1 for words in text)
    for n in range(1, order + 1):
        model = kneser_ney.estimate(counts, n, LITTLE, tmp_path / "counts")
        writing.write_arpa(model, listed, tmp_path / f"{n}.arpa", LITTLE, tmp_path / "counts")
        ngram.write_arpa(estimating.estimate(text, n), tmp_path / "memory.arpa")
        assert difference(ngram.read_arpa(tmp_path / f"{n}.arpa"), ngram.read_arpa(tmp_path / "memory.arpa")) < 1e-6


@pytest.mark.parametrize("least", [2, 4])
def test_every_context_sums_to_one_without_rare_ngrams(tmp_path, small_blocks, least):
    text = sentences()
    counts = counts_of([written(tmp_path / "a.txt", text)], tmp_path / "counts")
    model = kneser_ney.estimate(counts, 3, LITTLE, tmp_path / "counts", kneser_ney.Selection(least))
    made = estimating.in_memory(model, sorted(WORDS), LITTLE, tmp_path / "counts")[0]
    assert {g for g in made.logp if len(g) > 1} == {g for g, count in raw_counts(text).items() if count >= least}
    assert len(made.logp) < len(estimating.estimate(text, 3).logp)
    for context in [(), ("a", "never"), *made.backoff]:
        assert sum(10 ** made.word(context, w) for w in [*WORDS, "</s>"]) == pytest.approx(1.0, abs=1e-9)


def test_a_part_of_the_model_of_a_text_mixes_like_the_whole(tmp_path, small_blocks):
    text, draw, known = sentences(), random.Random(0), sorted(random.Random(0).sample(WORDS, 20))
    own_text = [[word for word in words[::-1] if word in known] for words in sentences(60, 4)]
    own = estimating.estimate([*own_text, known], 3)
    counts = counts_of([written(tmp_path / "a.txt", text)], tmp_path / "counts", words=known)
    dev = [*own_text[:20], *([word for word in words if draw.random() < 0.8] for words in text[:20])]  # with words that own lacks
    unknown = list(estimating.of_words(text, known))
    whole = Mixture(own, estimating.estimate(unknown, 3)).tuned(dev)
    needed = [*own.logp, *estimating.all_of(dev, 3)]
    limits, folder = estimating.Limits(3), tmp_path / "counts"
    part, often = estimating.part(counts, [*known, "<unk>"], 3, limits, needed, LITTLE, folder)
    assert len(part.logp) < len(whole.other.logp)
    mixed = Mixture(own, part).tuned(dev)
    assert 0.05 < mixed.weight < 0.95 and mixed.weight == pytest.approx(whole.weight, abs=1e-9)
    raw = Counter(
        tuple(t[i : i + n]) for t in (["<s>", *s, "</s>"] for s in unknown) for n in (2, 3) for i in range(len(t) - n + 1)
    )
    assert difference(mixed.static(often), whole.static({g for g in whole.other.logp if len(g) == 1 or raw[g] >= 3})) < 1e-9
    shutil.rmtree(folder)
    counts, limits = counts_of([tmp_path / "a.txt"], folder, words=known), estimating.Limits(2, 1e-3)
    part, kept = estimating.part(counts, [*known, "<unk>"], 3, limits, needed, LITTLE, folder)
    assert {g for g in kept if len(g) > 1} < {g for g, count in raw.items() if count >= 2} and 20 < len(kept) < len(often)
    assert difference(Mixture(own, part, mixed.weight).static(kept), whole.static(kept)) < 1e-9


def test_interrupted_counting_goes_on_with_what_it_has(tmp_path, small_blocks, monkeypatch):
    text = sentences(900)
    files = [written(tmp_path / "a.txt", text[:450]), written(tmp_path / "b.gz", text[450:], gzip.open)]
    written_runs, spill = [], Sorter.spill

    def full(self):
        if len(written_runs) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written_runs.append(len(self.runs))
        spill(self)

    monkeypatch.setattr(Sorter, "spill", full)
    with pytest.raises(UserError, match="counts is full; free space.*the same command goes on"):
        counts_of(files, tmp_path / "counts")
    assert len(list((tmp_path / "counts").glob("run-*"))) == 3
    written_runs[:] = [0]  # one more than before
    shutil.copytree(tmp_path / "counts" / "run-00002", tmp_path / "counts" / "run-00003")  # killed before it was noted
    monkeypatch.setattr(Sorter, "spill", lambda self: (written_runs.append(len(self.runs)), spill(self)))
    model = kneser_ney.estimate(counts_of(files, tmp_path / "counts"), 3, LITTLE, tmp_path / "counts")
    assert written_runs[1] == 3  # the first of the second attempt
    assert difference(estimating.in_memory(model, sorted(WORDS), LITTLE)[0], estimating.estimate(text, 3)) < 1e-9
    written(files[0], text[:449])  # another text: counted anew
    assert counts_of(files, tmp_path / "counts").sentences == len(text) - 1


def test_the_disk_that_is_needed_is_named_before_counting(tmp_path, monkeypatch, caplog):
    path = written(tmp_path / "a.txt", sentences())
    with caplog.at_level(logging.INFO):
        counts_of([path], tmp_path / "counts")
    assert "counting needs up to" in caplog.text and "free at" in caplog.text
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("", (), {"free": 1000})())
    with pytest.raises(UserError, match="needs up to .* GB on the disk, and .*free space, choose a folder"):
        counts_of([path], tmp_path / "other")


def test_a_line_of_a_million_words_is_a_sentence(tmp_path):
    path = written(tmp_path / "a.txt", [["a", "b"] * 500_000, [], ["b"]])
    assert path.stat().st_size < BLOCK
    counts = counts_of([path], tmp_path / "counts", 2)
    assert (counts.sentences, counts.tokens) == (2, 1_000_003)
    assert 10 ** estimating.in_memory(kneser_ney.estimate(counts, 2, 1 << 20), sorted(WORDS), 1 << 20)[0].word(("a",), "b") > 0.99


@pytest.mark.parametrize(
    "text, error",
    [
        (b"", "there is no text in .*a.txt"),
        (b"\n \n\n", "there is no text in .*a.txt"),
        (b"a b\n" * 300 + b"a \xe9t\xe9 b\na\n", r"a.txt, line 301: not UTF-8 \(byte 3"),
        (b"a b\nb <s> a\n", r"a.txt, line 2: the word <s> marks the ends"),
        (b"PK\3\4\x14\0", "a.txt is a ZIP archive"),
        (gzip.compress(b"a b\n" * 1000, mtime=0)[:-20], "a.txt can't be read"),
        (lzma.compress(b"a b\n" * 1000)[:-20], "a.txt can't be read"),
        (b"a" * 40_000, "a.txt, line 1 is longer than"),
    ],
    ids=["empty", "empty lines", "latin-1", "mark", "zip", "cut gzip", "cut xz", "long line"],  # the same in every process
)
def test_bad_text_is_named(tmp_path, small_blocks, monkeypatch, text, error):
    monkeypatch.setattr("utils.text.text_files.LONGEST_LINE", 30_000)
    (tmp_path / "a.txt").write_bytes(text)
    with pytest.raises(UserError, match=error):
        counts_of([tmp_path / "a.txt"], tmp_path / "counts")


def test_the_most_frequent_words_of_a_text_are_found_in_little_memory(tmp_path, small_blocks):
    draw = random.Random(5)
    text = [[f"w{int(draw.paretovariate(0.3))}" for _ in range(20)] for _ in range(800)]
    files, counted = TextFiles([written(tmp_path / "a.txt", text)]), Counter(word for words in text for word in words)
    found = dict(large_text.count_words(files, LITTLE, tmp_path / "words"))
    assert found == counted and list(found) == sorted(counted) and len(counted) > 2 * 1000  # of which memory has 1000
    assert not list((tmp_path / "words").iterdir())
    best = large_text.most_frequent(found.items(), 100)
    assert best == sorted(sorted(counted, key=lambda word: (-counted[word], word))[:100])


def test_the_state_says_how_far_counting_is(tmp_path, small_blocks):
    path = written(tmp_path / "a.txt", sentences())
    counts_of([path], tmp_path / "counts")
    assert read_json(tmp_path / "counts" / "state.json")["runs"] > 2
    assert math.isfinite(kneser_ney.discounts([5, 3, 2, 1])[0])


def test_pruning_by_entropy_removes_what_changes_the_perplexity_least(tmp_path, small_blocks):
    text = sentences()
    counts = counts_of([written(tmp_path / "a.txt", text)], tmp_path / "counts")
    whole = kneser_ney.estimate(counts, 3, LITTLE, tmp_path / "counts")

    def of(threshold):
        model = pruning.pruned(whole, threshold, LITTLE, tmp_path / "counts")
        return estimating.in_memory(model, sorted(WORDS), LITTLE, tmp_path / "counts")[0]

    made = {threshold: of(threshold) for threshold in (1e-12, 3e-4, 1e-3)}
    sizes = [len(model.logp) for model in made.values()]
    assert sizes[0] > 1.5 * sizes[1] > 2 * sizes[2] > 2 * len(WORDS)
    perplexities = [model.perplexity(text) for model in made.values()]
    assert perplexities[0] < perplexities[1] < perplexities[2]
    for model in made.values():
        assert {g[:-1] for g in model.logp if len(g) > 1} == model.backoff.keys() <= model.logp.keys()
        for context in [(), ("a", "never"), *model.backoff]:
            assert sum(10 ** model.word(context, w) for w in [*WORDS, "</s>"]) == pytest.approx(1.0, abs=1e-9)


def test_the_loss_of_an_ngram_is_the_relative_entropy_that_pruning_it_causes(tmp_path):
    text = sentences(60)
    counts = counts_of([written(tmp_path / "a.txt", text)], tmp_path / "counts", 2)
    whole = kneser_ney.estimate(counts, 2, 1 << 20)
    model = estimating.in_memory(whole, sorted(WORDS), 1 << 20)[0]
    often = Counter(word for words in text for word in ("<s>", *words))
    expected = {}
    for h, w in (g for g in model.logp if len(g) == 2):
        q = {v: 10 ** model.word((h,), v) for v in (*WORDS, "</s>") if (v,) in model.logp}
        lower = {v: 10 ** model.word((), v) for v in q}
        kept = {v for v in q if (h, v) in model.logp} - {w}
        weight = (1 - sum(q[v] for v in kept)) / (1 - sum(lower[v] for v in kept))
        other = {v: q[v] if v in kept else weight * lower[v] for v in q}
        expected[h, w] = often[h] / sum(often.values()) * sum(q[v] * math.log(q[v] / other[v]) for v in q)
    for threshold in (1e-4, 1e-3):
        made = estimating.in_memory(pruning.pruned(whole, threshold, 1 << 20), sorted(WORDS), 1 << 20)[0]
        assert {g for g in made.logp if len(g) == 2} == {g for g, loss in expected.items() if math.expm1(loss) >= threshold}
        assert 0 < len(made.logp) < len(model.logp)


def test_the_command_writes_the_model_of_the_most_frequent_words(tmp_path, caplog):
    text = sentences(300)
    (tmp_path / "more").mkdir()
    written(tmp_path / "a.txt", [["A", *words] for words in text])  # --language makes it small
    written(tmp_path / "more" / "b.xz", text, lzma.open)
    out = tmp_path / "lm.arpa"
    given = [str(tmp_path / "a.txt"), str(tmp_path / "more"), "--out", str(out), "--words", "12", "--min-count", "1"]
    assert ngrams.main([*given, "--language", "en"]) == 0
    both = [*(["a", *words] for words in text), *text]
    often = Counter(word for words in both for word in words)
    kept = sorted(sorted(often, key=lambda word: (-often[word], word))[:12])
    assert (tmp_path / "lm.arpa.words").read_text().split() == kept and not (tmp_path / "lm.arpa.work").exists()
    assert difference(ngram.read_arpa(out), estimating.estimate(estimating.of_words(both, kept), 3)) < 1e-6
    assert ngrams.main([*given, "--language", "en", "--prune", "1e-3", "--order", "2"]) == 0
    assert 13 < len(ngram.read_arpa(out).logp) < len(estimating.estimate(estimating.of_words(both, kept), 2).logp)
    assert ngrams.main([str(tmp_path / "c.txt"), *given]) == 2 and "c.txt: there is no such file" in caplog.text
    (tmp_path / "list.txt").write_text("a b\n")
    for more, error in (
        (["--word-list", str(tmp_path / "list.txt")], "no list of words: it has several in a line"),
        (["--word-list", str(tmp_path / "none.txt")], "none.txt can't be read"),
    ):
        assert ngrams.main([*given[:4], *more]) == 2
        assert error in caplog.text


def test_lines_of_letters_are_normalised_as_others_are(tmp_path):
    for language in ("en", "fr", "zh"):
        assert normalise.leaves_letters(language, ("usual",))
        slow = normalise.normaliser("basic", language)
        lines = ["Call THE agent", "  two   blanks ", "", "I am xxx", "call 2 agents at 5pm, won't you?", "ÉTÉ nu"]
        (tmp_path / "a.txt").write_text("\n".join(lines))
        for letters in (False, True):
            found = "".join(text for text, _ in TextFiles([tmp_path / "a.txt"], slow, letters).blocks())
            assert [line.split() for line in found.splitlines()] == [slow(line).split() for line in lines]
    assert not normalise.leaves_letters("tr", ("usual",)) and not normalise.leaves_letters("en", ("usual", "chat"))


def test_sorted_runs_are_mapped_one_at_a_time(tmp_path, monkeypatch):
    mapped, keys = [], Table.keys

    def watched(table):
        assert not any(other() is not None for other in mapped)
        found = keys(table)
        mapped.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Table, "keys", watched)
    sorter = Sorter(1, {"raw": "<u4"}, LITTLE, tmp_path, summed=True)
    given = np.random.default_rng(0).integers(0, 1000, (5, 2000)).astype(np.uint64)
    for some in given:
        assert sorter.add(some[:, None], {})
    found = [(block[:, 0], columns["raw"]) for block, columns in sorter.blocks(1000)]
    values, times = np.unique(given, return_counts=True)
    assert len(mapped) > 5 and len(found) > 1
    np.testing.assert_array_equal(np.concatenate([one for one, _ in found]), values)
    np.testing.assert_array_equal(np.concatenate([one for _, one in found]), times)
