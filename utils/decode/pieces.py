"""What decoding passes on to rescoring: a piece a batch of utterances, and for each split what its pieces add up to.

Files of a piece, behind its path without ending (`<split>/<number>`, and `<split>/<number>-<part>` where memory was short):
  .json                 `Piece`; written last, so a piece with it is complete
  -scores.safetensors   `HeadOutputs`
  -<graph>.pt           k2 lattices
  -network.safetensors  the output of the network, while weights are searched for on dev (`network_file`)
Files of the stage:
  words.safetensors          `WordTable`, of the vocabulary that was decoded with
  hyps-<decoding>-<split>.jsonl, timing.json, density.json (`write_hypotheses`)
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from utils.core import torch_files
from utils.core.files import atomic_path, read_json, write_json, write_jsonl
from utils.core.timing import sum_timing
from utils.lang.graphs import load_fsa
from utils.nn.model import Output
from utils.vectors.wordvec import WordTable, word_scores

SMALL_BATCH = 25  # utterances of a piece, for recognisers that take one at a time
WORD_TABLE = "words.safetensors"
Work = Tuple[Sequence[Any], Path]  # cuts of a batch, and the path without ending of its piece


@dataclass
class Piece:
    """The hypotheses of some utterances."""

    ids: List[str]
    refs: List[List[str]]  # words of each reference
    hyps: Dict[str, List[List[str]]]  # by decoding: words of each utterance
    seconds: Dict[str, float]  # of one core, by link of the chain
    sizes: Dict[str, List[int]]  # by graph: arcs and frames of the lattices
    audio_seconds: float
    path: Path = field(default=Path(), compare=False)  # without ending

    def outputs(self) -> "HeadOutputs":
        """What the heads said."""
        return read_head_outputs(self)

    def lattices(self, graph: str) -> Any:
        """The lattices of one graph: k2.FsaVec."""
        return read_lattices(self, graph)


@dataclass
class KeptPiece(Piece):
    """A piece that is only in memory."""

    kept: "HeadOutputs" = field(default_factory=lambda: HeadOutputs())
    found: Dict[str, Any] = field(default_factory=dict)  # by graph: k2.FsaVec on the CPU

    def outputs(self) -> "HeadOutputs":
        """As `Piece.outputs`."""
        return self.kept

    def lattices(self, graph: str) -> Any:
        """As `Piece.lattices`."""
        return self.found[graph]


@dataclass
class HeadOutputs:
    """What the heads of the network said of N utterances; None for a head that the model does not have."""

    subword: Optional[Tensor] = None  # (N, T, units) float16, log-probabilities, blank first
    subword_lengths: Optional[Tensor] = None  # (N,), frames
    frames: Optional[Tensor] = None  # (N, T2, dim) float16, frame vectors of the word head
    blank: Optional[Tensor] = None  # (N, T2), scores of the blank
    normaliser: Optional[Tensor] = None  # (N, T2), log of the sum of exp over blank and all words
    lengths: Optional[Tensor] = None  # (N,), frames of the word head

    def subword_log_probs(self, n: int) -> Tensor:
        """Log-probabilities of the sub-word head in utterance n: (T, units), blank first."""
        assert self.subword is not None and self.subword_lengths is not None
        return self.subword[n, : int(self.subword_lengths[n])].float()

    def word_log_probs(self, n: int, vectors: Tensor, bias: Tensor) -> Tensor:
        """Log-probabilities of the word head in utterance n, of blank and some words: (T2, 1 + W).

        Args:
          vectors, bias: (W, dim), (W,), their rows of the table that was decoded with.
        """
        assert self.frames is not None and self.blank is not None and self.normaliser is not None and self.lengths is not None
        length = int(self.lengths[n])
        scores = word_scores(self.frames[n, :length].float(), self.blank[n, :length], vectors, bias)
        return scores - self.normaliser[n, :length, None]


def about(cuts: Sequence[Any]) -> Tuple[List[str], List[List[str]], float]:
    """Ids and references of cuts, and the seconds of audio."""
    return [cut.id for cut in cuts], [cut.supervisions[0].text.split() for cut in cuts], sum(cut.duration for cut in cuts)


def write_piece(
    out: Path,
    cuts: Sequence[Any],
    hypotheses: Mapping[str, List[List[str]]],
    seconds: Mapping[str, float],
    sizes: Mapping[str, List[int]] = {},
) -> None:
    """Write `<out>.json`: a `Piece` of these cuts."""
    ids, refs, audio = about(cuts)
    piece = asdict(Piece(ids, refs, dict(hypotheses), dict(seconds), dict(sizes), audio))
    del piece["path"]
    write_json(_file(out, ".json"), piece)


def pieces(folder: Path, split: str) -> List[Piece]:
    """The finished pieces of a split, in order."""
    return [Piece(**read_json(path), path=path.with_suffix("")) for path in sorted((folder / split).glob("*.json"))]


def write_head_outputs(out: Path, outputs: HeadOutputs) -> None:
    """Write `<out>-scores.safetensors` atomically."""
    with atomic_path(_file(out, "-scores.safetensors")) as temporary:
        save_file({name: value for name, value in vars(outputs).items() if value is not None}, str(temporary))


def network_file(out: Path) -> Path:
    """Where the whole output of the network is kept until the piece `out` is decoded."""
    return _file(out, "-network.safetensors")


def write_network_output(out: Path, output: Output, seconds: float) -> None:
    """Write `network_file`, atomically: the output of a batch as it is, and the seconds that it took."""
    tensors = {name: value.cpu().contiguous() for name, value in vars(output).items() if value is not None}
    with atomic_path(network_file(out)) as temporary:
        save_file({**tensors, "seconds": torch.tensor([seconds], dtype=torch.float64)}, str(temporary))


def read_network_output(out: Path) -> Tuple[Output, float]:
    """What `write_network_output` wrote."""
    stored = load_file(str(network_file(out)))
    seconds = float(stored.pop("seconds"))
    return Output(**{name: stored.get(name) for name in Output.__dataclass_fields__}), seconds


def read_head_outputs(piece: Piece) -> HeadOutputs:
    """What `write_head_outputs` wrote."""
    return HeadOutputs(**load_file(str(_file(piece.path, "-scores.safetensors"))))


def write_lattices(out: Path, graph: str, lattices: Any) -> None:
    """Write `<out>-<graph>.pt` atomically; lattices: k2.FsaVec."""
    torch_files.save(lattices.to("cpu").as_dict(), _file(out, f"-{graph}.pt"))


def read_lattices(piece: Piece, graph: str) -> Any:
    """The lattices of one graph: k2.FsaVec. Raises UserError where the file is damaged."""
    return load_fsa(_file(piece.path, f"-{graph}.pt"))


def write_word_table(folder: Path, table: WordTable) -> None:
    """Write the table into the folder of the stage, atomically."""
    with atomic_path(folder / WORD_TABLE) as temporary:
        save_file({"vectors": table.vectors.cpu().contiguous(), "bias": table.bias.cpu()}, str(temporary))


def read_word_table(folder: Path) -> Optional[WordTable]:
    """The table of a finished stage; None where the model has no word head."""
    path = folder / WORD_TABLE
    return WordTable(**load_file(str(path))) if path.exists() else None


def unfinished(batches: Iterable[Sequence[Any]], folder: Path) -> List[Work]:
    """Batches of cuts whose piece is not in `folder` yet.

    Parts of such a piece that an interrupted run left are removed: the next run may split it into fewer parts.
    """
    numbered = ((cuts, folder / f"{n:05d}") for n, cuts in enumerate(batches))
    left = [(cuts, path) for cuts, path in numbered if not path.with_suffix(".json").exists()]
    names = {path.name for _, path in left}
    for file in folder.glob("*-[0-9]*"):
        if file.name.partition("-")[0] in names:
            file.unlink()
    return left


def small_batches(cuts: Sequence[Any]) -> List[Sequence[Any]]:
    """Batches of cuts in their order, for recognisers that take one utterance at a time."""
    return [cuts[start : start + SMALL_BATCH] for start in range(0, len(cuts), SMALL_BATCH)]


def write_hypotheses(folder: Path, splits: Sequence[str]) -> None:
    """Write hyps-<decoding>-<split>.jsonl of every decoding and split, and timing.json, from the finished pieces; where there are
    lattices also density.json, their arcs a frame in each split by graph (Kaldi's lattice-depth).
    """
    measured, density = [], {}
    for split in splits:
        done = pieces(folder, split)
        measured += [(piece.seconds, piece.audio_seconds) for piece in done]
        totals = {graph: [sum(part) for part in zip(*(p.sizes[graph] for p in done))] for graph in done[0].sizes}
        density[split] = {graph: round(arcs / max(frames, 1), 2) for graph, (arcs, frames) in totals.items()}
        for decoding in done[0].hyps:
            write_jsonl(
                folder / f"hyps-{decoding}-{split}.jsonl",
                ({"id": i, "ref": r, "hyp": h} for p in done for i, r, h in zip(p.ids, p.refs, p.hyps[decoding])),
            )
    if any(density.values()):
        write_json(folder / "density.json", density)
    write_json(folder / "timing.json", sum_timing(measured))


def _file(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
