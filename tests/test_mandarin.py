"""Pronunciations of Mandarin words, and what the stages make of them."""

import logging
from types import SimpleNamespace

import pytest
import torch
from lhotse import MonoCut, SupervisionSegment

from steps.lang import _write_lexicon
from tests.bench.homophones import measured
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.splits import cuts_path
from utils.corpus.manifests import write_manifest
from utils.decode.pieces import HeadOutputs
from utils.lang.frequent_words import RAREST, common_words, frequencies
from utils.lang.hypothesis import Hypothesis
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.spelling import spell
from utils.lang.units import pronounce, pronounce_all, pronunciations
from utils.languages.pinyin import written_units
from utils.pipeline import config, stages
from utils.rescore.adding import Adding
from utils.rescore.rescorer import Rescorer
from utils.rescore.vocabulary import Vocabulary, with_proposals
from utils.vectors.composer import Composer
from utils.vectors.meaning import meaning
from utils.vectors.table import pronunciation, spelling
from utils.vectors.wordvec import WordVectors


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


def test_regions_share_a_language_and_others_have_their_own_phones():
    assert pronounce(["你好"], "zh-TW") == pronounce(["你好"], "zh") == pronounce(["你好"], "cmn")
    assert pronounce(["oui"], "fr-CA") == ({"oui": [("w", "i")]}, [])


def _lexicon(folder, words):
    said = SupervisionSegment("u", "u", 0.0, 1.0, text=" ".join(words), language="zh-CN")
    write_manifest(cuts_path(folder, "train"), [MonoCut("u", 0.0, 1.0, 0, [said])])
    job = SimpleNamespace(
        inputs={"data": folder},
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


@pytest.mark.parametrize("parts", [("letters",), ("letters", "phones"), ("phones",)])
def test_proposals_with_new_characters_are_kept_where_pinyin_spells_them(tmp_path, parts):
    torch.manual_seed(0)
    lexicon = _lexicon(tmp_path, ["打", "开", "店", "灯"])
    table = {"letters": spelling(lexicon.words), "phones": pronunciation(lexicon.words, pronounce(lexicon.words, "zh")[0])}
    for name in parts:
        (tmp_path / f"{name}.txt").write_text("\n".join(table[name][1]), encoding="utf-8")
    words = WordVectors({name: table[name][0] for name in parts}, 16)
    adding = Adding.__new__(Adding)
    adding.lexicon, adding.known = lexicon, words(torch.arange(4)).detach()
    adding.model = SimpleNamespace(word=SimpleNamespace(words=words))
    adding.composer = Composer(words, tmp_path, SimpleNamespace(source="none"), list)
    vocabulary = Vocabulary(lexicon, 4, frozenset(), adding.known, torch.zeros(4))
    proposals = {"u": [["打", "垫"], ["打", "狗"], ["开", "灯"]]}  # no training word has g or ou3
    found, kept = with_proposals(vocabulary, proposals, "zh", lambda: adding)
    assert found.proposed == ("垫",) and found.lexicon.entries[-1] == ("垫", ("d", "ian4"))
    ids = found.lexicon.word_id
    assert kept == {"u": [(ids["打"], ids["垫"]), (ids["开"], ids["灯"])]}
    new, known = found.vectors[-1], found.vectors[lexicon.word_id["店"] - 1]
    if parts == ("letters",):
        assert not new.any()  # no letter of it was trained
    elif parts == ("phones",):
        torch.testing.assert_close(new, known)  # a homophone
    else:
        phones = [[table["phones"][1].index(phone) + 1 for phone in ("d", "ian4")]]
        said = words.pronunciation(torch.tensor(phones))[0]
        torch.testing.assert_close(new, torch.nn.functional.normalize(said, dim=-1))


def test_word_vectors_take_pinyin_where_units_are_letters(tmp_path):
    (tmp_path / "sp.model").touch()
    lexicon = Lexicon(["银行"], ["银", "行"], [("银行", ("银", "行"))], tmp_path)
    assert pronunciations({"zh": lexicon.words}, lexicon) == {"银行": [("in2", "h", "ang2")]}


def test_only_mandarin_depends_on_pypinyin(tmp_path):
    def dependent(*sets):
        resolved = config.load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [f"data.source={tmp_path}", *sets])
        return {name for name, stage in stages.stages_of(resolved).items() if "pypinyin" in stage.tools}

    assert dependent("lang.units=phone", "vectors.pronunciation=true") == dependent("data.language=zh", "lang.units=bpe") == set()
    assert dependent("data.language=zh", "lang.units=phone", "vectors.pronunciation=true") == {"lang", "vectors"}


@pytest.mark.parametrize(
    ("word", "written", "units"),
    [
        ("航线", "hang2 xian4", "h ang2 x ian4"),
        ("航线", "háng xiàn", "h ang2 x ian4"),
        ("航线", "Háng xian4", "h ang2 x ian4"),
        ("女婿", "nü3 xù", "n v3 x v4"),
        ("女婿", "nu:3 xu5", "n v3 x v5"),
        ("奶奶", "nǎi nai", "n ai3 n ai5"),  # a mark on the other
        ("玩儿", "wánr", "uan2 rr"),
        ("玩儿", "wan2 er2", "uan2 er2"),
        ("卡拉OK", "ka3 la1 OW K EY", "k a3 l a1 OW K EY"),
        ("航线", "hang xian", ""),  # no tone at all
        ("航线", "hang2xian4", ""),
        ("航线", "hángxiàn", ""),
        ("航线", "hang2", ""),  # a syllable is missing
        ("航线", "hang2 xian4 qu1", ""),
        ("航线", "hang2 xian6", ""),
        ("航线", "háng2 xian4", ""),
        ("航线", "hang2 hsien4", ""),  # of another romanisation
    ],
)
def test_pinyin_is_read_as_people_write_it_and_nothing_else_is(word, written, units):
    assert written_units(word, written.split(), {"OW", "K", "EY"}) == tuple(units.split())


def test_lists_may_have_pinyin_or_units_and_a_confused_one_is_refused_in_one_sentence(tmp_path):
    lexicon = _lexicon(tmp_path, ["打开", "银行", "航线", "长"])
    given = {"长行": [("zhǎng", "háng"), ("ch", "ang2", "h", "ang2")], "开行": [("kai", "hang")], "线": [("xiàng",)]}
    spoken, unfit = spell(list(given), given, lexicon, "zh")
    assert spoken["长行"] == [("zh", "ang3", "h", "ang2"), ("ch", "ang2", "h", "ang2")] and list(unfit) == ["开行", "线"]
    assert "not pinyin" in unfit["开行"] and unfit["线"].startswith("with units that the model doesn't have (iang4)")


def test_frequent_words_of_chinese_have_several_characters_and_shares_of_wordfreqs_list(tmp_path):
    lexicon = _lexicon(tmp_path, list("打开银行空调中国人大学生水"))  # a model of characters
    found = common_words(40, lexicon, "zh-CN", str)
    shares = list(found.values())
    assert {"中国", "大学", "国人", "银行"} <= set(found) and not set(found) & set(lexicon.words)
    assert shares == sorted(shares, reverse=True) and shares[0] > 1e-4
    assert frequencies(["大学", "水调国"], "zh") == {"大学": found["大学"], "水调国": RAREST}


def test_a_vectors_file_of_chinese_gives_words_and_characters_meaning(tmp_path):
    (tmp_path / "v.txt").write_text("银行 1 0 0\n行 0 1 0\n门 0 0 2\n")
    settings = {"source": "file", "path": str(tmp_path / "v.txt"), "remove": 0, "width": 0}
    found = meaning(["银行", "行", "航", "门"], [], SimpleNamespace(**settings))
    assert found.known.tolist() == [True, True, False, True] and found.vectors[0].argmax() != found.vectors[1].argmax()


def test_homophones_are_counted_in_their_sentences_with_tone_and_without():
    pairs = [
        ("他 在 银 行 工 作", "他 再 银 航 工 作"),  # zài, háng: both are said alike
        ("买 水", "卖 谁"),  # mǎi mài; shuǐ shuí
        ("打 开 wifi 吧", "打 wifi 八"),  # bā is in another tone; what is lost is no wrong character
        ("用 ok", "用 灯"),
    ]
    counts = measured((a.split(), b.split()) for a, b in pairs)
    assert counts == {"characters": 14, "errors": 7, "wrong": 5, "same": 2, "tone": 3}


def test_an_added_word_of_known_characters_is_scored_as_these(tmp_path):
    words, torch_random = ["打", "开", "客", "厅", "客厅", "tv", "门厅"], torch.Generator().manual_seed(1)
    lexicon = Lexicon(words, ["a"], [(word, ("a",)) for word in words], tmp_path)
    table, frames = torch.randn(7, 6, generator=torch_random), torch.randn(1, 9, 6, generator=torch_random)
    vocabulary = Vocabulary(lexicon, 4, frozenset(words[4:]), table, torch.zeros(7))
    assert vocabulary.parts == {5: (3, 4)}  # 门 is no word of the model
    assert Vocabulary(Lexicon(["客厅", *words[:4], "打开"], ["a"], [], tmp_path), 5, frozenset(["打开"]), None, None).parts == {}
    config = SimpleNamespace(candidates="both")
    rescorer = Rescorer(config, {}, ["lattice", "word_lattice"], 0.5, vocabulary, lambda: None, logging.getLogger("test"))
    kept = HeadOutputs(frames=frames, blank=torch.zeros(1, 9), normaliser=torch.full((1, 9), 3.0), lengths=torch.tensor([9]))
    paths = [Hypothesis(ids, 0, 0, (), 18) for ids in ((1, 5), (1, 3, 4), (1, 6))]
    (whole, split, other), heard = rescorer.score(kept, 0, paths, "sequence")
    assert whole == split != other and {"客厅", "客", "打"} <= set(heard)
    whole, split = rescorer.score(kept, 0, [Hypothesis((5,), 0, 0, (0,), 18), Hypothesis((3, 4), 0, 0, (0, 9), 18)], "span")[0]
    assert whole != split
