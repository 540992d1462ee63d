"""Graphs of a vocabulary made in memory, as stage 6 makes them with packs in a lang folder."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, Dict, Optional, Tuple

from utils.lang import graphs
from utils.lang.lexicon import DISAMBIG, EPS, Lexicon
from utils.ngrams.ngram import NGram, arpa, of_arpa


@dataclass(frozen=True)
class Grammar:
    """What decoding needs of a lang folder, in memory."""

    lexicon: Lexicon
    lm: Callable[[], NGram]  # of lm.arpa, rounded as files have it; made when the first call needs it
    graphs: Dict[str, Any]  # by decoding: k2.Fsa
    whole: Optional[Any] = None  # the whole model as an acceptor, where the sub-word graph has a part of it


def grammar_in_memory(
    lexicon: Lexicon, models: Tuple[NGram, NGram], heads: Tuple[bool, bool], first_pass_lm_order: int = 0
) -> Grammar:
    """The graphs that `make_lang` writes, without a file.

    Args:
      models: those that a lang folder has as lm.arpa and g.arpa.
    """
    lm, word_lm = models
    symbols = [EPS, *lexicon.words, DISAMBIG]
    lines = arpa(lm)
    made: Dict[str, Any] = {}
    whole = None
    if heads[0]:
        first = arpa(lm.shortened(first_pass_lm_order)) if first_pass_lm_order else lines
        made["lattice"] = graphs.compile_hlg(lexicon, graphs.grammar_in_memory(first, symbols))
        if first_pass_lm_order:
            whole = graphs.compile_acceptor(graphs.grammar_in_memory(lines, symbols), len(lexicon.words))
    if heads[1]:
        g = graphs.grammar_in_memory(arpa(word_lm), symbols)
        made["word_lattice"] = graphs.compile_word_graph(g, len(lexicon.words))
    return Grammar(lexicon, lru_cache(maxsize=None)(lambda: of_arpa(lines, "lm.arpa")), made, whole)
