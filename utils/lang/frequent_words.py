"""Word frequencies of a language, from wordfreq (Speer 2022): subtitles, news, books, the web."""

from itertools import islice
from typing import Callable, Dict, Sequence

from utils.core.errors import UserError
from utils.core.languages import family
from utils.lang.lexicon import Lexicon
from utils.lang.units import cmudict, pronounce

RAREST = 1e-8  # share of running words of the rarest word that wordfreq lists


def frequencies(words: Sequence[str], language: str) -> Dict[str, float]:
    """Each word's share of running words; `RAREST` for words that wordfreq lacks.

    Raises:
      UserError: wordfreq doesn't have the language.
    """
    import wordfreq

    _require(language)
    return {word: wordfreq.word_frequency(word, language, minimum=RAREST) for word in words}


def common_words(count: int, lexicon: Lexicon, language: str, normalise: Callable[[str], str]) -> Dict[str, float]:
    """The most frequent words that a lexicon lacks and its units can spell, with their share of running words.

    Where the units are English phones, only words of cmudict are taken.

    Args:
      count: how many words.
      normalise: the transcripts' normaliser; a word that it changes is left out.
    Raises:
      UserError: wordfreq doesn't have the language, or not enough words that fit.
    """
    import wordfreq

    _require(language)
    known, letters, units = set(lexicon.words), {c for word in lexicon.words for c in word}, set(lexicon.tokens)
    listed = cmudict() if lexicon.of_phones and family(language) == "en" else None
    candidates = (
        word
        for word in wordfreq.iter_wordlist(language)
        if word not in known and letters.issuperset(word) and (listed is None or word in listed) and normalise(word) == word
    )
    fitting = list(islice(candidates, 2 * count))  # twice as many are enough: nearly all can be spelled
    spoken = (
        pronounce(fitting, language)[0] if lexicon.of_phones else {word: [()] * bool(lexicon.spell(word)) for word in fitting}
    )
    spelled = (word for word in fitting if any(units.issuperset(variant) for variant in spoken[word]))
    out = {word: wordfreq.word_frequency(word, language) for word in islice(spelled, count)}
    if len(out) < count:
        raise UserError(
            f"{count} frequent words are wanted, and wordfreq has {len(out)} words of the language {language} "
            "that this model can spell"
        )
    return out


def _require(language: str) -> None:
    import wordfreq

    if language not in wordfreq.available_languages():
        raise UserError(f"wordfreq has no words of the language {language}; give a list by --file, without --by-frequency")
