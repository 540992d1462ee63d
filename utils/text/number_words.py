"""Words of numbers: cardinals, ordinals, decimals, fractions, amounts of money, percent and degrees in each language.

num2words gives cardinals and ordinals. Chinese, which it lacks, is made here, and so is what it reads otherwise than people do,
such as decimals, of which it drops the zeros. A function returns "" where the rule of a language is not known.
"""

from functools import lru_cache
from typing import Any, Dict, Tuple, Union

LONGEST = 15  # a number with more digits, and no separators, is read digit by digit

POINT = {  # how the sign before decimals is read
    "de": "komma", "en": "point", "es": "punto", "fr": "virgule", "he": "נקודה", "it": "virgola", "nl": "komma",
    "pt": "vírgula", "ru": "запятая", "zh": "点",
}  # fmt: skip
_DOT = {  # how the dot of versions and addresses is read, where it is not the sign before decimals
    "de": "punkt", "fr": "point", "it": "punto", "nl": "punt", "pt": "ponto", "ru": "точка",
}  # fmt: skip
_MINUS = {
    "de": "minus", "en": "minus", "es": "menos", "fr": "moins", "he": "מינוס", "it": "meno", "nl": "min", "pt": "menos",
    "ru": "минус", "zh": "负",
}  # fmt: skip
TO = {  # between the ends of a range that is written with a long dash
    "de": "bis", "en": "to", "es": "a", "fr": "à", "he": "עד", "it": "a", "nl": "tot", "pt": "a", "zh": "到",
}  # fmt: skip
NUMBER_SIGN = {  # № and n°
    "de": "nummer", "en": "number", "es": "número", "fr": "numéro", "he": "מספר", "it": "numero", "nl": "nummer",
    "pt": "número", "ru": "номер", "zh": "号",
}  # fmt: skip
_POWERS = {
    "de": ("hoch zwei", "hoch drei"), "en": ("squared", "cubed"), "es": ("al cuadrado", "al cubo"), "fr": ("au carré", "au cube"),
    "he": ("בריבוע", "בשלישית"), "it": ("al quadrato", "al cubo"), "nl": ("kwadraat", "tot de derde"),
    "pt": ("ao quadrado", "ao cubo"), "ru": ("в квадрате", "в кубе"), "zh": ("平方", "立方"),
}  # fmt: skip
# Forms of a noun after a number: one, several; Russian: 1, 2 to 4, 5 and more; one form where it never changes.
_NOUNS: Dict[str, Dict[str, Tuple[str, ...]]] = {
    "%": {
        "de": ("prozent",), "en": ("percent",), "es": ("por ciento",), "fr": ("pour cent",), "he": ("אחוז",),
        "it": ("per cento",),
        "nl": ("procent",), "pt": ("por cento",), "ru": ("процент", "процента", "процентов"),
    },
    "‰": {
        "de": ("promille",), "en": ("per mille",), "es": ("por mil",), "fr": ("pour mille",), "he": ("פרומיל",),
        "it": ("per mille",),
        "nl": ("promille",), "pt": ("por mil",), "ru": ("промилле",),
    },
    "°": {
        "de": ("grad",), "en": ("degree", "degrees"), "es": ("grado", "grados"), "fr": ("degré", "degrés"),
        "he": ("מעלה", "מעלות"),
        "it": ("grado", "gradi"), "nl": ("graad", "graden"), "pt": ("grau", "graus"),
        "ru": ("градус", "градуса", "градусов"), "zh": ("度",),
    },
    "$": {
        "de": ("dollar",), "en": ("dollar", "dollars"), "es": ("dólar", "dólares"), "fr": ("dollar", "dollars"), "he": ("דולר",),
        "it": ("dollaro", "dollari"), "nl": ("dollar",), "pt": ("dólar", "dólares"), "ru": ("доллар", "доллара", "долларов"),
        "zh": ("美元",),
    },
    "¢": {
        "de": ("cent",), "en": ("cent", "cents"), "es": ("centavo", "centavos"), "fr": ("cent", "cents"), "he": ("סנט", "סנטים"),
        "it": ("centesimo", "centesimi"), "nl": ("cent",), "pt": ("centavo", "centavos"),
        "ru": ("цент", "цента", "центов"), "zh": ("美分",),
    },
    "₢": {"pt": ("real", "reais")},
    "€": {
        "de": ("euro",), "en": ("euro", "euros"), "es": ("euro", "euros"), "fr": ("euro", "euros"), "he": ("אירו",),
        "it": ("euro",),
        "nl": ("euro",), "pt": ("euro", "euros"), "ru": ("евро",), "zh": ("欧元",),
    },
    "£": {
        "de": ("pfund",), "en": ("pound", "pounds"), "es": ("libra", "libras"), "fr": ("livre", "livres"), "he": ("פאונד",),
        "it": ("sterlina", "sterline"), "nl": ("pond",), "pt": ("libra", "libras"), "ru": ("фунт", "фунта", "фунтов"),
        "zh": ("英镑",),
    },
    "¥": {
        "de": ("yen",), "en": ("yen",), "es": ("yen", "yenes"), "fr": ("yen", "yens"), "he": ("ין",), "it": ("yen",),
        "nl": ("yen",),
        "pt": ("iene", "ienes"), "ru": ("иена", "иены", "иен"), "zh": ("元",),
    },
    "₽": {
        "de": ("rubel",), "en": ("rouble", "roubles"), "es": ("rublo", "rublos"), "fr": ("rouble", "roubles"),
        "he": ("רובל",), "it": ("rublo", "rubli"), "nl": ("roebel",), "pt": ("rublo", "rublos"),
        "ru": ("рубль", "рубля", "рублей"), "zh": ("卢布",),
    },
    "₪": {
        "de": ("schekel",), "en": ("shekel", "shekels"), "es": ("séquel", "séqueles"), "fr": ("shekel", "shekels"),
        "he": ("שקל", "שקלים"), "it": ("shekel",), "nl": ("shekel",), "pt": ("shekel", "shekels"),
        "ru": ("шекель", "шекеля", "шекелей"), "zh": ("谢克尔",),
    },
    "₹": {
        "de": ("rupien",), "en": ("rupee", "rupees"), "es": ("rupia", "rupias"), "fr": ("roupie", "roupies"),
        "he": ("רופי",), "it": ("rupia", "rupie"), "nl": ("roepie",), "pt": ("rupia", "rupias"),
        "ru": ("рупия", "рупии", "рупий"), "zh": ("卢比",),
    },
}  # fmt: skip
_CENTS: Dict[str, Dict[str, Tuple[str, ...]]] = {  # hundredths of a currency that are said with a name
    "$": {
        "de": ("cent",), "en": ("cent", "cents"), "es": ("centavo", "centavos"), "fr": ("cent", "cents"), "he": ("סנט", "סנטים"),
        "it": ("centesimo", "centesimi"), "nl": ("cent",), "pt": ("centavo", "centavos"), "ru": ("цент", "цента", "центов"),
    },
    "€": {
        "de": ("cent",), "en": ("cent", "cents"), "es": ("céntimo", "céntimos"), "fr": ("centime", "centimes"),
        "he": ("סנט", "סנטים"),
        "it": ("centesimo", "centesimi"), "nl": ("cent",), "pt": ("cêntimo", "cêntimos"), "ru": ("цент", "цента", "центов"),
    },
    "₢": {"pt": ("centavo", "centavos")},
    "£": {"en": ("penny", "pence"), "fr": ("penny", "pence"), "de": ("pence",), "nl": ("pence",)},
    "₽": {"ru": ("копейка", "копейки", "копеек")},
    "₪": {"he": ("אגורה", "אגורות")},
}  # fmt: skip
_FEMININE = {
    ("es", "£"), ("es", "₹"), ("fr", "£"), ("fr", "₹"), ("it", "£"), ("it", "₹"), ("pt", "£"), ("pt", "₹"),
    ("ru", "¥"), ("ru", "₹"), ("ru", "копейка"), ("he", "°"), ("he", "אגורה"),
}  # fmt: skip
_AND = {"de": "", "en": "and", "es": "con", "fr": "et", "it": "e", "nl": "en", "pt": "e", "ru": ""}  # between amount and cents
_HALF = {  # alone, and after a whole number
    "de": ("ein halb", "ein halb"), "en": ("one half", "and a half"), "es": ("un medio", "y medio"), "fr": ("un demi", "et demi"),
    "he": ("חצי", "וחצי"), "it": ("un mezzo", "e mezzo"), "nl": ("een half", "en een half"), "pt": ("um meio", "e meio"),
    "ru": ("половина", "с половиной"),
}  # fmt: skip
_PARTS: Dict[str, Dict[int, Tuple[str, str]]] = {  # the names of a third, a quarter ...: one, several
    "de": {3: ("drittel",) * 2, 4: ("viertel",) * 2, 5: ("fünftel",) * 2, 8: ("achtel",) * 2, 10: ("zehntel",) * 2},
    "en": {3: ("third", "thirds"), 4: ("quarter", "quarters")},
    "es": {3: ("tercio", "tercios"), 4: ("cuarto", "cuartos")},
    "fr": {3: ("tiers", "tiers"), 4: ("quart", "quarts")},
    "he": {3: ("שליש", "שליש"), 4: ("רבע", "רבעים")},
    "it": {3: ("terzo", "terzi"), 4: ("quarto", "quarti")},
    "nl": {3: ("derde",) * 2, 4: ("kwart",) * 2},
    "pt": {3: ("terço", "terços"), 4: ("quarto", "quartos")},
    "ru": {3: ("треть", "трети"), 4: ("четверть", "четверти")},
}
_PLURAL_OF_PARTS = {"en": "s", "es": "s", "fr": "s", "pt": "s", "nl": ""}  # of an ordinal that names a part
_JOINED = {"de": "", "en": "and", "es": "y", "fr": "et", "he": "ו", "it": "e", "nl": "en", "pt": "e", "ru": "и"}


@lru_cache(maxsize=10000)
def cardinal(number: int, language: str, feminine: bool = False) -> str:
    """A whole number in words: 21 -> "twenty-one"; feminine: it counts a feminine noun, where the language tells."""
    if language == "zh":
        return chinese(number)
    if language == "ru":
        return _num2words(number, lang=language, gender="f" if feminine else "m")
    words = _num2words(number, lang=language)
    if feminine and language in ("es", "pt"):
        words = words.replace("ientos", "ientas").replace("entos", "entas").replace("dois", "duas")
    if feminine and number % 10 == 1 and number % 100 != 11 and words.endswith(("uno", "un", "um")):
        words = words[: words.rfind("u")] + {"fr": "une", "pt": "uma"}.get(language, "una")
    return words


def digits(run: str, language: str) -> str:
    """A run of digits as it is said: `21` -> "twenty-one"; one that starts with 0 ("007"), or is very long, digit by digit."""
    if len(run) > 1 and (run[0] == "0" or len(run) > LONGEST):
        return one_by_one(run, language)
    return cardinal(int(run), language)


def one_by_one(run: str, language: str) -> str:
    """Digits, each by itself."""
    return ("" if language == "zh" else " ").join(cardinal(int(d), language) for d in run)


def whole(run: str, language: str) -> str:
    """A number of any size; digit by digit where the language has no name for it."""
    try:
        return cardinal(int(run), language)
    except (OverflowError, KeyError, IndexError, ValueError):
        return one_by_one(run, language)


def decimal(left: str, right: str, language: str) -> str:
    """A number with decimals, which keep their zeros: ("3", "10") -> "three point one zero"; in Russian hundredths are named."""
    if language == "ru" and len(right) <= 6 and len(left) <= LONGEST:
        return _num2words(f"{int(left)}.{right}", lang=language)
    space = "" if language == "zh" else " "
    return space.join((digits(left, language), POINT[language], one_by_one(right, language)))


def dotted(parts: Tuple[str, ...], language: str) -> str:
    """A version or address: ("2", "0", "1") -> "two point zero point one"."""
    space = "" if language == "zh" else " "
    return f"{space}{_DOT.get(language, POINT[language])}{space}".join(digits(part, language) for part in parts)


def negative(language: str) -> str:
    """The word before a number below zero."""
    return _MINUS[language]


def power(exponent: int, language: str) -> str:
    """² and ³ after a letter or number; "" for others."""
    return _POWERS[language][exponent - 2] if exponent in (2, 3) else ""


def noun(sign: str, amount: str, language: str) -> str:
    """The form of a sign's noun ("%", "°" or a currency) after a number ("5", "2.5"); "" if there is none."""
    forms = _NOUNS.get(sign, {}).get(language, ())
    return _form(forms, amount, language) if forms else ""


def counted(sign: str, amount: str, language: str) -> str:
    """A number with a sign after it: ("%", "5") -> "five percent"; "" if the language has no word for the sign."""
    if sign == "%" and language == "zh":
        return "百分之" + number(amount, language)
    if sign == "‰" and language == "zh":
        return "千分之" + number(amount, language)
    name = noun(sign, amount, language)
    if language == "he" and amount == "1" and name:
        return f"{name} {'אחת' if ('he', sign) in _FEMININE else 'אחד'}"
    if language == "he" and "." not in amount and (language, sign) not in _FEMININE and len(amount) <= LONGEST:
        words = "שני" if amount == "2" else _num2words(int(amount), lang="he", gender="m")  # a number alone is feminine
        return f"{words} {name}"
    return _joined(number(amount, language, (language, sign) in _FEMININE), name, language) if name else ""


def money(sign: str, amount: str, language: str) -> str:
    """An amount of money: ("$", "5.20") -> "five dollars and twenty cents"; "" if the language has no word for the currency."""
    left, _, right = amount.partition(".")
    cents = _CENTS.get(sign, {}).get(language, ())
    if len(right) == 2 and len(left) <= LONGEST and (cents or right == "00"):
        units = counted(sign, left, language) if int(left) or right == "00" else ""
        if not int(right):
            return units
        feminine = (language, cents[0]) in _FEMININE
        small = f"{cardinal(int(right), language, feminine)} {_form(cents, right, language)}"
        if language == "he":
            return f"{units} ו{small}" if units else small
        return " ".join(filter(None, (units, _AND[language] if units else "", small)))
    return counted(sign, amount, language)


def number(amount: str, language: str, feminine: bool = False) -> str:
    """A number without sign or separators, such as "5" or "2.50", in words."""
    left, dot, right = amount.partition(".")
    if dot:
        return decimal(left, right, language)
    return cardinal(int(left), language, True) if feminine and left == str(int(left)) else digits(left, language)


def fraction(before: str, above: int, below: int, language: str) -> str:
    """A fraction, alone or after a whole number: ("8", 1, 2) -> "eight and a half"; "" if the language's rule is not known."""
    if language == "zh":
        return (f"{digits(before, language)}又" if before else "") + f"{chinese(below)}分之{chinese(above)}"
    if language == "ru" and (before, above, below) == ("1", 1, 2):
        return "полтора"
    if (above, below) == (1, 2):
        alone, after = _HALF[language]
        return f"{digits(before, language)} {after}" if before else alone
    part = _part(above, below, language)
    if not part or not before:
        return part
    if language == "he":
        return f"{digits(before, language)} ו{part}"
    if language == "en" and above == 1:
        part = "a" + part[len("one") :]
    return " ".join(filter(None, (digits(before, language), _JOINED[language], part)))


def _part(above: int, below: int, language: str) -> str:
    named = _PARTS[language].get(below)
    if language == "he":
        count = {1: "", 2: "שני ", 3: "שלושה "}.get(above)
        return f"{count}{named[above > 1]}" if named and count is not None else ""
    one = {"de": "ein", "en": "one", "es": "un", "fr": "un", "it": "un", "nl": "een", "pt": "um"}
    if language == "ru":
        if not named:
            named = (ordinal(below, "ru", "f"), ordinal(below, "ru", "p"))
        return f"{cardinal(above, language, True)} {named[above != 1]}"
    if not named:
        if below > 10 or below == 2 or language == "de":  # an ordinal that names a part: "three eighths"
            return ""
        name = ordinal(below, language)
        several = name[:-1] + "i" if language == "it" else name + _PLURAL_OF_PARTS[language]
        named = (name, several)
    return f"{one[language] if above == 1 else cardinal(above, language)} {named[above != 1]}"


def ordinal(number: int, language: str, form: str = "m") -> str:
    """An ordinal number; form: m, f, or in Russian p (genitive plural)."""
    if language == "zh":
        return "第" + chinese(number)
    if language == "ru":
        case = {"m": ("n", "m"), "f": ("n", "f"), "p": ("g", "f")}[form]
        words = _num2words(number, lang=language, to="ordinal", case=case[0], gender=case[1])
        return words[:-2] + ("ых" if words.endswith("ой") else "их") if form == "p" else words
    words = _num2words(number, lang=language, to="ordinal")
    if form == "f" and language in ("es", "it", "pt"):
        words = " ".join(word[:-1] + "a" if word.endswith("o") else word for word in words.split())
    if form == "f" and language == "fr" and number == 1:
        words = "première"
    return words


def russian(number: int, ending: str) -> str:
    """The Russian ordinal or cardinal with an ending: (5, "го") -> "пятого"; or a word with the rest of it: "десятилетний".

    Returns "" where no form ends so.
    """
    ending = ending.replace("ё", "е")
    forms = (
        _num2words(number, lang="ru", to="ordinal", case=case, plural=plural, gender=gender).replace("ё", "е")
        for plural in (False, True)
        for case in "ngdaip"
        for gender in "mfn"
    )
    found = next((words for words in forms if words.endswith(ending)), "")
    if found or number > 100:
        return found
    genitive = _num2words(number, lang="ru", case="g")
    if genitive.endswith(ending):
        return genitive
    first = {1: "одно", 90: "девяносто", 100: "сто"}.get(number, genitive.replace(" ", ""))
    return first + ending if len(ending) > 3 else ""


def chinese(number: int, inside: bool = False) -> str:
    """Chinese cardinal (num2words has none): 29 -> 二十九, 105 -> 一百零五, 12000 -> 一万二千; inside: a digit precedes it."""
    if number >= 10000:
        size, unit = (10**8, "亿") if number >= 10**8 else (10**4, "万")
        high, low = divmod(number, size)
        return chinese(high) + unit + (("零" if low < size // 10 else "") + chinese(low, True) if low else "")
    names, out, gap = "零一二三四五六七八九", "", False
    for size, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, size)
        if digit:
            ten = size == 10 and digit == 1 and not (out or inside)  # 十, not 一十
            out += ("零" if gap and out else "") + ("" if ten else names[digit]) + unit
        gap = not digit
    return out or "零"


def _num2words(number: Union[int, str], **form: Any) -> str:
    from num2words import num2words

    return str(num2words(number, **form)).lower()


def _form(forms: Tuple[str, ...], amount: str, language: str) -> str:
    """The form of a noun after a number, which may have decimals."""
    if len(forms) == 1:
        return forms[0]
    left, dot, _ = amount.partition(".")
    n = int(left) if len(left) <= LONGEST else 10**LONGEST
    if language == "ru" and len(forms) == 3:
        if dot:
            return forms[1]
        few = 2 <= n % 10 <= 4 and not 12 <= n % 100 <= 14
        return forms[0] if n % 10 == 1 and n % 100 != 11 else forms[1] if few else forms[2]
    single = n < 2 if language in ("fr", "pt") and (dot or n) else n == 1 and not dot
    return forms[0] if single else forms[1]


def _joined(words: str, name: str, language: str) -> str:
    """A number before its noun."""
    if language == "zh":
        return words + name
    if language == "en" or name.startswith(("por ", "per ")):
        return f"{words} {name}"
    for long, short in {"es": (("uno", "un"),), "it": (("uno", "un"),), "de": (("eins", "ein"),)}.get(language, ()):
        if words == long or words.endswith(" y " + long):
            words = words[: -len(long)] + short
        elif words == "veintiuno":
            words = "veintiún"
    return f"{words} {name}"
