"""The vocabulary that one decoding works with: that of the training text and the words added to the trained model.

All added words together get the probability that Good and Turing estimate for words that the training text does not have: the
share of words that occur once in it (Good 1953). They divide it evenly, unless the pack knows how frequent they are elsewhere, or
which words of the model they are like.
"""

import shutil
from pathlib import Path
from typing import Mapping, Sequence, Tuple

from utils.core.files import atomic_path, read_json
from utils.lang import graphs
from utils.lang.lexicon import DISAMBIG, EPS, Entry, Lexicon, read_lexicon, write_entries, write_symbols
from utils.ngrams.ngram import NGram, read_arpa, write_arpa

KEPT = ("word_counts.json", "sp.model")  # files of a lang folder that are copied


def unseen(lang: Path) -> float:
    """The share of running words that the training text does not have, estimated by Good and Turing."""
    counts = read_json(lang / "word_counts.json").values()
    return max(1, sum(n == 1 for n in counts)) / (sum(counts) + 1)


def used_lang(lang: Path, decoded: Path) -> Path:
    """The lang folder that a decoding used: its own, if it has one."""
    return decoded / "lang" if (decoded / "lang").is_dir() else lang


def extended(base: Lexicon, entries: Sequence[Entry]) -> Lexicon:
    """A lexicon with words added."""
    words = [*base.words, *dict.fromkeys(word for word, _ in entries)]
    return Lexicon(words, base.tokens, [*base.entries, *entries], base.folder)


def extended_lm(
    model: NGram, lang: Path, lexicon: Lexicon, frequency: Mapping[str, float], like: Mapping[str, Mapping[str, float]]
) -> NGram:
    """An n-gram model of a lang folder, with the words of `lexicon` that the folder lacks."""
    added = [word for word in lexicon.words if (word,) not in model.logp]
    return model.with_words(added, unseen(lang), frequency, like) if added else model


def make_lang(
    lang: Path,
    entries: Sequence[Entry],
    heads: Tuple[bool, bool],
    out: Path,
    frequency: Mapping[str, float] = {},
    like: Mapping[str, Mapping[str, float]] = {},
    first_pass_lm_order: int = 0,
) -> Path:
    """Write a lang folder like `lang` with words added.

    Args:
      entries: words that `lang` lacks, with their units.
      heads: whether to make the graph of the sub-word head, and that of the word head.
      out: the folder; files that are in it are complete, and kept.
      frequency, like: of added words, if they are known (NGram.with_words).
      first_pass_lm_order: if not 0, the sub-word graph has n-grams of this order only, and G.pt is written too, the whole model
      as
        an acceptor for lattices.
    """
    lexicon = extended(read_lexicon(lang), entries)
    words = lexicon.words
    for name in KEPT:
        if (lang / name).exists():
            with atomic_path(out / name) as temporary:
                shutil.copyfile(lang / name, temporary)
    for name in ("lm.arpa", "g.arpa"):
        if not (out / name).exists():
            write_arpa(extended_lm(read_arpa(lang / name), lang, lexicon, frequency, like), out / name)
    write_symbols(out / "words.txt", [EPS, *words, DISAMBIG])
    write_symbols(out / "tokens.txt", graphs.lexicon_symbols(lexicon))
    write_entries(out / "lexicon.txt", lexicon.entries)
    if heads[0] and first_pass_lm_order and not (out / "G.pt").exists():
        g = graphs.grammar(out / "lm.arpa", out / "words.txt")
        graphs.save_fsa(graphs.compile_acceptor(g, len(words)), out / "G.pt")
    if heads[0] and not (out / "HLG.pt").exists():
        source = out
        if first_pass_lm_order:
            source = out / "first"
            write_arpa(read_arpa(out / "lm.arpa").shortened(first_pass_lm_order), source / "lm.arpa")
            write_symbols(source / "words.txt", [EPS, *words, DISAMBIG])
        graphs.save_fsa(graphs.compile_hlg(lexicon, graphs.grammar(source / "lm.arpa", source / "words.txt")), out / "HLG.pt")
    if heads[1] and not (out / "word_graph.pt").exists():
        graph = graphs.compile_word_graph(graphs.grammar(out / "g.arpa", out / "words.txt"), len(words))
        graphs.save_fsa(graph, out / "word_graph.pt")
    return out
