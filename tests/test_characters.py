"""Languages without blanks between words are tuned, chosen and compared by errors of characters, however their words are cut."""

import json

import pytest

from support import fabricate
from support.fabricate import finished, record, run_score
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.pipeline.config import load
from utils.pipeline.stages import plan
from utils.rescore.nbest_lists import NBestList, ScoredPath
from utils.rescore.rescoring import flatten
from utils.results.comparison import against, cells, headlines
from utils.results.measure import measure
from utils.results.records import check
from utils.results.report import report
from utils.text.references import Cut
from utils.text.scoring import edits, score, spelled

SENTENCES = {"a": "打开 客厅 的 空调", "b": "播放 周杰伦 的 歌", "c": "二十 三 度", "d": "把 wifi 关掉", "e": "请 帮 我 关灯"}


@pytest.mark.parametrize(
    "reference, recognised, errors",
    [
        ("打开 客厅 灯", "打 开客厅 灯", 0),  # cut differently
        ("打开 客厅 灯", "打开 客听 灯", 1),
        ("把 wifi 打开", "把 wife 打 开", 1),  # a word of letters is one unit
        ("press one now", "press one no", 1),
        ("เปิด ไฟ", "เปิดไฟ", 0),
    ],
)
def test_errors_are_of_characters_in_scripts_without_blanks_and_of_words_in_others(reference, recognised, errors):
    assert edits(reference.split(), recognised.split()) == errors
    one = NBestList("u", reference.split(), [ScoredPath(recognised.split(), {"am": 0.0})])
    assert flatten([one]).errors.tolist() == [errors]  # what the weights of rescoring are tuned by


def _made(recipe, cut, hypotheses):
    """A record of recognised text, with its words cut by a function."""
    scores = score((name, cut(text).split(), cut(hypotheses[name]).split()) for name, text in SENTENCES.items())
    cuts = {name: Cut(cut(text), "zh", name) for name, text in SENTENCES.items()}
    measured = measure(scores, cuts, {}, 200, spelled(scores.ids, scores.alignments, ["zh"] * len(scores.ids)))
    measured["characters"]["oracle"] = 1.5
    return check({**record(recipe=recipe, corpus="home", normaliser="basic-zh-1"), **measured}, recipe)


def characters(text):
    return " ".join(text.replace("wifi", "W").replace(" ", "")).replace("W", "wifi")


def test_systems_with_other_words_are_compared_in_characters():
    good = {**SENTENCES, "a": "打开 客听 的 空调"}
    bad = {**good, "b": "播放 周结论 的 哥", "e": "请 帮 我 关"}
    words, apart = _made("wordvec_hybrid", str, good), _made("bpe_ctc", characters, bad)
    assert (words["characters"]["errors"], words["errors"]) == (1, 1) and words["cer"] < words["wer"]
    ours, theirs = cells([words])[0], cells([apart])[0]
    found = against(ours, theirs)  # their words differ, their characters don't
    assert found.value == pytest.approx(words["cer"] - apart["cer"], abs=0.001) and found.value < 0
    page = report([words, apart, record()], "test")
    recipes = next(t for t in page.tables if t.title.startswith("Recipes"))
    rows = {row[1]: dict(zip(recipes.header, row)) for row in recipes.rows if "home" in row[0] or not row[0]}
    assert rows["wordvec_hybrid"]["Δ bpe_ctc"].startswith("−") and rows["wordvec_hybrid"]["CER"] == f"{words['cer']:.2f}"
    assert f"{words['cer_interval'][0]:.1f}" in rows["wordvec_hybrid"]["95% interval"]
    of_words = [t for t in page.tables if t.title.startswith("WER on")]
    assert not any("home" in row[0] for t in of_words for row in t.rows)  # a WER of Chinese is never alone
    assert any("home" in row[0] for t in page.tables if t.title.startswith("CER on") for row in t.rows)


def test_settings_are_chosen_by_the_character_error_rate_on_dev():
    fewer_words = _made("bpe_ctc", str, {**SENTENCES, "a": "大凯 客厅 的 空调", "c": "二十 三 度"})
    fewer_characters = _made("bpe_ctc", str, {**SENTENCES, "a": "打凯 客听 的 空调"})
    fewer_words["overrides"], fewer_characters["overrides"] = ["lang.lm_order=4"], ["lang.lm_order=5"]
    more_words = _made("bpe_ctc", str, {**SENTENCES, "a": "打 开 客厅 的 空调"})  # cut wrongly: three word errors, no other
    more_words["overrides"] = ["lang.lm_order=6"]
    dev = [{**r, "split": "dev"} for r in (fewer_words, fewer_characters, more_words)]
    assert more_words["wer"] >= fewer_words["wer"] and more_words["cer"] == 0
    assert [r["overrides"] for r in headlines(dev, dev)] == [["lang.lm_order=6"]]


def test_a_score_stage_of_chinese_counts_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(fabricate, "SENTENCES", SENTENCES)
    monkeypatch.setattr(fabricate, "noisy", lambda words, rate, rng: words[: max(3, len(words) - 1)])
    plans = finished(tmp_path / "exp", languages=("zh",))
    run_score(plans, tmp_path / "home", "wordvec_hybrid")
    made = json.loads((plans["score"].out / "test-lm.json").read_text())
    assert made["characters"]["words"] == 27 > made["words"] == 18 and made["characters"]["errors"] > 0
    assert made["characters"]["oracle"] is not None and made["cer_interval"][0] <= made["cer"] <= made["cer_interval"][1]
    assert "CER (%)" in (plans["score"].out / "wer.svg").read_text()
    changed = {**made, "characters": {**made["characters"], "errors": made["characters"]["errors"] + 1}}
    with pytest.raises(UserError, match="changed by hand"):
        check(changed, "here")


def test_ready_made_recognisers_ask_for_no_units_of_the_language(tmp_path):
    def plans(*sets):
        return plan(
            load("whisper_zero", ROOT / "egs" / "kaldi_dir", [f"data.source={tmp_path}", "data.language=zh", *sets]), tmp_path
        )

    usual = plans()
    assert usual["lang"].stage.module == "words"
    for sets in (["lang.units=phone"], ["lang.size=3", "lang.units=bpe"]):
        assert {n: p.fingerprint for n, p in plans(*sets).items()} == {n: p.fingerprint for n, p in usual.items()}
    load("whisper_zero", ROOT / "egs" / "kaldi_dir", ["data.language=fr", "lang.units=phone"])  # no pronunciations are needed
