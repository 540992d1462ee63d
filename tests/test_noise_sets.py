"""MUSAN and RIRS_NOISES on mini trees in their official layouts: what augmentation gets of them, what is refused."""

import http.server
import re
import shutil
from functools import partial
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from lhotse import RecordingSet

from local.lhotse_corpora import archives
from steps import noises
from support import published
from support.published import Speech
from utils.audio.noises import noise_files, samples_of
from utils.features.augmentation import open_augmentation

SETTINGS = dict(noisy=1.0, snr=[5.0, 5.0], rooms=1.0, coded=0.0, volume=[0.0, 0.0])


@pytest.fixture
def trees(speech, tmp_path):
    """Both sets in one folder."""
    published.musan(tmp_path / "sets", Speech(speech))
    return published.rirs_noises(tmp_path / "sets", Speech(speech))


def prepared(name, tmp_path, *more):
    return noises.main([name, "--source", str(tmp_path / "sets"), "--out", str(tmp_path / name), *more])


def test_augmentation_takes_what_is_prepared(trees, speech, tmp_path, capsys):
    assert prepared("musan", tmp_path) == 0
    assert prepared("rirs_noises", tmp_path) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"--set augment.copies=1 --set augment.noise={tmp_path / 'musan' / 'noises'}"
    rooms = tmp_path / "rirs_noises" / "rooms"
    assert f"--set augment.impulse_responses={rooms}" in told[1]
    names = {path.stem for path in noise_files(tmp_path / "musan" / "noises")}
    assert len(names) == 12 and "music-fma-0001" in names and not any(name.startswith("speech") for name in names)
    found = {path.parent.name: sorted(p.stem for p in noise_files(path.parent)) for path in noise_files(tmp_path / "rirs_noises")}
    assert {kind: len(files) for kind, files in found.items()} == dict(iso_noise=1, point_noise=2, real_rir=3, sim_rir=6)
    assert "air_type1_air_binaural_office_0_1" in found["real_rir"]
    assert len(RecordingSet.from_file(tmp_path / "rirs_noises" / "sim_rir.jsonl.gz")) == 6
    settings = SimpleNamespace(noise=str(tmp_path / "musan" / "noises"), impulse_responses=str(rooms), **SETTINGS)
    sentence = samples_of(speech["conf-onlyperson"].audio, 16000)[None]
    copies = [open_augmentation(settings, 16000)(sentence, f"a_copy{n}") for n in range(3)]
    assert all(copy.shape == sentence.shape and copy.std() > 0 for copy in copies) and not np.allclose(copies[0], copies[1])


def test_a_part_is_chosen(trees, tmp_path):
    assert prepared("musan", tmp_path, "--parts", "speech") == 0
    assert sorted(path.name for path in (tmp_path / "musan").iterdir()) == ["noises", "speech.jsonl.gz"]


def test_a_part_of_a_copy_will_do(trees, tmp_path, caplog):
    (trees / "musan" / "music" / "fma" / "music-fma-0001.wav").unlink()  # which ANNOTATIONS names
    (trees / "musan" / "music" / "fma" / "._music-fma-0002.wav").write_bytes(b"of macOS")
    assert prepared("musan", tmp_path, "--parts", "music") == 0
    assert "MUSAN: music has 5 files in this copy, 660 as published" in caplog.text
    assert len(noise_files(tmp_path / "musan" / "noises")) == 5


def cut(path):
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("musan", lambda home: shutil.rmtree(home / "musan" / "noise"), r"musan/noise is missing; .*musan has music, speech"),
        (
            "musan",
            lambda home: [p.unlink() for p in (home / "musan" / "music").rglob("*.wav")],
            "music has no WAV file; unpack musan",
        ),
        (
            "musan",
            lambda home: cut(home / "musan" / "noise" / "free-sound" / "noise-free-sound-0001.wav"),
            "0001.wav: 2000 bytes are",
        ),
        ("musan", lambda home: shutil.rmtree(home), "sets is not a folder; name the folder musan"),
        ("rirs_noises", lambda home: shutil.rmtree(home / "RIRS_NOISES" / "simulated_rirs"), "simulated_rirs is missing"),
        (
            "rirs_noises",
            lambda home: (home / "RIRS_NOISES" / "pointsource_noises" / "noise-free-sound-0000.wav").write_bytes(b""),
            "0000.wav has no samples; get it again",
        ),
    ],
)
def test_a_damaged_copy_is_refused_and_leaves_nothing(name, change, said, trees, tmp_path, caplog):
    change(trees)
    assert prepared(name, tmp_path) == 2
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert re.search(said, message), message
    assert [path.name for path in tmp_path.iterdir() if path.name != "sets"] == []


def test_a_download_is_unpacked_and_used(trees, tmp_path, monkeypatch):
    (tmp_path / "server" / "28").mkdir(parents=True)
    shutil.make_archive(str(tmp_path / "server" / "28" / "rirs_noises"), "zip", trees, "RIRS_NOISES")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "server"))
    monkeypatch.setenv("NUPTSE_DOWNLOAD", str(tmp_path / "download"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(archives, "OPENSLR", f"http://127.0.0.1:{server.server_port}")
        assert noises.main(["rirs_noises", "--parts", "real_rir"]) == 0
        server.shutdown()
    rooms = noise_files(tmp_path / "download" / "rirs_noises" / "prepared" / "rooms")
    assert len(rooms) == 3 and max(soundfile.info(str(path)).channels for path in rooms) == 8
    assert noises.main(["rirs_noises"]) == 2  # never overwrites what is there
