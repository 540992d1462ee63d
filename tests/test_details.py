"""The part of the page that comes from the runs' folders: found, checked against the record, shown, or said to be missing."""

import base64
import io
import re
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from steps.compare import main
from support.fabricate import SENTENCES, finished, run_score
from utils.core.files import ROOT, read_jsonl, write_jsonl
from utils.results.details import Clip, Run, find, speech, worst
from utils.results.report import report
from utils.results.store import read_all
from utils.text.scoring import score

CURVE = [
    {"step": 1, "epoch": 1, "loss": 3.0, "subword_loss": 4.0},
    {"step": 2, "epoch": 1, "loss": 1.0, "subword_loss": 2.0},
    {"step": 2, "epoch": 1, "dev_subword_loss": 2.5, "dev_subword_error": 60.0},
    {"step": 4, "epoch": 2, "dev_subword_loss": 1.5, "dev_subword_error": 30.0},
]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """One run with folders, records, curves and a second of sound for every utterance; a word of it looks like markup."""
    monkeypatch.setattr("steps.score.git_state", lambda _: {"git_commit": "d" * 40, "git_clean": True})
    monkeypatch.delenv("NUPTSE_EXP", raising=False)
    plans = finished(tmp_path / "exp" / "asterisk", rates={"lattice": 0.3, "lm": 0.2})
    hypotheses = plans["rescore"].out / "hyps-lm-test.jsonl"
    rows = read_jsonl(hypotheses)
    rows[0]["hyp"] = ["<script>"] * 9
    write_jsonl(hypotheses, rows)
    write_jsonl(plans["train"].out / "curves.jsonl", CURVE)
    sound = np.random.default_rng(0).integers(-9000, 9000, 16000).astype(np.int16)
    for key in SENTENCES:
        soundfile.write(str(tmp_path / f"{key}.wav"), sound, 16000)
    for cuts in plans["data"].out.glob("cuts_*"):
        CutSet.from_cuts([c.with_recording_path_prefix(tmp_path) for c in CutSet.from_file(cuts)]).to_file(cuts)
    run_score(plans, tmp_path / "egs" / "asterisk", "bpe_ctc")
    return tmp_path


def page(repository, *arguments):
    assert main(list(arguments), repository) == 0
    return (repository / "RESULTS.html").read_text()


def curves(html):
    """The texts of the training curves on a page."""
    (picture,) = re.findall(r'<img class="curves" [^>]*src="data:image/svg.xml;base64,([^"]+)"', html)
    return [text.strip() for text in ElementTree.fromstring(base64.b64decode(picture)).itertext()]


def folder(repository, stage):
    return next((repository / "exp" / "asterisk").glob(f"{stage}-*"))


def cell(repository):
    return report(read_all([repository / "egs" / "asterisk"]), "test").final[0]


def test_the_page_shows_curves_confusions_and_plays_the_worst_utterances(repository):
    html = page(repository, "--worst", "3")
    assert {"dev, sub-words", "train, sub-words"} <= set(curves(html))
    assert "Substitutions:" in html and "Deletions:" in html and "Insertions:" in html
    clips = re.findall(r'<audio controls [^>]*src="data:audio/flac;base64,([^"]+)"', html)
    assert len(clips) == 3
    for clip in clips:
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(clip)), dtype="int16")
        assert rate == 16000 and (samples == soundfile.read(str(repository / "conf-getpin.wav"), dtype="int16")[0]).all()
    assert html.count('<article class="worst">') == 3 and f"<b>{next(iter(SENTENCES.values()))}</b>" in html


def test_words_are_escaped(repository):
    html = page(repository)
    own = re.sub(r"<script( type=[^>]*)?>.*?</script>", "", html, flags=re.S)
    assert "<script" not in own and "&lt;script&gt;" in own


def test_what_is_printed_and_committed_holds_nothing_of_the_folders(repository, capsys):
    page(repository)
    committed = repository / "egs" / "asterisk" / "RESULTS.md"
    with_folders, printed = committed.read_text(), capsys.readouterr().out
    shutil.rmtree(repository / "exp")
    page(repository)
    assert committed.read_text() == with_folders and capsys.readouterr().out == printed
    assert "/*.html" in (ROOT / ".gitignore").read_text().split()


@pytest.mark.parametrize(
    "stage, reason", (("rescore", "no folder in exp holds its words"), ("data", "its data folder is not in exp"))
)
def test_what_is_gone_is_said_and_the_rest_shown(repository, stage, reason):
    shutil.rmtree(folder(repository, stage))
    html = page(repository)
    assert reason in html and "dev, sub-words" in curves(html) and 'id="systems"' in html
    assert ("Substitutions" in html) == (stage == "data") and "<audio" not in html


def test_words_that_the_record_was_not_made_of_are_not_shown(repository):
    hypotheses = folder(repository, "rescore") / "hyps-lm-test.jsonl"
    rows = read_jsonl(hypotheses)
    rows[1]["hyp"] = []
    write_jsonl(hypotheses, rows)
    html = page(repository)
    assert "holds other words than the record was made of" in html and "Substitutions" not in html


def test_folders_are_looked_for_where_the_runs_put_them(repository, monkeypatch):
    shutil.move(str(repository / "exp"), str(repository / "elsewhere"))
    assert "<audio" not in page(repository)
    monkeypatch.setenv("NUPTSE_EXP", str(repository / "elsewhere"))
    assert "<audio" in page(repository)


def test_a_run_has_the_errors_of_its_record(repository):
    run = find(cell(repository), repository / "exp")
    record = cell(repository).records[0]
    assert sum(run.errors.values()) == record["errors"] and run.curve == CURVE


def test_worst_are_those_of_each_system_once():
    def run(**hyps):
        scores = score((name, "a b c d".split(), hyp.split()) for name, hyp in hyps.items())
        return Run(None, 0, dict(zip(scores.ids, scores.alignments)))

    one, other = run(x="a", y="a b", z="a b c d"), run(x="a b c d", y="a b c", z="a b c d e f")
    assert worst([one, other], 1) == ["x", "z"]
    assert worst([one, other], 2) == ["x", "y", "z"]
    assert worst([one, other], 0) == [] and worst([run(x="a b c d")], 3) == []


def test_speech_that_finds_no_room_or_is_too_long_is_left_out_and_said(repository, monkeypatch):
    data, names = folder(repository, "data"), list(SENTENCES)[:3]
    whole = speech({"a": (data, names[:1])}, "test")["a", names[0]]
    tight = speech({"a": (data, names), "b": (data, names)}, "test", room=2 * len(whole.flac))
    assert [key for key, clip in tight.items() if clip.flac] == [("a", names[0]), ("b", names[0])]
    assert "no room" in tight["a", names[1]].missing
    monkeypatch.setattr("utils.results.details.LONGEST", 0.5)
    assert "longer than 0.5 s" in speech({"a": (data, names)}, "test")["a", names[0]].missing
    assert "longer than 0.5 s (5)" in page(repository)
    (repository / f"{names[0]}.wav").unlink()
    assert speech({"a": (data, names)}, "test")["a", names[0]] == Clip(missing="its audio is not on this machine")


def test_a_number_of_utterances_below_none_is_refused(repository, capsys):
    assert main(["--worst", "-1"], repository) == 1
    assert "--worst -1" in capsys.readouterr().err
    assert "<article" not in page(repository, "--worst", "0")
