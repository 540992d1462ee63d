"""Text normalisers: what is said, in every language."""

import pytest

from utils.core.errors import UserError
from utils.languages.number_words import digits
from utils.languages.numbers import doubts
from utils.text.normalise import normaliser, normaliser_id

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


def test_the_id_names_language_and_the_first_version_that_gives_the_words():
    assert normaliser_id("basic", {"en": ["It costs 5 euros."]}) == "basic-en-2"
    assert normaliser_id("basic", {"en": ["It's\tlate,\u00a0well-known café!\n"], "ru": ["Да, ёлка №5"]}) == "basic-en-1+ru-3"
    assert normaliser_id("basic", {"en": ["Press 1"], "it": ["Premi 1"]}, {"en": 1, "it": 1}) == "basic-en-1+it-1"


def test_unknown_language_and_name_are_errors_that_name_what_there_is():
    with pytest.raises(UserError, match=r"data.language=xx: there is no language xx \(did you mean xh"):
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
    assert digits(number, "zh") == spoken


def test_a_very_long_number_is_read_digit_by_digit():
    assert digits("1" * 40, "en") == " ".join(["one"] * 40)


NUMBERS = {
    "en": {
        "a 4.70 m wall, 0.05 off": "a four point seven zero m wall zero point zero five off",
        "build 10.4.11 of h.264": "build ten point four point eleven of h two hundred and sixty four",
        "rows 7,8,9": "rows seven eight nine",
        "12,34,567": "one million two hundred and thirty four thousand five hundred and sixty seven",
        "£12.05, $1, €2m, 99¢": "twelve pounds and five pence one dollar two million euros ninety nine cents",
        "-7 °C or −7%": "minus seven degrees celsius or minus seven percent",
        "2⅔ cups, 7/8 full, 24/7": "two and two thirds cups seven eighths full twenty four seven",
        "at 9:05, 11:00 and 11:00 pm": "at nine oh five eleven o'clock and eleven pm",
        "pages 12–15, the 1980s": "pages twelve to fifteen the nineteen eighties",
        "x² and CO₂, mp4, K9, 0044": "x squared and co two mp four k nine zero zero four four",
        "Louis XIV and the Ⅻ": "louis xiv and the xii",
        "1'250 and 4.321,5": "one thousand two hundred and fifty and four thousand three hundred and twenty one point five",
        "٤٢ and ४२ and ４２": "forty two and forty two and forty two",
        "፩, ፲፪, ፻, ፪፼፭፻": "one twelve one hundred twenty thousand five hundred",  # Ethiopic, which has no zero
    },
    "es": {
        "12.345.678": "doce millones trescientos cuarenta y cinco mil seiscientos setenta y ocho",
        "7 500 €": "siete mil quinientos euros",
        "la 3.ª, el 3er, el nº 4": "la tercera el tercer el número cuatro",
        "−3,20": "menos tres punto dos cero",
    },
    "fr": {
        "la 1ère et le 19e": "la première et le dix neuvième",
        "25 000 à 8h15": "vingt cinq mille à huit heures quinze",
        "0,50 €, n° 7": "cinquante centimes numéro sept",
        "7½": "sept et demi",
    },
    "it": {"il 3º, la 4ª": "il terzo la quarta", "2.500,75 €": "duemilacinquecento euro e settantacinque centesimi"},
    "ru": {
        "в 90-х, 3-й, 6-летний": "в девяностых третий шестилетний",
        "90-е годы, 5-е место": "девяностые годы пятое место",
        "4 %, 11 %, 21 %": "четыре процента одиннадцать процентов двадцать один процент",
        "7 000 ₽": "семь тысяч рублей",
        "2,50": "две целых пятьдесят сотых",
    },
    "he": {"2,000": "אלפיים", "7%": "שבעה אחוז", "4½": "ארבע וחצי"},
    "zh": {
        "20,000元": "二万元",
        "3.50": "三点五零",
        "1998年": "一九九八年",
        "二〇〇八": "二零零八",
        "⅘": "五分之四",
        "８：０５": "八点零五分",
        "-3℃": "负三摄氏度",
    },
    "de": {
        "12'500,5": "zwölftausendfünfhundert komma fünf",
        "am 3. Mai um 9.15 Uhr": "am dritten mai um neun uhr fünfzehn",
        "1 €": "ein euro",
    },
    "pt": {"R$ 2,10 na 2ª": "dois reais e dez centavos na segunda", "1.500": "mil e quinhentos"},
    "nl": {"de 8ste, 3,05": "de achtste drie komma nul vijf"},
}


@pytest.mark.parametrize("language", NUMBERS)
def test_numbers_are_read_by_the_rules_of_the_language(language):
    read = normaliser("basic", language)
    assert {text: read(text) for text in NUMBERS[language]} == NUMBERS[language]


def test_a_reading_that_no_rule_tells_is_doubted():
    assert [tuple(d) for d in doubts("₩900 on 03/04/2021", "en")] == [("date", "03/04/2021"), ("currency", "₩900")]
    assert [d.kind for d in doubts("2,000 и 12 345", "ru")] == [
        "thousands after a plain blank, or two numbers",
        "thousands, or decimals",
    ]
    assert [d.piece for d in doubts("⅞ מהכוס", "he")] == ["7⁄8"]
    assert doubts("3 of 4, 1,000, 5.20 and $5", "en") == []
