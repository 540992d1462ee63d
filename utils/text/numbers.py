"""Numbers as they are read aloud: digits, separators and the signs beside them become words of the language.

What is written is found here, in steps; its words are those of number_words. Where the rules of a language don't tell how
something is read (a date, a currency without a name, thousands that may be decimals), it is read as well as can be, and a `Doubt`
says so.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Sequence

from utils.text import number_words as say
from utils.text.digits import SLASH, plain, separators

_MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion", "tn": "trillion"}

_BELOW_ZERO, _RANGE, _REAL = "\ue000", "\ue001", "₢"  # marks of our own; R$ gets a sign that nobody uses
_SIGNS = "$¢£¤¥֏฿" + "".join(map(chr, range(0x20A0, 0x20C1)))  # of currencies
_N = r"\d+(?:\.\d+)?"
_ORDINALS: Dict[str, Dict[str, str]] = {  # by language: gender -> endings of written ordinals
    "de": {"m": "te ten ste sten"},
    "en": {"m": "st nd rd th"},
    "es": {"m": "º er ro do to mo vo no", "f": "ª ra da ta ma va na"},
    "fr": {"m": "º è e es er ers ème èmes eme emes ième ièmes nd nds", "f": "ª re res ère ères nde ndes"},
    "it": {"m": "º", "f": "ª"},
    "nl": {"m": "e de ste"},
    "pt": {"m": "º", "f": "ª"},
}
_SCALES = {  # of temperatures
    "he": {"c": "צלזיוס", "f": "פרנהייט"},
    "ru": {"c": "цельсия", "f": "фаренгейта"},
    "zh": {"c": "摄氏度", "f": "华氏度"},
}
_HOURS = {"de": ("uhr", "uhr", ""), "fr": ("heure", "heures", ""), "pt": ("hora", "horas", "e")}  # a word before minutes
_MONTHS = "januar|februar|märz|april|mai|juni|juli|august|september|oktober|november|dezember"


class Doubt(NamedTuple):
    """Something whose reading the rules of the language don't tell."""

    kind: str
    piece: str  # as written


def read_numbers(text: str, language: str, doubts: Optional[List[Doubt]] = None) -> str:
    """Text (NFC, in small letters) with its numbers written out.

    Args:
      language: ISO 639-1, one of those of normalise.VERSIONS.
      doubts: gets what the rules of the language don't tell.
    """
    if any(map(str.isnumeric, text)):
        text = _Reader(language, [] if doubts is None else doubts).read(plain(text, language))
    if language == "zh":
        return text.replace("%", " ")
    return re.sub(r"[%‰]", lambda sign: f" {say.noun(sign[0], '5', language)} ", text)


def doubts(text: str, language: str) -> Sequence[Doubt]:
    """What `read_numbers` reads without a rule of the language."""
    found: List[Doubt] = []
    read_numbers(text, language, found)
    return found


class _Reader:
    """Reads the numbers of one text; every step leaves words where it found digits."""

    def __init__(self, language: str, doubts: List[Doubt]) -> None:
        self.language, self.doubts = language, doubts

    def read(self, text: str) -> str:
        """The steps, in an order in which no step takes what belongs to a later one."""
        text = re.sub(r"(?<![^\s(\[{\"«“:=" + _SIGNS + r"])[-\u2212](?=[" + _SIGNS + r"]?\d)", _BELOW_ZERO, text)
        text = self._dates(text)
        text = self._times(text)
        text = separators(text, self.language, self._doubt)
        text = re.sub(r"(?<=\d)\s?[–—~～]\s?(?=[" + _SIGNS + r"]?\d)", _RANGE, text)
        text = self._money(text)
        text = self._counted(text)
        text = self._fractions(text)
        text = self._ordinals(text)
        return self._rest(text)

    def _words(self, words: str) -> str:
        """Words set apart; Chinese ones stay inside the word that the segmentation made of the number."""
        return words if self.language == "zh" else f" {words} "

    def _doubt(self, kind: str, piece: str) -> None:
        self.doubts.append(Doubt(kind, piece.strip()))

    def _dates(self, text: str) -> str:
        """Days, months and years are read one after the other, as nothing tells the words for them."""
        if self.language == "zh":  # the digits of a year are read one by one
            text = re.sub(r"(?<!\d)((?:1[1-9]|20)\d\d)(?=年(?!前|后|来|間|间))", lambda m: say.one_by_one(m[1], "zh"), text)

        def date(match: "re.Match[str]") -> str:
            self._doubt("date", match[0])
            return " ".join(re.split(r"[./-]", match[0]))

        day, month, year = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1\d|20)\d\d"
        forms = rf"{day}([./-]){month}\1{year}|{month}([./-]){day}\2{year}|{year}([./-]){month}\3{day}"
        return re.sub(rf"(?<![\d.,/-])(?:{forms})(?![\d/-]|[.,]\d)", date, text)

    def _times(self, text: str) -> str:
        """10:30 in hours and minutes; ten o'clock has words of its own in some languages."""

        def clock(match: "re.Match[str]") -> str:
            hour, minutes, seconds = match.groups()
            h, m = say.cardinal(int(hour), self.language), say.digits(minutes or "0", self.language)
            s = say.digits(seconds, self.language) if seconds else ""
            if self.language == "zh":
                return h + "点" + ("整" if minutes == "00" and not s else m + "分") + (s and s + "秒")
            if self.language == "en" and minutes[0] == "0" and not s:
                m = "o'clock" if minutes == "00" else f"oh {say.cardinal(int(minutes), 'en')}"
            elif self.language in _HOURS and not s and (self.language != "pt" or "h" in match[0]):
                one, several, joint = _HOURS[self.language]
                h = say.cardinal(int(hour), self.language, True) if self.language != "de" or hour != "1" else "ein"
                m = f"{joint} {say.cardinal(int(minutes), self.language)}" if int(minutes or 0) else ""
                h += f" {one if int(hour) == 1 else several}"
            return self._words(f"{h} {m} {s}")

        hours = r"(?<![\d:.,])((?:[01]?\d|2[0-4]))"
        if self.language == "de":
            text = re.sub(hours + r"[:.]([0-5]\d)()(?: uhr\b)", clock, text)
        if self.language in ("fr", "pt"):
            text = re.sub(hours + r" ?h ?([0-5]\d|)()(?!\w)", clock, text)
        if self.language == "en":
            text = re.sub(hours + r":([0-5]\d)()(?= ?[ap]\.?m\b)", lambda m: f" {m[1]} " if m[2] == "00" else clock(m), text)
        return re.sub(hours + r":([0-5]\d)(?::([0-5]\d))?(?![\d:]|[.,]\d)", clock, text)

    def _signed(self, amount: str) -> str:
        """A number, which may be below zero or have other numbers before it, up to which it goes, in words."""
        last = amount.rpartition(_RANGE)[2]
        return self._before(amount) + say.number(last.lstrip(_BELOW_ZERO), self.language)

    def _before(self, amount: str) -> str:
        """The words before the last number of a range, and before a number below zero."""
        first, _, last = amount.rpartition(_RANGE)
        space = "" if self.language == "zh" else " "
        words = f"{self._signed(first)}{space}{say.TO.get(self.language, '')}{space}" if first else ""
        return words + (say.negative(self.language) + space if last.startswith(_BELOW_ZERO) else "")

    def _money(self, text: str) -> str:
        sign, number = f"[{_SIGNS}]", rf"{_BELOW_ZERO}?(?:{_N}{_RANGE})?{_N}"
        size = r"(?:k|mn?|bn?|tn)\b|\s(?:thousand|million|billion|trillion)\b" if self.language == "en" else "[万亿千百]+"

        def amount(match: "re.Match[str]") -> str:
            written = match["after"] or match["before"]
            last = written.rpartition(_RANGE)[2].lstrip(_BELOW_ZERO)
            name, big = (match["sign"] or match["behind"]), (match["size"] or "").strip()
            space = "" if self.language == "zh" else " "
            before = (say.negative(self.language) + space if match["less"] else "") + self._before(written)
            if not say.noun(name, last, self.language):
                self._doubt("currency", match[0])
                return self._words(self._signed(written))
            if big:
                parts = (say.number(last, self.language), _MAGNITUDES.get(big, big), say.noun(name, "5", self.language))
                return self._words(before + space.join(parts))
            return self._words(before + say.money(name, last, self.language))

        text = re.sub(rf"(?<={sign})\.(?=\d)", "0.", text.replace("us$", "$"))
        if self.language == "pt":
            text = text.replace("r$", _REAL)
        after = (
            rf"(?P<less>{_BELOW_ZERO})?(?P<sign>{sign})\s?(?P<after>(?:{_N}{_RANGE}{sign}?)?{_BELOW_ZERO}?{_N})(?P<size>{size})?"
        )
        before = rf"(?P<before>{number})\s?(?P<behind>{sign})"
        text = re.sub(rf"(?<=\d){_RANGE}{sign}(?=\d)", _RANGE, text)
        return re.sub(rf"{after}(?![\d.]\d)|(?<![\d.]){before}", amount, text)

    def _counted(self, text: str) -> str:
        """Percent and degrees."""

        def counted(match: "re.Match[str]") -> str:
            amount, sign, scale = match.groups()
            last = amount.rpartition(_RANGE)[2].lstrip(_BELOW_ZERO)
            words = say.counted(sign, last, self.language)
            if self.language == "zh" and sign in "%‰":
                name = {"%": "百分之", "‰": "千分之"}[sign]
                return name + self._signed(amount)
            if scale:
                scale = _SCALES.get(self.language, {"c": "celsius", "f": "fahrenheit"})[scale]
                words = say.number(last, "zh") + scale if self.language == "zh" else f"{words} {scale}"
            return self._words(self._before(amount) + words)

        number = rf"{_BELOW_ZERO}?(?:{_N}{_RANGE})?{_N}"
        return re.sub(rf"(?<![\d.])({number})\s?([%‰°])(?:\s?([cf])(?!\w))?", counted, text)

    def _fractions(self, text: str) -> str:
        """8½, ¾, and 3/4 where it can hardly be a date."""

        def fraction(match: "re.Match[str]") -> str:
            before, above, below = match[1] or "", int(match[2]), int(match[3])
            words = say.fraction(before, above, below, self.language) if below else ""
            if not words:
                self._doubt("fraction", match[0])
                return f" {before} {match[2]} {match[3]} "
            return self._words(words)

        text = re.sub(rf"(?:(?<![\d.])(\d+) ?)?(?<!\d)(\d{{1,4}}){SLASH}(\d{{1,4}})(?!\d)", fraction, text).replace(SLASH, " ")
        usual = r"(?<![\d./,])(?:(\d+) )?([1-9])/(2|3|4|5|8|10)(?![\d/]|[.,]\d)"
        return re.sub(usual, lambda match: fraction(match) if int(match[2]) < int(match[3]) else match[0], text)

    def _ordinals(self, text: str) -> str:
        if self.language == "ru":
            endings = "ый|ой|ий|й|ая|ья|я|ое|ье|го|му|ые|ых|х"
            return re.sub(rf"(?<![\d.])(\d+)(?:-?({endings})|-([а-яё]+))(?!\w)", self._russian, text)
        genders = {e: gender for gender, written in _ORDINALS.get(self.language, {}).items() for e in written.split()}
        if self.language == "en":
            text = re.sub(r"(?<![\d.,])(\d{0,2}?)(\d0)'?s\b", self._decade, text)
        if self.language == "de":
            text = re.sub(rf"((?:\b(?:am|vom|zum|dem|den|bis|ab|der) )?)(?<!\d)(\d\d?)\.(?= (?:{_MONTHS})\b)", self._day, text)
        if not genders:
            return text

        def ordinal(match: "re.Match[str]") -> str:
            run, ending = match.groups()
            if len(run) > say.LONGEST or int(run) == 0 and self.language != "en":
                return match[0]
            words = say.ordinal(int(run), self.language, genders[ending])
            if self.language == "fr":
                words = {"nd": "second", "nds": "seconds", "nde": "seconde", "ndes": "secondes"}.get(ending, words)
                words += "s" * (ending.endswith("s") and not words.endswith("s"))
            if self.language == "es" and ending == "er":
                words = re.sub("(primer|tercer)o$", r"\1", words)
            return f" {words} "

        known = "|".join(sorted(genders, key=len, reverse=True))
        dot = r"\.?" if self.language in ("es", "it", "pt") else ""
        text = re.sub(rf"(?<![\d.])(\d+){dot}({known})(?!\w)", ordinal, text)
        return text.replace("º", " ").replace("ª", " ")

    def _decade(self, match: "re.Match[str]") -> str:
        """1990s, the 80s."""
        century, decade = match.groups()
        if decade in ("00", "10") and not century:  # 10s may be seconds
            return match[0]
        if century == "20" and decade == "00":
            return " two thousands "
        words = say.cardinal(int(decade), "en") if decade != "00" else "hundred"
        plural = words[:-1] + "ies" if words.endswith("y") else words + "s"
        return f" {say.cardinal(int(century), 'en') if century else ''} {plural} "

    def _day(self, match: "re.Match[str]") -> str:
        """1. Mai: erster, der erste, am ersten."""
        before, words = match[1], say.ordinal(int(match[2]), "de")
        return f"{before}{words}{'' if before == 'der ' else 'n' if before else 'r'}"

    def _russian(self, match: "re.Match[str]") -> str:
        """5-й, 2-я, 10-го, 20-х, 5-ти, 10-летний: the form that ends so, or that makes a word with the rest."""
        words = say.russian(int(match[1]), match[2] or match[3]) if len(match[1]) <= say.LONGEST else ""
        if not words:
            self._doubt("ending", match[0])
            words = f"{say.digits(match[1], 'ru')} {match[2] or match[3]}"
        return f" {words} "

    def _rest(self, text: str) -> str:
        """Versions, numbers below zero, ranges, decimals and whole numbers."""

        def version(match: "re.Match[str]") -> str:
            return self._words(say.dotted(tuple(match[0].split(".")), self.language))

        text = re.sub(r"(?<!\d)\d+(?:\.\d+){2,}", version, text)
        text = re.sub(r"(?<![\w.])\.(?=\d)", "0." if self.language == "zh" else f" {say.POINT[self.language]} ", text)
        text = re.sub(rf"{_BELOW_ZERO}?{_N}(?:{_RANGE}{_N})*", lambda match: self._words(self._signed(match[0])), text)
        return re.sub(f"[{_BELOW_ZERO}{_RANGE}]", " ", text)
