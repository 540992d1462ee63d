"""The vocabulary that one decoding works with: that of the training text, <unk>, and words added to the trained model.

<unk> stands in the sub-word lattice for a word that the lexicon doesn't have, so that its neighbours are spared. It is any sequence
of units, each as likely as it is in the lexicon (`Lexicon.unit_model`). It, and likewise all added words together, are as frequent
as words are that occur once in the training text: Good and Turing's estimate of what the text doesn't have (Good 1953). Among
themselves added words are alike, unless the pack knows how frequent they are elsewhere, or which words of the model they are like.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import List, Mapping, Sequence, Tuple

from utils.core.files import atomic_path, read_json
from utils.lang import graphs
from utils.lang.lexicon import DISAMBIG, EPS, UNKNOWN, Entry, Lexicon, read_lexicon, write_entries, write_symbols
from utils.lang.ngram import NGram, read_arpa, write_arpa

KEPT = ("word_counts.json", "sp.model")  # of a lang folder


def open_lexicon(lang: Path, unknown: bool) -> Lexicon:
    """The lexicon of a lang folder, with <unk> where asked."""
    return replace(read_lexicon(lang), unknown=unknown)


def language_model(lang: Path, unknown: bool) -> NGram:
    """The n-gram model of a lang folder, with <unk> where asked."""
    model = read_arpa(lang / "lm.arpa")
    return model.with_words([UNKNOWN], unseen(lang)) if unknown else model


def unseen(lang: Path) -> float:
    """Share of running words that the training text doesn't have, by Good and Turing."""
    counts = read_json(lang / "word_counts.json").values()
    return max(1, sum(n == 1 for n in counts)) / (sum(counts) + 1)


def used_lang(lang: Path, decoded: Path) -> Path:
    """The lang folder that a decoding was made with: its own, where it has one."""
    return decoded / "lang" if (decoded / "lang").is_dir() else lang


def make_lang(
    lang: Path,
    entries: Sequence[Entry],
    unknown: bool,
    heads: Tuple[bool, bool],
    out: Path,
    frequency: Mapping[str, float] = {},
    like: Mapping[str, Mapping[str, float]] = {},
    first_pass_lm_order: int = 0,
) -> Path:
    """Write a lang folder like `lang` with words added, and graphs with <unk> where asked, or with n-grams of a lower order; then
    also G.pt, the whole model as an acceptor for lattices.

    Args:
      entries: words that `lang` lacks, with their units.
      frequency, like: of added words, where they are known (NGram.with_words).
      heads: whether the graph of the sub-word head is wanted, and that of the word head.
      out: the folder; what stands in it is whole, and kept.
    """
    base = read_lexicon(lang)
    words: List[str] = [*base.words, *dict.fromkeys(word for word, _ in entries)]
    lexicon = Lexicon(words, base.tokens, [*base.entries, *entries], lang, unknown)
    for name in KEPT:
        if (lang / name).exists():
            with atomic_path(out / name) as temporary:
                shutil.copyfile(lang / name, temporary)
    for name in ("lm.arpa", "g.arpa"):
        if not (out / name).exists():
            model = read_arpa(lang / name)
            added = words[len(base.words) :]
            write_arpa(model.with_words(added, unseen(lang), frequency, like) if added else model, out / name)
    write_symbols(out / "words.txt", [EPS, *words, DISAMBIG])
    write_symbols(out / "tokens.txt", graphs.lexicon_symbols(lexicon))
    write_entries(out / "lexicon.txt", lexicon.entries)
    if heads[0] and first_pass_lm_order and not (out / "G.pt").exists():
        g = graphs.grammar(out / "lm.arpa", out / "words.txt")
        graphs.save_fsa(graphs.compile_acceptor(g, len(words)), out / "G.pt")
    if heads[0] and not (out / "HLG.pt").exists():
        source = out
        if unknown or first_pass_lm_order:
            source = out / "first"
            model = language_model(out, unknown)
            write_arpa(model.shortened(first_pass_lm_order) if first_pass_lm_order else model, source / "lm.arpa")
            write_symbols(source / "words.txt", [EPS, *words, DISAMBIG, *[UNKNOWN] * unknown])
        graphs.save_fsa(graphs.compile_hlg(lexicon, graphs.grammar(source / "lm.arpa", source / "words.txt")), out / "HLG.pt")
    if heads[1] and not (out / "word_graph.pt").exists():
        graph = graphs.compile_word_graph(graphs.grammar(out / "g.arpa", out / "words.txt"), len(words))
        graphs.save_fsa(graph, out / "word_graph.pt")
    return out
