"""The front end whisper on real speech: frames, independence of the batch, long recordings, and what it refuses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import yaml
from lhotse import CutSet
from lhotse.utils import compute_num_frames
from safetensors.numpy import load_file

from utils.core.errors import UserError
from utils.core.files import write_json
from utils.features import front_end, front_ends, whisper_model
from utils.train.pretrained_layers import load_pretrained, make_front

ctranslate2 = pytest.importorskip("ctranslate2", reason="needs the package ctranslate2")


@pytest.fixture(scope="module")
def whisper(whisper_model):
    return front_ends.make(settings(whisper_model), 16000)


def settings(model, **changes):
    fixed = {"front_end": "whisper", "model": str(model), "compute_type": "int8", "layers": [-1], "frame_shift": 0.02}
    return SimpleNamespace(**{**fixed, **changes})


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


@pytest.mark.parametrize("layers", [[-1], [2]])
def test_shortest_audio(whisper_model, layers):
    whisper = front_ends.make(settings(whisper_model, layers=layers), 16000)
    for length in (1, 160, 320, 16000, 16001):
        features = whisper.extract([np.zeros((1, length), np.float32)])[0]
        assert features.shape == (compute_num_frames(length / 16000, 0.02, 16000), 384) and np.isfinite(features).all()


def test_the_last_hidden_state_is_what_ctranslate2_gives(whisper_model, speech):
    """Layer 4 of 4, after the final norm: torch with the weights of model.bin against CTranslate2's arithmetic in float32."""
    several = [samples(u) for _, u in sorted(speech.items())[:5]]
    states = front_ends.make(settings(whisper_model, layers=[4]), 16000)
    expected = front_ends.make(settings(whisper_model, compute_type="float32"), 16000).extract(several)
    for ours, theirs in zip(states.extract(several), expected):
        np.testing.assert_allclose(ours, theirs, atol=2e-3, rtol=1e-3)


@pytest.mark.slow
def test_upper_layers_go_on_where_the_stored_one_ends(whisper_model, speech, tmp_path):
    """What fine-tuning starts from: the pre-trained layers above the stored hidden state, in a padded batch."""
    wanted = settings(whisper_model, layers=[2, -1])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"features": {**vars(wanted), "layers": [2]}}))
    several = [samples(u) for _, u in sorted(speech.items())[:4]]
    both = front_ends.make(wanted, 16000)
    write_json(tmp_path / front_end.DESCRIPTION, {**both.description, "layers": [2]})
    upper, width = make_front(tmp_path, 384, True, 0.0)
    load_pretrained(upper, tmp_path)
    assert width == 384 and sorted({*upper.depths().values()}) == [1, 2]
    states = [torch.from_numpy(one) for one in both.extract(several)]
    assert states[0].shape[1] == 2 * 384
    with torch.no_grad():  # windows end in silence, which attention sees in stage 1: so many frames are given here too
        for one in states:
            whole = upper(one[None, :, :384], torch.tensor([len(one)]))[0]
            assert cosines(whole.numpy(), one[:, 384:].numpy()).mean() > 0.95
    lengths = torch.tensor([len(one) for one in states])
    batch = torch.nn.utils.rnn.pad_sequence([one[:, :384] for one in states], batch_first=True)
    with torch.no_grad():
        alone, together = upper(states[0][None, :, :384], lengths[:1])[0], upper(batch, lengths)[0, : lengths[0]]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("damage", ["cut", "version", "quantised"])
def test_a_model_whose_weights_cannot_be_read_for_its_hidden_states(whisper_model, tmp_path, damage):
    whole = (whisper_model / "model.bin").read_bytes()
    place = whole.index(b"encoder/conv2/weight") + 21 + 1 + 12  # after the name's zero, the rank, three dimensions
    quantised = whole[:place] + b"\1" + whole[place + 1 :]
    changed = {"cut": whole[: len(whole) // 2], "version": b"\x63" + whole[1:], "quantised": quantised}
    (tmp_path / "model.bin").write_bytes(changed[damage])
    (tmp_path / "config.json").write_text((whisper_model / "config.json").read_text())
    with pytest.raises(UserError, match=r"model.bin can't be read as weights in CTranslate2's format, version 6.*copy it again"):
        front_ends.make(settings(tmp_path, layers=[2]), 16000)


def test_hidden_states_that_there_are_not(whisper_model):
    with pytest.raises(UserError, match=r"features.layers=\[5\]: there are the hidden states 0 to 4"):
        front_ends.make(settings(whisper_model, layers=[5]), 16000)


def test_what_it_refuses(whisper_model, tmp_path):
    with pytest.raises(UserError, match=r"set features.frame_shift=0.02, not 0.01"):
        front_ends.make(settings(whisper_model, frame_shift=0.01), 16000)
    with pytest.raises(UserError, match=r"features.compute_type=int7: on cpu there are .*int8"):
        front_ends.make(settings(whisper_model, compute_type="int7"), 16000)
    with pytest.raises(UserError, match=r"features.model=\(empty\) is neither a folder .* nor a size: .*base"):
        front_ends.make(settings(""), 16000)
    with pytest.raises(UserError, match=r"features.model=/no/such is neither a folder"):
        front_ends.make(settings("/no/such"), 16000)
    with pytest.raises(UserError, match=r"has no model.bin and no config.json"):
        front_ends.make(settings(tmp_path), 16000)
    (tmp_path / "model.bin").write_bytes(b"nothing")
    (tmp_path / "config.json").write_text(json.dumps({"bos_token": "<s>"}))
    with pytest.raises(UserError, match=r"is a model of another kind"):
        front_ends.make(settings(tmp_path), 16000)
    (tmp_path / "config.json").write_text((whisper_model / "config.json").read_text())
    with pytest.raises(UserError, match=r"is not a Whisper model that CTranslate2 can read"):
        front_ends.make(settings(tmp_path), 16000).extract([np.zeros((1, 16000), np.float32)])
    if not ctranslate2.get_cuda_device_count():
        with pytest.raises(UserError, match=r"sees no GPU"):
            front_ends.make(settings(whisper_model), 16000, "cuda")


def test_a_size_that_cannot_be_downloaded_says_what_to_do(monkeypatch, tmp_path):
    import faster_whisper.utils

    def offline(*_, **__):
        raise FileNotFoundError("no snapshot on the disk") from ConnectionError("no route to host")  # as the hub's client does

    monkeypatch.setenv("NUPTSE_DOWNLOAD", str(tmp_path))
    monkeypatch.setattr(faster_whisper.utils, "download_model", offline)
    with pytest.raises(UserError, match=r"tiny can't be downloaded \(ConnectionError: no route to host\).*features.model=FOLDER"):
        whisper_model.whisper_folder("tiny", "features")


@pytest.mark.slow
def test_stage_1_with_whisper(kaldi_source, whisper_model, exp, run_stages):
    """All cuts have features of the encoder's width, statistics are written, and a second run does nothing."""
    command = [
        "--corpus",
        "kaldi_dir",
        "--recipe",
        "whisper_wordvec",
        "--set",
        f"data.source={kaldi_source}",
        "--set",
        f"features.model={whisper_model}",
    ]
    assert run_stages(*command, "--stop-stage", "1", "--nj", "2") == 0
    (made,) = exp.glob("kaldi_dir/features-*")
    cuts = list(CutSet.from_file(made / "cuts_train.jsonl.gz"))
    assert len(cuts) == 40 and {(c.num_features, c.frame_shift) for c in cuts} == {(384, 0.02)}
    x = np.concatenate([c.load_features() for c in cuts]).astype(np.float64)
    stats = load_file(str(made / "cmvn.safetensors"))
    np.testing.assert_allclose(stats["mean"], x.mean(0), atol=0.02)
    written = (made / "cuts_train.jsonl.gz").stat().st_mtime_ns
    assert run_stages(*command, "--stop-stage", "1") == 0 and (made / "cuts_train.jsonl.gz").stat().st_mtime_ns == written
