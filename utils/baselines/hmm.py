"""HMMs of phones in context and their graphs, with kaldi-hmm-gmm and kaldifst, which wrap Kaldi's own code.

Every phone, and silence, has three states from left to right (Kaldi gives silence five; with several Gaussians a state, three
are enough).
Phone ids are the lexicon's token ids, silence, and the disambiguation symbols #0, #1, ...; word ids are the lexicon's, and #0.
"""

import math
import sys
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np

from utils.core.errors import UserError
from utils.lang.lexicon import Lexicon, disambiguate
from utils.ngrams.ngram import BOS, EOS, NGram, read_arpa

STATES = 3
SILENCE_COST = math.log(2)  # silence and no silence between two words have a probability of one half each
SELF_LOOP_SCALE = 0.1  # factor of the log-probabilities of self-loops, as in Kaldi, because acoustic scores are scaled down too
Fst = Any  # kaldifst.StdVectorFst


def libraries() -> Tuple[Any, Any]:
    """The modules kaldi_hmm_gmm and kaldifst (below 1.8: both must use the same OpenFST); raises UserError if one is missing."""
    if "kaldilm" in sys.modules:
        raise RuntimeError("kaldilm can't share a process with kaldi_hmm_gmm and kaldifst: what is imported last hangs")
    try:
        import kaldi_hmm_gmm
        import kaldifst
    except ImportError as error:
        raise UserError(f"system=gmm needs kaldi-hmm-gmm and kaldifst ({error}); utils/setup.sh installs them") from None
    return kaldi_hmm_gmm, kaldifst


class Hmm:
    """Topology, tree and transition probabilities.

    Args:
      lexicon: its units are the phones.
      tree: (phone in context, state) -> pdf, in Kaldi's binary format; empty: a pdf for each state of each phone, in any context.
      counts: of transition ids in an alignment; None or empty: the topology's own probabilities (3/4 to stay, 1/4 to leave).
    """

    def __init__(self, lexicon: Lexicon, tree: bytes = b"", counts: Optional[np.ndarray] = None) -> None:
        khg, _ = libraries()
        self.lexicon, self.silence = lexicon, len(lexicon.tokens) + 1
        phones = list(range(1, self.silence + 1))
        state = "<State> {0} <PdfClass> {0} <Transition> {0} 0.75 <Transition> {1} 0.25 </State> "
        states = "".join(state.format(s, s + 1) for s in range(STATES)) + f"<State> {STATES} </State>"
        entry = f"<ForPhones> {' '.join(map(str, phones))} </ForPhones> {states}"
        topology = khg.HmmTopology()
        topology.read(f"<Topology> <TopologyEntry> {entry} </TopologyEntry> </Topology>")
        if tree:
            self.tree = khg.ContextDependency.__new__(khg.ContextDependency)
            self.tree.__setstate__((np.frombuffer(tree, np.int8).tolist(),))
        else:
            self.tree = khg.monophone_context_dependency(phones, [-1] + [STATES] * len(phones))
        self.transitions = khg.TransitionModel(self.tree, topology)
        if counts is not None and len(counts):
            self.transitions.mle_update(counts, khg.MleTransitionUpdateConfig())
        self.pdf = np.array([-1] + [self.transitions.transition_id_to_pdf(t) for t in range(1, self.ids)])  # of a transition id

    @property
    def ids(self) -> int:
        """Number of transition ids, which count from 1, plus one."""
        return self.transitions.num_transition_ids + 1

    def training_graphs(self) -> Any:
        """A compiler that turns the word ids of a transcript into the graph of its pronunciations."""
        khg, _ = libraries()
        options = khg.TrainingGraphCompilerOptions(transition_scale=1.0, self_loop_scale=SELF_LOOP_SCALE)
        self.l_fst = lexicon_fst(self.lexicon, disambiguation=False)  # kept here, because the compiler keeps no reference
        return khg.TrainingGraphCompiler(self.transitions, self.tree, self.l_fst, [], options)

    def decoding_graph(self, arpa: Path) -> Fst:
        """HCLG (Mohri, Pereira and Riley 2008, as Kaldi's mkgraph.sh): transition ids to words, with the costs of an ARPA LM."""
        khg, kaldifst = libraries()
        extra = disambiguate(self.lexicon.entries)[1] + 2  # #0, #1, ..., and the symbol after silence
        disambiguation = list(range(self.silence + 1, self.silence + 1 + extra))
        g = grammar_fst(read_arpa(arpa), self.lexicon)
        kaldifst.arcsort(g, "ilabel")
        l_fst = lexicon_fst(self.lexicon, disambiguation=True)
        kaldifst.arcsort(l_fst, "olabel")
        lg = kaldifst.compose(l_fst, g)
        kaldifst.determinize_star(lg, use_log=True)
        kaldifst.minimize_encoded(lg)
        kaldifst.arcsort(lg, "ilabel")
        clg, contexts = kaldifst.compose_context(disambiguation, self.tree.context_width, self.tree.central_position, lg)
        kaldifst.arcsort(clg, "ilabel")
        h, markers = khg.get_h_transducer(contexts, self.tree, self.transitions, khg.HTransducerConfig(1.0))
        kaldifst.arcsort(h, "olabel")
        graph = kaldifst.compose(h, clg)
        kaldifst.determinize_star(graph, use_log=True)
        graph = _without(graph, set(markers))
        kaldifst.minimize_encoded(graph)
        return khg.add_self_loops(SELF_LOOP_SCALE, [], True, self.transitions, graph)


def lexicon_fst(lexicon: Lexicon, disambiguation: bool) -> Fst:
    """L: phones in, words out, with optional silence before the first word and after each word (Kaldi's make_lexicon_fst.py).

    Args:
      disambiguation: with #1, #2, ... on the input side and a loop that lets G's #0 through.
    """
    _, kaldifst = libraries()
    silence, first = len(lexicon.tokens) + 1, len(lexicon.tokens) + 2
    entries, most = disambiguate(lexicon.entries) if disambiguation else (lexicon.entries, 0)
    start, loop, pause, paused, state = 0, 1, 2, 3, 4
    rows = [(start, loop, 0, 0, SILENCE_COST), (start, pause, 0, 0, SILENCE_COST), (pause, paused, silence, 0, 0.0)]
    rows += [(paused, loop, first + most + 1 if disambiguation else 0, 0, 0.0)]
    rows += [(loop, loop, first, len(lexicon.words) + 1, 0.0)] if disambiguation else []
    for word, units in entries:
        ids = [lexicon.token_id[u] if u in lexicon.token_id else first + int(u[1:]) for u in units]
        source, said = loop, lexicon.word_id[word]
        for phone in ids[:-1]:
            rows.append((source, state, phone, said, 0.0))
            source, said, state = state, 0, state + 1
        rows += [(source, loop, ids[-1], said, SILENCE_COST), (source, pause, ids[-1], said, SILENCE_COST)]
    text = "".join(f"{s} {d} {i} {o} {cost}\n" for s, d, i, o, cost in rows)
    return kaldifst.compile(f"{text}{loop}\n", acceptor=False)


def grammar_fst(lm: NGram, lexicon: Lexicon) -> Fst:
    """G: words in and out, #0 in on back-off arcs; costs are negative natural logs. kaldilm can't be used, see `libraries`."""
    _, kaldifst = libraries()
    contexts = {(), *(gram[:-1] for gram in lm.logp)}

    def longest(gram: Tuple[str, ...]) -> Tuple[str, ...]:
        return next(gram[n:] for n in range(len(gram) + 1) if gram[n:] in contexts)

    start = longest((BOS,))
    state = {context: n for n, context in enumerate([start, *sorted(contexts - {start})])}
    lines: List[str] = []
    for gram, logp in lm.logp.items():
        source, word, cost = state[gram[:-1]], gram[-1], -math.log(10) * logp
        if word == EOS:
            lines.append(f"{source} {cost}")
        elif word != BOS:
            to = state[longest(gram[max(0, len(gram) - lm.order + 1) :])]
            lines.append(f"{source} {to} {lexicon.word_id[word]} {lexicon.word_id[word]} {cost}")
    for context in sorted(contexts - {()}):
        cost = -math.log(10) * lm.backoff.get(context, 0.0)
        lines.append(f"{state[context]} {state[longest(context[1:])]} {len(lexicon.words) + 1} 0 {cost}")
    lines.sort(key=lambda line: int(line.split()[0]))  # the first line's state is the start
    return kaldifst.compile("\n".join(lines) + "\n", acceptor=False)


def _without(graph: Fst, symbols: set) -> Fst:
    """`graph` with epsilons instead of the input labels `symbols`."""
    _, kaldifst = libraries()
    lines: List[str] = []
    for line in graph.to_str().splitlines():
        fields = line.split()
        if len(fields) > 2 and int(fields[2]) in symbols:
            fields[2] = "0"
        lines.append(" ".join(fields))
    return kaldifst.compile("\n".join(lines) + "\n", acceptor=False)
