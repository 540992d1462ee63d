"""Text normalisers: a transcript as published -> the words that are spoken, joined by one space.

A normaliser has an id, `<name>-<language>-<version>`, that goes into every result, because word error rates of
different normalisers are not comparable. Raise the version of a language whenever its output changes. A corpus keeps the first
version that gives its words, so that its results stay comparable: version 2 reads more kinds of numbers and symbols, and texts of
plain words are those of version 1.

`basic`: what is not said is left out (conventions.py), letters take their usual form (letters.py) and are small, numbers are
read aloud (numbers.py), and everything that is neither a letter nor an apostrophe inside a word becomes a space. Hyphens separate
words; apostrophes do not ("l'heure", "don't"). Accents stay. Chinese words keep their segmentation, and Latin letters beside them
are words of their own. What a language does otherwise is in its file in utils/languages/rules: Russian writes ё as е, as most of
its texts do. Any language of ISO 639 will do, with or without a file; numbers that nobody can spell in it stay digits.
"""

import re
import unicodedata
from typing import Callable, Iterable, Mapping, Sequence

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.languages.number_words import spoken
from utils.languages.numbers import read_numbers
from utils.languages.registry import checked
from utils.languages.rules import rules
from utils.text.conventions import USUAL, Conventions
from utils.text.letters import apart, of_word, usual_form

NAMES = ("basic",)
_APOSTROPHES = dict.fromkeys(map(ord, "’‘ʼ＇`´ʻʽ‛′՚ꞌ׳"), "'")
_DIGITS = frozenset("0123456789")


def normaliser(name: str, language: str, conventions: Sequence[str] = (USUAL,)) -> Callable[[str], str]:
    """The function that normalises text of one language.

    Args:
      name: one of NAMES.
      language: a tag of a language that exists: de, yue, sr-Latn.
      conventions: what transcripts have besides words, see conventions.py.
    Raises:
      UserError: unknown name, language or convention.
    """
    _check(name, [language])
    leave_out = Conventions(conventions).apply

    def normalise(text: str) -> str:
        return _basic(leave_out(text), language)

    return normalise


def leaves_letters(language: str, conventions: Sequence[str]) -> bool:
    """Whether a text of ASCII letters and blanks alone is normalised to the same in small letters, whatever its words."""
    known = rules(language)
    return tuple(conventions) == (USUAL,) and not (known.letters or known.dotless or known.spelling or known.twins)


def normaliser_id(
    name: str, texts: Mapping[str, Iterable[str]], first: Mapping[str, int] = {}, conventions: Sequence[str] = (USUAL,)
) -> str:
    """The name of a normaliser in results: `basic-en-2`; of several languages `basic-en-2+fr-1`.

    Args:
      texts: language -> a corpus's texts as published. Where they are plain words, the version is 1.
      first: language -> the first version that is known to give a corpus's words.
      conventions: as for `normaliser`.
    """
    _check(name, texts)
    leave_out = Conventions(conventions).apply

    def plain(text: str, language: str) -> bool:
        return (
            _plain_words(text)
            and leave_out(text) == text
            and apart(usual_form(text, language)) == unicodedata.normalize("NFC", text)
        )

    newest = {x: 1 if all(plain(text, x) for text in found) else rules(x).version for x, found in texts.items()}
    return f"{name}-" + "+".join(f"{language}-{first.get(language, version)}" for language, version in newest.items())


def folded(text: str, language: str = "") -> str:
    """Text in the letters of transcripts: Unicode NFC, one form of each letter and of the apostrophe, small letters."""
    return usual_form(text.translate(_APOSTROPHES), language).lower()


def _plain_words(text: str) -> bool:
    """Whether a text has nothing but letters of one form and the usual punctuation, which all versions read alike."""
    characters = set("".join(unicodedata.normalize("NFC", text).split())) - set(".,!?;:-'’\"。，！？、；：")
    return all(unicodedata.category(c) in ("Lu", "Ll", "Lo") and unicodedata.normalize("NFKC", c) == c for c in characters)


def _check(name: str, languages: Iterable[str]) -> None:
    if name not in NAMES:
        raise UserError(f"data.normaliser={name}{nearest(name, NAMES)}: there is {', '.join(NAMES)}")
    for language in languages:
        checked(language)


def _basic(text: str, language: str) -> str:
    known = rules(language)
    text = folded(text, language)
    text = apart(read_numbers(text, language).replace("&", f" {known.and_} "))
    digits = frozenset() if spoken(language) else _DIGITS
    words = "".join(c if of_word(text, i, known.inside) or c in digits else " " for i, c in enumerate(text)).split()
    words = [w for w in words if w.isascii() or any(unicodedata.category(c) in ("Lo", "Ll", "Lt", "Lu") for c in w)]
    if known.twins:  # Latin letters typed for others that look alike
        twins, beside = str.maketrans(known.twins["of"], known.twins["by"]), re.compile(known.twins["beside"])
        words = [w.translate(twins) if beside.search(w) else w for w in words]
    out = " ".join(words)
    for pattern, other in known.spelling:
        out = re.sub(pattern, other, out)
    return out
