"""Reading with the attention decoder of the front end's Whisper model, on real speech."""

import json
from types import SimpleNamespace

import pytest
from conftest import ROOT, drive, write_kaldi

from utils.attention import AttentionScorer, written
from utils.config import load
from utils.errors import UserError
from utils.records import read_all

pytest.importorskip("ctranslate2", reason="needs the package ctranslate2")


@pytest.fixture(scope="module")
def finished(speech, whisper_model, tmp_path_factory):
    """A corpus of sentences in which the test set is half of the training set, after a run of stages 0 to 8."""
    folder = tmp_path_factory.mktemp("attention")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "conf-"))]
    for split, part in (("train", prompts), ("dev", prompts[::2]), ("test", prompts[1::2])):
        write_kaldi(folder / "source" / split, part, 1)
    corpus = folder / "sentences"
    corpus.mkdir()
    (corpus / "corpus.yaml").write_text((ROOT / "egs/kaldi_dir/corpus.yaml").read_text(), encoding="utf-8")
    settings = [f"data.source={folder / 'source'}", f"features.model={whisper_model}", "lang.units=char", "model.dim=64"]
    settings += ["vectors.dim=64", "train.batch_seconds=20", "train.epochs=10", "train.average=2", "audit.max_infeasible=1"]
    settings += ["rescore.attention.paths=6"]
    arguments = ["--corpus", str(corpus), "--recipe", "whisper_wordvec", "--threads", "1", "--nj", "2", "--stop-stage", "score"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        assert drive(*arguments, *(word for setting in settings for word in ("--set", setting))) == 0
    return SimpleNamespace(corpus=corpus, exp=folder / "exp" / "sentences", model=whisper_model)


@pytest.fixture
def scorer(finished):
    (features,) = finished.exp.glob("features-*")
    config = SimpleNamespace(model=str(finished.model), compute_type="int8")
    return AttentionScorer(config, features, ("test",), "cpu")


def listed(scorer, utterance, *sentences):
    return scorer([{"id": utterance, "paths": [{"words": words} for words in sentences]}])


def test_the_chain_ends_with_it_and_the_record_says_so(finished):
    every = read_all([finished.corpus / "results"])
    records = {r["decoding"]: r for r in every if r["split"] == "test"}
    before, after = records["wordvec"], records["attention"]
    assert set(after["rtf"]) == {*before["rtf"], "attention"} and after["rtf"]["attention"] > 0
    assert set(after["weights"]) >= {"lm", "word", "penalty", "attention"} and after["model_mb"] == before["model_mb"]
    assert after["oracle_wer"] == before["oracle_wer"] <= after["wer"] <= before["wer"]  # half of the speech was tuned on
    (rescored,) = finished.exp.glob("rescore-*")
    rows = [json.loads(line) for file in rescored.glob("parts/attention/*/*.jsonl") for line in file.read_text().splitlines()]
    assert len(rows) == sum(r["utterances"] for r in every if r["decoding"] == "attention")
    assert all(1 <= len(row["paths"]) <= 6 for row in rows)
    assert all(path["attention"] < 0 for row in rows for path in row["paths"])


def test_what_is_said_is_likelier_than_what_is_not(scorer):
    """More words, fewer and others: each is less likely than the transcript, in every long sentence."""
    long = [cut for cut in scorer.cuts.values() if len(cut.supervisions[0].text.split()) > 5]
    assert len(long) >= 5
    for cut in long:
        said = cut.supervisions[0].text.split()
        wrong = said[:-1], said[1:], [*said, "please"], said[:2] + ["mountain"] + said[3:]
        right, *others = listed(scorer, cut.id, said, *wrong)
        assert right > max(others), cut.supervisions[0].text


def test_a_score_hardly_depends_on_the_other_paths(scorer):
    cut = max(scorer.cuts.values(), key=lambda cut: cut.duration)
    sentences = cut.supervisions[0].text.split(), ["thank", "you"], []
    together = listed(scorer, cut.id, *sentences)
    assert together == pytest.approx([listed(scorer, cut.id, words)[0] for words in sentences], rel=0.02)
    twice = scorer([{"id": cut.id, "paths": [{"words": words}]} for words in sentences])
    assert twice == pytest.approx(together, rel=0.02)


@pytest.mark.parametrize(
    "words, language, sentence",
    [
        (["i'm", "sorry", "i", "can't"], "en", " I'm sorry I can't."),
        (["i", "numeri"], "it", " I numeri."),
        (["\u4f60", "\u597d"], "zh", "\u4f60\u597d\u3002"),
        ([], "en", " ."),
    ],
)
def test_words_are_written_as_whisper_would(words, language, sentence):
    assert written(words, language) == sentence


def test_what_it_needs_is_said_before_the_work(scorer, finished, tmp_path):
    with pytest.raises(UserError, match=r"rescore.attention.paths=4 needs features.front_end=whisper and features.layers=\[-1\]"):
        load("wordvec_hybrid", ROOT / "egs/asterisk", ["rescore.attention.paths=4"])
    with pytest.raises(UserError, match=r"needs features.front_end=whisper and features.layers=\[-1\]"):
        load("whisper_wordvec", ROOT / "egs/asterisk", ["rescore.attention.paths=4", "features.layers=[3]"])
    for name in ("model.bin", "config.json"):
        (tmp_path / name).symlink_to(finished.model / name)
    (features,) = finished.exp.glob("features-*")
    with pytest.raises(UserError, match=r"has no tokenizer.json, which its decoder \(rescore.attention\) needs"):
        AttentionScorer(SimpleNamespace(model=str(tmp_path), compute_type="int8"), features, ("test",), "cpu")
    cut = next(iter(scorer.cuts.values()))
    cut.supervisions[0].language = "fr"
    with pytest.raises(UserError, match=rf"doesn't know the language 'fr' of {cut.id}: leave rescore.attention.paths at 0"):
        listed(scorer, cut.id, ["bonjour"])
