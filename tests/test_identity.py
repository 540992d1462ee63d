"""What belongs to what: audio to its text, a channel to its speaker, outputs to the files behind them, records to their data."""

import gzip
import json
import logging
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from local import kaldi_dir, yesno
from support.corpora import data_config
from support.fabricate import record
from utils.core.errors import UserError
from utils.core.files import read_json, write_json
from utils.core.inputs import NAME, fingerprint, first_change, same_inputs, write_inputs
from utils.core.twins import take, twin
from utils.corpus import kaldi, manifests, pipes
from utils.corpus.cuts import read_cuts
from utils.pipeline.contract import settings
from utils.pipeline.stages import UNTRAINED
from utils.results.records import identity
from utils.results.store import publish, read_all, read_file

LOG = logging.getLogger("nuptse.data")
RATE = 16000


def voice(pitch: float, seconds: float = 1.0) -> np.ndarray:
    """(T,) float64: a tone that stands for a speaker."""
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE)


def write_split(folder: Path, waves: dict, texts: dict, **tables: str) -> None:
    """A Kaldi data directory with a speaker an utterance."""
    folder.mkdir(parents=True)
    rows = {"wav.scp": waves, "text": texts, "utt2spk": {name: name for name in texts}}
    for name, lines in rows.items():
        (folder / name).write_text("".join(f"{key} {value}\n" for key, value in lines.items()), encoding="utf-8")
    for name, text in tables.items():
        (folder / name).write_text(text, encoding="utf-8")


def written(source: Path, out: Path, **changes: object) -> dict:
    """Stage 0 of a corpus in `source`: its cuts by id."""
    settings = data_config("kaldi_dir", source=str(source), **{"max_left_out": 0.5, **changes})
    found = kaldi_dir.prepare(settings, out, out, 1, LOG)
    manifests.write(found, "x", settings, out, out, 1, LOG)
    return {cut.id: cut for split in ("train", "dev", "test") for cut in CutSet.from_file(out / f"cuts_{split}.jsonl.gz")}


# ids and commands

IDS = ["call/1", "call_1", "call\u00a01", "Call_1", ".call_1", "é", unicodedata.normalize("NFD", "é")]
IDS += ["x" * 300, "x" * 299 + "y"]


def test_the_output_of_a_command_is_that_of_its_recording_and_of_what_the_command_reads(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    files = {}
    for n, name in enumerate(IDS):
        (source / f"{n}.raw").write_bytes(bytes([n]) * 9)
        files[name] = pipes.output(f"cat {n}.raw ", name, source, folder)  # a relative path starts at the source
    assert len({str(path).lower() for path in files.values()}) == len(IDS)
    assert [path.read_bytes()[0] for path in files.values()] == list(range(len(IDS)))
    assert pipes.files("sox -t raw './0.raw' - | cat 1.raw -", source) == [source / "0.raw", source / "1.raw"]
    (source / "0.raw").write_bytes(b"other")
    assert pipes.output("cat 0.raw ", IDS[0], source, folder).read_bytes() == b"other"
    with pytest.raises(UserError, match=f"(?s)'lost' failed with status 1.*start from {source}"):
        pipes.output("cat nowhere.raw", "lost", source, folder)


# channels


@pytest.fixture
def call(tmp_path):
    """A corpus with a call of two speakers, one a channel, beside plain recordings of one channel."""
    source = tmp_path / "corpus"
    for split, n in (("train", 4), ("dev", 1), ("test", 1)):
        waves = {f"{split}{i}": f"{split}{i}.wav" for i in range(n)}
        write_split(source / split, waves, dict.fromkeys(waves, "one two"))
        for name in waves.values():
            soundfile.write(str(source / name), voice(150), RATE)
    soundfile.write(str(source / "call.flac"), np.stack([voice(200), voice(400)], 1), RATE)
    with open(source / "train" / "wav.scp", "a") as table:
        table.write("call-left call.flac\ncall-right call.flac\n")
    with open(source / "train" / "text", "a") as table:
        table.write("call-left hello there\ncall-right good bye\n")
    with open(source / "train" / "utt2spk", "a") as table:
        table.write("call-left a\ncall-right b\n")
    return source


@pytest.mark.parametrize("names", ["AB", "ba", "12", "01"])
def test_each_speaker_of_a_call_gets_the_channel_that_reco2file_and_channel_names(names, call, tmp_path):
    (call / "train" / "reco2file_and_channel").write_text(
        f"call-left call {names[0]}\ncall-right call {names[1]}\ntrain0 train0 {'A' if names.isalpha() else 2}\n"
    )
    found = written(call, tmp_path / "out", options={"channel": 0}, max_left_out=0.0)
    right = 1 if names != "ba" else 0
    pitch = {name: np.abs(np.fft.rfft(found[name].load_audio()[0])).argmax() for name in ("call-left", "call-right")}
    assert pitch == {"call-right": 400 if right else 200, "call-left": 200 if right else 400}
    assert found["train0"].channel == 0  # a file of one channel is taken as it is


def test_one_channel_for_two_speakers_is_refused_and_an_unused_one_told(call, tmp_path, caplog):
    found = written(call, tmp_path / "out", options={"channel": 0})
    assert not {"call-left", "call-right"} & set(found) and "train1" in found
    reasons = (tmp_path / "out" / "left_out.tsv").read_text()
    assert "recording 'call-right' has the same channel of" in reasons and "reco2file_and_channel" in reasons
    with caplog.at_level(logging.WARNING, "nuptse"):
        (call / "train" / "reco2file_and_channel").write_text("call-left call B\n")
        (call / "train" / "wav.scp").write_text(
            (call / "train" / "wav.scp").read_text().replace("call-right call", "call-right train0")
        )
        assert written(call, tmp_path / "again", options={"channel": 0})["call-left"].channel == 1
    assert "1 files have channels that differ" in caplog.text


def test_a_channel_without_a_meaning_is_refused(call, tmp_path):
    (call / "train" / "reco2file_and_channel").write_text("call-left call left\n")
    with pytest.raises(UserError, match="reco2file_and_channel, recording 'call-left': 'call left' is not FILE CHANNEL"):
        kaldi.read(call / "train", call, "train", "en")


# files that changed


def test_only_other_content_counts_as_a_change(tmp_path, monkeypatch):
    audio, folder = tmp_path / "a.wav", tmp_path / "data-00000000"
    folder.mkdir()
    audio.write_bytes(b"1234")
    write_inputs(folder, [audio, tmp_path / "not there.wav"], 1)
    assert first_change(folder) is None
    os.utime(audio, ns=(1, 1))
    assert first_change(folder) is None and json.loads((folder / NAME).read_text().splitlines()[0])["time"] == 1
    audio.write_bytes(b"4321")
    os.utime(audio, ns=(1, 1))
    assert first_change(folder) is None  # as size and time say
    monkeypatch.setenv("NUPTSE_CHECK_FILES", "content")
    assert first_change(folder) == str(audio)
    monkeypatch.delenv("NUPTSE_CHECK_FILES")
    audio.unlink()
    assert first_change(folder) is None  # what was made of it is as good as before
    (tmp_path / "not there.wav").write_bytes(b"now")
    assert first_change(folder) == str(tmp_path / "not there.wav")


def test_an_output_of_changed_files_gets_another_name_until_they_change_back(tmp_path):
    audio, found = tmp_path / "a.wav", []
    for content in (b"first", b"other", b"third", b"other", b"first"):
        audio.write_bytes(content)
        found.append(fingerprint({"stage": "data"}, tmp_path))
        folder = tmp_path / f"data-{found[-1]}"
        if not folder.exists():  # as stages 0 and 1 do
            folder.mkdir()
            write_inputs(folder, [audio], 1)
    same_inputs(folder, tmp_path)
    assert (tmp_path / NAME).read_bytes() == (folder / NAME).read_bytes()
    assert found[0] == found[4] and found[1] == found[3] and len(set(found)) == 3


# outputs elsewhere


def write_features(exp: Path) -> Path:
    """A features folder with a cut whose manifest names the folder."""
    folder = exp / "features-0123abcd"
    (folder / "feats").mkdir(parents=True)
    (folder / "feats" / "dev-00000.lca").write_bytes(b"")
    wav = exp / "data-89ef0123" / "wav" / "a.wav"
    wav.parent.mkdir(parents=True)
    soundfile.write(str(wav), voice(100), RATE)
    recording = dict(id="a", sources=[dict(type="file", channels=[0], source=str(wav))], sampling_rate=RATE)
    features = dict(type="fbank", num_frames=100, num_features=80, frame_shift=0.01, sampling_rate=RATE, start=0, duration=1.0)
    features.update(
        storage_type="lilcom_chunky", storage_path=str(folder / "feats" / "dev-00000.lca"), storage_key="0", channels=0
    )
    cut = dict(id="a", start=0, duration=1.0, channel=0, supervisions=[], features=features, type="MonoCut")
    cut["recording"] = dict(recording, num_samples=RATE, duration=1.0)
    with gzip.open(folder / "cuts_dev.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(cut) + "\n")
    return folder


def test_cuts_of_a_moved_folder_find_their_features_and_audio(tmp_path):
    write_features(tmp_path / "exp" / "corpus")
    (tmp_path / "exp").rename(tmp_path / "elsewhere")
    folder = tmp_path / "elsewhere" / "corpus" / "features-0123abcd"
    (cut,) = read_cuts(folder, "dev")
    assert cut.features.storage_path == str(folder / "feats" / "dev-00000.lca") and cut.load_audio().shape == (1, RATE)
    (folder / "feats" / "dev-00000.lca").unlink()
    with pytest.raises(UserError, match="dev-00000.lca is missing.*delete the folder .*features-0123abcd"):
        read_cuts(folder, "dev")


def test_a_model_of_the_same_training_set_is_taken_but_no_other(tmp_path):
    def stage(name: str, files: dict, inputs: dict) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, content in {"config.yaml": "a: 1\n", **files}.items():
            (folder / file).write_text(content)
        write_json(folder / "stage.json", {"stage_version": 1, "inputs": inputs, "seconds": 9.0})
        return folder

    stage("features-00000001", {"train.lca": "speech", "test-0.lca": "first test"}, {})
    for n, speech in ((2, "speech"), (3, "other")):
        stage(f"features-0000000{n}", {"train.lca": speech, "test-0.lca": "second test"}, {})
    stage("train-00000001", {"model": "weights"}, {"features": "features-00000001"})
    found = {}
    for n, version in ((2, 1), (3, 1), (2, 2)):
        partial = tmp_path / f"train-{n}{version}000000.partial"
        partial.mkdir()
        (partial / "config.yaml").write_text("a: 1\n")
        inputs = {"features": tmp_path / f"features-0000000{n}"}
        found[n, version] = twin(partial, inputs, {"stage_version": version}, ["test-*"], settings)
    assert found == {(2, 1): tmp_path / "train-00000001", (3, 1): None, (2, 2): None}
    partial = tmp_path / "train-21000000.partial"
    take(found[2, 1], partial, {"inputs": {"features": "features-00000002"}})
    assert (partial / "model").read_text() == "weights"
    assert read_json(partial / "stage.json") == {"stage_version": 1, "seconds": 9.0, "inputs": {"features": "features-00000002"}}


@pytest.mark.parametrize(("file", "taken"), [("lm.arpa", True), ("HLG.pt", True), ("lexicon.txt", False), ("tokens.txt", False)])
def test_more_text_for_the_n_grams_trains_nothing(tmp_path, file, taken):
    files = ("lexicon.txt", "tokens.txt", "L.pt", "lm.arpa", "HLG.pt", "word_graph.pt")
    for n, changed in ((1, ""), (2, file)):
        folder = tmp_path / f"lang-0000000{n}"
        folder.mkdir()
        for name in files:
            (folder / name).write_text("changed" if name == changed else "as before")
    (tmp_path / "lang-00000002" / "text-3gram.json").write_text("{}")
    for name, finished in (("train-00000001", True), ("train-00000002.partial", False)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("seed: 0\ntrain: {epochs: 2}\nmodel: {dim: 8}\n")
        if finished:
            write_json(tmp_path / name / "stage.json", {"inputs": {"lang": "lang-00000001"}})
    younger = {
        "seed": 0,
        "train": {"epochs": 2, "init": ""},
        "model": {"dim": 8, "causal": False},
    }  # what the finished model lacks changes nothing
    (tmp_path / "train-00000002.partial" / "config.yaml").write_text(json.dumps(younger))
    partial, inputs = tmp_path / "train-00000002.partial", {"lang": tmp_path / "lang-00000002"}
    assert twin(partial, inputs, {}, UNTRAINED, settings) == (tmp_path / "train-00000001" if taken else None)


# names and records


def test_a_corpus_is_called_by_all_that_decides_its_data(tmp_path):
    def name(**options: object) -> str:
        return kaldi_dir.name(data_config("kaldi_dir", source=f"{tmp_path}/", options=options))

    assert name() == name(allow_pipes=True, channel=-1) == tmp_path.name
    assert name(name="calls", channel=1, test="sets/a b") == 'calls channel=1 test="sets/a b"'
    assert name(held_out=0.2, name="x") == "x held_out=0.2"
    assert kaldi_dir.name(data_config("kaldi_dir", source=str(tmp_path), language="fr", options={"name": "x"})) == "x language=fr"
    assert yesno.name(data_config("yesno", language="he", options={"dev": 9})) == "yesno dev=9"
    for bad in ("en/us", "a" * 240, "a\tb", "a test=b"):
        with pytest.raises(UserError, match="results can't call a corpus .*--set data.options.name=NAME"):
            name(name=bad)
    link = tmp_path / "link"
    shutil.copytree(tmp_path, tmp_path / "other" / tmp_path.name, ignore=shutil.ignore_patterns("other"))
    link.symlink_to(tmp_path)
    places = [
        kaldi_dir.place(data_config("kaldi_dir", source=str(p))) for p in (tmp_path, link, tmp_path / "other" / tmp_path.name)
    ]
    assert places[0] == places[1] != places[2]


def test_records_of_two_corpora_of_one_name_stand_side_by_side(tmp_path):
    one, other = record(corpus="data", source="11111111"), record(corpus="data", source="22222222", utterance_errors=[0, 0, 0, 1])
    publish([one], tmp_path)
    publish([other, record(corpus="yesno")], tmp_path)
    assert [r["corpus"] for r in read_all([tmp_path])] == ["data (11111111)", "data (22222222)", "yesno"]
    publish([{**one, "date": "2031-01-01T00:00:00Z"}], tmp_path)
    (name,) = {path.name for path in tmp_path.glob("*.jsonl")}
    assert len(read_file(tmp_path / name)) == 3 and identity(one) != identity(other)
    assert '"source": ""' not in (tmp_path / name).read_text()
