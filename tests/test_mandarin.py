"""Pronunciations of Mandarin words, and what the stages make of them."""

import logging
from types import SimpleNamespace

import pytest
import torch

from steps.lang import _write_lexicon
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.spelling import spell
from utils.lang.units import pronounce, pronounce_all, pronunciations
from utils.pipeline import config, stages
from utils.rescore.vocabulary import Vocabulary, with_proposals


def _spoken(word):
    return [" ".join(units) for units in pronounce([word], "zh")[0].get(word, [])]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("乐", ["l e4", "ve4"]),  # by itself each usual reading
        ("音乐", ["in1 ve4"]),  # in a phrase the one that it has there
        ("快乐", ["k uai4 l e4"]),
        ("校长", ["x iao4 zh ang3"]),
        ("长城", ["ch ang2 ch eng2"]),
        ("能", ["n eng2"]),  # old readings, tái and nài, are left out
        ("四次", ["s ii4 c ii4"]),  # three vowels that pinyin writes i
        ("吃力", ["ch iii1 l i4"]),
        ("女士", ["n v3 sh iii4"]),
        ("六月", ["l iou4 ve4"]),  # strict finals, no initial for y and w
        ("嗯", ["n2"]),
        ("尾巴", ["uei3 b a5"]),
        ("妹妹", ["m ei4 m ei4", "m ei4 m ei5"]),  # said with the neutral tone
        ("八八", ["b a1 b a1"]),
        ("馬", ["m a3"]),  # traditional
    ],
)
def test_words_are_read_as_initials_and_toned_finals(word, expected):
    assert _spoken(word) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("玩儿", ["uan2 rr", "uan2 er2"]),
        ("聊天儿", ["l iao2 t ian1 rr", "l iao2 t ian1 er2"]),
        ("幼儿园", ["iou4 er2 van2"]),  # the child, a syllable
        ("女儿", ["n v3 er2"]),
        ("儿子", ["er2 z ii5"]),
        ("儿", ["er2", "rr"]),
    ],
)
def test_erhua_ends_the_syllable_before_it(word, expected):
    assert _spoken(word) == expected


def test_latin_letters_in_chinese_text_are_english():
    table, guessed = pronounce(["T恤", "卡拉OK", "wifi", "zermatt灯", "灯"], "zh")
    assert table["T恤"] == [("T", "IY", "x", "v4")]
    assert set(table["卡拉OK"]) >= {("k", "a3", "l", "a1", "OW", "K", "EY")}
    assert guessed == ["zermatt灯"] and table["灯"] == [("d", "eng1")]
    assert table["zermatt灯"][0][-2:] == ("d", "eng1")


@pytest.mark.parametrize("word", ["𪜎", "灯😀", "😀", "ソニー", "コ灯", "々", "нет灯", ""])
def test_what_nobody_can_read_is_missing_not_wrong(word):
    assert pronounce([word, "灯"], "zh") == ({"灯": [("d", "eng1")]}, [])
    with pytest.raises(UserError, match="no pronunciation for the word .* and 1 other; .*lang.units=char"):
        pronounce_all([word, "灯", "𪜏"], "zh")


def test_regions_share_a_language_and_others_are_refused():
    assert pronounce(["你好"], "zh-TW") == pronounce(["你好"], "zh")
    with pytest.raises(UserError, match="known of en, zh, and data.language is fr"):
        pronounce(["oui"], "fr")


def _lexicon(folder, words):
    job = SimpleNamespace(
        config=SimpleNamespace(lang=SimpleNamespace(units="phone"), data=SimpleNamespace(language="zh")),
        out=folder,
        log=logging.getLogger("test"),
    )
    _write_lexicon(job, [words])
    return read_lexicon(folder)


def test_a_lexicon_of_pinyin_spells_added_words(tmp_path):
    lexicon = _lexicon(tmp_path, ["打开", "银行", "行", "卡拉", "灯"])
    assert len(lexicon.pronunciations["行"]) == 2 and len(lexicon.pronunciations["银行"]) == 1
    spoken, unfit = spell(["开灯", "航拍", "火车"], {}, lexicon, "zh")
    assert spoken["开灯"] == [("k", "ai1", "d", "eng1")] and list(unfit) == ["航拍", "火车"]  # their units had no training


def test_proposals_with_new_characters_are_kept_where_pinyin_spells_them(tmp_path):
    lexicon = _lexicon(tmp_path, ["打", "开", "店", "灯"])
    model = SimpleNamespace(word=SimpleNamespace(words=None))
    embedder = SimpleNamespace(model=model)  # asked for no vector: no letter of theirs was trained
    vocabulary = Vocabulary(lexicon, 4, frozenset(), torch.ones(4, 3), torch.ones(4))
    proposals = {"u": [["打", "垫"], ["打", "狗"], ["开", "灯"]]}  # no training word has g or ou3
    found, kept = with_proposals(vocabulary, proposals, "zh", lambda: embedder)
    assert found.proposed == ("垫",) and found.lexicon.entries[-1] == ("垫", ("d", "ian4"))
    ids = found.lexicon.word_id
    assert kept == {"u": [(ids["打"], ids["垫"]), (ids["开"], ids["灯"])]}
    assert found.vectors is not None and found.vectors[-1].tolist() == [0.0, 0.0, 0.0] and len(found.bias) == 5


def test_word_vectors_take_pinyin_where_units_are_letters(tmp_path):
    (tmp_path / "sp.model").touch()
    lexicon = Lexicon(["银行"], ["银", "行"], [("银行", ("银", "行"))], tmp_path)
    assert pronunciations(lexicon.words, lexicon, "zh") == {"银行": [("in2", "h", "ang2")]}


def test_only_mandarin_depends_on_pypinyin(tmp_path):
    def dependent(*sets):
        resolved = config.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [f"data.source={tmp_path}", *sets])
        return {name for name, stage in stages.stages_of(resolved).items() if "pypinyin" in stage.tools}

    assert dependent("lang.units=phone", "vectors.pronunciation=true") == dependent("data.language=zh", "lang.units=bpe") == set()
    assert dependent("data.language=zh", "lang.units=phone", "vectors.pronunciation=true") == {"lang", "vectors"}
