"""Synthesised speech for training: words that the corpus lacks, and that decoding does not use."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import soundfile
import torch
from lhotse import CutSet
from safetensors import safe_open
from safetensors.torch import load_file

from steps.train import make_trainer
from support.driving import content
from support.training import SMALL, options, planned
from utils.core import download
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.lang.lexicon import read_entries, read_lexicon, training_lexicon
from utils.pipeline import contract
from utils.pipeline.config import load
from utils.pipeline.stages import plan
from utils.text.sentences import transcripts
from utils.train import synthesis
from utils.train.dataset import collate

MADE = ["synthesis.utterances=6", "synthesis.words=300", "vectors.meaning.source=random"]


@pytest.fixture(scope="module")
def flite(debian_packages) -> synthesis.Flite:
    if shutil.which("flite") is None:
        debian_packages(synthesis.PACKAGES, "flite")
    return synthesis.Flite(download.folder("flite"))


def trainer(prepared, out: Path):
    torch.set_num_threads(1)  # a process forked later would wait for its threads
    return make_trainer(prepared.config, prepared.inputs, out, "cpu", logging.getLogger("test"))


def test_voices_differ(flite, tmp_path):
    seen = set()
    for voice in synthesis.VOICES:
        quick, slow = tmp_path / f"{voice}.wav", tmp_path / f"{voice}-slow.wav"
        flite.speak(["seven", "o'clock"], voice, 0.8, quick)
        flite.speak(["seven", "o'clock"], voice, 1.2, slow)
        samples, rate = soundfile.read(quick)
        assert rate == 16000 and 0.4 < len(samples) / rate < 3 and abs(samples).max() > 0.05
        assert len(soundfile.read(slow)[0]) > 1.2 * len(samples)
        seen.add(hashlib.sha256(quick.read_bytes()).hexdigest())
    assert len(seen) == len(synthesis.VOICES)


def test_each_utterance_is_drawn_independently():
    new, known = ["alpha", "bravo"], ["one", "two"]
    many = list(synthesis.sentences(200, new, known, 0.75, 3))
    assert many[:20] == list(synthesis.sentences(20, new, known, 0.75, 3)) != list(synthesis.sentences(20, new, known, 0.75, 4))
    said = [word for utterance in many for word in utterance[1]]
    assert 0.7 < sum(word in new for word in said) / len(said) < 0.8
    assert {len(words) for _, words, *_ in many} == set(range(3, 10))
    assert {voice for *_, voice, _, _ in many} == set(synthesis.VOICES)
    assert not {word for _, words, *_ in synthesis.sentences(20, new, known, 0.0, 0) for word in words} & set(new)


def test_without_flite_and_apt_or_without_its_voices(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="neither it nor apt-get"):
        synthesis.Flite(tmp_path)
    (tmp_path / "flite").write_text("#!/bin/sh\necho Voices available: kal awb rms\n")
    (tmp_path / "flite").chmod(0o755)
    with pytest.raises(UserError, match="has no voice kal16, slt"):
        synthesis.Flite(tmp_path)
    (tmp_path / "flite").write_text("#!/bin/sh\necho no memory >&2\nexit 3\n")
    with pytest.raises(UserError, match="status 3: no memory"):
        synthesis.Flite(tmp_path)


@pytest.mark.slow
def test_synthesised_words_are_trained_on_and_unknown_to_decoding(kaldi_source, run_stages, exp, tmp_path, flite):
    assert run_stages(*options(kaldi_source, *MADE), "--stop-stage", "4") == 0
    prepared, without = planned(kaldi_source, exp, *MADE), planned(kaldi_source, exp).inputs
    inputs = prepared.inputs
    assert [inputs[name] == without[name] for name in ("lang", "features", "vectors", "audit")] == [True, True, False, False]

    made, lexicon = inputs["synthesise"], read_lexicon(inputs["lang"])
    cuts = list(CutSet.from_file(made / "cuts_train.jsonl.gz"))
    assert len(cuts) == 6 and all(cut.load_features().shape == (cut.num_frames, 80) for cut in cuts)
    about = {"config.yaml", "log.txt", "stage.json"}
    assert {p.name for p in made.iterdir()} - about == {"cuts_train.jsonl.gz", "feats", "left_out.tsv", "lexicon.txt"}
    new = {word for word, _ in read_entries(made / "lexicon.txt")}
    held_out = {word for split in ("dev", "test") for words in transcripts(inputs["data"], split) for word in words}
    said = {word for cut in cuts for word in cut.supervisions[0].text.split()}
    assert new and not new & set(lexicon.words) and not new & held_out and said <= new | set(lexicon.words)

    both = training_lexicon(inputs)
    assert both.words[: both.vocabulary] == lexicon.words and set(both.words[both.vocabulary :]) == new
    with safe_open(str(inputs["vectors"] / "table.safetensors"), "pt") as table:
        about = json.loads(table.metadata()["about"])
        assert [*about["words"], *about["synthesised"]] == both.words and len(table.get_tensor("letters")) == len(both.words)

    ready = trainer(prepared, tmp_path / "out")
    assert {cut.id for cut in cuts} <= {cut.id for cut in ready.train_cuts}
    batch = collate(cuts, ready.features, ready.lexicon)
    assert [both.ids_to_words(ids) for ids in batch.words] == [cut.supervisions[0].text.split() for cut in cuts]
    seen, score = [], ready.model.word_log_probs
    ready.model.word_log_probs = lambda output, rows, *rest: seen.append(rows) or score(output, rows, *rest)
    loss = ready.losses(batch)[0]
    assert torch.isfinite(loss) and new == {both.words[row] for row in seen[0].tolist() if row >= both.vocabulary}

    assert (
        run_stages(*options(kaldi_source, *MADE, "train.epochs=1", "train.average=1"), "--stage", "5", "--stop-stage", "6") == 0
    )
    (greedy,) = exp.glob("kaldi_dir/decode-*/hyps-greedy-test.jsonl")
    assert not {word for line in greedy.read_text().splitlines() for word in json.loads(line)["hyp"]} - set(lexicon.words)


@pytest.mark.slow
def test_what_can_not_be_aligned_is_left_out_of_training(kaldi_source, run_stages, exp, tmp_path, flite):
    coarse = [*MADE, "model.subword_subsampling=16", "model.word_subsampling=16"]  # 160 ms a letter
    assert run_stages(*options(kaldi_source, *coarse), "--stop-stage", "4") == 0
    prepared = planned(kaldi_source, exp, *coarse)
    inputs = prepared.inputs
    report = json.loads((inputs["audit"] / "report.json").read_text())
    lost = {row["id"] for row in report["infeasible"]["synthesised"]}
    assert report["utterances"]["synthesised"] == 6 and lost
    assert f"- synthesised: {len(lost)} of 6" in (inputs["audit"] / "report.md").read_text()
    ready = trainer(prepared, tmp_path / "out")
    made = {cut.id for cut in CutSet.from_file(inputs["synthesise"] / "cuts_train.jsonl.gz")}
    assert made & {cut.id for cut in ready.train_cuts} == made - lost


@pytest.mark.slow
def test_speech_that_can_not_be_used_is_listed_and_too_much_of_it_stops_the_stage(
    kaldi_source, run_stages, exp, monkeypatch, flite
):
    speak = synthesis.spoken

    def spoken(flite, utterance, folder):  # the file of the fourth utterance gets lost
        cut = speak(flite, utterance, folder)
        if utterance[0].endswith("3"):
            Path(cut.recording.sources[0].source).unlink()
        return cut

    def make(*more):
        assert run_stages(*options(kaldi_source, *more), "--stop-stage", "2") == 0
        config = load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [*SMALL, f"data.source={kaldi_source}", *MADE, *more])
        made = plan(config, exp / "kaldi_dir")["synthesise"]
        run = {"corpus": "kaldi_dir", "corpus_dir": ROOT / "egs" / "kaldi_dir", "recipe": "wordvec_hybrid", "overrides": ()}
        contract.make(made, **run, nj=1, threads=1, device="cpu")
        return made.out

    monkeypatch.setattr(synthesis, "spoken", spoken)
    with pytest.raises(
        UserError, match=r"1 of 6 cuts have no features \(16.7%; data.max_left_out allows 1.0%\)(?s:.*)000003: no audio"
    ):
        make()
    made = make("data.max_left_out=0.2")
    ((name, split, reason),) = (line.split("\t") for line in (made / "left_out.tsv").read_text().splitlines())
    assert name.endswith("000003") and split == "train" and reason.startswith("no audio file")
    assert len(list(CutSet.from_file(made / "cuts_train.jsonl.gz"))) == 5


@pytest.mark.slow
def test_a_killed_stage_ends_with_the_same_bytes(kaldi_source, run_stages, exp, flite):
    more = [*MADE, "features.normalise=speaker"]
    assert run_stages(*options(kaldi_source, *more), "--stop-stage", "2") == 0
    made = planned(kaldi_source, exp, *more).inputs["synthesise"]
    whole = content(made)
    voices = {cut.supervisions[0].speaker for cut in CutSet.from_file(made / "cuts_train.jsonl.gz")}
    assert {name.rpartition("/")[0] for name in load_file(str(made / "cmvn.safetensors"))} == voices
    partial = made.with_name(made.name + ".partial")
    os.rename(made, partial)  # as if it had been killed with all chunks made, then with none
    for lost in ("cuts_train.jsonl.gz", "cmvn.safetensors"):
        (partial / lost).unlink()
    shutil.rmtree(partial / "feats")
    (partial / "audio").mkdir()
    assert run_stages(*options(kaldi_source, *more), "--stage", "2", "--stop-stage", "2") == 0
    assert content(made) == whole


@pytest.mark.parametrize("setting, said", [
    ("data.language=fr", "synthesis.utterances=6.*flite speaks English, and data.language is fr"),
    ("model.word_head=softmax", "synthesis.utterances=6.*words that model.word_head=softmax, a learned table, has no rows for"),
    ("synthesis.new=75", "synthesis.new=75.0 is not allowed: it must be a number, at least 0 and at most 1"),
])  # fmt: skip
def test_settings_that_contradict_it_are_refused_before_anything_runs(kaldi_source, setting, said):
    with pytest.raises(UserError, match=said):
        load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [*SMALL, f"data.source={kaldi_source}", *MADE, setting])


@pytest.mark.slow
def test_more_words_than_there_are(kaldi_source, run_stages, exp, flite):
    assert run_stages(*options(kaldi_source, *MADE, "synthesis.words=99999999"), "--stop-stage", "2") == 1
    (partial,) = exp.glob("kaldi_dir/synthesise-*.partial")
    assert "99999999 frequent words are wanted, and wordfreq has" in (partial / "log.txt").read_text()
