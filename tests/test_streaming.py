"""Causal encoders: what a frame sees, chunk by chunk as at once, in torch and in ONNX; features of streams."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from utils.bundle.export import TOLERANCE, Flat, difference, export_onnx, export_streaming, streaming_difference
from utils.bundle.onnx_files import quantise
from utils.bundle.streaming_onnx import streaming_network
from utils.core.errors import UserError
from utils.features.fbank import FbankFrontEnd
from utils.features.native import NativeFeatures
from utils.nn.model import build
from utils.nn.streaming_model import torch_network
from utils.vectors.table import spelling

WORDS = ["zero", "one", "two", "to"]
FBANK = dict(front_end="fbank", num_mel_bins=80, frame_length=0.025, frame_shift=0.01, low_freq=20.0, high_freq=-400.0)
FBANK.update(preemphasis=0.97, window="povey", denoise="none")
STATISTICS = {"mean": np.full(80, -9.0, np.float32), "std": np.full(80, 2.5, np.float32)}


def make(**changes):
    """A model with random weights: its chunks are 320 ms in evaluation, 4 frames of the word head."""
    torch.manual_seed(0)
    config = dict(dim=32, fine_layers=2, coarse_layers=2, heads=2, kernel=15, dropout=0.1, subword_head=True, word_head="vectors")
    config.update(subword_subsampling=4, word_subsampling=8, causal=True, chunks=[0.32, 0.16, 0.64, 0], left_context=0.48)
    return build(SimpleNamespace(**{**config, **changes}), 80, 30, len(WORDS), {"letters": spelling(WORDS)[0]}, 16)


@pytest.fixture(scope="module")
def samples(speech):
    """Three prompts at 16 kHz, the longest first, (S,) float32 each."""
    read = [soundfile.read(one.audio, dtype="float32")[0] for one in speech.values()]
    return sorted(read, key=len)[::-15][:3]


def native() -> NativeFeatures:
    return NativeFeatures(FBANK, 16000, 2**-5, STATISTICS)


@pytest.fixture(scope="module")
def features(samples):
    """Normalised features of the prompts, (T, 80) each."""
    return [native()(one) for one in samples]


def at_once(model, features, chunk):
    """Outputs of the prompts in one padded batch, by field, without padding."""
    model.encoder.chunk = chunk
    lengths = torch.tensor([len(x) for x in features])
    with torch.no_grad():
        out = model.eval()(torch.nn.utils.rnn.pad_sequence([torch.from_numpy(x) for x in features], batch_first=True), lengths)
    frames = {"subword": out.subword_lengths, "frames": out.word_lengths, "blank": out.word_lengths}
    return [{f: getattr(out, f)[n, : counts[n]].numpy() for f, counts in frames.items()} for n in range(len(features))]


def streamed(network, features, frames, begins):
    """The same in chunks of `frames`; stream n begins in round begins[n], so the streams of a call are of different ages."""
    caches, said = [network.start() for _ in features], [[] for _ in features]
    for turn in range(max(begins) + max(map(len, features)) // frames + 1):
        places = [(turn - begin) * frames for begin in begins]
        now = [n for n, place in enumerate(places) if 0 <= place < len(features[n])]
        if now:
            outputs, new = network([features[n][places[n] :][:frames] for n in now], [caches[n] for n in now])
            for n, output, cache in zip(now, outputs, new):
                said[n].append(output)
                caches[n] = cache
    return [{f: np.concatenate([getattr(one, f) for one in own]) for f in ("subword", "frames", "blank")} for own in said]


@pytest.mark.parametrize("seed", range(3))
def test_features_of_a_stream_are_those_of_the_whole_for_any_portions(samples, seed):
    random = np.random.default_rng(seed)
    plain = NativeFeatures(FBANK, 16000, 2**-5, {})
    for one in [samples[seed], samples[seed][:161], samples[seed][:70]]:
        stream, raw = native().stream(), plain.stream()
        raw._seen = lambda features: features  # before rounding
        edges = np.sort(random.integers(0, len(one) + 1, random.integers(0, 60)))
        portions = np.split(one, edges)  # some of them empty
        got = np.concatenate([*map(stream.accept, portions), stream.finish()])
        exact = np.concatenate([*map(raw.accept, portions), raw.finish()])
        want = native()(one)
        (theirs,) = FbankFrontEnd(SimpleNamespace(**FBANK), 16000).extract([one[None]])
        if want is None:
            assert not len(got) and isinstance(theirs, Exception)
            continue
        assert np.array_equal(got, want)
        apart = np.abs(exact - theirs)  # close to the floor of the energies (-15.9), single values differ by float32's precision
        assert (
            exact.shape == theirs.shape
            and apart[theirs > -11].max() < 1e-3
            and apart.max() < 5e-3
            and (apart > 1e-3).mean() < 1e-3
        )


def test_a_frame_comes_half_a_window_after_its_middle(samples):
    stream = native().stream()
    assert len(stream.accept(samples[0][: 80 + 200 - 1])) == 0 and len(stream.accept(samples[0][279:281])) == 1


@pytest.mark.parametrize("chunk, strides", [(2, (4, 8)), (5, (4, 8)), (4, (8, 24)), (3, (2, 8)), (4, (4, 4))])
def test_chunk_by_chunk_the_network_says_what_it_says_of_the_whole(features, chunk, strides):
    model = make(subword_subsampling=strides[0], word_subsampling=strides[1])
    wanted = at_once(model, features, chunk)
    got = streamed(torch_network(model), features, chunk * strides[1], [0, 3, 1])
    for want, have in zip(wanted, got):
        for field, value in want.items():
            assert have[field].shape == value.shape and np.abs(have[field] - value).max() < 1e-4


def test_samples_in_random_portions_give_what_the_whole_recording_gives(samples, features):
    random, model = np.random.default_rng(7), make()
    network, stream = torch_network(model), native().stream()
    frames, caches, said = network.chunk_frames(0.32), network.start(), []
    wanted, heard, waiting = at_once(model, features, 4)[0], 0, np.zeros((0, 80), np.float32)
    while heard < len(samples[0]):
        step = int(random.integers(1, 3000))
        waiting = np.concatenate((waiting, stream.accept(samples[0][heard : heard + step])))
        heard += step
        while len(waiting) >= frames:
            (output,), (caches,) = network([waiting[:frames]], [caches])
            waiting = waiting[frames:]
            said.append(output)
    waiting = np.concatenate((waiting, stream.finish()))
    for start in range(0, len(waiting), frames):
        (output,), (caches,) = network([waiting[start : start + frames]], [caches])
        said.append(output)
    for field, value in wanted.items():
        assert np.abs(np.concatenate([getattr(one, field) for one in said]) - value).max() < 1e-4


@pytest.mark.parametrize("chunk", [2, 4])
def test_no_frame_sees_beyond_its_chunk_or_before_its_left_context(features, chunk):
    model = make(fine_layers=1, coarse_layers=1, kernel=5)
    x, first = features[0], 10 * chunk  # frame of the word head with which the future begins
    before = at_once(model, [x], chunk)[0]
    changed = x.copy()
    changed[first * 8 :] += np.random.default_rng(0).normal(0, 3, changed[first * 8 :].shape).astype(np.float32)
    after = at_once(model, [changed], chunk)[0]
    for field, rate in (("subword", 2), ("frames", 1), ("blank", 1)):
        assert np.abs(before[field][: first * rate] - after[field][: first * rate]).max() == 0
        assert np.abs(before[field][first * rate :] - after[field][first * rate :]).max() > 0.01
    old = x.copy()  # what is longer ago than both layers reach: 6 frames left of the chunk each, and the convolutions
    old[: (first - chunk - 16) * 8] = 0
    after = at_once(model, [old], chunk)[0]
    assert np.abs(before["subword"][first * 2 :] - after["subword"][first * 2 :]).max() < 1e-6


def test_with_full_context_a_causal_encoder_sees_all(features):
    model = make()
    changed = features[0].copy()
    changed[-40:] += 5
    before, after = (at_once(model, [x], 0)[0]["subword"] for x in (features[0], changed))
    assert np.abs(before - after)[:4].max() > 0


def test_chunks_of_training_are_drawn_and_follow_the_seed(features):
    model = make(dropout=0.0).train()
    x = torch.from_numpy(features[0])[None]

    def said(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return model(x, torch.tensor([x.shape[1]])).subword.sum().item()

    drawn = [said(seed) for seed in range(12)]
    assert len(set(drawn)) == 4 and drawn == [said(seed) for seed in range(12)]


def test_caches_do_not_grow_and_chunks_of_different_lengths_share_a_call(features):
    model = make()
    network = torch_network(model)
    whole = streamed(network, features[:1], 16, [0])[0]
    other = network.start()
    sizes = {name: value.shape for name, value in other.items()}
    caches, said = network.start(), []
    for n, start in enumerate(range(0, len(features[0]), 16)):
        more = features[1][n * 8 : n * 8 + 8 * (1 + n % 3)]
        (output, _), (caches, other) = network([features[0][start : start + 16], more], [caches, other])
        said.append(output.subword)
        assert {name: value.shape for name, value in other.items()} == sizes
    assert np.abs(np.concatenate(said) - whole["subword"]).max() < 1e-4


def test_a_model_that_sees_whole_utterances_can_not_stream():
    with pytest.raises(UserError, match="model.causal=true"):
        torch_network(make(causal=False))


@pytest.mark.parametrize(
    "heads", [{}, {"word_head": "none", "kernel": 1}, {"subword_head": False, "fine_layers": 0, "left_context": 0.0}]
)
def test_the_streaming_network_in_onnx_says_what_torch_says_and_another_does_not(heads, tmp_path):
    model, path = make(**heads).eval(), tmp_path / "streaming.onnx"
    assert export_streaming(model, 80, path) <= TOLERANCE and model.encoder.chunk == 4
    with torch.no_grad():
        next(p for p in model.parameters() if p.dim() > 1).mul_(1.2)
    assert streaming_difference(model, 80, path.read_bytes()) > TOLERANCE
    quantise(path)
    network = streaming_network(path.read_bytes(), 8, 1)
    assert network.start().keys() == torch_network(model).start().keys()


def test_the_network_of_files_in_onnx_decodes_in_chunks_too(tmp_path):
    model, path = make().eval(), tmp_path / "model.onnx"
    model.encoder.chunk = 2
    assert export_onnx(model, 80, path) <= TOLERANCE
    model.encoder.chunk = 0
    assert difference(Flat(model), 80, path) > TOLERANCE
