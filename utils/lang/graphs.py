"""Decoding graphs in k2: L, G, HLG over sub-word units, and the word graph.

k2 is imported inside the functions, because the rest of the project also runs without it.
"""

import math
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch

from utils.core import torch_files
from utils.core.errors import UserError
from utils.core.files import in_memory
from utils.core.process import quiet
from utils.lang.lexicon import Lexicon, disambiguate

Fsa = Any  # k2.Fsa


def need_k2(what: str = "lattices", remedy: str = "install it as README says") -> Any:
    """The module k2. Raises UserError if it can't be imported.

    what: what needs it; remedy: how to do without it.
    """
    try:
        import k2
    except ImportError as error:
        raise UserError(
            f"{what} need k2, which can't be imported here ({error}); {remedy}, or run python -m steps.doctor"
        ) from None
    return k2


def load_fsa(path: Path, device: str = "cpu") -> Fsa:
    """Load a graph that `save_fsa` wrote."""
    k2 = need_k2()
    try:
        return k2.Fsa.from_dict(torch_files.load(path, device))
    except (torch_files.Unreadable, RuntimeError, KeyError) as error:
        raise UserError(f"{path} is not a readable graph ({error}); delete its folder and run the stage again") from None


def save_fsa(fsa: Fsa, path: Path) -> None:
    """Save a graph atomically; equal graphs give equal bytes."""
    torch_files.save(fsa.as_dict(), path)


def grammar(arpa: Path, words: Path) -> Fsa:
    """G of an ARPA model over words.txt: a transducer with #0 as input of back-off arcs; scores in natural log."""
    k2 = need_k2()
    import kaldilm

    with quiet():
        text = kaldilm.arpa2fst(str(arpa), read_symbol_table=str(words), disambig_symbol="#0", max_arpa_warnings=0)
    return k2.Fsa.from_openfst(text, acceptor=False)


def grammar_in_memory(arpa: Sequence[str], symbols: Sequence[str]) -> Fsa:
    """As `grammar`, of the lines of an ARPA file and the symbols of words.txt. Nothing is written to a disk."""
    words = (f"{symbol} {n}" for n, symbol in enumerate(symbols))
    with in_memory("\n".join(arpa) + "\n") as model, in_memory("\n".join(words) + "\n") as table:
        return grammar(model, table)


def lexicon_fst(lexicon: Lexicon, disambiguation: bool) -> Fsa:
    """L: tokens in, words out, for any number of words.

    Args:
      disambiguation: add #1, #2, ... on the input side, and a loop for G's #0; token ids as in `lexicon_symbols`.
    """
    k2 = need_k2()
    entries = disambiguate(lexicon.entries)[0] if disambiguation else lexicon.entries
    first = len(lexicon.tokens) + 1
    rows: List[Tuple[int, int, int, int]] = []  # source, destination, token, word
    state = 1
    for word, units in entries:
        ids = [lexicon.token_id[u] if u in lexicon.token_id else first + int(u[1:]) for u in units]
        source = 0
        for i, token in enumerate(ids):
            destination = 0 if i + 1 == len(ids) else state
            rows.append((source, destination, token, lexicon.word_id[word] if i == 0 else 0))
            source = destination
            state += destination > 0
    if disambiguation:
        rows.append((0, 0, first, len(lexicon.words) + 1))
    rows.append((0, state, -1, -1))
    return _fsa(k2, rows)


def lexicon_symbols(lexicon: Lexicon) -> List[str]:
    """tokens.txt: `<blk>`, the units, then `#0`, `#1`, ... in the order of `lexicon_fst`."""
    marks = disambiguate(lexicon.entries)[1]
    return ["<blk>", *lexicon.tokens, *(f"#{i}" for i in range(marks + 1))]


def compile_hlg(lexicon: Lexicon, g: Fsa) -> Fsa:
    """HLG: frames of the sub-word head in, words out, as in icefall's compile_hlg.py.

    Labels are token ids (0 blank; -1 on final arcs), `aux_labels` word ids, ragged: an arc may have no word or several.
    `lm_scores` are the scores of G, at first equal to `scores`: `hlg.scores = scale * hlg.lm_scores` rescales the LM.
    There are no disambiguation symbols and no epsilons: label 0 is always a frame of blank.
    """
    k2 = need_k2()
    first_token = len(lexicon.tokens) + 1
    lg = k2.connect(k2.compose(k2.arc_sort(lexicon_fst(lexicon, disambiguation=True)), k2.arc_sort(g)))
    lg = k2.connect(k2.determinize(lg))
    labels = lg.labels.clone()  # k2 refuses changes in place
    labels[labels >= first_token] = 0
    lg.labels = labels
    words = _ragged(k2, lg.aux_labels)
    words.values[words.values == len(lexicon.words) + 1] = 0  # #0
    lg.aux_labels = words
    lg = k2.connect(k2.remove_epsilon(lg))
    lg.aux_labels = _ragged(k2, lg.aux_labels).remove_values_eq(0)
    topology = k2.ctc_topo(len(lexicon.tokens), modified=False)
    hlg = k2.arc_sort(k2.connect(k2.compose(topology, k2.arc_sort(lg), inner_labels="tokens")))
    hlg.lm_scores = hlg.scores.clone()
    return hlg


def compile_word_graph(g: Fsa, words: int) -> Fsa:
    """The graph of the word head: k2's modified CTC topology over word ids 1 .. `words`, composed with G.

    Labels are word ids (0 blank), `aux_labels` the recognised word ids (0: none); `lm_scores` as in `compile_hlg`. The size is
    linear in the n-grams of G: the modified topology has 4 arcs a word, the standard one a number of arcs quadratic in the
    words. It also accepts a repeated word without a blank in between.
    """
    k2 = need_k2()
    flat = _without_backoff(k2, g, words + 1)
    topology = k2.ctc_topo(words, modified=True)
    graph = k2.arc_sort(k2.connect(k2.compose(k2.arc_sort(topology), k2.arc_sort(flat))))
    graph.lm_scores = graph.scores.clone()
    return graph


def compile_acceptor(g: Fsa, words: int) -> Fsa:
    """G as an acceptor of words for `rescored` (an FsaVec of one), without back-off arcs.

    It has loops for frames in which no word begins.
    `lm_scores` as in `compile_hlg`.
    """
    k2 = need_k2()
    flat = _without_backoff(k2, g, words + 1)
    loops = k2.create_fsa_vec([k2.arc_sort(k2.add_epsilon_self_loops(k2.connect(flat)))])
    loops.lm_scores = loops.scores.clone()
    return loops


def rescored(lattices: Fsa, acceptor: Fsa, before: float, beam: float) -> Fsa:
    """Whole lattices with the scores of another n-gram model instead of their own, by composition.

    A path still has one arc a frame and a final one. The attributes are `lm_scores`, those of the model, unscaled, and
    `aux_labels`.

    Args:
      lattices: k2.FsaVec with these attributes.
      acceptor: from `compile_acceptor`, with scaled `lm_scores` as scores.
      before: the scale of the LM in the scores of the lattices.
      beam: arcs with a posterior below exp(-beam) are pruned.
    """
    k2 = need_k2()
    lattices = k2.prune_on_arc_post(lattices, math.exp(-beam), True)
    plain = k2.Fsa(lattices.arcs.clone(), aux_labels=_ragged(k2, lattices.aux_labels))
    plain.scores = lattices.scores - before * lattices.lm_scores
    labels = lattices.labels.clone()
    labels[labels >= 0] += 1  # 0 is for arcs that only hold one of several words of a frame
    plain.labels = labels
    words = k2.invert(plain)
    found = k2.intersect_device(acceptor, words, torch.zeros(lattices.shape[0], dtype=torch.int32), True)
    found = k2.remove_epsilon(k2.top_sort(k2.connect(k2.invert(found))))
    found = k2.prune_on_arc_post(k2.top_sort(k2.connect(found)), math.exp(-beam), True)
    labels = found.labels.clone()
    labels[labels > 0] -= 1
    found.labels = labels
    found.aux_labels = _ragged(k2, found.aux_labels).remove_values_eq(0)
    return found


def _without_backoff(k2: Any, g: Fsa, backoff_label: int) -> Fsa:
    """An acceptor of words equal to `g`, with the back-off arcs folded into the arcs before them.

    k2.remove_epsilon folds them into the arcs after them, so every history gets an arc for every word, V² in all. Folded into
    the arc before, a word leads to its own history or, at the cost of backing off, to a shorter one: at most `order` times the
    arcs of `g`. Only the start state, which has no arcs into it, gets copies of the arcs after it.
    """
    arcs, scores = g.arcs.values()[:, :3].tolist(), g.scores.tolist()
    back: Dict[int, Tuple[int, float]] = {s: (d, score) for (s, d, label), score in zip(arcs, scores) if label == backoff_label}
    leaving: Dict[int, List[Tuple[int, int, float]]] = {}
    for (s, d, label), score in zip(arcs, scores):
        if label != backoff_label:
            leaving.setdefault(s, []).append((d, label, score))

    def shorter(state: int) -> List[Tuple[int, float]]:
        """`state` and the states that it backs off to, each with its cost."""
        chain = [(state, 0.0)]
        while chain[-1][0] in back:
            destination, cost = back[chain[-1][0]]
            chain.append((destination, chain[-1][1] + cost))
        return chain

    rows: List[Tuple[int, int, int]] = []
    weights: List[float] = []
    for source in range(g.shape[0]):
        origins = shorter(source) if source == 0 else [(source, 0.0)]
        for origin, before in origins:
            for destination, label, score in leaving.get(origin, []):
                for end, after in shorter(destination):
                    rows.append((source, end, label))
                    weights.append(before + score + after)
    return _fsa(k2, rows, weights)


def _ragged(k2: Any, labels: Any) -> Any:
    """Labels as a ragged tensor; k2 gives a plain one if there is one label an arc."""
    if isinstance(labels, torch.Tensor):
        return k2.RaggedTensor(labels.clone().unsqueeze(1))
    return labels


def _fsa(k2: Any, rows: Sequence[Sequence[int]], weights: Optional[Sequence[float]] = None) -> Fsa:
    """A k2 FSA from rows (source, destination, label[, aux label]); the final state has the highest number."""
    table = torch.tensor(rows, dtype=torch.int32)
    scores = torch.zeros(len(rows)) if weights is None else torch.tensor(weights, dtype=torch.float32)
    order = torch.sort(table[:, 0].long(), stable=True)[1]
    table, scores = table[order], scores[order]
    arcs = torch.cat([table[:, :3], scores.view(torch.int32).unsqueeze(1)], dim=1)
    return k2.Fsa(arcs.contiguous(), aux_labels=table[:, 3].contiguous() if table.shape[1] == 4 else None)
