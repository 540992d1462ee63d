"""A student of a frozen encoder: an encoder on filter banks learns to give the frames of another (Hinton et al. 2015).

It needs no transcripts. The student may be causal, and then gives as much of them as can be known without the future. Training
begins from its weights by `train.init`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, Tuple

import torch
from lhotse import CutSet
from lhotse.utils import fix_random_seed
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from utils.core.errors import UserError
from utils.core.files import atomic_path
from utils.core.frames import output_frames
from utils.corpus.cuts import read_cuts
from utils.nn.encoder import Encoder, valid_frames
from utils.train import checkpoints
from utils.train.dataset import Augment, Features, epoch_batches, ordered_batches
from utils.train.optimiser import learning_rate, parameter_groups

PREFIX = "encoder."  # of the weights in a student's file, as in a trained model's


class Student(nn.Module):
    """An encoder, and a linear layer that predicts the frames of the teacher which its fine frames stand for."""

    front = None  # nothing comes before the encoder, see AcousticModel

    def __init__(self, encoder: Encoder, teacher_dim: int, rate: int) -> None:
        """Args: rate: frames of the teacher in a fine frame of the encoder."""
        super().__init__()
        self.encoder, self.rate, self.width = encoder, rate, teacher_dim
        self.stride = encoder.stride // encoder.ratio
        self.output = nn.Linear(encoder.fine_norm.normalized_shape[0], rate * teacher_dim)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x: (N, T, feature_dim), normalised features -> (N, T' x rate, teacher_dim)."""
        fine = self.encoder(x, lengths)[0]
        return self.output(fine).reshape(len(fine), -1, self.width)


@dataclass
class Pairs:
    """The same utterances of one corpus, as a student and its teacher have them; both normalised by the corpus's statistics."""

    ours: Dict[str, CutSet]  # split (train, dev) -> cuts with filter banks
    theirs: Dict[str, Any]  # id -> the teacher's cut
    features: Features
    frames: Features

    @classmethod
    def of_folders(cls, ours: Path, theirs: Path, cache_gb: float) -> "Pairs":
        """Pair the cuts of two folders of stage 1 by id, of train and dev alone.

        Raises:
          UserError: no folder of stage 1; folders without a training utterance in common.
        """
        for folder in (ours, theirs):
            if not (folder / "cuts_train.jsonl.gz").is_file():
                raise UserError(f"{folder} is no folder of stage 1 (features): run a recipe with --stop-stage features first")
        frames: Dict[str, Any] = {}
        found: Dict[str, CutSet] = {}
        for split in ("train", "dev"):
            teacher = {cut.id: cut for cut in read_cuts(theirs, split)}
            found[split] = CutSet.from_cuts([cut for cut in read_cuts(ours, split) if cut.id in teacher])
            frames.update(teacher)
        if not len(found["train"]):
            raise UserError(f"{ours} and {theirs} have no training utterance in common: give two folders of one corpus")
        return cls(found, frames, Features(ours, cache_gb), Features(theirs, cache_gb))


@dataclass
class Examples:
    """A padded batch."""

    x: Tensor  # (N, T, feature_dim)
    lengths: Tensor  # (N,), frames
    y: Tensor  # (N, T2, teacher_dim)
    counts: Tensor  # (N,), frames of the teacher


class Distillation:
    """Trains a student on pairs of several corpora; `out/checkpoints` has what a run that was killed needs."""

    def __init__(self, student: Student, pairs: Sequence[Pairs], config: Any, out: Path, log: logging.Logger) -> None:
        """Args: config: the group train, and seed; out: a folder."""
        self.student, self.pairs, self.config, self.out, self.log = student, pairs, config, out, log
        self.of = {cut.id: n for n, one in enumerate(pairs) for split in one.ours.values() for cut in split}
        self.augment = Augment(config.train)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(student, config.train), lr=config.train.learning_rate, betas=(0.9, 0.98), foreach=True
        )

    def run(self, path: Path, about: Dict[str, str]) -> float:
        """Train, and write the encoder's weights to `path` with `about` as metadata.

        Returns:
          the share of the variance of the teacher's frames on dev that the student explains, in the chunk of validation.
        """
        train = CutSet.from_cuts([cut for one in self.pairs for cut in one.ours["train"]])
        state = checkpoints.load(self.out / "checkpoints", self.log)
        epoch, explained = 0, 0.0
        if state is not None:
            self.student.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            epoch, explained = state["epoch"], state["explained"]
        settings, seed = self.config.train, self.config.seed
        for number in range(epoch, settings.epochs):
            batches = epoch_batches(train, settings.batch_seconds, seed, number)
            self.student.train()
            total = 0.0
            for n, cuts in enumerate(tqdm(batches, desc=f"epoch {number + 1}/{settings.epochs}", unit="step", leave=False)):
                fix_random_seed(((seed * 1009 + number * 10_007) * 100_003 + n) % 2**31)
                rate = learning_rate(settings, (number + n / len(batches)) / settings.epochs)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate * group["scale"]
                squared, power = self.squares(self.examples(cuts, True))
                loss = squared / power.detach()
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(self.student.parameters(), settings.clip)
                self.optimizer.step()
                total += loss.item()
            explained = self.explained()
            self.log.info("epoch %d: loss %.3f; explains %.1f%% on dev", number + 1, total / len(batches), 100 * explained)
            kept = {"model": self.student.state_dict(), "optimizer": self.optimizer.state_dict()}
            checkpoints.save(self.out / "checkpoints", number + 1, {**kept, "epoch": number + 1, "explained": explained})
        save(self.student.encoder, path, about)
        return explained

    def examples(self, cuts: Sequence[Any], augmented: bool) -> Examples:
        """Load a batch; augmented: the student's features are masked, the teacher's frames are not."""
        x, y = [], []
        for cut in cuts:
            pair = self.pairs[self.of[cut.id]]
            features = pair.features(cut)
            x.append(self.augment.masked(features) if augmented else features)
            y.append(pair.frames(pair.theirs[cut.id]))
        pad = nn.utils.rnn.pad_sequence
        lengths, counts = (torch.tensor([len(one) for one in rows]) for rows in (x, y))
        return Examples(pad(x, batch_first=True), lengths, pad(y, batch_first=True), counts)

    def squares(self, batch: Examples) -> Tuple[Tensor, Tensor]:
        """Sums over a batch: of the student's squared errors, and of the squares of the teacher's frames."""
        found = self.student(batch.x, batch.lengths)
        frames = min(found.shape[1], batch.y.shape[1])
        reached = torch.minimum(batch.counts, output_frames(batch.lengths, self.student.stride) * self.student.rate)
        y, inside = batch.y[:, :frames], valid_frames(reached, frames)[..., None]
        return ((found[:, :frames] - y).pow(2) * inside).sum(), (y.pow(2) * inside).sum()

    @torch.no_grad()
    def explained(self) -> float:
        """The share of the variance of the teacher's frames on dev that the student explains (R squared)."""
        self.student.eval()
        dev = CutSet.from_cuts([cut for one in self.pairs for cut in one.ours["dev"]])
        sums = torch.zeros(2, dtype=torch.float64)
        for cuts in ordered_batches(dev, self.config.train.batch_seconds):
            sums += torch.stack(self.squares(self.examples(cuts, False))).double()
        return float(1 - sums[0] / sums[1])


def save(encoder: Encoder, path: Path, about: Mapping[str, str]) -> None:
    """Write an encoder's weights, atomically. about: metadata, for people."""
    with atomic_path(path) as temporary:
        save_file(
            {PREFIX + name: value.contiguous() for name, value in encoder.state_dict().items()}, str(temporary), dict(about)
        )
