"""The training loop, the same for every recipe."""

import json
import logging
import math
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import torch
from lhotse import CutSet
from torch import Tensor
from tqdm import tqdm

from utils.core import torch_files
from utils.core.errors import UserError
from utils.core.files import write_json, write_jsonl
from utils.core.memory import Parts, in_parts
from utils.distributed.group import Group
from utils.lang.lexicon import Lexicon
from utils.nn.model import AcousticModel, average, parameters, save
from utils.train import checkpoints
from utils.train.alignment import write_ctm
from utils.train.dataset import (
    Augment,
    Batch,
    Features,
    Step,
    collate,
    epoch_batches,
    ordered_batches,
    set_random,
    training_batches,
)
from utils.train.objective import NotFinite, Objective
from utils.train.optimiser import grad_scaler, learning_rate, parameter_groups
from utils.train.streaming import streamed
from utils.train.validation import aligned_words, validate


class Trainer:
    """Trains `model` on `cuts`; everything that a resumed run needs is in `out/checkpoints`.

    Args:
      config: the groups model, loss, train, and seed.
      train_cuts, dev_cuts: cuts with features.
      out: the partial folder of the stage.
      workers: processes that make batches ahead, so that a GPU need not wait for them.
      group: the processes that train together. In a step of the optimiser each takes its share of `config.train.accumulate`
        batches, so that the weights do not depend on how many they are.
    """

    def __init__(
        self,
        model: AcousticModel,
        lexicon: Lexicon,
        features: Features,
        train_cuts: CutSet,
        dev_cuts: CutSet,
        config: SimpleNamespace,
        out: Path,
        device: str,
        log: logging.Logger,
        workers: int = 0,
        group: Optional[Group] = None,
    ) -> None:
        self.model, self.lexicon, self.features = model.to(device), lexicon, features
        self.train_cuts, self.dev_cuts = train_cuts, dev_cuts
        self.config, self.out, self.device, self.log = config, out, torch.device(device), log
        self.workers, self.group = workers, group or Group()
        self.augment = Augment(config.train)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, config.train), lr=config.train.learning_rate, betas=(0.9, 0.98), foreach=True
        )
        precision = config.train.precision
        autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self.objective = Objective(self.model, lexicon, config, self.device, autocast)
        self.scaler = grad_scaler(precision == "fp16")
        self.epoch, self.batch, self.step = 0, 0, 0  # the next batch of the epoch (of all processes), and steps done
        order = (config.train.batch_seconds, config.seed)
        self.epoch_batches = lru_cache(2)(lambda epoch: epoch_batches(train_cuts, *order, epoch, config.train.buffer))
        self.progress = 0.0  # share of the training that is done
        self.best: List[Tuple[float, str]] = []  # (error on dev, file), best first
        self.curve: List[Dict[str, float]] = []
        self.watch: Callable[[int, float], None] = lambda epoch, error: None  # told of each validation; may raise to stop

    def run(self) -> None:
        """Train to the last epoch and write the average of the best checkpoints."""
        state = checkpoints.load(self.out / "checkpoints", self.log)
        self._need_batches()
        if state is None:
            self.dry_run()
        else:
            self._resume(state)
        self.group.share(self.model.parameters())
        board = _board(self.out / "tensorboard", self.step) if self.group.rank == 0 else None
        batches = self.batches()
        for epoch in range(self.epoch, self.config.train.epochs):
            self.epoch = epoch
            self._train_epoch(batches, board)
            self.batch = 0
            if (self.epoch + 1) % self.config.train.valid_every == 0 or self.epoch + 1 == self.config.train.epochs:
                self._validate(board)
            self._save(self.epoch + 1)
        if not self.config.train.epochs:  # train.init as it is
            self._validate(board)
            self._save(0)
        if board:
            board.close()
            self._finish()

    def _need_batches(self) -> None:
        count, processes, seconds = len(self.epoch_batches(0)), self.group.size, self.config.train.batch_seconds
        if count < processes and self.config.train.epochs:
            raise UserError(
                f"an epoch has {count} batches, fewer than the {processes} processes: lower --world-size, or "
                f"train.batch_seconds, which is {seconds:g}"
            )

    def _finish(self) -> None:
        """Write the average of the best checkpoints, and what is told of the training."""
        averaged = average([self.out / "checkpoints" / name for _, name in self.best])
        self.model.load_state_dict(averaged)
        save(self.model, self.out / "model.safetensors")
        if self.config.loss.grounding.weight:
            for split, cuts in (("train", self.train_cuts), ("dev", self.dev_cuts)):
                found = aligned_words(self.objective, cuts, self.features, self.config.train.batch_seconds)
                write_ctm(self.out / f"{split}.ctm", found)
        write_json(
            self.out / "summary.json",
            {
                "parameters": parameters(self.model),
                "parameters_trained": parameters(self.model),
                "steps": self.step,
                "epochs": self.config.train.epochs,
                "best": [{"dev_error": e, "file": n} for e, n in self.best],
            },
        )

    def batches(self) -> Iterator[Batch]:
        """This process's batches of all remaining steps."""
        pin = self.device.type == "cuda"
        return training_batches(self._steps(self.epoch, self.batch), self.features, self.lexicon, self.augment, self.workers, pin)

    def _steps(self, first_epoch: int, batch: int) -> Iterator[Step]:
        for epoch in range(first_epoch, self.config.train.epochs):
            seed = self.config.seed * 1009 + epoch * 10_007
            batches = [((seed * 100_003 + n) % 2**31, cuts) for n, cuts in enumerate(self.epoch_batches(epoch))]
            ours = [step for n, step in enumerate(batches) if n >= batch and self._is_ours(n)]
            yield from streamed(ours, self.features.cache)
            batch = 0

    def _is_ours(self, n: int) -> bool:
        """Whether batch n of an epoch is of this process: those of a step go round."""
        return n % self.config.train.accumulate % self.group.size == self.group.rank

    def dry_run(self) -> None:
        """Forward and backward pass on the batch with the longest utterances: lack of memory shows now, not in hours."""
        longest = ordered_batches(self.train_cuts, self.config.train.batch_seconds)[0]
        self.backward([collate(longest, self.features, self.lexicon, self.augment)], "the longest batch, before training")

    def backward(self, batches: Sequence[Batch], what: str, tokens: Optional[Mapping[str, float]] = None) -> Dict[str, float]:
        """Compute the sum of the gradients of batches' losses; part by part if there is not enough memory for a whole batch.

        Args:
          what: what the batches are, for the log.
          tokens: of each head, that the losses are divided by (default: those of these batches).
        Returns:
          the losses as in `losses`, as numbers, by head; under `loss` their weighted sum.
        """
        tokens = _tokens(batches) if tokens is None else tokens

        def work(parts: Parts) -> Dict[str, float]:
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(torch.zeros((), device=self.device))  # it needs one, also where there is no batch
            sums: Dict[str, float] = {}
            for batch in batches:
                if batch.random:
                    set_random(batch.random)
                for part in [batch] if len(parts) == 1 else batch.split(len(parts)):
                    loss, means = self.losses(part, tokens)
                    self.scaler.scale(loss).backward()
                    for name, value in {"loss": loss, **means}.items():
                        sums[name] = sums.get(name, 0.0) + value.item()
            return sums

        remedy = f"lower data.max_duration, or take a smaller model; train.batch_seconds is {self.config.train.batch_seconds:g}"
        longest = max((batch.ids for batch in batches), key=len, default=[])
        return in_parts(work, longest, what, remedy, self.log)

    def update(self, batches: Sequence[Batch], what: str) -> Tuple[Dict[str, float], float]:
        """One step of the optimiser, of the batches of all processes; arguments as in `backward`.

        Returns:
          the losses as in `backward`, and the norm of the gradient. The norm is not finite if fp16 overflowed; then the step is
          skipped and the scale of the losses is lowered.
        """
        tokens = self.group.total(_tokens(batches))
        losses = self.group.total(self.backward(batches, what, tokens))
        self.group.sum_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return losses, float(norm)

    def losses(self, batch: Batch, tokens: Optional[Mapping[str, float]] = None) -> Tuple[Tensor, Dict[str, Tensor]]:
        """The weighted loss a token, and that of each head, as `Objective` gives them.

        Args:
          tokens: as in `backward`.
        Raises:
          UserError: a loss is not finite; names the utterances, and saves the batch for inspection.
        """
        try:
            return self.objective(batch, tokens or batch.tokens(), self.progress >= self.config.loss.grounding.begin)
        except NotFinite as failure:
            raise self._saved(batch, failure) from None

    def _train_epoch(self, batches: Iterator[Batch], board: Any) -> None:
        settings = self.config.train
        self.model.train()
        count, together = len(self.epoch_batches(self.epoch)), settings.accumulate
        steps = math.ceil(count / together)
        with tqdm(
            range(self.batch, count, together),
            desc=f"epoch {self.epoch + 1}/{settings.epochs}",
            total=settings.epochs * steps,
            initial=self.epoch * steps + self.batch // together,
            unit="step",
            mininterval=1,
            leave=False,
            disable=self.group.rank > 0,
        ) as bar:
            for first in bar:
                last = min(first + together, count)
                ours = [next(batches) for n in range(first, last) if self._is_ours(n)]
                self.progress = (self.epoch + self.batch / count) / settings.epochs
                rate = learning_rate(settings, self.progress)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate * group["scale"]
                losses, norm = self.update(ours, f"step {self.step}")
                self.step += 1
                self.batch = last
                row = {
                    "step": self.step,
                    "epoch": self.epoch + 1,
                    "loss": losses.pop("loss"),
                    "learning_rate": rate,
                    **({"gradient_norm": norm} if math.isfinite(norm) else {}),  # JSON has no infinity
                    **{f"{head}_loss": mean for head, mean in losses.items()},
                }
                self.curve.append(row)
                for key in row.keys() - {"step", "epoch"} if board else ():
                    board.add_scalar(f"train/{key}", row[key], self.step)
                bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                if self.step % settings.checkpoint_every == 0 and self.batch < count:
                    self._save(self.epoch)

    def _validate(self, board: Any) -> None:
        """Validate, save the weights, and keep those of the best epochs by the error on dev."""
        row, error = validate(self.objective, self.dev_cuts, self.features, self.config.train.batch_seconds, self.group)
        self.curve.append({"step": self.step, "epoch": self.epoch + 1, **row})
        for key, value in row.items() if board else ():
            board.add_scalar(f"dev/{key[4:]}", value, self.step)
        self.log.info("epoch %d: %s", self.epoch + 1, ", ".join(f"{k} {v:.2f}" for k, v in row.items()))
        name = f"epoch-{self.epoch + 1:04d}.safetensors"
        if self.group.rank == 0:
            save(self.model, self.out / "checkpoints" / name)
        ranked = sorted(self.best + [(error, name)], key=lambda item: (item[0], -int(item[1][6:10])))
        self.best = ranked[: self.config.train.average]
        if self.group.rank == 0:
            self.watch(self.epoch + 1, error)

    def _save(self, epoch: int) -> None:
        if self.group.rank > 0:
            return
        checkpoints.save(
            self.out / "checkpoints",
            self.step,
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "epoch": epoch,
                "batch": self.batch if epoch == self.epoch else 0,
                "step": self.step,
                "best": self.best,
                "curve": json.dumps(self.curve),
                "processes": self.group.size,
            },
        )
        write_jsonl(self.out / "curves.jsonl", self.curve)
        kept = {name for _, name in self.best}
        for path in (self.out / "checkpoints").glob("epoch-*.safetensors"):  # after the checkpoint, which no longer names them
            if path.name not in kept:
                path.unlink()

    def _resume(self, state: Dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"], strict=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.best, self.curve = [tuple(item) for item in state["best"]], json.loads(state["curve"])
        before = state.get("processes", 1)  # older checkpoints have none
        shared = f", {before} processes before, {self.group.size} now: the same steps" if before != self.group.size else ""
        self.log.info("resuming after step %d (epoch %d)%s", self.step, self.epoch + 1, shared)

    def _saved(self, batch: Batch, failure: NotFinite) -> UserError:
        """Save a batch whose loss is not finite, with the weights; returns the error that names its utterances."""
        wrong = [n for n in range(len(batch.ids)) if not math.isfinite(failure.loss[n].item())]
        path = self.out / f"failed-step-{self.step}.pt"
        kept = {key: getattr(batch, key) for key in ("ids", "x", "lengths", "subwords", "words")}
        torch_files.save({**kept, "loss": failure.loss, "head": failure.head, "model": self.model.state_dict()}, path)
        names = ", ".join(batch.ids[n] for n in wrong[:10])
        return UserError(
            f"the {failure.head} loss of {len(wrong)} utterance(s) is not finite at step {self.step}: {names}; the batch and the "
            f"weights are saved in {path}. Look at these utterances, or lower train.learning_rate; the last checkpoint is intact"
        )


def _tokens(batches: Sequence[Batch]) -> Dict[str, int]:
    return {head: sum(batch.tokens()[head] for batch in batches) for head in ("subword", "word")}


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
