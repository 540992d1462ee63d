"""Text normalisers: what is said, in every language."""

import pytest

from utils.core.errors import UserError
from utils.text.normalise import normaliser, normaliser_id
from utils.text.numbers import spell_number

CASES = [
    ("en", "Press 1, or 21 -- don't wait!", "press one or twenty one don't wait"),
    ("en", "The users' PIN is 007.", "the users pin is zero zero seven"),
    (
        "en",
        "It’s 3D: 28.8 kilobit, 1,234 users, the 2nd.",
        "it's three d twenty eight point eight kilobit one thousand two hundred and thirty four users the second",
    ),
    ("en", "log-in at 5% & A.M.", "log in at five percent and a m"),
    ("en", "cafe\u0301", "café"),
    ("es", "Marque 16 en el AÑO 1.234", "marque dieciséis en el año mil doscientos treinta y cuatro"),
    ("es", "¿Qué? ¡28,8!", "qué veintiocho punto ocho"),
    ("fr", "Appuyez sur 71 ; l’heure s'il-vous-plaît", "appuyez sur soixante et onze l'heure s'il vous plaît"),
    ("it", "Premere 28 per l'operatore: è più", "premere ventotto per l'operatore è più"),
    ("ru", "Нажмите 2 и решётку. первoe", "нажмите два и решетку первое"),
    ("ru", "IAX", "iax"),
    ("zh", "设定 二十九 度。", "设定 二十九 度"),
    ("zh", "设定29度", "设定二十九度"),
    ("zh", "共105个, 12000元", "共一百零五个 一万二千元"),
    ("zh", "涨了5%", "涨了百分之五"),
    ("he", "YES NO YES", "yes no yes"),
    ("en", " \t*** ... ", ""),
]


@pytest.mark.parametrize("language,text,spoken", CASES)
def test_text_becomes_what_is_said(language, text, spoken):
    assert normaliser("basic", language)(text) == spoken


@pytest.mark.parametrize("language,text,spoken", CASES)
def test_normalising_twice_changes_nothing(language, text, spoken):
    assert normaliser("basic", language)(spoken) == spoken


def test_the_id_names_language_and_version():
    assert normaliser_id("basic", ["en"]) == "basic-en-1"
    assert normaliser_id("basic", ["en", "ru"]) == "basic-en-1+ru-1"


def test_unknown_language_and_name_are_errors_that_name_what_there_is():
    with pytest.raises(UserError, match="no normaliser for the language 'xx'.*en, es, fr"):
        normaliser("basic", "xx")
    with pytest.raises(UserError, match=r"data.normaliser=basik.*did you mean 'basic'"):
        normaliser("basik", "en")


@pytest.mark.parametrize(
    "number,spoken",
    [
        ("10", "十"),
        ("19", "十九"),
        ("20", "二十"),
        ("101", "一百零一"),
        ("110", "一百一十"),
        ("1001", "一千零一"),
        ("10010", "一万零一十"),
        ("250000000", "二亿五千万"),
        ("0", "零"),
    ],
)
def test_chinese_numbers(number, spoken):
    assert spell_number(number, "zh") == spoken


def test_a_very_long_number_is_read_digit_by_digit():
    assert spell_number("1" * 40, "en") == " ".join(["one"] * 40)
