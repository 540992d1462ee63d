"""First pass: the network, greedy words, k2 lattices. A batch is written as one piece, which is complete or absent."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from utils.core.batches import batch_seconds
from utils.core.memory import Parts, in_parts
from utils.core.timing import timed
from utils.decode.graph_search import Path as GraphPath
from utils.decode.pieces import (
    HeadOutputs,
    KeptPiece,
    about,
    network_file,
    read_network_output,
    write_head_outputs,
    write_lattices,
    write_network_output,
    write_piece,
)
from utils.decode.search_weights import SearchWeights
from utils.executors.reopened import Reopened
from utils.lang.fsa import arc_edges, arc_labels
from utils.lang.graphs import need_k2, rescored
from utils.lang.lexicon import Lexicon
from utils.nn.ctc import greedy
from utils.nn.model import AcousticModel, Output
from utils.text.scoring import edits
from utils.train.dataset import Features
from utils.vectors.wordvec import WordTable, word_scores

log = logging.getLogger("nuptse.decode")
ONE_BEST = 0.1  # output beam where the best path alone is wanted, which any beam keeps
KEPT = 1e8  # scores of the word head that are kept while weights are searched for: 400 MB


@dataclass
class FirstPassDecoder(Reopened):
    """Decodes batches. `graphs` maps the name of a decoding (lattice, word_lattice) to its k2 graph."""

    model: AcousticModel
    features: Features
    lexicon: Lexicon
    graphs: Dict[str, Any]
    table: Optional[WordTable]  # of all words; None without a word head
    config: SimpleNamespace  # the group `decode`
    device: str
    whole: Optional[Any] = None  # the whole n-gram model as an acceptor, if the sub-word graph has only a part of it
    weights: Dict[str, SearchWeights] = field(default_factory=dict)  # by graph; without effect until `weigh` sets them
    kept: Dict[Path, Tensor] = field(default_factory=dict, repr=False)  # by piece: what the word head says, until `weigh`

    def weigh(self, weights: Dict[str, SearchWeights]) -> None:
        """Decode with these weights of each graph from now on; to be called once, since it scales the graphs' LM scores."""
        assert not self.weights
        self.weights = weights
        self.kept.clear()
        self.graphs = {name: scaled(graph, weights[name].lm_scale) for name, graph in self.graphs.items()}
        if self.whole is not None:
            self.whole = scaled(self.whole, weights["lattice"].lm_scale)

    def batch_seconds(self) -> float:
        """Seconds of audio in a batch."""
        return batch_seconds(0 if self.table is None else len(self.table.vectors))

    def decode(self, cuts: Sequence[Any], out: Path) -> None:
        """Decode a batch, longest utterance first, and write it as a piece; `<out>.json` comes last.

        If memory does not suffice for the whole batch, it becomes several pieces: `<out>`, `<out>-1` and so on.
        """

        def work(parts: Parts) -> None:
            for n, (first, last) in reversed(list(enumerate(parts))):
                self._piece(cuts[first:last], out.with_name(f"{out.name}-{n}") if n else out)

        remedy = f"lower decode.max_active={self.config.max_active}, decode.beam={self.config.beam:g} or decode.output_beam"
        in_parts(work, [cut.id for cut in cuts], f"decode, piece {out.name}", remedy, log)

    def _piece(self, cuts: Sequence[Any], out: Path) -> None:
        """Decode some utterances and write a piece (see utils/decode/pieces.py)."""
        piece = self.search(cuts, *self.network_output(cuts, out))
        write_head_outputs(out, piece.kept)
        for name, lattices in piece.found.items():
            write_lattices(out, name, lattices)
        write_piece(out, cuts, piece.hyps, piece.seconds, piece.sizes)
        network_file(out).unlink(missing_ok=True)

    @torch.no_grad()
    def search(self, cuts: Sequence[Any], output: Output, encoder_seconds: float) -> KeptPiece:
        """Greedy words and lattices of a batch, from the output of the network, which it changes."""
        seconds: Dict[str, float] = {"encoder": encoder_seconds}
        lattices_of: Dict[str, Any] = {}
        hypotheses: Dict[str, List[List[str]]] = {}
        sizes: Dict[str, List[int]] = {}
        word_log_probs, kept = None, HeadOutputs()
        if output.subword is not None:
            kept.subword, kept.subword_lengths = output.subword.half().cpu(), output.subword_lengths.cpu()
        if output.frames is not None and output.blank is not None and self.table is not None:
            with timed(seconds, "greedy"):
                scores = word_scores(output.frames, output.blank, *self.table)
                hypotheses["greedy"] = [self.lexicon.ids_to_words(ids) for ids in greedy(scores, output.word_lengths)]
            with timed(seconds, "word_lattice"):
                normaliser = scores.logsumexp(-1, keepdim=True)
                word_log_probs = scores.sub_(normaliser)  # in place: with many words the scores take most of the memory
            kept.frames, kept.blank = output.frames.half().cpu(), output.blank.float().cpu()
            kept.normaliser, kept.lengths = normaliser[..., 0].float().cpu(), output.word_lengths.cpu()
        for name, graph in self.graphs.items():
            weights = self.weights.get(name, SearchWeights())
            search, log_probs, lengths = (
                (lattices_of_words, word_log_probs, output.word_lengths)
                if name == "word_lattice"
                else (lattices, output.subword, output.subword_lengths)
            )
            assert log_probs is not None  # a graph has its head
            log_probs[..., 0] -= weights.blank_penalty
            with timed(seconds, name):
                found = search(log_probs, lengths, graph, self.config)
                hypotheses[name] = [self.lexicon.ids_to_words(ids) for ids in best_paths(found)]
            if name == "lattice" and self.whole is not None:
                hypotheses["first_pass"], sizes["first_pass"] = hypotheses[name], [found.num_arcs, int(lengths.sum())]
                with timed(seconds, "whole_lm"):
                    found = rescored(found.to("cpu"), self.whole, weights.lm_scale, self.config.output_beam)
                    hypotheses[name] = [self.lexicon.ids_to_words(ids) for ids in best_paths(found)]
            sizes[name] = [found.num_arcs, int(lengths.sum())]
            lattices_of[name] = found.to("cpu")
        ids, refs, audio = about(cuts)
        return KeptPiece(ids, refs, hypotheses, seconds, sizes, audio, kept=kept, found=lattices_of)

    @torch.no_grad()
    def best(self, output: Output) -> List[Optional[Tuple[GraphPath, Tensor]]]:
        """The best path through the first graph for each utterance, without the whole LM; None where all paths are lost.

        Returns:
          the path and the log-probabilities (T, V) of its head, without a penalty of the blank.
        """
        name, graph = next(iter(self.graphs.items()))
        penalty = self.weights.get(name, SearchWeights()).blank_penalty
        if name == "lattice":
            log_probs, lengths, search = output.subword, output.subword_lengths, lattices
        else:
            assert output.frames is not None and self.table is not None
            log_probs = word_scores(output.frames, output.blank, *self.table).log_softmax(-1)
            lengths, search = output.word_lengths, lattices_of_words
        assert log_probs is not None  # a graph has its head
        weighed = log_probs.float().clone()
        weighed[..., 0] -= penalty
        paths = one_best(search(weighed, lengths, graph, self.config, ONE_BEST))
        rows = zip(paths, log_probs, lengths.tolist())
        return [None if path is None else (path, row[:frames].float().cpu()) for path, row, frames in rows]

    def network_output(self, cuts: Sequence[Any], out: Path, keep: bool = False) -> Tuple[Output, float]:
        """What the network says of a batch, and the seconds that it took: read from the disk where an earlier call kept it.

        Args:
          out: the piece of the batch.
          keep: whether to write it for later calls, the last of which is that of `decode`.
        """
        if network_file(out).exists():
            return read_network_output(out)
        output, seconds = self.network(cuts)
        if keep:
            write_network_output(out, output, seconds)
        return output, seconds

    @torch.no_grad()
    def network(self, cuts: Sequence[Any]) -> Tuple[Output, float]:
        """What the network says of a batch, longest utterance first, and the seconds that it took."""
        loaded = [self.features(cut) for cut in cuts]
        seconds: Dict[str, float] = {}
        with timed(seconds, "encoder"):
            output = self.model(
                torch.nn.utils.rnn.pad_sequence(loaded, batch_first=True).to(self.device),
                torch.tensor([len(x) for x in loaded], device=self.device),
            )
        return output, seconds["encoder"]

    @torch.no_grad()
    def errors(self, cuts: Sequence[Any], out: Path, name: str, candidates: Sequence[SearchWeights]) -> List[int]:
        """Errors (`edits`) of the best paths of a batch in one graph, with each of some weights; before `weigh`."""
        assert not self.weights
        output, _ = self.network_output(cuts, out, keep=True)
        if name == "lattice":
            search, log_probs, lengths = lattices, output.subword, output.subword_lengths
        else:
            search, log_probs, lengths = lattices_of_words, self._word_log_probs(output, out), output.word_lengths
        assert log_probs is not None  # a graph has its head
        found, blank = [], log_probs[..., 0].clone()
        for weights in candidates:
            log_probs[..., 0] = blank - weights.blank_penalty
            graph = scaled(self.graphs[name], weights.lm_scale)
            paths = best_paths(search(log_probs, lengths, graph, self.config, ONE_BEST))
            pairs = zip(cuts, map(self.lexicon.ids_to_words, paths))
            found.append(sum(edits(cut.supervisions[0].text.split(), words) for cut, words in pairs))
        log_probs[..., 0] = blank
        return found

    def _word_log_probs(self, output: Output, out: Path) -> Tensor:
        """Log-probabilities of all words in a batch, (N, T, 1 + words); kept for the next candidates while there is room."""
        assert self.table is not None
        found = self.kept.get(out)
        if found is None:
            found = word_scores(output.frames, output.blank, *self.table).log_softmax(-1)
            if sum(other.numel() for other in self.kept.values()) + found.numel() <= KEPT:
                self.kept[out] = found
        return found


def scaled(graph: Any, lm_scale: float) -> Any:
    """A graph with its LM scores multiplied by `lm_scale`; the attribute `lm_scores` stays unscaled."""
    if lm_scale == 1:
        return graph
    graph = graph.clone()
    graph.scores = graph.scores + (lm_scale - 1) * graph.lm_scores
    return graph


def lattices(log_probs: Tensor, lengths: Tensor, graph: Any, config: SimpleNamespace, output_beam: Optional[float] = None) -> Any:
    """k2's pruned search; repeated with a beam twice and four times as wide if all paths of an utterance are lost.

    Args:
      log_probs: (N, T, symbols), blank first.
      lengths: (N,), frames, in descending order.
      graph: its labels are the symbols.
      config: the group `decode`.
      output_beam: in place of that of `config`; it leaves the best paths as they are.
    Returns:
      a k2.FsaVec of N lattices; a path has one arc a frame, and one more to the final state.
    """
    k2 = need_k2()
    segments = torch.stack((torch.arange(len(lengths)), torch.zeros(len(lengths), dtype=torch.int64), lengths.cpu()), 1)
    dense = k2.DenseFsaVec(log_probs.float(), segments.to(torch.int32))
    for wider in (1, 2, 4):
        found = k2.intersect_dense_pruned(
            graph,
            dense,
            search_beam=wider * config.beam,
            output_beam=config.output_beam if output_beam is None else output_beam,
            min_active_states=30 * wider,
            max_active_states=wider * config.max_active,
        )
        if (arc_edges(found).diff() > 0).all():
            break
    return found


def lattices_of_words(
    log_probs: Tensor, lengths: Tensor, graph: Any, config: SimpleNamespace, output_beam: Optional[float] = None
) -> Any:
    """`lattices` over words; only the words that the beam can reach are searched, usually few of many.

    A first search uses the words that come within the output beam of the best word of a frame. The second uses those that in some
    frame come within the beam of the first search's best path.

    Args:
      graph: of `compile_word_graph`.
    """
    k2 = need_k2()
    part, ids = within_reach(log_probs, log_probs.amax(-1), lengths, graph, config.output_beam)
    best = k2.shortest_path(lattices(log_probs[..., ids], lengths, part, config, ONE_BEST), use_double_scores=True)
    path = log_probs.new_zeros(log_probs.shape[:2])
    edges = arc_edges(best).tolist()
    for row, start, end in zip(path, edges, edges[1:]):  # one arc a frame and a final one; no arcs if all paths are lost
        row[: max(end - start - 1, 0)] = best.scores[start : end - 1]
    part, ids = within_reach(log_probs, path, lengths, graph, config.beam)
    found = lattices(log_probs[..., ids], lengths, part, config, output_beam)
    found.labels = torch.cat((ids, ids.new_tensor([-1])))[found.labels.long()].to(torch.int32)  # final arcs keep their -1
    return found


def within_reach(log_probs: Tensor, path: Tensor, lengths: Tensor, graph: Any, beam: float) -> Tuple[Any, Tensor]:
    """The part of a word graph with the words that in some frame score, with the LM, at most `beam` less than a path there.

    Args:
      log_probs: (N, T, 1 + words), blank first.
      path: (N, T), scores of the path.
      lengths: (N,).
      graph: of `compile_word_graph`.
    Returns:
      the graph without the other words, with places in `ids` as labels; ids (W,), ascending, blank first.
    """
    k2 = need_k2()
    spoken = [(scores[:frames], row[:frames, None]) for scores, row, frames in zip(log_probs, path, lengths.tolist())]
    best = torch.stack([(scores - row).amax(0) for scores, row in spoken]).amax(0)
    words = graph.aux_labels.long()
    said = words > 0
    reached = said & (best[words.clamp(min=0)] + graph.scores >= -beam)
    ids = torch.cat((words.new_zeros(1), words[reached].unique()))
    place = torch.full((log_probs.shape[-1] + 1,), -2, device=ids.device)
    place[ids], place[-1] = torch.arange(len(ids), device=ids.device), -1
    labels = place[graph.labels.long()]
    kept = (reached | ~said) & (labels >= -1)
    arcs = graph.arcs.values()[kept]
    arcs[:, 2] = labels[kept]
    part = k2.Fsa(arcs, aux_labels=graph.aux_labels[kept])
    part.scores, part.lm_scores = graph.scores[kept], graph.lm_scores[kept]
    return part, ids


def one_best(found: Any) -> List[Optional[GraphPath]]:
    """The best path of each lattice; None for an empty lattice."""
    import k2

    best = k2.shortest_path(found, use_double_scores=True)
    edges, totals = arc_edges(best).tolist(), best.get_tot_scores(use_double_scores=True, log_semiring=False).tolist()
    (values, places), labels = arc_labels(best.to("cpu")), best.labels.cpu().numpy()
    out: List[Optional[GraphPath]] = []
    for start, end, total in zip(edges, edges[1:], totals):
        words = [(int(w), arc - start) for arc in range(start, end) for w in values[places[arc] : places[arc + 1]]]
        out.append(GraphPath(labels[start : end - 1].astype(np.int64), words, total) if end > start else None)
    return out


def best_paths(found: Any) -> List[List[int]]:
    """Word ids of the best path of each lattice; empty for an empty lattice."""
    import k2

    best = k2.shortest_path(found, use_double_scores=True)
    edges, labels = arc_edges(best), best.aux_labels
    if isinstance(labels, k2.RaggedTensor):
        edges, labels = labels.shape.row_splits(1).long()[edges], labels.values
    return [[w for w in labels[start:end].tolist() if w > 0] for start, end in zip(edges, edges[1:])]
