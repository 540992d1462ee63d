"""Stage 0 on real speech: what a corpus becomes, and what happens to bad input."""

import functools
import gzip
import http.server
import logging
import os
import re
import shutil
import signal
import socket
import tarfile
import threading
import time
import unicodedata
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from lhotse import CutSet

from local import asterisk, fsdd, kaldi_dir, speechocean762, yesno
from support.corpora import data_config
from support.driving import content
from utils.audio.decoding import Copies
from utils.core import download
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.splits import SPLITS, untranscribed
from utils.corpus import audio, kaldi, manifests, overlap, paths
from utils.corpus.cuts import read_cuts
from utils.pipeline import config, outside, stages

LOG = logging.getLogger("nuptse.data")


def cuts(folder: Path) -> dict:
    """Every cut by id."""
    return {c.id: c for split in SPLITS for c in CutSet.from_file(folder / f"cuts_{split}.jsonl.gz")}


def finished(exp: Path) -> Path:
    """The one finished data folder."""
    (folder,) = [p for p in exp.glob("*/data-*") if not p.name.endswith(".partial") and not p.name.startswith(".")]
    return folder


def left_out(folder: Path) -> dict:
    """Id -> reason."""
    return {line.split("\t")[0]: line.split("\t")[2] for line in (folder / "left_out.tsv").read_text().splitlines()}


# asterisk


def test_asterisk_english_has_its_utterances_splits_and_audio(run_stages, exp, debian_sounds):
    assert run_stages("--corpus", "asterisk", "--stop-stage", "0") == 0
    folder = finished(exp)
    summary = read_json(folder / "summary.json")
    assert summary["name"] == "asterisk-en" and summary["normaliser"] == "basic-en-1"
    assert {split: s["utterances"] for split, s in summary["splits"].items()} == {"train": 455, "dev": 54, "test": 41}
    assert (summary["left_out"], summary["left_out_by_design"]) == (1, 18)
    found = cuts(folder)
    for cut in found.values():
        (spoken,) = cut.supervisions
        assert spoken.id == cut.id and spoken.text and spoken.text == " ".join(spoken.text.split()) and spoken.custom["raw"]
        (source,) = cut.recording.sources
        assert Path(source.source).is_file() and ".partial" not in source.source
    menu = found["en-vm-msginstruct"]
    assert menu.supervisions[0].text.startswith("to hear the next message press six")
    assert menu.supervisions[0].custom["raw"].startswith("To hear the next message press 6,")
    samples = menu.load_audio()
    assert samples.shape == (1, menu.num_samples) and menu.sampling_rate == 16000 and abs(samples).max() > 0.1
    assert left_out(folder)["en-beep"].startswith("by design: a tone")


def test_a_prompt_is_in_the_same_split_in_every_language():
    assert {key: asterisk._split(key) for key in ("activated", "digits/1", "hello-world", "vm-goodbye", "VM-Goodbye")} == {
        "activated": "train",
        "digits/1": "train",
        "hello-world": "test",
        "vm-goodbye": "train",
        "VM-Goodbye": "train",
    }
    share = sum(asterisk._split(str(n)) == "train" for n in range(10000)) / 10000
    assert 0.78 < share < 0.82


@pytest.mark.slow
def test_words_held_out_of_training_are_in_dev_and_test(run_stages, exp, debian_sounds):
    assert run_stages("--corpus", "asterisk", "--set", "data.options.split=words", "--stop-stage", "0") == 0
    folder = finished(exp)
    said = {
        split: [cut.supervisions[0].text.split() for cut in CutSet.from_file(folder / f"cuts_{split}.jsonl.gz")]
        for split in ("train", "dev", "test")
    }
    known, dev, test = ({word for sentence in said[split] for word in sentence} for split in ("train", "dev", "test"))
    assert read_json(folder / "summary.json")["name"] == "asterisk-en-words"
    assert sum(map(len, said.values())) == len(cuts(folder)) and len(said["train"]) > 450
    assert len(dev - known) > 20 and len(test - known) > 100  # with the other new words of these prompts
    assert all(set(sentence) - known for split in ("dev", "test") for sentence in said[split])  # each prompt there has one


def test_asterisk_official_tarball_gives_the_same_utterances(debian_sounds, tmp_path, monkeypatch):
    monkeypatch.setenv("NUPTSE_DOWNLOAD", str(tmp_path))
    package = debian_sounds / "asterisk-core-sounds-en-g722/usr/share/asterisk/sounds/en_US_f_Allison"
    text = debian_sounds / "asterisk-core-sounds-en/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
    (tmp_path / "core-sounds-en.txt").write_bytes(gzip.decompress(text.read_bytes()))
    (tmp_path / "mirror").mkdir()
    with tarfile.open(tmp_path / "mirror" / "asterisk-core-sounds-en-g722-1.6.1.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "core-sounds-en.txt", "core-sounds-en.txt")
        for path in sorted(package.iterdir()):
            tar.add(path, path.name)
    found = {}
    for source in (debian_sounds, tmp_path / "mirror"):
        folders = asterisk._folders(data_config("asterisk", source=str(source)), ["en"], "g722", tmp_path / "unpacked")
        found[source] = asterisk._pair("en", *asterisk._find(folders, "en", "g722"), "g722")[0]
    first, second = found.values()
    assert len(first) == asterisk.PROMPTS["en"]
    identity = [[(u.id, u.split, u.text, u.audio.stat().st_size) for u in copy] for copy in (first, second)]
    assert identity[0] == identity[1]


def test_asterisk_with_prompts_missing_stops(debian_sounds, tmp_path):
    shutil.copytree(debian_sounds / "asterisk-core-sounds-en-g722", tmp_path / "copy", ignore=shutil.ignore_patterns("conf-*"))
    shutil.copytree(debian_sounds / "asterisk-core-sounds-en", tmp_path / "text")
    with pytest.raises(UserError, match="instead of 551.*check_counts=false"):
        asterisk.prepare(data_config("asterisk", source=str(tmp_path)), tmp_path, tmp_path / "out", 1, None)


def test_mistakes_in_transcripts_are_corrected(tmp_path):
    transcript = tmp_path / "core-sounds-it.txt"
    transcript.write_text(
        "\ufeff; comment\nvm-a: Il [suo] messaggio non pu? essere cos? vm-b: altro\nvm-b: E' in uso (data)\nvm-c: vm-c: Chi ?\n"
    )
    said = {key: asterisk._said(key, text, "it").split() for key, text in asterisk._read(transcript, "it").items()}
    assert said == {"vm-a": ["Il", "messaggio", "non", "può", "essere", "così"], "vm-b": ["È", "in", "uso"], "vm-c": ["Chi", "?"]}


@pytest.mark.slow
def test_killed_data_stage_ends_with_the_same_bytes(run_stages, exp, debian_sounds):
    arguments = ("--corpus", "asterisk", "--stop-stage", "0", "--nj", "1")

    assert run_stages(*arguments) == 0
    whole = content(finished(exp))
    shutil.rmtree(exp)
    for wavs in (3, 300):
        child = os.fork()
        if child == 0:
            os.setsid()
            os._exit(run_stages(*arguments))
        deadline = time.time() + 60
        while len(list(exp.rglob("en-*.wav"))) < wavs and time.time() < deadline:
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert not list(exp.glob("*/data-????????")) and len(list(exp.rglob("en-*.wav"))) >= wavs
    assert run_stages(*arguments) == 0
    assert content(finished(exp)) == whole


# yesno, fsdd, speechocean762: real recordings in the layout of the corpus


@pytest.fixture
def yesno_source(speech, tmp_path):
    folder = tmp_path / "yesno" / "waves_yesno"
    folder.mkdir(parents=True)
    for n in range(60):
        shutil.copy(speech["phonetic/a_p"].audio, folder / ("_".join(f"{n:08b}") + ".wav"))
    return folder.parent


@pytest.mark.slow
def test_yesno_has_lhotses_train_and_test_and_a_dev(yesno_source, run_stages, exp):
    assert run_stages("--corpus", "yesno", "--stop-stage", "0", "--set", f"data.source={yesno_source}") == 0
    summary = read_json(finished(exp) / "summary.json")
    assert {s: c["utterances"] for s, c in summary["splits"].items()} == {"train": 25, "dev": 5, "test": 30}
    assert summary["splits"]["test"]["words"] == 240
    found = cuts(finished(exp))
    assert found["0_0_0_0_0_0_1_0"].supervisions[0].text == "no no no no no no yes no"
    test = {c.id for c in CutSet.from_file(finished(exp) / "cuts_test.jsonl.gz")}
    assert test == {p.stem for p in sorted((yesno_source / "waves_yesno").iterdir())[1::2]}


def test_yesno_is_downloaded_and_unpacked_once(yesno_source, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "waves_yesno.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(yesno_source / "waves_yesno", "waves_yesno")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(handler.func, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(yesno, "URL", f"http://127.0.0.1:{httpd.server_port}/waves_yesno.tar.gz")
        first = yesno.prepare(data_config("yesno", language="he"), tmp_path / "download", tmp_path, 1, LOG)
        httpd.shutdown()
    assert len(first.utterances) == 60 and all(u.audio.is_relative_to(tmp_path / "download") for u in first.utterances)
    again = yesno.prepare(data_config("yesno", language="he"), tmp_path / "download", tmp_path, 1, LOG)  # the server is gone
    assert again == first


def test_yesno_with_a_recording_missing_stops(yesno_source):
    next((yesno_source / "waves_yesno").iterdir()).unlink()
    with pytest.raises(UserError, match="59 recordings instead of 60"):
        yesno.prepare(data_config("yesno", source=str(yesno_source)), yesno_source, yesno_source, 1, None)


def test_hidden_files_that_a_mac_leaves_are_no_recordings(yesno_source):
    (yesno_source / "waves_yesno" / "._0_0_0_0_0_0_0_0.wav").write_bytes(b"\0\5\x16\7")
    assert len(yesno.tables(yesno_source)) == 60


def test_a_table_that_is_missing_is_left_for_the_module_to_say(yesno_source, monkeypatch):
    first = next((yesno_source / "waves_yesno").iterdir())
    monkeypatch.setattr(yesno, "tables", lambda source: [source / "prompts.csv", first])
    settings = {"module": "yesno", "source": str(yesno_source), "options": {"dev": 5}}
    assert list(outside.corpus({"data": settings}, yesno_source, {})) == [f"waves_yesno/{first.name}"]


@pytest.fixture
def fsdd_source(speech, tmp_path, monkeypatch):
    folder = tmp_path / "fsdd" / "recordings"
    folder.mkdir(parents=True)
    for digit in range(10):
        samples, rate = soundfile.read(str(speech[f"digits/{digit}"].audio), dtype="float32")
        narrow = torchaudio.functional.resample(torch.from_numpy(samples), rate, 8000).numpy()
        for speaker in ("jackson", "lucas", "theo"):
            for n in (0, 5, 10, 11):
                soundfile.write(str(folder / f"{digit}_{speaker}_{n}.wav"), narrow, 8000, subtype="PCM_16")
    monkeypatch.setattr(fsdd, "RECORDINGS", 120)
    return folder.parent


def test_fsdd_joins_each_recording_once_and_holds_speakers_out(fsdd_source, tmp_path):
    found = fsdd.prepare(data_config("fsdd", source=str(fsdd_source), sampling_rate=8000), tmp_path, tmp_path / "out", 2, None)
    assert {u.speaker: u.split for u in found.utterances} == {"jackson": "train", "lucas": "dev", "theo": "test"}
    used = [piece for u in found.utterances for piece in u.raw.split()]
    assert sorted(used) == sorted(p.stem for p in fsdd.tables(fsdd_source))
    for u in found.utterances:
        pieces = u.raw.split()
        assert 3 <= len(pieces) <= 9 and [fsdd.WORDS[int(p[0])] for p in pieces] == u.text.split()
        samples = sum(soundfile.info(str(fsdd_source / "recordings" / f"{p}.wav")).frames for p in pieces)
        assert soundfile.info(str(u.audio)).frames == samples + 400 * (len(pieces) - 1)
    again = fsdd.prepare(data_config("fsdd", source=str(fsdd_source)), tmp_path, tmp_path / "out2", 1, None)
    assert [u.raw for u in again.utterances] == [u.raw for u in found.utterances]


def test_fsdd_isolated_digits_take_the_official_split(fsdd_source, tmp_path):
    settings = data_config("fsdd", source=str(fsdd_source), options={"task": "isolated"})
    found = fsdd.prepare(settings, tmp_path, tmp_path / "out", 1, None)
    assert {u.split: u.id.rpartition("_")[2] for u in found.utterances if u.split != "train"} == {"test": "0", "dev": "5"}
    assert len(found.utterances) == 120


def test_speechocean762_holds_dev_speakers_out_of_train(kaldi_source, tmp_path, monkeypatch):
    shutil.rmtree(kaldi_source / "dev")
    monkeypatch.setattr(speechocean762, "UTTERANCES", {"train": 40, "test": 8})
    settings = data_config("speechocean762", source=str(kaldi_source), options={"dev_speakers": 1})
    found = speechocean762.prepare(settings, tmp_path, tmp_path, 1, None)
    speakers = {split: {u.speaker for u in found.utterances if u.split == split} for split in SPLITS}
    assert [len(s) for s in speakers.values()] == [3, 1, 2] and not speakers["train"] & speakers["dev"]
    monkeypatch.setattr(speechocean762, "UTTERANCES", {"train": 2500, "test": 8})
    with pytest.raises(UserError, match="40 utterances instead of 2500"):
        speechocean762.prepare(data_config("speechocean762", source=str(kaldi_source)), tmp_path, tmp_path, 1, None)


# kaldi_dir


def run_kaldi(run_stages, source, *changes):
    settings = [s for change in (f"data.source={source}", *changes) for s in ("--set", change)]
    return run_stages("--corpus", "kaldi_dir", "--stop-stage", "0", *settings)


@pytest.mark.slow
def test_kaldi_dir_with_segments_and_relative_paths(kaldi_source, run_stages, exp, tmp_path):
    train = kaldi_source / "train"
    shutil.copy(kaldi.table(train / "wav.scp")["train0-en-conf-adminmenu"], kaldi_source / "long.wav")
    (train / "wav.scp").write_text("call long.wav\n")
    (train / "segments").write_text("a call 0.0 5.5\nb call 5.5 -1\nc call 2.125 3.0\n")
    (train / "text").write_text("a please press one\nb to exit\nc yourself 2\n")
    (train / "utt2spk").write_text("a alice\nb alice\nc bob\n")
    assert run_kaldi(run_stages, kaldi_source) == 0
    found = cuts(finished(exp))
    total = soundfile.info(str(kaldi_source / "long.wav")).duration
    assert [(found[i].start, found[i].end) for i in "abc"] == [(0, 5.5), (5.5, pytest.approx(total)), (2.125, 3.0)]
    assert found["c"].supervisions[0].text == "yourself two" and found["c"].supervisions[0].speaker == "bob"
    whole, _ = soundfile.read(str(kaldi_source / "long.wav"), dtype="float32")
    np.testing.assert_array_equal(found["c"].load_audio()[0], whole[34000:48000])


@pytest.mark.slow
def test_missing_dev_and_test_are_held_out_of_train_always_the_same(kaldi_source, run_stages, exp):
    shutil.rmtree(kaldi_source / "dev")
    first = kaldi_dir.prepare(data_config("kaldi_dir", source=str(kaldi_source)), exp, exp, 1, LOG)
    assert sum(u.split == "dev" for u in first.utterances) == 4
    shutil.rmtree(kaldi_source / "test")
    second = kaldi_dir.prepare(data_config("kaldi_dir", source=str(kaldi_source)), exp, exp, 1, LOG)
    again = kaldi_dir.prepare(data_config("kaldi_dir", source=str(kaldi_source)), exp, exp, 1, LOG)
    assert second == again and {u.split for u in second.utterances} == set(SPLITS)
    assert run_kaldi(run_stages, kaldi_source) == 0


def damage(source: Path, kind: str) -> str:
    """Damage one utterance of train; returns the id that must be listed."""
    train = source / "train"
    waves = kaldi.table(train / "wav.scp")
    identity = sorted(waves)[5]
    samples, rate = soundfile.read(waves[identity], dtype="int16")
    wav = source / "bad.wav"
    soundfile.write(str(wav), samples, rate)
    if kind == "missing":
        wav.unlink()
    elif kind == "empty":
        wav.write_bytes(b"")
    elif kind == "truncated":
        wav.write_bytes(wav.read_bytes()[:-1000])
    elif kind == "not audio":
        wav.write_text("hello, this is text\n" * 50)
    elif kind == "stereo":
        soundfile.write(str(wav), np.stack([samples, samples[::-1]], 1), rate)
    elif kind == "silent":
        soundfile.write(str(wav), np.zeros_like(samples), rate)
    elif kind == "no samples":
        soundfile.write(str(wav), samples[:0], rate)
    elif kind == "not numbers":
        soundfile.write(str(wav), np.full(16000, np.nan), rate, subtype="FLOAT")
    (train / "wav.scp").write_text("".join(f"{i} {wav if i == identity else p}\n" for i, p in waves.items()))
    tables = {"text without audio": "wav.scp", "audio without text": "text", "no speaker": "utt2spk"}
    if kind in tables:
        lines = (train / tables[kind]).read_text().splitlines(keepends=True)
        (train / tables[kind]).write_text("".join(line for line in lines if line.split()[0] != identity))
    if kind in ("empty text", "no word"):
        texts = {**kaldi.table(train / "text"), identity: "" if kind == "empty text" else "... !"}
        (train / "text").write_text("".join(f"{i} {t}\n" for i, t in texts.items()))
    if kind in SPANS or kind in ("beyond the end", "unknown recording", "unused recording"):
        spans = {**SPANS, "beyond the end": f"0 {len(samples) / rate + 5}"}
        rows = {i: f"{i} 0 -1" for i in waves}
        rows[identity] = f"{'nowhere' if kind == 'unknown recording' else identity} {spans.get(kind, '0 -1')}" * (
            kind != "id alone"
        )
        if kind == "unused recording":
            del rows[identity]
        (train / "segments").write_text("".join(f"{i} {row}\n" for i, row in rows.items()))
    return identity


SPANS = {  # what follows the recording in a line of segments
    "zero length": "0.5 0.5",
    "turned around": "0.9 0.4",
    "before the start": "-1 0.3",
    "from beyond the end": "1e4 -1",
    "no end in sight": "0 1e308",
    "infinity": "0 -Infinity",
    "not a number": "NaN 0.3",
    "comma": "0,1 0.3",
    "underscore": "0.1 1_0",
    "two columns": "0.1",
    "channel": "0.1 0.3 B",
    "five columns": "0.1 0.3 0 0.4",
    "id alone": "",
}


DAMAGES = {
    "missing": "no audio file",
    "empty": "empty audio file",
    "truncated": "truncated audio file .* bytes are missing",
    "not audio": "can't decode",
    "stereo": "2 channels .*data.options.channel=0",
    "silent": "silent",
    "no samples": "no samples",
    "not numbers": "not numbers",
    "text without audio": "a text without audio",
    "audio without text": "audio without a text",
    "no speaker": "no speaker",
    "empty text": "no text",
    "no word": "no word in the text",
    "zero length": "zero length",
    "beyond the end": "lies outside",
    "turned around": "zero length: from 0.9 to 0.4",
    "before the start": "lies outside",
    "from beyond the end": "segment 10000- s lies outside",
    "no end in sight": "lies outside",
    "infinity": "segments: '-Infinity' is not a number of seconds",
    "not a number": "'NaN' is not a number",
    "comma": "'0,1' is not a number of seconds; the decimal sign is a point",
    "underscore": "'1_0' is not a number",
    "two columns": "is not RECORDING START END",
    "channel": "is not RECORDING START END .*, or these with the number of a channel",
    "five columns": "is not RECORDING START END",
    "id alone": "'' is not RECORDING START END",
    "unknown recording": "'nowhere' is not in",
    "unused recording": "a text without audio",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_an_unusable_utterance_is_left_out_and_listed(kind, kaldi_source, tmp_path):
    identity = damage(kaldi_source, kind)
    settings = data_config("kaldi_dir", source=str(kaldi_source), max_left_out=1.0)
    found = kaldi_dir.prepare(settings, tmp_path, tmp_path / "out", 1, LOG)
    manifests.write(found, "x", settings, tmp_path / "out", tmp_path / "out", 2, LOG)
    reasons = left_out(tmp_path / "out")
    assert set(reasons) == {identity} and re.search(DAMAGES[kind], reasons[identity])
    assert identity not in cuts(tmp_path / "out") and len(cuts(tmp_path / "out")) == 55
    strict = data_config("kaldi_dir", source=str(kaldi_source), max_left_out=0.01)
    with pytest.raises(UserError, match=f"(?s)1 of 56 utterances.*left_out.tsv.*{identity}.*--set data.max_left_out=0.02"):
        manifests.write(found, "x", strict, tmp_path / "out", tmp_path / "out", 2, LOG)


def test_a_shorter_training_set_is_a_part_of_a_longer_one(kaldi_source, tmp_path, caplog):
    found, used = {}, {}
    for minutes in (0, 0.05, 0.15, 500):
        settings, out = data_config("kaldi_dir", source=str(kaldi_source), train_minutes=minutes), tmp_path / str(minutes)
        corpus = kaldi_dir.prepare(settings, tmp_path, out, 1, LOG)
        manifests.write(corpus, "x", settings, out, out, 2, LOG)
        found[minutes] = {split: list(read_cuts(out, split)) for split in ("train", "dev", "test")}
        used[minutes] = {cut.id for cut in found[minutes]["train"]}
    assert set() < used[0.05] < used[0.15] < used[0] == used[500]
    assert "train has no more than that" in caplog.text
    for minutes in (0.05, 0.15):
        seconds = sum(cut.duration for cut in found[minutes]["train"])
        assert 60 * minutes - max(cut.duration for cut in found[0]["train"]) < seconds <= 60 * minutes
        assert {c.id for c in found[minutes]["test"]} == {c.id for c in found[0]["test"]}


WRONG_PATHS = {  # what wav.scp says of the file Straße Nr/Ä1.WAV, and the remedy
    "Straße Nr/ä1.wav": "there is Ä1.WAV",
    "Straße Nr/Ä1.flac": "there is Ä1.WAV",
    "straße nr/Ä1.WAV": "there is no folder .*/straße nr, but Straße Nr",
    "'Straße Nr/Ä1.WAV'": "leave them out",
    "Straße Nr\\Ä1.WAV": "separate folders by /",
    "~/corpus/Ä1.WAV": "write the whole path",
    "$DATA/Ä1.WAV": "variables stay as they are",
    "file:///data/Ä1.WAV": "a path is needed",
    "dangling.wav": "a symbolic link to nowhere.wav, where nothing is",
    "Straße Nr/Ä2.WAV": "Ä2.WAV$",
    "Straße Nr/Ä1\0.WAV": "the control character NUL",
    "ä" * 200: "ä$",
    "ä" * 200 + "/b.wav": "File name too long",
}


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_a_path_that_leads_nowhere_comes_with_what_is_wrong_in_it(path, tmp_path):
    (tmp_path / "Straße Nr").mkdir()
    (tmp_path / "Straße Nr" / "Ä1.WAV").touch()
    (tmp_path / "dangling.wav").symlink_to("nowhere.wav")
    (span,) = audio.check(paths.located(path, tmp_path), [(0.0, None)], Copies(tmp_path)).spans
    assert span.problem.startswith("no audio file ") and re.search(WRONG_PATHS[path], span.problem)


def test_audio_and_sentences_of_train_in_test_are_said(kaldi_source, tmp_path, caplog):
    first, second, *_ = sorted(kaldi.table(kaldi_source / "train" / "wav.scp"))
    copied, known, *_ = sorted(kaldi.table(kaldi_source / "test" / "wav.scp"))
    waves, texts = kaldi.table(kaldi_source / "test" / "wav.scp"), kaldi.table(kaldi_source / "test" / "text")
    samples, rate = soundfile.read(kaldi.table(kaldi_source / "train" / "wav.scp")[first], dtype="int16")
    soundfile.write(tmp_path / "renamed.flac", samples, rate)
    waves[copied], texts[known] = str(tmp_path / "renamed.flac"), kaldi.table(kaldi_source / "train" / "text")[second].upper()
    for name, rows in (("wav.scp", waves), ("text", texts)):
        (kaldi_source / "test" / name).write_text("".join(f"{i} {value}\n" for i, value in rows.items()))
    settings = data_config("kaldi_dir", source=str(kaldi_source))
    with caplog.at_level("INFO"):
        manifests.write(kaldi_dir.prepare(settings, tmp_path, tmp_path, 1, LOG), "x", settings, tmp_path, tmp_path, 2, LOG)
    said = f"test: 1 of {len(waves)} utterances have audio that train has too ({copied} has that of {first})"
    assert any(said in record.message for record in caplog.records if record.levelname == "WARNING")
    assert re.search(r"test: [12] of \d+ sentences \(.*%\) are sentences of train", caplog.text)
    assert "are sentences of dev" not in caplog.text


def test_overlapping_segments_of_a_recording_are_its_audio_and_neighbours_are_not(tmp_path, caplog):
    def spoken(split, start, end, channel=0):
        name = f"{split}{start:g}"
        return overlap.Spoken(name, split, name, name, tmp_path, channel, start, end)

    overlap.warn([spoken("train", 0, 2), spoken("test", 1.8, 4), spoken("dev", 0, 1, 1), spoken("train", 4, 6)], LOG)
    assert not caplog.records
    overlap.warn([spoken("train", 0, 2), spoken("train", 2, 4), spoken("test", 1.1, 2.5)], LOG)
    assert "(test1.1 has that of train0)" in caplog.text


def test_names_that_a_mac_decomposed_are_those_of_the_other_tables(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é1 ñandú ä.wav") for form in ("NFC", "NFD"))
    (tmp_path / "train").mkdir()
    (tmp_path / decomposed.split()[2]).touch()
    rows = {"wav.scp": (composed, 0, 2), "text": (decomposed, 0, 1), "utt2spk": (decomposed, 0, 1)}
    for name, (words, *columns) in rows.items():
        (tmp_path / "train" / name).write_text(" ".join(words.split()[c] for c in columns) + "\n", encoding="utf-8")
    found = kaldi.read(tmp_path / "train", tmp_path, "train", "es")
    (utterance,) = found.utterances
    assert (utterance.id, utterance.speaker) == ("é1", "ñandú") and utterance.audio.exists() and not found.left_out


def test_segments_that_rounding_moved_out_of_their_recording_are_cut_and_named(kaldi_source, tmp_path, caplog):
    train = kaldi_source / "train"
    waves = kaldi.table(train / "wav.scp")
    first, second, third, *_ = sorted(waves)
    length = soundfile.info(waves[second]).duration
    rows = {
        first: "-0.0049 .25e+0",
        second: f"0.1 {length + 0.015:.4f}",
        third: f"-0 {soundfile.info(waves[third]).duration:.6f}",
    }
    (train / "segments").write_text("".join(f"{i} {i} {rows.get(i, '0 -1')}\n" for i in waves))
    (train / "utt2dur").write_text("nobody nan\n")  # not read
    settings = data_config("kaldi_dir", source=str(kaldi_source))
    with caplog.at_level("INFO"):
        manifests.write(kaldi_dir.prepare(settings, tmp_path, tmp_path, 1, LOG), "x", settings, tmp_path, tmp_path, 2, LOG)
    found = cuts(tmp_path)
    assert len(found) == 56 and (found[first].start, found[first].end) == (0, 0.25) and found[second].end == pytest.approx(length)
    assert (
        f"2 segments begin before or end after their recording by up to 0.02 s and are cut there: {first}, {second}"
        in caplog.text
    )


def test_numbers_that_no_rule_tells_how_to_read_are_counted_with_an_example(kaldi_source, tmp_path, caplog):
    text = kaldi_source / "train" / "text"
    names = [line.split()[0] for line in text.read_text().splitlines()]
    said = dict(zip(names, ("born 05/07/1981", "₫9 on 2020-01-31", "v 4.0 costs $1,250.90")))
    text.write_text("".join(f"{name} {said.get(name, 'seven')}\n" for name in names))
    settings = data_config("kaldi_dir", source=str(kaldi_source))
    manifests.write(kaldi_dir.prepare(settings, tmp_path, tmp_path, 1, LOG), "x", settings, tmp_path, tmp_path, 2, LOG)
    for kind, count, piece, name in (("date", 2, "05/07/1981", names[0]), ("currency", 1, "₫9", names[1])):
        assert f"{count} numbers of the language en are read without a rule ({kind}), such as '{piece}' in {name};" in caplog.text
    spoken = "v four point zero costs one thousand two hundred and fifty dollars and ninety cents"
    assert cuts(tmp_path)[names[2]].supervisions[0].text == spoken
    assert read_json(tmp_path / "summary.json")["normaliser"] == "basic-en-2"


@pytest.mark.parametrize("size, missing", ((1, ("dev", "test")), (2, ("dev", "test")), (1, ("dev",))))
def test_too_few_utterances_to_hold_some_out_say_so(size, missing, kaldi_source, tmp_path):
    for split in missing:
        shutil.rmtree(kaldi_source / split)
    for table in ("wav.scp", "text", "utt2spk"):
        path = kaldi_source / "train" / table
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:size]))
    with pytest.raises(
        UserError, match=f"train has {size} usable utterance.*missing folder .{', '.join(missing)}.: none is left"
    ):
        kaldi_dir.prepare(data_config("kaldi_dir", source=str(kaldi_source)), tmp_path, tmp_path, 1, LOG)


@pytest.mark.parametrize("kept", (None, "", "\ufeff\n", 3))
def test_utterances_of_test_need_no_transcript_and_no_word_in_it(kept, kaldi_source, tmp_path, caplog):
    path = kaldi_source / "test" / "text"
    names = sorted(kaldi.table(path))
    if kept is None:
        path.unlink()
    else:
        path.write_text(kept if isinstance(kept, str) else f"{names[0]} please\n{names[1]} — ?!\n{names[2]}\n")
    (kaldi_source / "test" / "spk2gender").write_text("nobody f\n")
    settings = data_config("kaldi_dir", source=str(kaldi_source))
    manifests.write(kaldi_dir.prepare(settings, tmp_path, tmp_path, 1, LOG), "x", settings, tmp_path, tmp_path, 2, LOG)
    unknown = names[3:] if kept == 3 else names
    assert {*names} <= cuts(tmp_path).keys() and untranscribed(tmp_path, "test") == set(unknown)
    assert not untranscribed(tmp_path, "dev") and not left_out(tmp_path)
    assert f"{len(unknown)} of 8 utterances have no transcript" in caplog.text
    empty = (
        f"2 of 8 utterances have no word in their transcript; each word recognised there counts as inserted: {names[1]} ('— ?!')"
    )
    assert (empty in caplog.text) == (kept == 3)
    assert ("test has no word in any transcript" in caplog.text) == (kept != 3)


@pytest.mark.parametrize("split", ("train", "dev"))
def test_only_test_may_lack_its_transcripts(split, kaldi_source, tmp_path):
    (kaldi_source / split / "text").unlink()
    with pytest.raises(UserError, match=f"{split}/text is missing; only a test set may lack it"):
        kaldi_dir.prepare(data_config("kaldi_dir", source=str(kaldi_source)), tmp_path, tmp_path, 1, LOG)


def test_segments_may_name_the_channel(kaldi_source, tmp_path):
    train = kaldi_source / "train"
    waves = kaldi.table(train / "wav.scp")
    first, second, *_ = sorted(waves)
    left, rate = soundfile.read(waves[first])
    right = np.resize(soundfile.read(waves[second])[0], len(left))
    soundfile.write(str(kaldi_source / "call.wav"), np.stack([left, right], 1), rate)
    rest = [i for i in waves if i not in (first, second)]
    (train / "wav.scp").write_text("call call.wav\n" + "".join(f"{i} {waves[i]}\n" for i in rest))
    (train / "segments").write_text(f"{first} call 0 -1 0\n{second} call 0 -1 1\n" + "".join(f"{i} {i} 0 -1 -1\n" for i in rest))
    settings = data_config("kaldi_dir", source=str(kaldi_source))
    manifests.write(kaldi_dir.prepare(settings, tmp_path, tmp_path, 1, LOG), "x", settings, tmp_path, tmp_path, 2, LOG)
    found = cuts(tmp_path)
    np.testing.assert_allclose(found[first].load_audio()[0], left, atol=1e-4)
    np.testing.assert_allclose(found[second].load_audio()[0], right, atol=1e-4)


def break_duplicate(train):
    text = (train / "text").read_text()
    (train / "text").write_text(text + text.replace("\n", " again\n"))


def break_appended(train):
    (train / "text").write_text((train / "text").read_text() * 2)


def break_turned(train):
    turned = (" ".join(reversed(line.split())) for line in (train / "utt2spk").read_text().splitlines())
    (train / "utt2spk").write_text("\n".join(turned) + "\n")


def break_encoding(train):
    lines = (train / "text").read_bytes().splitlines(keepends=True)
    (train / "text").write_bytes(b"".join([*lines[:2], lines[2].rstrip() + " café\n".encode("latin-1"), *lines[3:]]))


def break_pipe(train):
    (train / "wav.scp").write_text((train / "wav.scp").read_text().replace(".wav\n", ".wav |\n"))


BREAKS = [
    (break_duplicate, "text, line 41: the id '.*' occurs a second time; every line needs an id of its own"),
    (break_appended, "text, line 41: the id '.*' occurs a second time, with the same; .* sort -u -o"),
    (break_turned, "utt2spk, line 2: the id '.*' occurs a second time; every line needs an id of its own before the speaker"),
    (break_encoding, "text, line 3: not UTF-8.*iconv"),
    (break_pipe, "wav.scp: recording '.*' is a command .*data.options.allow_pipes=true"),
    (lambda train: (train / "segments").write_text("a b c\n"), "a: .*segments: 'b c' is not RECORDING START END"),
    (lambda train: (train / "utt2spk").unlink(), "utt2spk is missing.*awk"),
    (lambda train: (train / "text").write_text(""), "text is empty"),
    (lambda train: (train / "utt2spk").write_text("one\n"), "utt2spk, line 1: nothing follows the id 'one'"),
    (
        lambda train: shutil.copytree(train, train.parent / "dev", dirs_exist_ok=True),
        r"ids occur more than once: .* \(train and dev\)",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("broken,message", BREAKS)
def test_an_unreadable_table_stops_with_the_place_and_the_remedy(broken, message, kaldi_source, run_stages, exp):
    broken(kaldi_source / "train")
    settings = data_config("kaldi_dir", source=str(kaldi_source))
    with pytest.raises(UserError, match=message):
        found = kaldi_dir.prepare(settings, exp, exp, 1, LOG)
        manifests.write(found, "x", settings, exp, exp, 1, LOG)
    assert run_kaldi(run_stages, kaldi_source) == 1
    assert not list(exp.glob("*/data-????????"))


@pytest.mark.slow
def test_allowed_pipes_and_a_chosen_channel_of_stereo_at_another_rate(kaldi_source, run_stages, exp):
    rows = kaldi.table(kaldi_source / "train" / "wav.scp")
    first = sorted(rows)[0]
    samples, rate = soundfile.read(rows[first], dtype="float32")
    for split in SPLITS:
        table = kaldi_source / split / "wav.scp"
        for identity, path in kaldi.table(table).items():
            mono, _ = soundfile.read(path, dtype="float32")
            soundfile.write(str(kaldi_source / f"{identity}.wav"), np.stack([0 * mono, mono], 1), 8000)
        table.write_text("".join(f"{i} cat {kaldi_source / i}.wav |\n" for i in kaldi.table(table)))
    changes = ("data.options.allow_pipes=true", "data.options.channel=1", "data.max_duration=60")
    assert run_kaldi(run_stages, kaldi_source, *changes) == 0
    cut = cuts(finished(exp))[first]
    assert cut.sampling_rate == 16000 and cut.duration == pytest.approx(len(samples) / 8000)
    samples = cut.load_audio()
    assert samples.shape == (1, cut.num_samples) and abs(samples).max() > 0.1
    assert "are resampled to 16000 Hz" in (finished(exp) / "log.txt").read_text()


def test_a_misspelt_option_is_refused(kaldi_source, tmp_path):
    with pytest.raises(UserError, match="data.options.chanel.*did you mean 'channel'"):
        kaldi_dir.prepare(data_config("kaldi_dir", source=str(kaldi_source), options={"chanel": 0}), tmp_path, tmp_path, 1, None)


@pytest.mark.parametrize(
    "inside, chosen, message",
    [
        (".", {"test": "tset"}, "no data directory tset/ for test; .*did you mean 'test'.*there are dev, test, train"),
        (".", {"train": "training"}, "no data directory training/ for train; --set data.options.train=NAME"),
        ("train", {}, "no data directory train/ for train; it is a data directory itself: --set data.options.train=."),
    ],
)
def test_a_folder_asked_for_by_name_is_not_replaced_by_utterances_of_train(inside, chosen, message, kaldi_source, tmp_path):
    settings = data_config("kaldi_dir", source=str(kaldi_source / inside), options=chosen)
    with pytest.raises(UserError, match=message):
        kaldi_dir.prepare(settings, tmp_path, tmp_path, 1, LOG)


def test_a_changed_table_of_a_local_copy_changes_the_fingerprint(kaldi_source):
    resolved = config.load("wordvec_hybrid", ROOT / "egs/kaldi_dir", [f"data.source={kaldi_source}"])
    before = stages.plan(resolved, Path("exp"))["data"].fingerprint
    with open(kaldi_source / "test" / "text", "a") as text:
        text.write("new utterance\n")
    assert stages.plan(resolved, Path("exp"))["data"].fingerprint != before


# downloads


@pytest.fixture
def server(tmp_path):
    """A local HTTP server that cuts its second answer short: (address, where each answer began, content, settings).

    It takes Range unless `settings.ranges` is False. The first answer tells what it offers.
    """
    payload = os.urandom(300_000)
    seen, settings = [], SimpleNamespace(ranges=True)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if settings.ranges else 0
            seen.append(start)
            if start >= len(payload):
                self.send_error(416)
                return
            self.send_response(206 if settings.ranges and "Range" in self.headers else 200)
            self.send_header("Content-Length", str(len(payload) - start))
            self.end_headers()
            with suppress(ConnectionError):  # who only asks what is offered does not read on
                self.wfile.write(payload[start : 100_000 if len(seen) == 2 else None])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/corpus.tar.gz", seen, payload, settings
        httpd.shutdown()


def test_an_interrupted_download_continues_where_it_stopped(server, tmp_path):
    url, seen, payload, _ = server
    target = tmp_path / "corpus.tar.gz"
    with pytest.raises(UserError, match="can't download .*run the same command again.*data.source"):
        download.fetch(url, target)
    assert not target.exists()
    download.fetch(url, target)
    assert target.read_bytes() == payload and seen == [0, 0, 0, 100_000]
    download.fetch(url, target)
    assert len(seen) == 4


def test_a_server_that_cannot_continue_sends_the_file_anew(server, tmp_path):
    url, seen, payload, settings = server
    settings.ranges = False
    with pytest.raises(UserError, match="the connection broke after 100000 of 300000 bytes"):
        download.fetch(url, tmp_path / "corpus.tar.gz")
    download.fetch(url, tmp_path / "corpus.tar.gz")
    assert (tmp_path / "corpus.tar.gz").read_bytes() == payload and seen == [0, 0, 0, 0]


def test_a_silent_server_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UserError, match="can't download .*timed out"):
        download.fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/corpus.tar.gz", tmp_path / "corpus.tar.gz")


def test_a_server_that_is_not_there_is_named_with_the_reason(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/corpus.tar.gz"
    with pytest.raises(
        UserError, match=rf"can't download {url}: \[Errno [0-9]+\] Connection refused; run the same command again"
    ):
        download.fetch(url, tmp_path / "corpus.tar.gz")


def test_a_part_longer_than_the_file_is_fetched_anew(server, tmp_path):
    url, seen, payload, _ = server
    seen += [0, 0]
    (tmp_path / "corpus.tar.gz.part").write_bytes(payload + b"more")
    download.fetch(url, tmp_path / "corpus.tar.gz")
    assert (tmp_path / "corpus.tar.gz").read_bytes() == payload


def test_a_damaged_archive_leaves_nothing_behind(tmp_path):
    with tarfile.open(tmp_path / "whole.tar.gz", "w:gz") as tar:
        tar.add(ROOT / "local", "corpus")
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:3000])
    with pytest.raises(UserError, match="cut.tar.gz is damaged"):
        download.unpack(tmp_path / "cut.tar.gz", tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    download.unpack(tmp_path / "whole.tar.gz", tmp_path / "corpus")
    assert (tmp_path / "corpus/corpus/yesno.py").is_file()


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    (tmp_path / "secret").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "secret", "../outside")
    with pytest.raises(UserError, match="evil.tar is damaged .*Path Traversal"):
        download.unpack(tmp_path / "evil.tar", tmp_path / "corpus")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "corpus").exists()


def test_links_in_an_archive_are_left_out(tmp_path):
    (tmp_path / "kept").write_text("x")
    (tmp_path / "link").symlink_to("/")
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        tar.add(tmp_path / "link", "link")
        tar.add(tmp_path / "kept", "folder/kept")
    download.unpack(tmp_path / "links.tar", tmp_path / "corpus")
    assert sorted(p.name for p in (tmp_path / "corpus").rglob("*")) == ["folder", "kept"]


def test_checks_find_a_short_flac(speech, tmp_path):
    samples, rate = soundfile.read(str(speech["conf-adminmenu"].audio))
    soundfile.write(str(tmp_path / "a.flac"), samples, rate)
    (tmp_path / "a.flac").write_bytes((tmp_path / "a.flac").read_bytes()[:-20000])
    assert audio.check(tmp_path / "a.flac", [(0.0, None)], Copies(tmp_path)).problems[0]
