"""Viterbi training of the GMM-HMM system: monophones from a flat start, a tree, triphones. Each pass ends with an atomic file."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Sequence, Tuple

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torchaudio.functional import compute_deltas

from utils.baselines import gmm_tree
from utils.baselines.gmm import Mixtures, Statistics, estimate, grow, statistics
from utils.baselines.hmm import STATES, Hmm, libraries
from utils.core.errors import UserError
from utils.core.files import write_bytes, write_json, write_jsonl, write_lines
from utils.core.parallel import Forks
from utils.core.process import quiet
from utils.lang.lexicon import Lexicon
from utils.train.dataset import Features

ACOUSTIC_SCALE = 0.1  # of acoustic scores in alignment, as in Kaldi: neighbouring frames are correlated
Aligned = Tuple[np.ndarray, np.ndarray]  # the pdf of each frame (none: not aligned), how often each transition id occurs
RETRY = 4.0  # the beam is multiplied by it if no alignment is found
DELTA, DELTA_DELTA = 4.0, 10.0  # factors that give the time derivatives a variance of about 1, as the features have
GROWING = 0.75  # share of the passes of a phase in which Gaussians are added
PIECE = 100  # utterances


@dataclass
class GmmModel:
    """A GMM-HMM and its training curve."""

    mixtures: Mixtures
    tree: bytes  # see `Hmm`
    counts: np.ndarray  # see `Hmm`
    curve: np.ndarray  # (passes, 3): aligned frames, mean log density of a frame, utterances that could not be aligned

    def save(self, path: Path) -> None:
        """Write safetensors, atomically."""
        rest = {"tree": np.frombuffer(self.tree, np.uint8), "counts": self.counts, "curve": self.curve}
        write_bytes(path, save({**vars(self.mixtures), **rest}))

    @classmethod
    def load(cls, path: Path) -> "GmmModel":
        """Read what `save` wrote."""
        tensors = load_file(path)
        tree, counts, curve = (tensors.pop(name) for name in ("tree", "counts", "curve"))
        return cls(Mixtures(**tensors), tree.tobytes(), counts, curve)


def frames(features: Features, cut: Any) -> np.ndarray:
    """Features of a cut with their first and second time derivatives, (T, 3 C) float32, each with a variance of about 1."""
    x = features(cut).T
    first = compute_deltas(x)
    return torch.cat((x, first * DELTA, compute_deltas(first) * DELTA_DELTA)).T.contiguous().numpy()


class GmmTrainer:
    """Trains on `cuts`; what a resumed run needs is in `out/passes.safetensors`.

    Args:
      config: the training keys of the group gmm, seed, data.max_left_out.
      nj: parallel processes; their number does not change the result.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        features: Features,
        cuts: Sequence[Any],
        config: SimpleNamespace,
        out: Path,
        nj: int,
        log: logging.Logger,
    ) -> None:
        """Raises UserError if there are fewer Gaussians or leaves than states."""
        self.lexicon, self.features, self.settings = lexicon, features, config.gmm
        self.seed, self.max_left_out = config.seed, config.data.max_left_out
        self.out, self.nj, self.log = out, nj, log
        self.pieces = [cuts[start : start + PIECE] for start in range(0, len(cuts), PIECE)]
        self.phases = ["flat", *["mono"] * config.gmm.mono_passes, "tree", *["tri"] * config.gmm.tri_passes]
        states = STATES * (len(lexicon.tokens) + 1)
        for key in ("leaves", "mono_gaussians"):
            if getattr(config.gmm, key) < states:
                raise UserError(
                    f"gmm.{key}={getattr(config.gmm, key)} must be at least {states} with {len(lexicon.tokens)} units"
                )

    def run(self) -> None:
        """Train to the last pass; writes model.safetensors, curves.jsonl, unaligned.tsv, summary.json."""
        path = self.out / "passes.safetensors"
        model = GmmModel.load(path) if path.exists() else self._nothing()
        if len(model.curve):
            self.log.info("resuming after pass %d of %d", len(model.curve), len(self.phases))
        for number in range(len(model.curve), len(self.phases)):
            model = self._pass(number, model)
            model.save(path)
        model.save(self.out / "model.safetensors")
        write_json(
            self.out / "summary.json",
            {
                "parameters": model.mixtures.parameters,
                "parameters_trained": model.mixtures.parameters,
                "gaussians": len(model.mixtures.pdf),
                "pdfs": int(model.mixtures.pdf[-1]) + 1,
                "frames": int(model.curve[-1, 0]),
                "unaligned": int(model.curve[-1, 2]),
            },
        )
        rows = zip(self.phases, model.curve.tolist())
        write_jsonl(self.out / "curves.jsonl", ({"pass": n, "phase": p, "score": r[1]} for n, (p, r) in enumerate(rows)))
        shutil.rmtree(self.out / "sums", ignore_errors=True)
        path.unlink()

    def _nothing(self) -> GmmModel:
        dim, pdfs = frames(self.features, self.pieces[0][0]).shape[1], STATES * (len(self.lexicon.tokens) + 1)
        start = Mixtures(np.arange(pdfs), np.ones(pdfs), np.zeros((pdfs, dim)), np.ones((pdfs, dim)))
        return GmmModel(start, b"", np.zeros(0), np.zeros((0, 3)))

    def _pass(self, number: int, model: GmmModel) -> GmmModel:
        phase, folder = self.phases[number], self.out / "sums"
        shutil.rmtree(folder, ignore_errors=True)
        hmm = Hmm(self.lexicon, model.tree, model.counts)
        align = self._flat if phase == "flat" else Aligner(hmm, model.mixtures, self.settings.align_beam)
        work = [(n, phase, align, model.mixtures, folder) for n in range(len(self.pieces))]
        Forks(self.nj).run_all(self._piece, work, f"pass {number + 1} of {len(self.phases)}")
        parts = [load_file(folder / f"{n:05d}.safetensors") for n in range(len(self.pieces))]
        counts = sum(part.pop("counts") for part in parts)
        lost = [line for n in range(len(self.pieces)) for line in (folder / f"{n:05d}.tsv").read_text().splitlines()]
        self._account(lost, number)
        if phase == "tree":
            stats = gmm_tree.merge([gmm_tree.Contexts(**part) for part in parts])
            tree, leaves = gmm_tree.build(stats, hmm.silence, self.settings.leaves)
            pdfs, counts = np.arange(len(leaves.frames)), np.zeros(0)  # the counts are of other transition ids
            blank = Mixtures(pdfs, np.ones(len(pdfs)), np.zeros_like(leaves.first), np.ones_like(leaves.first))
            sums = Statistics(leaves.frames, leaves.first, leaves.second, gmm_tree.density(leaves))
            mixtures = estimate(blank, sums)
        else:
            sums, tree = Statistics(**{name: sum(part[name] for part in parts) for name in parts[0]}), model.tree
            occupied = np.bincount(model.mixtures.pdf, sums.frames)
            random = np.random.default_rng((self.seed, number))  # a resumed run draws what an uninterrupted one would have drawn
            mixtures = grow(estimate(model.mixtures, sums), occupied, self._wanted(number), random)
        count = sums.frames.sum()
        what = (number + 1, len(self.phases), phase, sums.score / count, len(mixtures.pdf), mixtures.pdf[-1] + 1)
        self.log.info("pass %d of %d (%s): %.3f nats a frame; %d Gaussians of %d states", *what)
        return GmmModel(mixtures, tree, counts, np.concatenate((model.curve, [[count, sums.score / count, len(lost)]])))

    def _wanted(self, number: int) -> int:
        """Number of Gaussians after a pass: it grows in even steps in the first part of a phase."""
        phase = self.phases[number]
        if phase == "flat":
            return 0
        first, last, least = {
            "mono": (1, self.settings.mono_gaussians, STATES * (len(self.lexicon.tokens) + 1)),
            "tri": (self.phases.index("tri"), self.settings.tri_gaussians, self.settings.leaves),
        }[phase]
        share = min(1.0, (number - first + 1) / (GROWING * self.phases.count(phase)))
        return round(least + share * (last - least))

    def _account(self, lost: Sequence[str], number: int) -> None:
        """List the utterances that can't be aligned; raise UserError if all of them, or too many of them in the last pass."""
        write_lines(self.out / "unaligned.tsv", lost)
        every = sum(map(len, self.pieces))
        if len(lost) == every or (number + 1 == len(self.phases) and len(lost) > self.max_left_out * every):
            raise UserError(
                f"{len(lost)} of {every} training utterances can't be aligned with their words ({len(lost) / every:.1%}; "
                f"data.max_left_out allows {self.max_left_out:.1%}); all are listed in {self.out / 'unaligned.tsv'}: correct "
                "their text, raise gmm.align_beam, or allow it with data.max_left_out"
            )

    def _piece(self, n: int, phase: str, align: Callable[..., Aligned], mixtures: Mixtures, folder: Path) -> None:
        """Align the utterances of one piece; write their statistics, and the list of those that could not be aligned."""
        torch.set_num_threads(1)
        dim, lost = mixtures.means.shape[1], []
        said, x, counts = [np.zeros(0, int)], [np.zeros((0, dim), np.float32)], 0
        for cut in self.pieces[n]:
            utterance = frames(self.features, cut)
            pdfs, used = align(cut, utterance)
            if len(pdfs):
                said, x, counts = [*said, pdfs], [*x, utterance], counts + used
            else:
                lost.append(f"{cut.id}\t{len(utterance)} frames, no path within a beam of {RETRY * self.settings.align_beam:g}")
        if phase == "tree":
            sums: Any = gmm_tree.merge([gmm_tree.contexts(*utterance) for utterance in zip(said, x)])
        else:
            sums = statistics(mixtures, np.concatenate(x), np.concatenate(said))
        write_lines(folder / f"{n:05d}.tsv", lost)
        write_bytes(folder / f"{n:05d}.safetensors", save({**vars(sums), "counts": np.asarray(counts)}))

    def _flat(self, cut: Any, x: np.ndarray) -> Aligned:
        """Flat start: the states of the first pronunciations between two silences, all of the same length."""
        silence = len(self.lexicon.tokens) + 1
        phones = np.array([silence, *self.lexicon.words_to_token_ids(cut.supervisions[0].text.split()), silence])
        states = (STATES * (phones[:, None] - 1) + np.arange(STATES)).reshape(-1)
        return states[np.arange(len(x)) * len(states) // len(x)], np.zeros(0)


class Aligner:
    """Viterbi alignment of an utterance with its words and optional silences."""

    def __init__(self, hmm: Hmm, mixtures: Mixtures, beam: float) -> None:
        khg, _ = libraries()
        self.hmm, self.graphs, self.model = hmm, hmm.training_graphs(), mixtures.to_kaldi()
        self.config = khg.AlignConfig(beam=beam, retry_beam=RETRY * beam)

    def __call__(self, cut: Any, x: np.ndarray) -> Aligned:
        """x: (T, D) -> the pdf of each frame, and how often each transition id occurs; no pdfs if there is no alignment."""
        khg, _ = libraries()
        graph = self.graphs.compile_graph_from_text(self.hmm.lexicon.words_to_ids(cut.supervisions[0].text.split()))
        scores = khg.DecodableAmDiagGmmScaled(self.model, self.hmm.transitions, x, ACOUSTIC_SCALE)
        with quiet():
            path = khg.align_utterance_wrapper(self.config, cut.id, ACOUSTIC_SCALE, graph, scores, 0, 0, 0, 0.0, 0)[5]
        return self.hmm.pdf[path] if path else np.zeros(0, int), np.bincount(path, minlength=self.hmm.ids).astype(float)
