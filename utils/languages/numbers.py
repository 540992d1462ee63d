"""Numbers as they are read aloud: digits, separators and the signs beside them become words of the language.

What is written is found here, in steps, by the rules of the language (rules.py); its words are those of number_words. Where the
rules don't tell how something is read (a date, a currency without a name, thousands that may be decimals), it is read as well as
can be, and a `Doubt` says so. Numbers of a language that has no words for them here stay digits.
"""

import re
from typing import List, NamedTuple, Optional, Sequence

from utils.languages import number_words as say
from utils.languages.digits import SLASH, plain, separators
from utils.languages.rules import rules

_BELOW_ZERO, _RANGE = "\ue000", "\ue001"  # marks of our own
_SIGNS = "$¢£¤¥֏฿" + "".join(map(chr, range(0x20A0, 0x20C1)))  # of currencies
_N = r"\d+(?:\.\d+)?"
KEPT = "no number words of the language are known, so that digits are words"


class Doubt(NamedTuple):
    """Something whose reading the rules of the language don't tell."""

    kind: str
    piece: str  # as written


def read_numbers(text: str, language: str, doubts: Optional[List[Doubt]] = None) -> str:
    """Text (NFC, in small letters) with its numbers written out.

    Args:
      language: a tag such as de or pt-BR.
      doubts: gets what the rules of the language don't tell.
    """
    if any(map(str.isnumeric, text)):
        doubted: List[Doubt] = [] if doubts is None else doubts
        text = plain(text, language)
        if say.spoken(language):
            text = _Reader(language, doubted).read(text)
        else:
            if rules(language).lakhs:
                text = separators(text, language, lambda kind, piece: doubted.append(Doubt(kind, piece)))
            doubted += [Doubt(KEPT, run) for run in re.findall(r"\d+", text)]
            text = re.sub(r"\d+", r" \g<0> ", text)
    if rules(language).before:
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
        self.language, self.doubts, self.rules = language, doubts, rules(language)
        self.space = " " if self.rules.spaced else ""

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
        return f" {words} " if self.space else words

    def _doubt(self, kind: str, piece: str) -> None:
        self.doubts.append(Doubt(kind, piece.strip()))

    def _dates(self, text: str) -> str:
        """Days, months and years are read one after the other, as nothing tells the words for them."""
        if self.rules.years:
            text = re.sub(self.rules.years, lambda match: say.one_by_one(match[1], self.language), text)

        def date(match: "re.Match[str]") -> str:
            self._doubt("date", match[0])
            return " ".join(re.split(r"[./-]", match[0]))

        day, month, year = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1\d|20)\d\d"
        forms = rf"{day}([./-]){month}\1{year}|{month}([./-]){day}\2{year}|{year}([./-]){month}\3{day}"
        return re.sub(rf"(?<![\d.,/-])(?:{forms})(?![\d/-]|[.,]\d)", date, text)

    def _times(self, text: str) -> str:
        """10:30 in hours and minutes; ten o'clock has words of its own in some languages."""

        words = self.rules.clock

        def clock(match: "re.Match[str]") -> str:
            hour, minutes, seconds = match.groups()
            h, m = say.whole(hour, self.language), say.digits(minutes or "0", self.language)
            s = say.digits(seconds, self.language) if seconds else ""
            if "minute" in words:  # each number has its word
                m = words["whole"] if minutes == "00" and not s else m + words["minute"]
                return h + words["hour"] + m + (s and s + words["second"])
            if "oh" in words and minutes[0] == "0" and not s:
                m = words["whole"] if minutes == "00" else f"{words['oh']} {say.whole(minutes, self.language)}"
            elif "hours" in words and not s and words.get("only_with", "") in match[0]:
                h = words["one"] if "one" in words and hour == "1" else say.cardinal(int(hour), self.language, True)
                m = f"{words.get('and', '')} {say.whole(str(int(minutes)), self.language)}" if int(minutes or 0) else ""
                h += f" {words['hours'][int(hour) != 1]}"
            return self._words(f"{h} {m} {s}")

        hours = r"(?<![\d:.,])((?:[01]?\d|2[0-4]))"
        for pattern in self.rules.times:
            text = re.sub(hours + pattern, clock, text)
        for pattern in self.rules.hour_alone:
            text = re.sub(hours + pattern, lambda match: f" {match[1]} " if match[2] == "00" else clock(match), text)
        return re.sub(hours + r":([0-5]\d)(?::([0-5]\d))?(?![\d:]|[.,]\d)", clock, text)

    def _signed(self, amount: str) -> str:
        """A number, which may be below zero or have other numbers before it, up to which it goes, in words."""
        last = amount.rpartition(_RANGE)[2]
        return self._before(amount) + say.number(last.lstrip(_BELOW_ZERO), self.language)

    def _before(self, amount: str) -> str:
        """The words before the last number of a range, and before a number below zero."""
        first, _, last = amount.rpartition(_RANGE)
        words = f"{self._signed(first)}{self.space}{self.rules.to}{self.space}" if first else ""
        return words + (say.negative(self.language) + self.space if last.startswith(_BELOW_ZERO) else "")

    def _money(self, text: str) -> str:
        sign, number = f"[{_SIGNS}]", rf"{_BELOW_ZERO}?(?:{_N}{_RANGE})?{_N}"
        size = self.rules.sizes or "[万亿千百]+"

        def amount(match: "re.Match[str]") -> str:
            written = match["after"] or match["before"]
            last = written.rpartition(_RANGE)[2].lstrip(_BELOW_ZERO)
            name, big = (match["sign"] or match["behind"]), (match["size"] or "").strip()
            before = (say.negative(self.language) + self.space if match["less"] else "") + self._before(written)
            if not say.noun(name, last, self.language):
                self._doubt("currency", match[0])
                return self._words(self._signed(written))
            if big:
                big = self.rules.magnitudes.get(big, big)
                parts = (say.number(last, self.language), big, say.noun(name, "5", self.language))
                return self._words(before + self.space.join(parts))
            return self._words(before + say.money(name, last, self.language))

        text = re.sub(rf"(?<={sign})\.(?=\d)", "0.", text.replace("us$", "$"))
        for written, sign_of_one in self.rules.money_signs:
            text = text.replace(written, sign_of_one)
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
            if sign in self.rules.before:
                return self._words(self.rules.before[sign] + self._signed(amount))
            words = say.counted(sign, last, self.language)
            if not words:
                self._doubt("sign", match[0])
                words = say.number(last, self.language)
            if scale and scale in self.rules.scales and not self.rules.degrees_before_scale:
                words = say.number(last, self.language)
            if scale:
                words += self.space + self.rules.scales.get(scale, {"c": "celsius", "f": "fahrenheit"}[scale])
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
        if self.rules.inflected:
            endings = self.rules.inflected["endings"]
            return re.sub(rf"(?<![\d.])(\d+)(?:-?({endings})|-([а-яё]+))(?!\w)", self._inflected, text)
        genders = {e: gender for gender, written in self.rules.ordinal_endings.items() for e in written.split()}
        if self.rules.decades:
            text = re.sub(r"(?<![\d.,])(\d{0,2}?)(\d0)'?s\b", self._decade, text)
        if self.rules.days:
            days = self.rules.days
            text = re.sub(rf"((?:\b(?:{days['after']}) )?)(?<!\d)(\d\d?)\.(?= (?:{days['months']})\b)", self._day, text)
        if not genders:
            return text

        def ordinal(match: "re.Match[str]") -> str:
            run, ending = match.groups()
            if len(run) > say.LONGEST or int(run) == 0 and not self.rules.ordinal_zero:
                return match[0]
            words = say.ordinal(int(run), self.language, genders[ending])
            for written, changed in self.rules.ordinal_by_ending.items():
                for pattern, other in changed if re.fullmatch(written, ending) else ():
                    words = re.sub(pattern, other, words)
            return f" {words} "

        known = "|".join(sorted(genders, key=len, reverse=True))
        dot = r"\.?" if self.rules.ordinal_dot else ""
        text = re.sub(rf"(?<![\d.])(\d+){dot}({known})(?!\w)", ordinal, text)
        return text.replace("º", " ").replace("ª", " ")

    def _decade(self, match: "re.Match[str]") -> str:
        """1990s, the 80s."""
        century, decade = match.groups()
        if decade in ("00", "10") and not century:  # 10s may be seconds
            return match[0]
        decades = self.rules.decades
        if century + decade in decades:
            return f" {decades[century + decade]} "
        words = say.cardinal(int(decade), self.language) if decade != "00" else decades["hundred"]
        plural = words[:-1] + "ies" if words.endswith("y") else words + "s"
        return f" {say.cardinal(int(century), self.language) if century else ''} {plural} "

    def _day(self, match: "re.Match[str]") -> str:
        """1. Mai: erster, der erste, am ersten."""
        before, words = match[1], say.ordinal(int(match[2]), self.language)
        endings = self.rules.days["endings"]
        return f"{before}{words}{endings.get(before.strip(), endings['others'] if before else endings['alone'])}"

    def _inflected(self, match: "re.Match[str]") -> str:
        """5-й, 2-я, 10-го, 20-х, 5-ти, 10-летний: the form that ends so, or that makes a word with the rest."""
        ending = match[2] or match[3]
        words = say.inflected(int(match[1]), ending, self.language) if len(match[1]) <= say.LONGEST else ""
        if not words:
            self._doubt("ending", match[0])
            words = f"{say.digits(match[1], self.language)} {ending}"
        return f" {words} "

    def _unsure(self, text: str) -> None:
        """Doubts of what may be an ordinal or has an ending, which no rule knew."""
        if self.rules.dotted:
            for match in re.finditer(r"(?<![\w.,])\d{1,3}\.(?= [^\W\d])", text):
                self._doubt("a dot, perhaps of an ordinal", match[0])
        if self.rules.spaced:
            for match in re.finditer(r"(?<![\w.,])\d+(?:[.:’'-]?[^\W\d]+)(?![\d.])", text):
                self._doubt("ending or unit", match[0])

    def _rest(self, text: str) -> str:
        """Versions, numbers below zero, ranges, decimals and whole numbers."""
        self._unsure(text)

        def version(match: "re.Match[str]") -> str:
            return self._words(say.dotted(tuple(match[0].split(".")), self.language))

        text = re.sub(r"(?<!\d)\d+(?:\.\d+){2,}", version, text)
        text = re.sub(r"(?<![\w.])\.(?=\d)", f" {say.point(self.language)} " if self.space else "0.", text)
        text = re.sub(rf"{_BELOW_ZERO}?{_N}(?:{_RANGE}{_N})*", lambda match: self._words(self._signed(match[0])), text)
        return re.sub(f"[{_BELOW_ZERO}{_RANGE}]", " ", text)
