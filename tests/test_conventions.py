"""What transcripts have besides words, letters in their usual form, and text without blanks between words."""

import logging
from types import SimpleNamespace

import pytest

from utils.core.errors import UserError
from utils.corpus.wording import Said, in_words
from utils.text.conventions import Conventions
from utils.text.normalise import normaliser
from utils.text.segmentation import characters

NOT_SAID = {
    "<noise> so <s>": "so",
    "&lt;unk&gt; it&#8217;s &amp;amp; that": "it's and that",
    "ＳＯ ＜laugh＞ ［cough］": "so",
    "<|en|><|0.00|> go on": "go on",
    "!SIL you !NULL": "you",
    "hello </s> (call_17-3)": "hello",
    "{breath} and {F um} then": "and um then",
    "[laughter-okay] [vocalized-noise] then": "okay then",
    "(clears throat) I *sighs* (did) *this* ++UH_NOISE++": "i did this",
    "%hm %uh 7 %": "hm uh seven percent",
    "&=coughs &-er met &Anna": "er met anna",
    "record(2) it": "record it",
    "Speaker 2: and A: then": "and a then",
    "00:00:03,200 --> 00:00:05,000 next (0.7) (1:02)": "next",
    r"one\ntwo": "one two",
    "(( she said )) (())": "she said",
    "at 9:15, if a<b and b>a": "at nine fifteen if a b and b a",
    "AT&T, R&D": "at and t r and d",
}
LETTERS = {
    "en": {
        "co\u00adop un\u2060do a\ufeffb \u202dleft\u202c": "coop undo ab left",
        "oﬃce ﬆop 𝒎𝒂𝒕𝒉 Ｗｉｄｅ": "office stop math wide",
        "\u0301 e\u0301 \ufe0f \u20e3 ✌🏿 👨\u200d👩 ♫ \ue123": "é",
        "ˈkæt maːn aʰ": "kæt man ah",
        "can‛t wonʼt didn′t 'tis": "can't won't didn't tis",
        "İZMİR Straße ﬁ": "izmir straße fi",
        "क्\u200dष र\u0941\u200d\u092a \u200dक": "क्\u200dष र\u0941\u200dप क",
        "Vie\u0323\u0302t": "việt",
    },
    "ru": {"боль\u00adшо\u0301й ё": "большой е", "Т: зaмóк": "замок", "да\u0336": "да"},
    "he": {'דו"ח רמטכ״ל כֹּל ז׳קט': "דוח רמטכל כל ז'קט"},
    "zh": {"请打开Bluetooth吧": "请打开 bluetooth 吧", "⼈工": "人工"},
}


def test_what_is_not_said_is_no_word():
    read = normaliser("basic", "en")
    assert {text: read(text) for text in NOT_SAID} == NOT_SAID


@pytest.mark.parametrize("language", LETTERS)
def test_letters_take_their_usual_form_and_what_is_invisible_goes(language):
    read = normaliser("basic", language)
    assert {text: read(text) for text in LETTERS[language]} == LETTERS[language]
    assert all(read(spoken) == spoken for spoken in LETTERS[language].values())


def test_a_corpus_changes_the_conventions():
    assert normaliser("basic", "en", ["usual", "-brackets"])("A: [noise] <b>x</b>") == "noise x"
    assert normaliser("basic", "en", ["tags"])("[noise] {x} <unk>") == "noise x"
    assert normaliser("basic", "en", ["usual", "parentheses", r"/\bSPN\b/"])("(aside) SPN so") == "so"
    assert normaliser("basic", "en", [])("<unk> &amp;") == "unk and amp"
    with pytest.raises(UserError, match="data.conventions has 'tag'.*did you mean 'tags'"):
        Conventions(["tag"])
    with pytest.raises(UserError, match=r"/\[/ is not a regular expression"):
        Conventions(["/[/"])


def _words(tmp_path, texts, language="en", **changes):
    config = SimpleNamespace(**{"normaliser": "basic", "conventions": ["usual"], "segmentation": "auto", **changes})
    said = [Said(f"u{i}", language, text) for i, text in enumerate(texts)]
    return in_words(said, config, 0, tmp_path, logging.getLogger("test"))


def test_what_is_dropped_is_listed_with_counts_and_version(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = _words(tmp_path, ["<UNK> one", "two <UNK> [door\tslams] ♫", "B: three \ue000"])
    assert list(found.texts.values()) == ["one", "two", "three"] and found.shortened == {"u0", "u1", "u2"}
    assert found.normaliser == "basic-en-2"
    rows = [line.split("\t") for line in (tmp_path / "dropped.tsv").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        ["brackets", "[door slams]", "1", "u1"],
        ["labels", "B:", "1", "u2"],
        ["symbols", "♫", "1", "u1"],
        ["symbols", "\ue000", "1", "u2"],
        ["tags", "<UNK>", "2", "u0"],
    ]
    assert "tags: 2, <UNK> 2" in caplog.text and "symbols: 2" in caplog.text


def test_symbols_that_the_language_does_not_read_are_counted(tmp_path):
    config = SimpleNamespace(normaliser="basic", conventions=["usual"], segmentation="auto")
    said = [Said("u0", "uk", "будинок № 5 і 2+3"), Said("u1", "xh", "R & D"), Said("u2", "ru", "дом № 5, 5 % и § 7")]
    in_words(said, config, 0, tmp_path, logging.getLogger())
    rows = [line.split("\t") for line in (tmp_path / "dropped.tsv").read_text(encoding="utf-8").splitlines()]
    assert [(piece, where) for _, piece, _, where in rows] == [("&", "u1"), ("+", "u0"), ("§", "u2"), ("№", "u0")]


def test_plain_words_have_no_list_and_keep_the_first_version(tmp_path):
    assert _words(tmp_path, ["It's fine, really.", "Well-known?"]).normaliser == "basic-en-1"
    assert not (tmp_path / "dropped.tsv").exists()
    assert _words(tmp_path, ["B: three"]).normaliser == _words(tmp_path, ["ﬁne"]).normaliser == "basic-en-2"


def test_text_without_blanks_becomes_characters_with_a_warning(tmp_path, caplog):
    found = _words(tmp_path, ["请把客厅的灯打开", "播放Beatles的歌", "关灯"], "zh")
    assert list(found.texts.values()) == ["请 把 客 厅 的 灯 打 开", "播 放 beatles 的 歌", "关 灯"]
    assert found.segmentation == "char" and "segment it first" in caplog.text
    assert _words(tmp_path, ["请 把 客厅 的 灯 打开", "播放 音乐"], "zh").texts["u0"] == "请 把 客厅 的 灯 打开"
    assert _words(tmp_path, ["请把客厅的灯打开"], "zh", segmentation="given").texts["u0"] == "请把客厅的灯打开"


@pytest.mark.parametrize(
    "text,units",
    [
        ("ตัวอย่างนี้ดี", "ตั ว อ ย่ า ง นี้ ดี"),
        ("ຂ້ອຍຮັກ", "ຂ້ ອ ຍ ຮั ກ".replace("ั", "ັ")),
        ("ខ្មែរ", "ខ្មែ រ"),
        ("မြန်မာ", "မြ န် မာ"),
        ("テレビを見る usb", "テ レ ビ を 見 る usb"),
    ],
)
def test_characters_keep_their_marks(text, units):
    assert characters(text) == units
