"""k2 graphs of a grammar: frames of either head in, words out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch

from utils.bundle.evidence import Rows
from utils.grammars.automaton import Automaton
from utils.lang.graphs import compile_word_graph, lexicon_fst, need_k2
from utils.lang.lexicon import Lexicon


@dataclass(frozen=True)
class Graphs:
    """The search spaces of a grammar; ids of words are places in `Rows.words`, from 1."""

    units: Any  # of the sub-word head
    words: Optional[Any]  # of the word head; None without one


def compile_graphs(automaton: Automaton, rows: Rows, units: Sequence[str]) -> Graphs:
    """The graphs of a grammar.

    No sentence is written out, and nothing is determinised over units, which would unfold what the grammar shares: a word is a
    path of units wherever it may be said, and a word with two pronunciations is two.

    Args:
      automaton: its words are those of `rows`.
      units: of the sub-word head, the blank first.
    """
    k2 = need_k2("commands")
    g = _acceptor(k2, automaton, {word: n for n, word in enumerate(rows.words, 1)})
    tokens = list(units[1:])
    entries = [(word, tuple(tokens[u - 1] for u in way)) for word, ways in zip(rows.words, rows.spoken) for way in ways]
    lexicon = lexicon_fst(Lexicon(rows.words, tokens, entries, Path()), disambiguation=False)
    lg = k2.connect(k2.compose(k2.arc_sort(lexicon), k2.arc_sort(g)))
    labels = lg.aux_labels
    lg.aux_labels = k2.RaggedTensor(labels.unsqueeze(1)).remove_values_eq(0) if isinstance(labels, torch.Tensor) else labels
    topology = k2.ctc_topo(len(tokens), modified=False)
    graph = k2.arc_sort(k2.connect(k2.compose(topology, k2.arc_sort(lg), inner_labels="tokens")))
    graph.lm_scores = graph.scores.clone()
    return Graphs(graph, compile_word_graph(g, len(rows.words)) if rows.vectors.any() else None)


def _acceptor(k2: Any, automaton: Automaton, number: Dict[str, int]) -> Any:
    end = len(automaton.arcs)
    lines: List[str] = []
    for state, row in enumerate(automaton.arcs):
        lines += [f"{state} {destination} {number[word]} 0" for word, _, destination in row]
        lines += [f"{state} {end} -1 0"] * bool(automaton.ends[state])
    return k2.Fsa.from_str("\n".join([*lines, str(end)]))
