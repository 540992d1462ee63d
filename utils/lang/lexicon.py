"""Words, sub-word units, and the unit sequences of words: spellings or pronunciations."""

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from utils.core.errors import UserError
from utils.core.files import write_lines

EPS, BLANK, DISAMBIG = "<eps>", "<blk>", "#0"
SYMBOL = re.compile(r"<.*>|#\d+|!\w+|\[.*\]|\{.*\}")  # what names a symbol, or a mark of transcribers, and never a word
Entry = Tuple[str, Tuple[str, ...]]  # a word, and one of its unit sequences


@dataclass(frozen=True)
class Lexicon:
    """The tables of a lang folder.

    Word ids are 1 .. V: 0 is epsilon and V + 1 is #0. Token ids are 1 .. M: 0 is the CTC blank.
    """

    words: List[str]  # words[i] has id i + 1
    tokens: List[str]  # tokens[i] has id i + 1
    entries: List[Entry]
    folder: Path
    training_only: int = 0  # the number of words at the end of the list that only training uses
    beyond: Mapping[str, List[int]] = field(default_factory=dict)  # token ids of words outside the list, which dev has

    @property
    def vocabulary(self) -> int:
        """Number of words that decoding uses: the first of the list."""
        return len(self.words) - self.training_only

    @property
    def of_phones(self) -> bool:
        """Whether the units are phones; otherwise they come from a SentencePiece model."""
        return not (self.folder / "sp.model").is_file()

    @cached_property
    def word_id(self) -> Dict[str, int]:
        """word -> id, from 1."""
        return {word: i for i, word in enumerate(self.words, 1)}

    @cached_property
    def token_id(self) -> Dict[str, int]:
        """unit -> id, from 1."""
        return {token: i for i, token in enumerate(self.tokens, 1)}

    @cached_property
    def pronunciations(self) -> Dict[str, List[List[int]]]:
        """word -> its token id sequences, the first one listed first."""
        table: Dict[str, List[List[int]]] = {}
        for word, units in self.entries:
            table.setdefault(word, []).append([self.token_id[unit] for unit in units])
        return table

    def spell(self, word: str) -> Optional[List[int]]:
        """Token ids of any word, from the lexicon or by the SentencePiece model; None if neither can spell it."""
        if word in self.pronunciations:
            return self.pronunciations[word][0]
        if self._sentencepiece is None:
            return None
        ids = list(self._sentencepiece.encode(word))
        return None if 0 in ids else ids

    def words_to_token_ids(self, words: Iterable[str]) -> List[int]:
        """Token ids of a sentence, by the first pronunciation of each word; raises UserError for a word that can't be spelled."""
        ids: List[int] = []
        for word in words:
            spelled = self.spell(word)
            if spelled is None:
                raise UserError(f"the word '{word}' is not in {self.folder / 'lexicon.txt'} and its units can't spell it")
            ids += spelled
        return ids

    def text_to_token_ids(self, words: Iterable[str]) -> List[int]:
        """Token ids of a transcript, without words that neither the lexicon, nor its units, nor `beyond` can spell."""
        return [n for word in words for n in self.spell(word) or self.beyond.get(word, [])]

    def words_to_ids(self, words: Iterable[str]) -> List[int]:
        """Word ids; raises KeyError for a word that is not in the list."""
        return [self.word_id[word] for word in words]

    def ids_to_words(self, ids: Iterable[int]) -> List[str]:
        """Words of ids, without epsilons (0)."""
        return [self.words[i - 1] for i in ids if i > 0]

    @cached_property
    def _sentencepiece(self) -> Any:
        if self.of_phones:
            return None
        import sentencepiece

        return sentencepiece.SentencePieceProcessor(model_proto=(self.folder / "sp.model").read_bytes())


def read_lexicon(folder: Path) -> Lexicon:
    """Read words.txt, tokens.txt and lexicon.txt of a lang folder; raises UserError if they don't fit together."""
    words = [w for w in read_symbols(folder / "words.txt") if w not in (EPS, DISAMBIG)]
    tokens = [t for t in read_symbols(folder / "tokens.txt")[1:] if not t.startswith("#")]
    entries = read_entries(folder / "lexicon.txt")
    known_words, known_tokens = set(words), set(tokens)
    for word, units in entries:
        if word not in known_words or not known_tokens.issuperset(units):
            raise UserError(f"{folder / 'lexicon.txt'}: words.txt or tokens.txt lacks a part of '{word} {' '.join(units)}'")
    return Lexicon(words, tokens, entries, folder)


def read_symbols(path: Path) -> List[str]:
    """Symbols of a k2 symbol table, a line `symbol id` each; raises UserError unless the ids are 0, 1, 2, ..."""
    lines = path.read_text(encoding="utf-8").split("\n")
    symbols: List[str] = []
    for number, line in enumerate(filter(None, lines)):
        symbol, _, index = line.rpartition(" ")
        if not symbol or index != str(number):
            raise UserError(f"{path}, line {number + 1}: expected 'SYMBOL {number}', found '{line}'")
        symbols.append(symbol)
    return symbols


def write_symbols(path: Path, symbols: Sequence[str]) -> None:
    """Write a k2 symbol table with ids from 0."""
    write_lines(path, (f"{symbol} {i}" for i, symbol in enumerate(symbols)))


def read_entries(path: Path) -> List[Entry]:
    """Lines `word unit unit ...` of a lexicon; raises UserError for a word without units."""
    entries: List[Entry] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        fields = line.split(" ")
        if line and (len(fields) < 2 or "" in fields):
            raise UserError(f"{path}, line {number}: expected 'WORD UNIT UNIT ...', found '{line}'")
        if line:
            entries.append((fields[0], tuple(fields[1:])))
    return entries


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """Write `word unit unit ...` lines."""
    write_lines(path, (" ".join((word, *units)) for word, units in entries))


def disambiguate(entries: Sequence[Entry]) -> Tuple[List[Entry], int]:
    """Append #1, #2, ... to unit sequences that words share or that are a prefix of another, like Kaldi's add_lex_disambig.pl.

    Returns:
      the new entries, and the number of disambiguation symbols beyond #0.
    """
    shared: Dict[Tuple[str, ...], int] = {}
    prefixes: Set[Tuple[str, ...]] = set()
    for _, units in entries:
        shared[units] = shared.get(units, 0) + 1
        prefixes.update(units[:n] for n in range(1, len(units)))
    used: Dict[Tuple[str, ...], int] = {}
    out: List[Entry] = []
    for word, units in entries:
        if shared[units] > 1 or units in prefixes:
            used[units] = used.get(units, 0) + 1
            units = (*units, f"#{used[units]}")
        out.append((word, units))
    return out, max(used.values(), default=0)


def training_lexicon(inputs: Mapping[str, Path]) -> Lexicon:
    """The lexicon of stage 2, followed by the words that only synthesised speech has, if `inputs` has any.

    Args:
      inputs: stage name -> its finished folder.
    """
    lexicon = read_lexicon(inputs["lang"])
    if "synthesise" not in inputs:
        return lexicon
    entries = read_entries(inputs["synthesise"] / "lexicon.txt")
    more = list(dict.fromkeys(word for word, _ in entries))
    return replace(lexicon, words=[*lexicon.words, *more], entries=[*lexicon.entries, *entries], training_only=len(more))
