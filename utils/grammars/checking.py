"""What a grammar accepts, told to the one who wrote it."""

from typing import List, Sequence, Tuple

from utils.core.errors import UserError
from utils.grammars.grammar import Grammar
from utils.lang.units import pronounce

AMBIGUOUS = 5  # sentences with two readings that are shown
GUESSED = 20  # words


def report(grammar: Grammar, examples: int, known: Sequence[str] = ()) -> Tuple[List[str], bool]:
    """Lines about a grammar, and whether something is wrong with it: sentences that can be read in two ways.

    Args:
      known: words whose pronunciation the model has.
    """
    intents = list(dict.fromkeys(rule.intent for rule in grammar.written.rules))
    lines = [
        f"{grammar.name}: {_many(grammar.count, 'sentence')} of {_many(len(intents), 'intent')}, "
        f"{_many(len(grammar.words), 'word')}, a graph of {grammar.acceptor.size:,} arcs"
    ]
    lines += [f"left out: {remark}" for remark in grammar.written.remarks]
    lines += ["examples:", *(f"  {' '.join(words)} -> {command}" for words, command in grammar.sentences(examples))]
    found, complete = grammar.ambiguities(AMBIGUOUS)
    lines += [f"ambiguous: {one}" for one in found]
    if not complete:
        lines.append("not all pairs of sentences were compared: the grammar is too large; others may be ambiguous")
    elif not found:
        lines.append("no sentence can be read in two ways")
    lines += _pronunciations(sorted(set(grammar.words) - set(known)), grammar.language)
    return lines, bool(found)


def _pronunciations(words: Sequence[str], language: str) -> List[str]:
    """Lines about words without a sure pronunciation."""
    try:
        table, guessed = pronounce(words, language)
    except UserError as error:
        return [f"pronunciations can't be checked: {error}"]
    lines = []
    if guessed:
        shown = ", ".join(f"{word} ({' '.join(table[word][0])})" for word in guessed[:GUESSED])
        lines.append(
            f"guessed pronunciations, which a recording can be compared with: {shown}{', ...' * (len(guessed) > GUESSED)}"
        )
    lost = [word for word in words if word not in table]
    if lost:
        lines.append(
            f"without a pronunciation: {', '.join(lost[:GUESSED])}{', ...' * (len(lost) > GUESSED)}; write them otherwise"
        )
    return lines or ["all words have a pronunciation"]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)
