"""Any language: codes, scripts, letters and marks, numbers with and without words for them."""

import logging
import re
import unicodedata
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest

from tests.bench.languages import run
from utils.core.errors import UserError
from utils.core.languages import family, in_characters, script
from utils.corpus.wording import Said, in_words
from utils.lang.units import pronounce, train_sentencepiece
from utils.languages.numbers import KEPT, doubts
from utils.languages.registry import checked, unknown
from utils.languages.rules import Rules, languages, rules
from utils.text.normalise import normaliser
from utils.text.scoring import characters
from utils.text.segmentation import segmenter

SPOKEN = [
    (
        "cs",
        "Mám 21 psů & 2 %, 3,50 m; -2 v 10:30. 10 000",
        "mám dvacet jedna psů a dva procenta tři celá pět nula m minus dva v deset třicet deset tisíc",
    ),
    ("uk", "2 % & 5 % & 1,5", "два відсотки і п'ять відсотків і один кома п'ять"),
    ("sr-Latn", "5 %", "pet"),  # CLDR's words are Cyrillic
    ("sw", "5%", "asilimia tano"),
    ("tr", "IŞIK İsa’nın 21, %5", "ışık isa'nın yirmi bir yüzde beş"),
    ("ro", "ţară", "țară"),
    ("fa", "كتاب\u200cها ۲۱", "کتاب\u200cها بیست و یک"),
    ("ur", "۳ کتابيں", "3 کتابیں"),  # no library has its numbers
    ("ar", "مُحَمَّدٌ ٢١", "محمد واحد وعشرون"),
    ("yi", "ייִדיש, אַ נײַ", "ייִדיש אַ נײַ"),
    ("he", "שָׁלוֹם", "שלום"),
    ("hi", "क़िताबें २१", "क़िताबें इक्कीस"),
    ("ta", "தமிழ் மொழி!", "தமிழ் மொழி"),
    ("ml", "അവന്\u200d", "അവൻ"),
    ("si", "ක්\u200dෂ", "ක්\u200dෂ"),
    ("th", "๕ คน ๆ ๓%", "ห้า คนๆ สาม เปอร์เซ็นต์"),
    ("lo", "ມີ ໒໑ ຄົນ", "ມີ 21 ຄົນ"),  # CLDR's numbers have Thai words
    ("km", "មាន ២", "មាន ពីរ"),
    ("am", "ሰላም፡ለዓለም", "ሰላም ለዓለም"),
    ("hy", "Ինչո՞ւ ԵՎ եւ", "ինչու և և"),
    ("ka", "ᲐᲑᲒ", "აბგ"),
    ("el", "ΟΔΟΣ ΣΑΣ", "οδος σας"),
    ("de", "Straße, STRAẞE", "straße straße"),
    ("hi", "12,50,000", "बारह लाख पचास हज़ार"),
    ("gu", "12,50,000", "1250000"),  # no library has its numbers
    ("tr", "2024 i\u0307zmir", "iki bin yirmi dört izmir"),
    ("ar", "ٱلۡحَمۡدُ", "الحمد"),
    ("vi", "2024", "hai nghìn không trăm hai mươi tư"),
    ("am", "፳፩ 105 1234", "ሃያ አንድ አንድ መቶ አምስት ሺ ሁለት መቶ ሦስት አስር አራት"),  # num2words ends at 999
    ("ff", "21 go’o", "noogas e go'o go'o"),
    ("sv", "1000", "ettusen"),
    ("da", "1000000", "en million"),
    ("el", "2024", "δύο χιλιάδες είκοσι τέσσερα"),
    ("th", "น\u0e49\u0e4d\u0e32", "น้ำ"),
    ("lo", "ນ\u0ecd\u0ec9\u0eb2", "ນ້ຳ"),
    ("cv", "ăна", "ӑна"),
    ("so", "lo' go’an", "loʼ goʼan"),
    ("ha", "'Yan", "ʼyan"),
    ("mt", "ta' x'għandek", "taʼ x'għandek"),
    ("ca", "col·legi i COL.LEGI", "col·legi i col·legi"),
    ("haw", "‘Okina o Hawai’i", "ʻokina o hawaiʻi"),
    ("uz", "O'zbek tog‘", "oʻzbek togʻ"),
    ("uk", "м’ята, sіль і xліб", "м'ята sіль і хліб"),  # s looks like no letter of its alphabet
    ("sr", "21", "двадесет и један"),
    ("sr-Latn", "21", "dvadeset jedan"),
    ("pt-BR", "16", "dezesseis"),
    ("nb", "21", "tjueen"),
    ("ja", "１２３円で10:30に5%、Tシャツ", "百二十三円で十時三十分に五パーセント t シャツ"),
    ("ko", "3월에 21", "삼월에 이십일"),
    ("zh-TW", "我有12000元、5%", "我有一萬二千元 百分之五"),
    ("zh-CN", "打开wifi，29度", "打开 wifi 二十九度"),
    ("cmn", "29", "二十九"),
    ("vi", "Tiê\u0301ng Viê\u0323t", "tiếng việt"),
    ("yo", "e\u0323\u0300ko\u0323\u0301", "ẹ̀kọ́"),
    ("tok", "toki 105", "toki 105"),
]


@pytest.mark.parametrize("language, text, spoken", SPOKEN)
def test_text_of_any_language_and_encoding_form_becomes_what_is_said(language, text, spoken):
    read = normaliser("basic", language)
    assert read(text) == read(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFC", spoken)
    assert read(spoken) == read(text)


@pytest.mark.parametrize("language", "hi bn gu pa or ta te kn ml si th lo my km bo dv am vi".split())
def test_no_mark_is_lost_or_parted_from_its_letter(language):
    block = {"hi": 0x900, "bn": 0x980, "pa": 0xA00, "gu": 0xA80, "or": 0xB00, "ta": 0xB80, "te": 0xC00, "kn": 0xC80, "ml": 0xD00}
    block |= {
        "si": 0xD80,
        "th": 0xE00,
        "lo": 0xE80,
        "bo": 0xF00,
        "my": 0x1000,
        "km": 0x1780,
        "dv": 0x780,
        "am": 0x1340,
        "vi": 0x300,
    }
    every = [chr(block[language] + i) for i in range(0x80)]
    letter = next((c for c in every if unicodedata.category(c) == "Lo"), "a")
    marks = [c for c in every if unicodedata.category(c) in ("Mn", "Mc") and not 0x335 <= ord(c) <= 0x338 and c != "\u034f"]
    read = normaliser("basic", language)
    for mark in marks:
        word = unicodedata.normalize("NFC", letter + mark + letter)
        assert read(f"({word})") == word, hex(ord(mark))
        assert segmenter("char")(word).split()[0].startswith(unicodedata.normalize("NFC", letter + mark))


def test_an_unknown_code_is_one_error_with_near_matches():
    for code, meant in {"czech": "cs (Czech)", "gr": "el", "jp": "ja", "cz": "cs", "ua": "uk", "deu_": "", "xx": "xh"}.items():
        if meant:
            with pytest.raises(
                UserError, match=f"data.language={code}: there is no language {code}.*did you mean {re.escape(meant)}"
            ):
                checked(code)
    with pytest.raises(UserError, match="there is no script Xyzw"):
        checked("sr-Xyzw")
    with pytest.raises(UserError, match="mul names no single language"):
        checked("mul")
    known = "de ces yue zh-Hant-TW nan-tw rm-sursilv sv-SE ne-NP hy-AM pa-IN tok kmr ady zza hsb sr_Latn iw qaa qtz-Arab".split()
    assert [code for code in known if unknown(code)] == []
    assert "there is no language qzz" in unknown("qzz")  # beyond the codes for local use


def test_a_tag_names_the_same_language_in_every_form():
    assert [family(code) for code in ("zh_TW", "cmn", "zho", "iw", "ces", "nb", "yue")] == [
        "zh",
        "zh",
        "zh",
        "he",
        "cs",
        "nb",
        "yue",
    ]
    assert [script(code) for code in ("sr", "sr-Latn", "zh-TW", "pa-PK", "ja", "hyw")] == [
        "Cyrl",
        "Latn",
        "Hant",
        "Arab",
        "Jpan",
        "Armn",
    ]
    assert all(map(in_characters, ("bo", "dz", "ja", "km", "lo", "my", "th", "yue", "zh-CN", "wuu")))
    assert not any(map(in_characters, ("ko", "vi", "zh-Latn", "hi", "en")))
    assert characters(["တစ်", "ok"]) == [*"တစ်", "ok"]


def test_every_file_of_rules_is_read_and_its_patterns_compile():
    assert {"de", "en", "zh-Hant", "tr"} <= set(languages())
    for language in languages():
        known = rules(language)
        assert isinstance(known.nouns, dict) and replace(known, language="") == replace(rules(language), language="")
        for item in fields(Rules):
            value = getattr(known, item.name)
            pairs = value if item.name in ("letters", "spelling", "before_noun", "feminine_forms", "mixed_forms") else ()
            for pattern, _ in pairs:
                re.compile(pattern)
    assert rules("yue").cardinals == rules("zh-TW").cardinals != rules("zh").cardinals


def test_a_language_of_somebodys_own_is_a_file(tmp_path, monkeypatch):
    own = "digits: [da, db, dc, dd, de, df, dg, dh, di, dj]\nletters: [['aa', 'ā']]\ninside: '~'\n"
    (tmp_path / "gsw.yaml").write_text(own, encoding="utf-8")
    (tmp_path / "tok.yaml").write_text("digit: [ala]\n")
    monkeypatch.setattr("utils.languages.rules.FOLDER", tmp_path)
    monkeypatch.setattr("utils.languages.rules._cldr", lambda: {"comma": "", "blank": "", "words": {}})
    rules.cache_clear()
    try:
        assert normaliser("basic", "gsw-CH")("Saal a~b 20") == "sāl a~b dc da"
        with pytest.raises(UserError, match="tok.yaml has 'digit', which no rule is called .*did you mean 'digits'"):
            rules("tok")
    finally:
        rules.cache_clear()


def test_digits_without_words_are_kept_and_said_once(tmp_path, caplog):
    assert [(d.kind, d.piece) for d in doubts("૨૧ અને 7", "gu")] == [(KEPT, "21"), (KEPT, "7")]
    said = [Said(f"u{n}", "gu", f"ગુજરાતી {n}") for n in range(3)]
    config = SimpleNamespace(normaliser="basic", conventions=["usual"], segmentation="auto")
    with caplog.at_level(logging.WARNING):
        words = in_words(said, config, 0, tmp_path, logging.getLogger())
    assert words.texts == {f"u{n}": f"ગુજરાતી {n}" for n in range(3)} and words.normaliser == "basic-gu-2"
    assert [r.getMessage() for r in caplog.records if "digits are words" in r.getMessage()] == [
        f"3 numbers of the language gu are read without a rule ({KEPT}), such as '0' in u0; write them out if said otherwise"
    ]


def test_a_script_with_more_characters_than_units_gets_as_many_units():
    text = ["".join(chr(0x4E00 + (7 * i * i + j) % 300) for j in range(9)) for i in range(80)]
    characters_of_text = len(set("".join(text)))
    assert train_sentencepiece(text, "unigram", 50)[1] >= characters_of_text + 1 > 200
    spoken, guessed = pronounce(["25", "ມີ"], "lo")  # numbers that stay digits have units too
    assert spoken == {"25": [("2", "5")], "ມີ": [("ມີ",)]} and guessed == ["25", "ມີ"]


def test_text_in_another_script_than_that_of_the_language_is_named(tmp_path, caplog):
    said = [Said("a", "sr", "zdravo svete"), Said("b", "sr", "здраво wifi"), Said("c", "th", "สวัสดี")]
    config = SimpleNamespace(normaliser="basic", conventions=["usual"], segmentation="given")
    with caplog.at_level(logging.WARNING):
        in_words(said, config, 0, tmp_path, logging.getLogger())
    assert [r.getMessage() for r in caplog.records] == [
        "1 of 2 texts of the language sr are not written in its script (Cyrl), such as 'zdravo svete' in a: check data.language, "
        "which may name another script (sr-Latn)"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("language", ["cs", "ar", "ta", "km", "ko", "lo"])  # lo has neither numbers nor a voice of espeak-ng
def test_a_kaldi_directory_of_any_language_runs_to_an_error_rate(language, tmp_path):
    row = run(language, tmp_path, utterances=40, epochs=2)
    assert row["normaliser"].startswith(f"basic-{language}-") and row["wer"] >= 0
    assert (row["cer"] is not None) == in_characters(language)
