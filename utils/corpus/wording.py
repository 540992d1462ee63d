"""The transcripts of a corpus as words, and an account of what that took: pieces that are not said, numbers without a rule, text
without blanks between words.
"""

import logging
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, NamedTuple, Sequence, Set, Tuple

from utils.core.errors import printable
from utils.core.files import write_lines
from utils.core.languages import script
from utils.languages.numbers import doubts
from utils.languages.rules import rules
from utils.languages.scripts import in_its_script
from utils.text.conventions import Conventions
from utils.text.normalise import folded, normaliser, normaliser_id
from utils.text.scoring import characters
from utils.text.segmentation import AUTO, CHARACTERS, GIVEN, segmenter, unsegmented

DROPPED = "dropped.tsv"
SHOWN = 5  # pieces of a kind in the log


class Said(NamedTuple):
    """A transcript as published."""

    id: str
    language: str
    text: str


class Words(NamedTuple):
    """Normalised transcripts by id, and how they were made."""

    texts: Dict[str, str]
    normaliser: str
    segmentation: str  # given, char or jieba
    shortened: Set[str]  # ids of transcripts of which conventions left something out


def in_words(said: Sequence[Said], config: SimpleNamespace, first_version: int, out: Path, log: logging.Logger) -> Words:
    """Normalise transcripts; write dropped.tsv where something was left out of them, and log what a user should look at.

    Args:
      config: the keys below `data`.
      first_version: the first version of the normaliser that is known to give these words; 0: find it.
      out: where dropped.tsv goes.
    Raises:
      UserError: an unknown normaliser, language or convention.
    """
    languages = sorted({s.language for s in said})
    functions = {language: normaliser(config.normaliser, language, config.conventions) for language in languages}
    texts = {s.id: functions[s.language](s.text) for s in said}
    left = _say_dropped(said, config.conventions, out, log)
    _say_doubts(left, log)
    _say_scripts(said, texts, log)
    segmentation = config.segmentation
    if segmentation == AUTO:
        segmentation = CHARACTERS if unsegmented(texts.values()) else GIVEN
        if segmentation == CHARACTERS:
            log.warning(
                "the text has no blanks between words, so every character is a word (data.segmentation=char). To have words, "
                "segment it first, a blank between words (data.segmentation=given), or set data.segmentation=jieba for Chinese"
            )
    texts = {name: segmenter(segmentation)(text) for name, text in texts.items()}
    published = {language: [s.text for s in said if s.language == language] for language in languages}
    first = dict.fromkeys(languages, first_version) if first_version else {}
    shortened = {s.id for s, rest in zip(said, left) if s != rest}
    return Words(texts, normaliser_id(config.normaliser, published, first, config.conventions), segmentation, shortened)


def _say_dropped(said: Sequence[Said], chosen: Sequence[str], out: Path, log: logging.Logger) -> List[Said]:
    """List what conventions leave out, and symbols that no word has; returns the transcripts without what is left out."""
    apply = Conventions(chosen).apply
    left: List[Said] = []
    first: Dict[Tuple[str, str], str] = {}
    counts: Counter = Counter()
    for s in said:
        found: Counter = Counter()
        text = apply(s.text, found)
        found.update(("symbols", c) for c in text if _unsaid(c, s.language))
        for piece in found:
            first.setdefault(piece, s.id)
        counts += found
        left.append(s._replace(text=text))
    kinds: Dict[str, List[Tuple[str, int]]] = defaultdict(list)
    for (kind, piece), count in sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        kinds[kind].append((_one_line(piece), count))
    if kinds:
        rows = [(kind, piece, str(n), first[key]) for key, n in counts.items() for kind, piece in [key]]
        write_lines(out / DROPPED, sorted("\t".join(_one_line(field) for field in row) for row in rows))
        log.info("transcripts without what is not said (data.conventions), listed in %s:", DROPPED)
    for kind, pieces in kinds.items():
        shown = ", ".join(f"{piece} {count}" for piece, count in pieces[:SHOWN])
        log.info("  %s: %d, %s%s", kind, sum(n for _, n in pieces), shown, " ..." * (len(pieces) > SHOWN))
    return left


def _say_doubts(said: Sequence[Said], log: logging.Logger) -> None:
    """Say which numbers no rule of the language tells how to read, with an utterance of each kind."""
    found: Dict[Tuple[str, str], List[Tuple[str, str]]] = defaultdict(list)
    for s in said:
        for doubt in doubts(folded(s.text, s.language), s.language):
            found[s.language, doubt.kind].append((s.id, doubt.piece))
    for (language, kind), pieces in sorted(found.items()):
        name, piece = pieces[0]
        log.warning(
            "%d numbers of the language %s are read without a rule (%s), such as '%s' in %s; write them out if said otherwise",
            len(pieces),
            language,
            kind,
            piece,
            name,
        )


def _say_scripts(said: Sequence[Said], texts: Dict[str, str], log: logging.Logger) -> None:
    """Say how many texts are written in another script than their language, with one of them."""
    found: Dict[str, List[Said]] = defaultdict(list)
    for s in said:
        units = [unit for unit in characters(texts[s.id].split()) if unit[0].isalpha()]  # a Latin word in Chinese is one
        if 2 * sum(in_its_script(unit[0], s.language) for unit in units) < len(units):
            found[s.language].append(s)
    for language, others in sorted(found.items()):
        log.warning(
            "%d of %d texts of the language %s are not written in its script (%s), such as '%s' in %s: check data.language, "
            "which may name another script (sr-Latn)",
            len(others),
            sum(s.language == language for s in said),
            language,
            script(language),
            _one_line(others[0].text),
            others[0].id,
        )


def _unsaid(c: str, language: str) -> bool:
    """Whether a character is a symbol that no rule of the language reads aloud."""
    if c.isalnum() or c.isspace():
        return False
    known = rules(language)
    if c in "%‰°℃℉":
        sign = c if c in "%‰" else "°"
        return sign not in known.nouns and sign not in known.before
    if c in "№&":
        return not (known.number_sign if c == "№" else known.and_)
    return unicodedata.category(c) in ("Sm", "So", "Co", "Cn") and c != "−" or c in "@#*§†‡¶"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
