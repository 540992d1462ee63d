"""Words of Chinese: given, single characters, or jieba's; and what other recognisers write in the words of a corpus."""

import pytest
from lhotse import CutSet

from support.fabricate import _cut
from utils.core.errors import UserError
from utils.core.files import ROOT, write_json
from utils.decode.recognised import recognised_normaliser
from utils.pipeline import config, stages
from utils.text.segmentation import segmenter
from utils.text.sentences import Text, transcripts_normaliser

SAID = ["打开 客厅 的 空调", "设定 二十九 度", "播放 周杰伦 的 歌", "汽车 发动机 坏 了"]


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("given", "打开 客厅的 空调", "打开 客厅的 空调"),
        ("char", "打开 wifi 吧", "打 开 wifi 吧"),
        ("jieba", "打开客厅的空调", "打开 客厅 的 空调"),
        ("jieba", "打 开 客 厅 的 空 调", "打开 客厅 的 空调"),  # whatever the blanks were
        ("jieba", "把 wifi 关掉 ok", "把 wifi 关掉 ok"),
        ("characters", "关灯", "关 灯"),  # what finished folders say
        ("blanks", "关灯", "关灯"),
    ],
)
def test_words_are_those_that_were_asked_for(name, text, words):
    assert segmenter(name)(text) == words


def _data(folder, transcripts, segmentation):
    folder.mkdir()
    cut = segmenter(segmentation)
    cuts = [_cut(f"u{n}", cut(text), "zh") for n, text in enumerate(transcripts)]
    CutSet.from_cuts(cuts).to_file(folder / "cuts_train.jsonl.gz")
    write_json(folder / "summary.json", {"segmentation": segmentation})
    (folder / "config.yaml").write_text("data: {language: zh, normaliser: basic, segmentation: auto}\n")
    return folder


@pytest.mark.parametrize(
    "segmentation, words",
    [
        ("given", "汽车 发动机 二十九 度"),
        ("jieba", "汽车 发动机 二十九 度"),
        ("char", "汽 车 发 动 机 二 十 九 度"),
    ],
)
def test_whispers_chinese_takes_the_script_and_the_words_of_the_corpus(segmentation, words, tmp_path):
    normalise = recognised_normaliser(_data(tmp_path / "data", SAID, segmentation))
    assert normalise("汽車發動機,29度。") == words


def test_a_traditional_corpus_stays_traditional_and_a_mixed_one_as_it_is(tmp_path):
    traditional = _data(tmp_path / "tw", ["打開 客廳 的 空調", "汽車 發動機 壞 了"], "char")
    assert recognised_normaliser(traditional)("关灯") == "關 燈"
    mixed = _data(tmp_path / "mixed", [*SAID, "打開 客廳 的 空調", "汽車 發動機 壞 了"], "char")
    assert recognised_normaliser(mixed)("关燈") == "关 燈"
    bundle = _data(tmp_path / "bundle", SAID, "char")
    (bundle / "cuts_train.jsonl.gz").unlink()  # as in a bundle whose chain does not use Whisper's decoder
    assert recognised_normaliser(bundle)("把燈关了") == "把 燈 关 了"


def _load(*sets):
    return config.load("whisper_wordvec", ROOT / "egs" / "kaldi_dir", ["data.source=/tmp", "data.language=zh", *sets])


def test_old_values_of_the_setting_load_and_keep_the_fingerprints_of_finished_stages(tmp_path):
    assert _load("data.segmentation=characters") == _load("data.segmentation=char")
    stored = config.current_overrides(["data.segmentation=blanks", "lang.size=9"])
    assert stored == ["data.segmentation=given", "lang.size=9"]
    data = {"data": {"segmentation": "char", "language": "zh"}}
    assert stages.as_fingerprinted(data, ("data",))["data"]["segmentation"] == "characters"
    (tmp_path / "config.yaml").write_text("data: {segmentation: characters}\n")
    assert config.made_with(tmp_path).data.segmentation == "char"


def test_jieba_is_for_chinese_and_its_version_counts_for_the_words():
    with pytest.raises(UserError, match="jieba cuts Chinese.*set data.segmentation=auto"):
        _load("data.segmentation=jieba", "data.language=ru")
    tools = {
        name: stage.tools
        for name, stage in stages.stages_of(_load("data.segmentation=jieba", "rescore.attention.beam=2")).items()
    }
    assert "rjieba" in tools["data"] and {"opencc", "rjieba"} <= set(tools["propose"]) and "rjieba" not in tools["train"]


def test_more_text_gets_the_words_of_the_transcripts_and_named_words_stay_whole(tmp_path):
    (tmp_path / "more.txt").write_text("打开客厅的灯。\n\n29度\n", encoding="utf-8")
    for name, words in (("jieba", "打开 客厅 的 灯 二十九 度"), ("char", "打 开 客 厅 的 灯 二 十 九 度")):
        data = _data(tmp_path / name, SAID, name)
        more = Text([], str(tmp_path / "more.txt"), transcripts_normaliser(data), "lang.text")
        assert [word for sentence in more for word in sentence] == words.split()
        assert transcripts_normaliser(data, whole=True)("客厅灯。") == "客厅灯"
