"""Words of scripts without blanks between them: as the text has them, single characters, or those of jieba."""

from typing import Callable, Dict, Iterable

import regex as re  # knows which characters are marks

from utils.text.letters import UNSPACED

AUTO, GIVEN, CHARACTERS, JIEBA = "auto", "given", "char", "jieba"  # values of data.segmentation
OLD = {"blanks": GIVEN, "characters": CHARACTERS}  # how finished folders call them
LONGEST = 2.5  # characters a word, on average: segmented Chinese and Japanese have 1.5 to 2.2
LONGEST_OF_ALPHABETS = 6.0  # the same for scripts with letters: segmented Thai, Khmer, Lao and Burmese have 3 to 4
_MARKS = "\\p{M}\u0e33\u0eb3"  # and am of Thai and Lao, which are letters to Unicode
_STACKED = "[\u1039\u17d2]."  # a consonant below the one before it
_CHARACTER = re.compile(f"[{UNSPACED}](?:{_STACKED}|[{_MARKS}])*|[^\\s{UNSPACED}]+")
_RUN = re.compile(f"[{UNSPACED}]+")
_INNER_BLANK = re.compile(f"(?<=[{UNSPACED}])\\s+(?=[{UNSPACED}])")


def segmenter(name: str) -> Callable[[str], str]:
    """What makes normalised text have the words that one of GIVEN, CHARACTERS, JIEBA means."""
    cut: Dict[str, Callable[[str], str]] = {GIVEN: str, CHARACTERS: characters, JIEBA: jieba_words}
    return cut[OLD.get(name, name)]


def jieba_words(text: str) -> str:
    """Normalised Chinese text in the words of jieba (https://github.com/fxsjy/jieba), whatever its blanks; Latin words whole."""
    import rjieba

    parts = _INNER_BLANK.sub("", text).split()
    return " ".join(word for part in parts for word in (rjieba.cut(part) if _RUN.search(part) else [part]))


def characters(text: str) -> str:
    """Normalised text with every character of a script without blanks as a word, marks on their letter; other words whole."""
    return " ".join(_CHARACTER.findall(text))


def unsegmented(texts: Iterable[str]) -> bool:
    """Whether normalised texts have no blanks between words: their runs of such scripts are longer than words are."""
    words = length = alphabets = 0
    for text in texts:
        for run in _RUN.findall(text):
            found = _CHARACTER.findall(run)
            words += 1
            length += len(found)
            alphabets += sum(c[0] < "\u3000" for c in found)
    limit = LONGEST_OF_ALPHABETS if 2 * alphabets > length else LONGEST
    return words > 0 and length > limit * words
