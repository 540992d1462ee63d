"""Forced alignment, spans of words, and the contrastive loss between word vectors and segments of speech."""

import itertools
import math

import pytest
import torch

from support.training import options, trainer
from utils.core.frames import word_spans
from utils.nn.ctc import align
from utils.train.dataset import collate
from utils.train.grounding import contrast, joined, segments
from utils.vectors.wordvec import WordVectors

k2 = pytest.importorskip("k2")


def best_path(log_probs: torch.Tensor, target):
    """Where each symbol begins and ends on the best of all CTC paths, found by trying each."""
    best, frames = (-math.inf, None), len(log_probs)
    for path in itertools.product(range(log_probs.shape[1]), repeat=frames):
        runs = [(symbol, [t for t, _ in run]) for symbol, run in itertools.groupby(enumerate(path), lambda item: item[1])]
        said = [(symbol, times) for symbol, times in runs if symbol]
        if [symbol for symbol, _ in said] == list(target):
            score = sum(log_probs[t, symbol].item() for t, symbol in enumerate(path))
            best = max(best, (score, [(times[0], times[-1] + 1) for _, times in said]))
    return best[1]


@pytest.mark.parametrize("seed", range(4))
def test_alignment_is_the_best_path(seed):
    log_probs = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(seed)).mul(2).log_softmax(-1)
    lengths, targets = torch.tensor([5, 6, 4]), [[1, 2], [2, 2, 3], [3]]
    assert align(log_probs, lengths, targets) == [best_path(x[:n], t) for x, n, t in zip(log_probs, lengths, targets)]


def test_an_utterance_with_too_few_frames_has_no_alignment_and_others_keep_theirs():
    log_probs = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    none, some = align(log_probs, torch.tensor([2, 4]), [[1, 1], [1, 2]])
    assert none == [] and some == best_path(log_probs[1], [1, 2])


def test_words_meet_in_the_middle_and_long_pauses_belong_to_none():
    peaks = [(3, 4), (5, 6), (8, 9), (10, 12), (40, 41), (43, 44)]  # three words of two units
    assert word_spans(peaks, [2, 2, 2], 60) == [(0, 7), (7, 19), (33, 51)]
    assert word_spans([(0, 1)], [1], 2) == [(0, 2)]
    close = word_spans([(0, 1), (1, 2), (2, 3)], [1, 1, 1], 3)
    assert close == [(0, 1), (1, 2), (2, 3)]  # each has a frame


def test_segments_are_mean_directions_with_the_length_of_frames():
    frames = torch.nn.functional.normalize(torch.randn(2, 7, 5), dim=-1) * 15
    found = segments(frames, [[(0, 3), (3, 4)], [(2, 7)]])
    means = torch.stack((frames[0, :3].mean(0), frames[0, 3], frames[1, 2:7].mean(0)))
    torch.testing.assert_close(found, torch.nn.functional.normalize(means, dim=-1) * 15, rtol=1e-4, atol=1e-4)


def test_contrast_is_the_mean_of_both_cross_entropies_without_other_segments_of_the_word():
    generator = torch.Generator().manual_seed(0)
    said, vectors = torch.randn(4, 6, generator=generator), torch.randn(5, 6, generator=generator)
    targets, offsets = torch.tensor([2, 0, 2, 4]), torch.tensor([0.0, 3.0, 0.0, 1.0, 0.0])
    scores, expected = said @ vectors.T, 0.0
    for s, word in enumerate(targets.tolist()):
        expected -= (scores[s] + offsets).log_softmax(0)[word].item()
        rivals = [s, *(other for other in range(4) if targets[other] != word)]
        expected -= scores[rivals, word].log_softmax(0)[0].item()
    assert contrast(said, vectors, targets, offsets).item() == pytest.approx(expected / 8, rel=1e-5)


def test_neighbours_are_joined_in_pairs():
    spans, words = [[(0, 2), (2, 5), (6, 7)], [(1, 2)], [(0, 1), (1, 3)]], [[7, 8, 9], [7], [9, 7]]
    assert joined(spans, words, 0) == ([[(0, 5)], [], [(0, 3)]], [(7, 8), (9, 7)])
    assert joined(spans, words, 1) == ([[(2, 7)], [], []], [(8, 9)])


def test_a_joined_word_has_both_spellings_and_pronunciations():
    torch.manual_seed(0)
    letters = torch.tensor([[1, 2, 0, 0], [3, 1, 2, 0], [1, 2, 3, 1], [2, 0, 0, 0]])  # ab cab abca b
    phones = torch.tensor([[[1, 2, 0], [2, 0, 0]], [[3, 0, 0], [0, 0, 0]], [[1, 2, 3], [0, 0, 0]], [[4, 0, 0], [0, 0, 0]]])
    space = WordVectors({"letters": letters, "phones": phones, "meaning": torch.randn(4, 3), "known": torch.ones(4)}, 8).eval()
    found = space.joined(torch.tensor([0, 3]), torch.tensor([1, 0]))
    whole = torch.tensor([[1, 2, 3, 1, 2], [2, 1, 2, 0, 0]]), torch.tensor([[[1, 2, 3]], [[4, 1, 2]]])
    torch.testing.assert_close(found, space.compose(*whole, torch.zeros(2, 3), torch.zeros(2)))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["wordvec_hybrid", "wordvec_ctc"])
def test_spans_of_real_speech_are_in_order_and_kept_as_ctm(prepared, tmp_path, recipe):
    prepared.config.loss.grounding.weight, prepared.config.loss.grounding.joined = 0.5, 1.0
    prepared.config.model.subword_head = recipe == "wordvec_hybrid"
    made = trainer(prepared, tmp_path / "run", epochs=2)
    made.run()
    rows = [line.split() for line in (tmp_path / "run/train.ctm").read_text().splitlines()]
    for cut in made.train_cuts:
        mine = [(float(start), float(start) + float(seconds), word) for name, one, start, seconds, word in rows if name == cut.id]
        assert [word for _, _, word in mine] == [w for w in cut.supervisions[0].text.split() if w in made.lexicon.word_id]
        assert all(0 <= start < end < cut.duration + 0.1 for start, end, _ in mine)
        assert all(one[0] < two[0] and one[1] <= two[1] + 1e-6 for one, two in zip(mine, mine[1:]))
    steps = (tmp_path / "run/curves.jsonl").read_text().splitlines()
    with_it = ["grounding_loss" in step for step in steps if '"loss"' in step]
    assert not with_it[0] and with_it[-1]  # only after a share of the training


def test_grounding_trains_the_word_vectors_and_not_the_sub_word_head(prepared, tmp_path):
    made = trainer(prepared, tmp_path / "run")
    batch = collate(list(made.train_cuts)[:4], made.features, made.lexicon)
    made.model.eval()
    made.progress, grounding = 0.5, made.config.loss.grounding
    grounding.weight, grounding.begin = 0.0, 0.3
    alone, _ = made.losses(batch)
    grounding.weight = 2.0
    total, means = made.losses(batch)
    assert total.item() == pytest.approx(alone.item() + 2 * means["grounding"].item(), rel=1e-5)
    means["grounding"].backward()
    assert made.model.word.words.spelling.output.weight.grad.abs().sum() > 0
    assert made.model.subword.weight.grad is None  # the alignment has no gradient


def test_grounding_of_a_softmax_table_is_refused_before_anything_runs(kaldi_source, run_stages, exp, caplog, capfd):
    words = options(kaldi_source, "loss.grounding.weight=0.3")
    assert run_stages(*words, "--recipe", "word_ctc", "--stop-stage", "5") == 2 and not exp.exists()
    said = caplog.text + capfd.readouterr().err  # the driver runs in this process or in a new one
    assert "loss.grounding.weight=0.3 needs word vectors (model.word_head=vectors, not softmax)" in said
