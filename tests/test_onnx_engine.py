"""The engine without torch and k2: its features, its resampling, its search, and its words are those of the stages."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from utils.bundle.native_features import NativeFeatures
from utils.bundle.resampling import resample
from utils.core.errors import UserError
from utils.features.fbank import FbankFrontEnd

FBANK = dict(
    front_end="fbank",
    num_mel_bins=80,
    frame_length=0.025,
    frame_shift=0.01,
    low_freq=20.0,
    high_freq=-400.0,
    preemphasis=0.97,
    window="povey",
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


def test_a_window_that_kaldi_defines_otherwise_is_refused():
    with pytest.raises(UserError, match="blackman.*--engine k2"):
        NativeFeatures(dict(FBANK, window="blackman"), 16000, 2**-5, {})


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (22050, 8000)])
def test_resampling_is_that_of_torchaudio(samples, rate, wanted):
    for length in (len(samples[0]), 1234, 1):
        one = samples[0][:length]
        want = torchaudio.functional.resample(torch.from_numpy(one)[None], rate, wanted)[0].numpy()
        got = resample(one, rate, wanted)
        assert got.shape == want.shape and np.abs(got - want).max() < 1e-4
