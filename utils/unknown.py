"""<unk>: what stands in the sub-word lattice for a word that the lexicon doesn't have, so that its neighbours are spared.

It is any sequence of units, each as likely as it is in the lexicon (`Lexicon.unit_model`), and as frequent in a sentence as words
are that occur once in the training text: Good and Turing's estimate of what the text doesn't have (Good 1953).
"""

from dataclasses import replace
from pathlib import Path

from utils import graphs
from utils.files import read_json
from utils.lexicon import DISAMBIG, EPS, UNKNOWN, Lexicon, read_lexicon, write_symbols
from utils.ngram import NGram, read_arpa, write_arpa


def lexicon_with_unknown(lang: Path, unknown: bool) -> Lexicon:
    """The lexicon of a lang folder, with <unk> where asked."""
    return replace(read_lexicon(lang), unknown=unknown)


def language_model(lang: Path, unknown: bool) -> NGram:
    """The n-gram model of a lang folder, with <unk> where asked."""
    model = read_arpa(lang / "lm.arpa")
    if not unknown:
        return model
    counts = read_json(lang / "word_counts.json").values()
    return model.with_unknown(UNKNOWN, max(1, sum(n == 1 for n in counts)) / (sum(counts) + 1))


def make_graph(lexicon: Lexicon, model: NGram, out: Path) -> Path:
    """Write lm.arpa, words.txt and HLG.pt of a lexicon and a model with <unk> into the folder `out`; returns the path of HLG.pt."""
    if not (out / "HLG.pt").exists():
        write_arpa(model, out / "lm.arpa")
        write_symbols(out / "words.txt", [EPS, *lexicon.words, DISAMBIG, UNKNOWN])
        graphs.save_fsa(graphs.compile_hlg(lexicon, graphs.grammar(out / "lm.arpa", out / "words.txt")), out / "HLG.pt")
    return out / "HLG.pt"
