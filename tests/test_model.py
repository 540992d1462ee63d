"""The network: output sizes, independence of padding, and what the word vectors are made of."""

from types import SimpleNamespace

import pytest
import torch

from utils.bundle.export import TOLERANCE, Flat, difference, export_onnx
from utils.core.frames import output_frames
from utils.nn.ctc import greedy
from utils.nn.model import build
from utils.train.objective import choose_words
from utils.train.optimiser import learning_rate
from utils.vectors.table import numbered, pronunciation, spelling
from utils.vectors.wordvec import WordVectors

WORDS = ["zero", "one", "two", "to", "seventeen", "a"]
CONFIG = SimpleNamespace(
    dim=32,
    fine_layers=1,
    coarse_layers=1,
    heads=2,
    kernel=7,
    dropout=0.1,
    subword_subsampling=4,
    word_subsampling=8,
    subword_head=True,
    word_head="vectors",
)


def make(**changes):
    torch.manual_seed(0)
    table = {"letters": spelling(WORDS)[0]}
    return build(SimpleNamespace(**{**vars(CONFIG), **changes}), 80, 30, len(WORDS), table, 16)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 100, 203])
def test_numbers_of_frames_are_those_that_the_audit_computes(frames):
    output = make().eval()(torch.randn(1, frames, 80), torch.tensor([frames]))
    assert output.subword.shape == (1, output_frames(frames, 4), 30) and output.subword_lengths.tolist() == [
        output_frames(frames, 4)
    ]
    assert output.frames.shape == (1, output_frames(frames, 8), 16) and output.word_lengths.tolist() == [output_frames(frames, 8)]


@pytest.mark.parametrize("fine, coarse", [(2, 8), (4, 4), (8, 24)])
def test_subsampling_is_as_configured(fine, coarse):
    output = make(subword_subsampling=fine, word_subsampling=coarse).eval()(torch.randn(1, 101, 80), torch.tensor([101]))
    assert output.subword.shape[1] == output_frames(101, fine) and output.frames.shape[1] == output_frames(101, coarse)


def test_an_utterance_gets_the_same_output_alone_and_padded_in_a_batch():
    model = make().eval()
    x = torch.randn(2, 150, 80)
    x[1, 61:] = 1e3  # padding must not matter
    with torch.no_grad():
        batch = model(x, torch.tensor([150, 61]))
        alone = model(x[1:, :61], torch.tensor([61]))
    torch.testing.assert_close(batch.subword[1, :16], alone.subword[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batch.frames[1, :8], alone.frames[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batch.blank[1, :8], alone.blank[0], rtol=1e-4, atol=1e-4)


def test_word_scores_stay_in_single_precision_under_autocast():
    model = make().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        frames, blank = model.word(torch.randn(1, 10, 32))  # the head only: norms of torch 1.13 lack bfloat16 on a CPU
    assert frames.dtype == blank.dtype == torch.float32
    torch.testing.assert_close(frames.norm(dim=-1), torch.full((1, 10), float(model.word.log_scale.exp())))


def test_word_vectors_have_unit_length_and_do_not_depend_on_other_words_of_the_batch():
    model = make().eval().word.words
    table = model(torch.arange(len(WORDS)))
    torch.testing.assert_close(table.norm(dim=1), torch.ones(len(WORDS)))
    torch.testing.assert_close(model(torch.tensor([3])), table[3:4], rtol=1e-5, atol=1e-6)


def test_a_word_of_unknown_meaning_gets_the_vector_of_its_spelling():
    table = {"letters": spelling(WORDS)[0], "meaning": torch.randn(6, 8), "known": torch.tensor([True] * 5 + [False])}
    both = WordVectors(table, 16).eval()
    before = both(torch.arange(6))
    both.vectors.mul_(-3)
    after = both(torch.arange(6))
    assert torch.equal(before[5], after[5]) and not torch.allclose(before[0], after[0])


def test_meaning_is_dropped_only_in_training():
    torch.manual_seed(0)
    table = {"letters": spelling(WORDS)[0], "meaning": torch.randn(6, 8), "known": torch.ones(6, dtype=torch.bool)}
    both = WordVectors(table, 16)
    whole = both.eval()(torch.arange(6), {"meaning": 0.5})
    assert torch.equal(whole, both(torch.arange(6)))
    dropped = both.train()(torch.arange(6), {"meaning": 1.0})
    spelled = WordVectors({"letters": table["letters"]}, 16)
    spelled.spelling.load_state_dict(both.spelling.state_dict())
    torch.testing.assert_close(dropped, spelled(torch.arange(6)))


PHONES = {"": [], "one": [["W"]], "two": [["T", "UW"], ["T"]], "long": [["T", "W", "UW"]]}


def parts():
    """Letters, and phones of words with no, one, two and one pronunciation."""
    return {
        "letters": numbered(["x", "one", "two", "long"], sorted("xonetwlg")),
        "phones": pronunciation(list(PHONES), PHONES)[0],
    }


def test_a_word_of_several_pronunciations_has_their_mean():
    torch.manual_seed(0)
    table = WordVectors({"phones": parts()["phones"]}, 16).eval()
    found = table(torch.arange(4))
    assert not found[0].any()  # no part is known
    two = table.pronunciation(torch.tensor([[1, 2], [1, 0]]))  # T UW, T
    torch.testing.assert_close(found[2], torch.nn.functional.normalize(two.mean(0), dim=-1))
    torch.testing.assert_close(found[3], torch.nn.functional.normalize(table.pronunciation(torch.tensor([[1, 3, 2]]))[0], dim=-1))


def test_no_word_loses_both_spelling_and_pronunciation():
    torch.manual_seed(0)
    table = WordVectors(parts(), 16).train()
    words = torch.tensor([3] * 400)
    alone = {
        name: WordVectors({kind: parts()[kind]}, 16) for name, kind in (("spelling", "letters"), ("pronunciation", "phones"))
    }
    for name, one in alone.items():
        getattr(one, name).load_state_dict(getattr(table, name).state_dict())
    found = table(words, {"spelling": 0.3, "pronunciation": 0.5})
    kinds = [
        found.isclose(vector, atol=1e-5).all(1).float().mean().item()
        for vector in (alone["pronunciation"](words[:1]), alone["spelling"](words[:1]), table(words[:1]))
    ]
    assert kinds[0] == pytest.approx(0.3, abs=0.08) and kinds[1] == pytest.approx(0.5, abs=0.08)
    assert kinds[2] == pytest.approx(1 - kinds[0] - kinds[1])


def test_the_softmax_control_has_no_spelling():
    model = make(word_head="softmax")
    assert not any("spelling" in name for name, _ in model.named_parameters())
    assert model.word.table(torch.tensor([1, 4]))[0].shape == (2, 16)


def test_negatives_are_sampled_and_targets_follow_them():
    torch.manual_seed(0)
    rows, targets, offsets = choose_words([[7, 3], [3]], vocabulary=50, negatives=10)
    assert len(rows) == 12 and len(set(rows.tolist())) == 12
    assert offsets[[t - 1 for t in targets[0]]].tolist() == [0, 0] and offsets.exp().sum().item() == pytest.approx(50)
    assert [[rows[t - 1].item() + 1 for t in target] for target in targets] == [[7, 3], [3]]
    rows, targets, offsets = choose_words([[7, 3], [3]], vocabulary=50, negatives=48)
    assert rows.tolist() == list(range(50)) and targets == [[7, 3], [3]] and not offsets.any()


def test_words_after_the_vocabulary_are_chosen_if_they_are_said_and_never_sampled():
    for negatives in (10, -1):
        rows, targets, offsets = choose_words([[7, 60], [55, 3]], vocabulary=50, negatives=negatives)
        assert [[rows[t - 1].item() + 1 for t in target] for target in targets] == [[7, 60], [55, 3]]
        assert sorted(rows[rows >= 50].tolist()) == [54, 59] and len(rows.unique()) == len(rows)
        assert not offsets[rows >= 50].any() and offsets[rows < 50].exp().sum().item() == pytest.approx(50)


def test_greedy_merges_repeats_and_removes_blanks():
    best = torch.tensor([[0, 3, 3, 0, 3, 1, 1, 2, 2, 2]])
    log_probs = torch.nn.functional.one_hot(best, 4).float()
    assert greedy(log_probs, torch.tensor([10])) == [[3, 3, 1, 2]]
    assert greedy(log_probs, torch.tensor([6])) == [[3, 3, 1]]


def test_learning_rate_rises_and_falls():
    settings = SimpleNamespace(learning_rate=1e-3, warmup=0.1)
    rates = [learning_rate(settings, p / 100) for p in range(100)]
    assert max(rates) == pytest.approx(1e-3) and rates.index(max(rates)) == 10
    assert rates[0] < 2e-5 and rates[99] < 2e-5


@pytest.mark.parametrize("word_head, subword_head", [("vectors", True), ("none", True), ("vectors", False)])
def test_the_exported_network_gives_the_same_output_and_another_network_does_not(word_head, subword_head, tmp_path):
    model, path = make(word_head=word_head, subword_head=subword_head).eval(), tmp_path / "model.onnx"
    assert export_onnx(model, 80, path) <= TOLERANCE
    with torch.no_grad():
        next(p for p in model.parameters() if p.dim() > 1).mul_(1.1)
    assert difference(Flat(model), 80, path) > TOLERANCE
