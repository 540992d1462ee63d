"""AISHELL-1 and its sample: mini trees in their layouts, of real recordings."""

import functools
import http.server
import logging
import shutil
import tarfile
import threading

import pytest

from local import aishell, aishell_sample
from support.corpora import data_config
from utils.core.errors import UserError
from utils.core.files import read_json

LOG = logging.getLogger("test")
SENTENCES = [
    "打开 客厅 的 空调",
    "设定 二十九 度",
    "播放 周杰伦 的 歌",
    "关掉 卧室 的 灯",
    "而 对 楼市 成交 抑制 作用",
    "明天 天气 怎么样",
]


@pytest.fixture
def tree(speech, tmp_path):
    """data_aishell with six speakers of four utterances each; one has no transcript."""
    folder, lines = tmp_path / "corpus" / "data_aishell", []
    recordings = [u.audio for key, u in sorted(speech.items()) if key.startswith("phonetic/")]
    for s, split in enumerate(["train", "train", "train", "train", "dev", "test"]):
        home = folder / "wav" / split / f"S000{s}"
        home.mkdir(parents=True)
        for n in range(4):
            key = f"BAC009S000{s}W010{n}"
            shutil.copy(recordings[(4 * s + n) % len(recordings)], home / f"{key}.wav")
            lines.append(f"{key} {SENTENCES[(s + n) % len(SENTENCES)]}\n")
    (folder / "transcript").mkdir()
    (folder / aishell.TRANSCRIPTS).write_text("".join(lines[1:]), encoding="utf-8")
    return folder


def test_a_mini_tree_runs_from_data_to_the_graphs(tree, run_stages, exp):
    assert run_stages("--corpus", "aishell", "--stop-stage", "lang", "--set", f"data.source={tree.parent}") == 0
    (data,), (lang,) = exp.glob("aishell/data-????????"), exp.glob("aishell/lang-????????")
    summary = read_json(data / "summary.json")
    assert summary["name"] == "aishell-part" and summary["segmentation"] == "given" and summary["left_out_by_design"] == 1
    assert {split: c["utterances"] for split, c in summary["splits"].items()} == {"train": 15, "dev": 4, "test": 4}
    lexicon = (lang / "lexicon.txt").read_text(encoding="utf-8")
    assert "客厅 k e4 t ing1" in lexicon.replace("\t", " ")


def test_the_whole_corpus_is_downloaded_unpacked_twice_and_counted(tree, tmp_path, monkeypatch):
    wav = tree / "wav"
    for folder in sorted(wav.glob("*/S*")):  # as published: an archive a speaker
        with tarfile.open(wav / f"{folder.name}.tar.gz", "w:gz", compresslevel=1) as tar:
            tar.add(folder, f"{folder.parent.name}/{folder.name}")
    for split in aishell.SPEAKERS:
        shutil.rmtree(wav / split)
    with tarfile.open(tmp_path / "data_aishell.tgz", "w:gz", compresslevel=1) as tar:
        tar.add(tree, "data_aishell")
    monkeypatch.setattr(aishell, "SPEAKERS", {"train": 4, "dev": 1, "test": 1})
    monkeypatch.setattr(aishell, "UTTERANCES", {"train": 15, "dev": 4, "test": 4})
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(handler.func, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        monkeypatch.setattr(aishell, "URL", f"http://127.0.0.1:{httpd.server_port}/data_aishell.tgz")
        found = aishell.prepare(data_config("aishell", language="zh"), tmp_path / "download", tmp_path, 1, LOG)
        httpd.shutdown()
    assert len(found.utterances) == 23 and found.utterances[0].speaker == "S0000"
    again = data_config("aishell", language="zh", source=str(tmp_path / "download" / "aishell"))
    assert aishell.prepare(again, tmp_path, tmp_path, 1, LOG).utterances == found.utterances
    assert aishell.name(again) == "aishell" and aishell.place(again) == ""
    (tmp_path / "download" / "aishell" / "data_aishell" / "wav" / "dev" / "S0004" / "BAC009S0004W0100.wav").unlink()
    with pytest.raises(UserError, match="not all utterances with a transcript .*3 of 4 in dev"):
        aishell.prepare(again, tmp_path, tmp_path, 1, LOG)


def test_what_is_no_copy_is_refused(tree, tmp_path):
    with pytest.raises(
        UserError, match="aishell_transcript_v0.8.txt is missing; data.source=FOLDER names the folder data_aishell"
    ):
        aishell.prepare(data_config("aishell", source=str(tmp_path / "no")), tmp_path, tmp_path, 1, LOG)
    shutil.rmtree(tree / "wav" / "dev")
    with pytest.raises(UserError, match="dev holds no speaker's folder"):
        aishell.prepare(data_config("aishell", source=str(tree)), tmp_path, tmp_path, 1, LOG)
    with pytest.raises(UserError, match="is on no server: name the folder"):
        aishell_sample.prepare(data_config("aishell_sample"), tmp_path, tmp_path, 1, LOG)


@pytest.fixture
def sample(tmp_path):
    """200 utterances of two speakers, a sixth of them said by both; their recordings are not read."""
    folder = tmp_path / "sample"
    lines = []
    (folder / aishell_sample.WAVES).mkdir(parents=True)
    (folder / "kaldi_file").mkdir()
    for speaker in ("S0150", "S0252"):
        for n in range(100):
            key, shared = f"BAC009{speaker}W{n:04d}", n % 6 == 0
            (folder / aishell_sample.WAVES / f"{key}.wav").touch()
            words = f"第 {n} {'句' if shared else speaker}"
            lines.append(f"{key} {words if speaker == 'S0150' else words.replace(' ', '')}\n")  # cut differently
    (folder / aishell_sample.TEXT).write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("split", aishell_sample.SPLITS)
def test_no_sentence_of_the_sample_is_in_two_splits(split, sample, tmp_path):
    settings = data_config("aishell_sample", source=str(sample), language="zh", options={"split": split})
    found = aishell_sample.prepare(settings, tmp_path, tmp_path, 1, LOG)
    sentences = {s: {u.text.replace(" ", "") for u in found.utterances if u.split == s} for s in ("train", "dev", "test")}
    assert all(sentences.values())
    assert (
        not sentences["train"] & sentences["test"]
        and not sentences["dev"] & sentences["test"] | sentences["train"] & sentences["dev"]
    )
    speakers = {s: {u.speaker for u in found.utterances if u.split == s} for s in sentences}
    if split == "speaker":
        assert speakers == {"train": {"S0150"}, "dev": {"S0150"}, "test": {"S0252"}} and len(found.left_out) == 17
        assert aishell_sample.name(settings) == "aishell_sample-part split=speaker"
    else:
        assert len(found.utterances) == 200 and speakers["train"] == {"S0150", "S0252"}


def test_options_of_the_sample_are_checked(sample, tmp_path):
    for options, said in (
        ({"split": "words"}, "there are sentence, speaker"),
        ({"split": "speaker", "test_speaker": "S1"}, "has S0150, S0252"),
    ):
        settings = data_config("aishell_sample", source=str(sample), options=options)
        with pytest.raises(UserError, match=said):
            aishell_sample.prepare(settings, tmp_path, tmp_path, 1, LOG)
