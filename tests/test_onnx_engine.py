"""The engine without torch and k2: its features, its resampling, its search, and its words are those of the stages."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from support.corpora import SENTENCES
from utils.audio.resampling import Resampling, resample
from utils.core.errors import UserError
from utils.decode import graph_search
from utils.decode.first_pass import best_paths, scaled
from utils.decode.graph_search import best_path, read_graph
from utils.features.fbank import FbankFrontEnd
from utils.features.native import NativeFeatures
from utils.lang import graphs
from utils.lang.lexicon import Lexicon, write_symbols
from utils.ngrams import estimating, ngram

FBANK = dict(
    front_end="fbank",
    num_mel_bins=80,
    frame_length=0.025,
    frame_shift=0.01,
    low_freq=20.0,
    high_freq=-400.0,
    preemphasis=0.97,
    window="povey",
    denoise="none",
)
OTHER = dict(FBANK, front_end="mfcc", num_mel_bins=23, frame_length=0.02, low_freq=60.0, preemphasis=0.9, window="hamming")


@pytest.fixture(scope="module")
def samples(speech):
    """Four prompts at 16 kHz, (T,) float32 each."""
    return [soundfile.read(speech[key].audio, dtype="float32")[0] for key in sorted(speech)[::200][:4]]


@pytest.mark.parametrize("settings", [FBANK, OTHER])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_features_are_those_of_lhotse_for_any_length(samples, settings, rate):
    theirs, ours = FbankFrontEnd(SimpleNamespace(**settings), rate), NativeFeatures(settings, rate, 2**-5, {})
    for one in samples:
        for length in (len(one), len(one) - 37, 2401, 399, 161, 140, 139, 70):
            (want,) = theirs.extract([one[None, :length]])
            got = ours.extract(one[:length])
            if isinstance(want, Exception):
                assert got is None
            else:
                assert got.shape == want.shape and np.abs(got - want).max() < 1e-3


def test_features_are_rounded_and_normalised_as_training_saw_them(samples):
    stats = {"mean": np.full(80, -9.0, np.float32), "std": np.full(80, 2.5, np.float32)}
    plain = NativeFeatures(FBANK, 16000, 2**-5, {}).extract(samples[0])
    got = NativeFeatures(FBANK, 16000, 2**-5, stats)(samples[0])
    assert got.dtype == np.float32 and np.abs(got * 2.5 - 9 - plain).max() < 2**-6 + 0.01
    assert NativeFeatures(FBANK, 16000, 2**-5, stats)(samples[0][:50]) is None


@pytest.mark.parametrize(("key", "value"), [("window", "blackman"), ("denoise", "noisereduce")])
def test_what_kaldi_native_fbank_lacks_is_refused(key, value):
    with pytest.raises(UserError, match=f"features.{key}={value}: .*--engine k2"):
        NativeFeatures({**FBANK, key: value}, 16000, 2**-5, {})


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (22050, 8000)])
def test_resampling_is_that_of_torchaudio(samples, rate, wanted):
    for length in (len(samples[0]), 1234, 1):
        one = samples[0][:length]
        want = torchaudio.functional.resample(torch.from_numpy(one)[None], rate, wanted)[0].numpy()
        got = resample(one, rate, wanted)
        assert got.shape == want.shape and np.abs(got - want).max() < 1e-4


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (11025, 16000), (48000, 8000), (16000, 16000)])
def test_resampling_bit_by_bit_gives_the_same_and_holds_little(samples, rate, wanted):
    random, one = np.random.default_rng(rate), samples[0][: len(samples[0]) - 5]
    resampling, got, start = Resampling(rate, wanted), [], 0
    while start < len(one):
        length = int(random.integers(1, 1500))
        got.append(resampling(one[start : start + length]))
        start += length
        assert len(resampling._held) < 3000
    got.append(resampling(one[:0], last=True))
    assert np.array_equal(np.concatenate(got), resample(one, rate, wanted))


@pytest.fixture(scope="module")
def compiled():
    """A lexicon whose words share beginnings and whole spellings, and k2's graphs of it: trigrams of units, bigrams of words."""
    pytest.importorskip("k2")
    words = sorted({word for sentence in SENTENCES for word in sentence})
    entries = [(word, tuple(word)) for word in words] + [(words[3], tuple(words[4])), (words[5], ("a", "a"))]
    lexicon = Lexicon(words, sorted({unit for _, units in entries for unit in units}), entries, None)
    with tempfile.TemporaryDirectory() as folder:
        symbols, arpa = Path(folder) / "words.txt", Path(folder) / "lm.arpa"
        write_symbols(symbols, ["<eps>", *words, "#0"])
        grammars = []
        for order in (3, 2):
            ngram.write_arpa(estimating.estimate(SENTENCES, order), arpa)
            grammars.append(graphs.grammar(arpa, symbols))
    return lexicon, {
        "lattice": graphs.compile_hlg(lexicon, grammars[0]),
        "word_lattice": graphs.compile_word_graph(grammars[1], len(words)),
    }


@pytest.mark.parametrize("name", ["lattice", "word_lattice"])
def test_the_search_finds_the_best_path_of_k2(compiled, name):
    import k2

    lexicon, found = compiled
    width = 1 + len(lexicon.tokens if name == "lattice" else lexicon.words)
    rng = np.random.default_rng(3)
    for lm_scale, frames in ((1.0, 40), (0.6, 90), (1.7, 7)):
        log_probs = torch.from_numpy(rng.normal(0, 3, (1, frames, width)).astype(np.float32)).log_softmax(-1)
        graph = scaled(found[name], lm_scale)
        dense = k2.DenseFsaVec(log_probs, torch.tensor([[0, 0, frames]], dtype=torch.int32))
        lattice = k2.intersect_dense(graph, dense, output_beam=1.0)
        best = k2.shortest_path(lattice, use_double_scores=True)
        path = best_path(log_probs[0].numpy(), read_graph(arrays_of(found[name]), lm_scale), 200.0, 10**6)
        assert path.labels.tolist() == best.labels[:-1].tolist()
        assert [word for word, _ in path.words] == best_paths(best)[0]
        assert path.score == pytest.approx(float(best.scores.double().sum()), abs=1e-3)
        pruned = best_path(log_probs[0].numpy(), read_graph(arrays_of(found[name]), lm_scale), 20.0, 3)
        assert pruned is None or pruned.score <= path.score


def test_a_path_that_the_beam_loses_is_found_with_a_wider_one(compiled):
    lexicon, found = compiled
    graph, repaired = read_graph(arrays_of(found["lattice"]), 1.0), 0
    for seed in range(30):
        log_probs = np.random.default_rng(seed).normal(0, 3, (12, 1 + len(lexicon.tokens)))
        narrow, path = graph_search.search(log_probs, graph, 3.0, 100), best_path(log_probs, graph, 3.0, 100)
        repaired += narrow is None and path is not None
    assert repaired
    unsaid = np.full((1, 1 + len(lexicon.tokens)), -1.0)
    unsaid[0, [0, *(lexicon.token_id[units[0]] for _, units in lexicon.entries if len(units) == 1)]] = -1e4
    assert best_path(unsaid, graph, 20.0, 10**6) is None  # neither a blank nor a whole word


def arrays_of(fsa):
    """A graph as stage 9 stores it."""
    labels = fsa.aux_labels
    values = {"aux_labels": labels} if torch.is_tensor(labels) else {"aux_labels.values": labels.values}
    if not torch.is_tensor(labels):
        values["aux_labels.row_splits"] = labels.shape.row_splits(1)
    values.update(arcs=fsa.arcs.values(), lm_scores=fsa.lm_scores)
    return {name: value.numpy() for name, value in values.items()}
