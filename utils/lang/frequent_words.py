"""Word frequencies of a language, from wordfreq (Speer 2022): subtitles, news, books, the web."""

from itertools import islice
from typing import Callable, Dict, Sequence

from utils.core.errors import UserError
from utils.core.languages import family, in_characters
from utils.lang.lexicon import Lexicon
from utils.lang.units import cmudict, pronounce

RAREST = 1e-8  # share of running words of the rarest word that wordfreq lists


def frequencies(words: Sequence[str], language: str) -> Dict[str, float]:
    """Each word's share of running words; `RAREST` for words that wordfreq lacks.

    Raises:
      UserError: wordfreq doesn't have the language.
    """
    look_up = _look_up(language)
    return {word: max(look_up(word), RAREST) for word in words}


def common_words(count: int, lexicon: Lexicon, language: str, normalise: Callable[[str], str]) -> Dict[str, float]:
    """The most frequent words that a lexicon lacks and its units can spell, with their share of running words.

    Where the units are English phones, only words of cmudict are taken; in scripts without blanks, no words in Latin letters.

    Args:
      count: how many words.
      normalise: the transcripts' normaliser; a word that it changes is left out.
    Raises:
      UserError: wordfreq doesn't have the language, or not enough words that fit.
    """
    import wordfreq

    look_up = _look_up(language)
    known, letters, units = set(lexicon.words), {c for word in lexicon.words for c in word}, set(lexicon.tokens)
    listed = cmudict() if lexicon.of_phones and family(language) == "en" else None
    own = (lambda word: not word.isascii()) if in_characters(language) else (lambda word: listed is None or word in listed)
    candidates = (
        word
        for word in wordfreq.iter_wordlist(family(language))
        if word not in known and letters.issuperset(word) and own(word) and normalise(word) == word
    )
    out: Dict[str, float] = {}
    while len(out) < count:
        part = list(islice(candidates, count - len(out)))  # most can be spelled, so few are pronounced for nothing
        if not part:
            break
        spoken = pronounce(part, language)[0] if lexicon.of_phones else {word: [()] * bool(lexicon.spell(word)) for word in part}
        out.update((word, look_up(word)) for word in part if any(units.issuperset(v) for v in spoken.get(word, ())))
    if len(out) < count:
        raise UserError(
            f"{count} frequent words are wanted, and wordfreq has {len(out)} words of the language {language} "
            "that this model can spell"
        )
    return out


def _look_up(language: str) -> Callable[[str], float]:
    """What gives a word's share; words of Chinese, Japanese and Korean are not cut into others, and may have none."""
    import wordfreq
    from wordfreq.language_info import get_language_info

    name = family(language)
    if name in wordfreq.available_languages():
        if get_language_info(name)["tokenizer"] in ("jieba", "mecab"):
            listed = wordfreq.get_frequency_dict(name)
            return lambda word: listed.get(word, 0.0)
        return lambda word: wordfreq.word_frequency(word, name)
    raise UserError(f"wordfreq has no words of the language {language}; give a list by --file, without --by-frequency")
