"""The training loop, the same for every recipe."""

import json
import logging
import math
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import kaldialign
import torch
from lhotse import CutSet
from torch import Tensor
from tqdm import tqdm

from utils.core.errors import UserError
from utils.core.files import write_json, write_jsonl
from utils.core.memory import Parts, in_parts
from utils.lang.lexicon import Lexicon
from utils.nn.ctc import Span, align, ctc, greedy, word_spans
from utils.nn.model import AcousticModel, Output, average, parameters, save
from utils.train import checkpoints
from utils.train.dataset import Augment, Batch, Features, Step, collate, epoch_batches, ordered_batches, training_batches
from utils.train.grounding import contrast, joined, segments, write_ctm
from utils.train.optimiser import grad_scaler, learning_rate, parameter_groups

Head = Tuple[Tensor, Tensor, List[List[int]]]  # log-probabilities (N, T, V), frames (N,), targets


class Trainer:
    """Trains `model` on `cuts`; everything that a resumed run needs is in `out/checkpoints`.

    Args:
      config: the groups model, loss, train, and seed.
      train_cuts, dev_cuts: with features.
      out: the stage's partial folder.
      workers: processes that make batches ahead; a GPU waits for batches otherwise.
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
    ) -> None:
        self.model, self.lexicon, self.features = model.to(device), lexicon, features
        self.train_cuts, self.dev_cuts = train_cuts, dev_cuts
        self.config, self.out, self.device, self.log = config, out, torch.device(device), log
        self.workers = workers
        self.augment = Augment(config.train)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(model, config.train), lr=config.train.learning_rate, betas=(0.9, 0.98), foreach=True
        )
        precision = config.train.precision
        self.autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self.scaler = grad_scaler(precision == "fp16")
        self.epoch, self.batch, self.step = 0, 0, 0  # the next batch of the epoch, and steps done
        self.epoch_batches = lru_cache(2)(lambda epoch: epoch_batches(train_cuts, config.train.batch_seconds, config.seed, epoch))
        self.progress = 0.0  # share of the training that is done
        self.best: List[Tuple[float, str]] = []  # (error on dev, file), best first
        self.curve: List[Dict[str, float]] = []

    def run(self) -> None:
        """Train to the last epoch and write the average of the best checkpoints."""
        state = checkpoints.load(self.out / "checkpoints", self.log)
        if state is None:
            self.dry_run()
        else:
            self._resume(state)
        board = _board(self.out / "tensorboard", self.step)
        batches = self.batches()
        for epoch in range(self.epoch, self.config.train.epochs):
            self.epoch = epoch
            self._train_epoch(batches, board)
            self.batch = 0
            if (self.epoch + 1) % self.config.train.valid_every == 0 or self.epoch + 1 == self.config.train.epochs:
                self._validate(board)
            self._save(self.epoch + 1)
        board.close()
        averaged = average([self.out / "checkpoints" / name for _, name in self.best])
        self.model.load_state_dict(averaged)
        save(self.model, self.out / "model.safetensors")
        if self.config.loss.grounding.weight:
            for split, cuts in (("train", self.train_cuts), ("dev", self.dev_cuts)):
                write_ctm(self.out / f"{split}.ctm", self._spoken(cuts))
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
        """The batches of all steps that are left of the training."""
        pin = self.device.type == "cuda"
        return training_batches(self._steps(self.epoch, self.batch), self.features, self.lexicon, self.augment, self.workers, pin)

    def _steps(self, first_epoch: int, batch: int) -> Iterator[Step]:
        for epoch in range(first_epoch, self.config.train.epochs):
            seed = self.config.seed * 1009 + epoch * 10_007
            for n, cuts in enumerate(self.epoch_batches(epoch)):
                if n >= batch:
                    yield (seed * 100_003 + n) % 2**31, cuts
            batch = 0

    def dry_run(self) -> None:
        """Forward and backward over the batch with the longest utterances: what can't fit in memory fails now, not in hours."""
        longest = ordered_batches(self.train_cuts, self.config.train.batch_seconds)[0]
        self.backward(collate(longest, self.features, self.lexicon, self.augment), "the longest batch, before training")

    def backward(self, batch: Batch, what: str) -> Tuple[float, Dict[str, float]]:
        """Make the gradients of a batch's loss, of its parts one by one where memory does not suffice for the whole.

        Args:
          what: the batch is, for the log.
        Returns:
          as `losses`, in numbers.
        """

        def work(parts: Parts) -> Tuple[float, Dict[str, float]]:
            self.optimizer.zero_grad(set_to_none=True)
            total = 0.0
            sums: Dict[str, float] = {}
            for first, last in parts:
                loss, means = self.losses(batch if len(parts) == 1 else batch.part(first, last), batch)
                self.scaler.scale(loss).backward()
                total += loss.item()
                for head, mean in means.items():
                    sums[head] = sums.get(head, 0.0) + mean.item()
            return total, sums

        remedy = f"lower data.max_duration, or take a smaller model; train.batch_seconds is {self.config.train.batch_seconds:g}"
        return in_parts(work, batch.ids, what, remedy, self.log)

    def update(self, batch: Batch, what: str) -> Tuple[float, Dict[str, float], float]:
        """One step of the optimiser, as `backward`; gives its losses and the norm of the gradient, which is not finite where fp16
        overflowed: the step is left out then, and the scale of the losses lowered.
        """
        loss, means = self.backward(batch, what)
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss, means, float(norm)

    def losses(self, batch: Batch, whole: Optional[Batch] = None) -> Tuple[Tensor, Dict[str, Tensor]]:
        """The weighted loss a token, and each head's loss a token (natural log).

        Args:
          whole: the batch of which this is a part, whose losses sum to its own.
        Raises:
          UserError: a loss that is not finite; names the utterances, which are saved for inspection.
        """
        weights = self.config.loss
        x, lengths = (part.to(self.device, non_blocking=True) for part in (batch.x, batch.lengths))
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            output = self.model(x, lengths)
        chosen = targets = offsets = None
        if output.frames is not None:
            negatives = weights.negatives if self.model.training else -1
            chosen, targets, offsets = choose_words(batch.words, self.lexicon.vocabulary, negatives)
            chosen, offsets = chosen.to(self.device), offsets.to(self.device)
        heads = self._heads(output, batch, chosen, targets, offsets)
        per_head = {head: ctc(*said, weights.backend) for head, said in heads.items()}
        for head, loss in per_head.items():
            if not torch.isfinite(loss).all():
                self._stop_at_nan(batch, head, loss)
        whole = whole or batch
        tokens = {"subword": sum(map(len, whole.subwords)), "word": sum(map(len, whole.words))}
        means = {head: loss.sum() / max(tokens[head], 1) for head, loss in per_head.items()}
        total = sum(getattr(weights, head) * mean for head, mean in means.items())
        if weights.grounding.weight and self.progress >= weights.grounding.begin and any(batch.words):
            share = sum(map(len, batch.words)) / tokens["word"]
            means["grounding"] = share * self._grounding(output, batch.words, heads, chosen, offsets)
            total = total + weights.grounding.weight * means["grounding"]
        return total, means

    def _heads(
        self,
        output: Output,
        batch: Batch,
        chosen: Optional[Tensor],
        targets: Optional[List[List[int]]],
        offsets: Union[Tensor, float] = 0.0,
    ) -> Dict[str, Head]:
        """What each head says, over the word head's table rows `chosen`, in which `targets` are the words said."""
        heads: Dict[str, Head] = {}
        if output.subword is not None:
            heads["subword"] = (output.subword, output.subword_lengths, batch.subwords)
        if output.frames is not None:
            assert targets is not None
            log_probs = self.model.word_log_probs(output, chosen, vars(self.config.loss.dropout), offsets)
            heads["word"] = (log_probs, output.word_lengths, targets)
        return heads

    def _grounding(
        self, output: Output, words: List[List[int]], heads: Dict[str, Head], chosen: Tensor, offsets: Tensor
    ) -> Tensor:
        """The words' segments against the vectors of the rows `chosen`, and neighbours that are taken for one word too."""
        spans = self._spans(heads, words)
        vectors, _ = self.model.word.table(chosen, vars(self.config.loss.dropout))
        targets = torch.tensor([place for row in heads["word"][2] for place in row], device=self.device) - 1
        loss = contrast(segments(output.frames, spans), vectors, targets, offsets)
        spans, pairs = joined(spans, words, int(torch.randint(2, ())))
        if self.config.loss.grounding.joined and pairs:
            types = {pair: n for n, pair in enumerate(dict.fromkeys(pairs), len(chosen))}
            more = self.model.word.words.joined(*(torch.tensor(list(types), device=self.device) - 1).T)
            targets = torch.tensor([types[pair] for pair in pairs], device=self.device)
            every, offsets = torch.cat((vectors, more)), torch.cat((offsets, offsets.new_zeros(len(more))))
            loss = loss + self.config.loss.grounding.joined * contrast(segments(output.frames, spans), every, targets, offsets)
        return loss

    def _spans(self, heads: Dict[str, Head], words: List[List[int]]) -> List[List[Span]]:
        """Frames of the word head that each word of each utterance takes, by the sub-word head's alignment where there is one."""
        log_probs, lengths, targets = heads["subword" if "subword" in heads else "word"]

        def labels(word: int) -> int:
            """How many labels of the alignment a word has."""
            units = self.lexicon.spell(self.lexicon.words[word - 1]) if "subword" in heads else [word]
            assert units is not None  # a word of the lexicon can be spelled
            return len(units)

        ratio = self.config.model.word_subsampling // self.config.model.subword_subsampling if "subword" in heads else 1
        out = []
        for row, peaks, frames in zip(words, align(log_probs, lengths, targets), heads["word"][1].tolist()):
            spans = word_spans(peaks, list(map(labels, row)), frames * ratio) if peaks else []
            out.append([(start // ratio, max(start // ratio + 1, min(-(-end // ratio), frames))) for start, end in spans])
        return out

    @torch.no_grad()
    def _spoken(self, cuts: CutSet) -> Iterator[Tuple[str, float, float, str]]:
        """The rows of the CTM of all cuts, as the model aligns them now."""
        self.model.eval()
        every_word = torch.arange(len(self.lexicon.words), device=self.device)
        for group in ordered_batches(cuts, self.config.train.batch_seconds):
            batch = collate(group, self.features, self.lexicon)
            output = self.model(batch.x.to(self.device), batch.lengths.to(self.device))
            heads = self._heads(output, batch, every_word, batch.words)
            for cut, row, spans in zip(group, batch.words, self._spans(heads, batch.words)):
                frame = cut.frame_shift * self.config.model.word_subsampling
                for word, (start, end) in zip(row, spans):
                    yield cut.id, start * frame, (end - start) * frame, self.lexicon.words[word - 1]

    def _train_epoch(self, batches: Iterator[Batch], board: Any) -> None:
        settings = self.config.train
        self.model.train()
        count = len(self.epoch_batches(self.epoch))
        with tqdm(
            range(self.batch, count),
            desc=f"epoch {self.epoch + 1}/{settings.epochs}",
            total=settings.epochs * count,
            initial=self.epoch * count + self.batch,
            unit="step",
            mininterval=1,
            leave=False,
        ) as bar:
            for _ in bar:
                batch = next(batches)
                self.progress = (self.epoch + self.batch / count) / settings.epochs
                rate = learning_rate(settings, self.progress)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate * group["scale"]
                loss, means, norm = self.update(batch, f"step {self.step}")
                self.step += 1
                self.batch += 1
                row = {
                    "step": self.step,
                    "epoch": self.epoch + 1,
                    "loss": loss,
                    "learning_rate": rate,
                    **({"gradient_norm": norm} if math.isfinite(norm) else {}),  # JSON has no infinity
                    **{f"{head}_loss": mean for head, mean in means.items()},
                }
                self.curve.append(row)
                for key in row.keys() - {"step", "epoch"}:
                    board.add_scalar(f"train/{key}", row[key], self.step)
                bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                if self.step % settings.checkpoint_every == 0 and self.batch < count:
                    self._save(self.epoch)

    @torch.no_grad()
    def _validate(self, board: Any) -> None:
        """Loss and greedy error of every head on dev; the average of the heads' errors ranks the checkpoints."""
        self.model.eval()
        sums: Dict[str, float] = {}
        errors: Dict[str, List[int]] = {}
        every_word = torch.arange(self.lexicon.vocabulary, device=self.device)
        count = 0
        for cuts in ordered_batches(self.dev_cuts, self.config.train.batch_seconds):
            batch = collate(cuts, self.features, self.lexicon)
            output = self.model(batch.x.to(self.device), batch.lengths.to(self.device))
            heads = self._heads(output, batch, every_word, batch.words)
            for head, (log_probs, lengths, targets) in heads.items():
                loss = ctc(log_probs, lengths, targets, "torch")
                sums[head] = sums.get(head, 0.0) + loss[torch.isfinite(loss)].sum().item()
                tally = errors.setdefault(head, [0, 0])
                for hypothesis, target in zip(greedy(log_probs, lengths), targets):
                    tally[0] += kaldialign.edit_distance(target, hypothesis)["total"]
                    tally[1] += len(target)
            count += len(cuts)
        row = {f"dev_{head}_loss": value / max(errors[head][1], 1) for head, value in sums.items()}
        row.update({f"dev_{head}_error": 100 * wrong / max(of, 1) for head, (wrong, of) in errors.items()})
        error = sum(row[f"dev_{head}_error"] for head in errors) / len(errors)
        self.curve.append({"step": self.step, "epoch": self.epoch + 1, **row})
        for key, value in row.items():
            board.add_scalar(f"dev/{key[4:]}", value, self.step)
        self.log.info("epoch %d: %s", self.epoch + 1, ", ".join(f"{k} {v:.2f}" for k, v in row.items()))
        name = f"epoch-{self.epoch + 1:04d}.safetensors"
        save(self.model, self.out / "checkpoints" / name)
        ranked = sorted(self.best + [(error, name)], key=lambda item: (item[0], -int(item[1][6:10])))
        self.best = ranked[: self.config.train.average]

    def _save(self, epoch: int) -> None:
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
            },
        )
        write_jsonl(self.out / "curves.jsonl", self.curve)
        kept = {name for _, name in self.best}
        for path in (self.out / "checkpoints").glob("epoch-*.safetensors"):  # only after the checkpoint that no longer names them
            if path.name not in kept:
                path.unlink()

    def _resume(self, state: Dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"], strict=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.best, self.curve = [tuple(item) for item in state["best"]], json.loads(state["curve"])
        self.log.info("going on after step %d (epoch %d)", self.step, self.epoch + 1)

    def _stop_at_nan(self, batch: Batch, head: str, loss: Tensor) -> None:
        wrong = [n for n in range(len(batch.ids)) if not math.isfinite(loss[n].item())]
        path = self.out / f"failed-step-{self.step}.pt"
        torch.save(
            {
                "ids": batch.ids,
                "x": batch.x,
                "lengths": batch.lengths,
                "subwords": batch.subwords,
                "words": batch.words,
                "loss": loss.detach().cpu(),
                "head": head,
                "model": self.model.state_dict(),
            },
            path,
        )
        names = ", ".join(batch.ids[n] for n in wrong[:10])
        raise UserError(
            f"the {head} loss of {len(wrong)} utterance(s) is not finite at step {self.step}: {names}; the batch and the weights "
            f"are saved in {path}. Look at these utterances, or lower train.learning_rate; the last checkpoint is intact"
        )


def choose_words(transcripts: Sequence[Sequence[int]], vocabulary: int, negatives: int) -> Tuple[Tensor, List[List[int]], Tensor]:
    """The words that one step's softmax runs over: those of the batch, and sampled others, each for as many as were left out.

    Args:
      transcripts: word ids from 1.
      vocabulary: number of words to sample from. Words of higher ids are chosen where they are said.
      negatives: others to sample; all of them where negative, or where they are few.
    Returns:
      table rows (W,), ascending; the transcripts as positions in them from 1; and what to add to the rows' scores (W,): the log
      of how many words a sampled one stands for, 0 for those of the batch. Without it the softmax is too small a sum, and words
      fire too easily once all are in it (importance sampling of the partition function: Bengio and Senecal 2008).
    """
    said = torch.tensor(sorted({w - 1 for transcript in transcripts for w in transcript}), dtype=torch.int64)
    present, beyond = said[said < vocabulary], said[said >= vocabulary]
    rows, offsets = torch.arange(vocabulary), torch.zeros(vocabulary)
    if 0 <= negatives < vocabulary - len(present):
        absent = torch.ones(vocabulary, dtype=torch.bool)
        absent[present] = False
        others = torch.nonzero(absent)[:, 0]
        stands_for = len(others) / max(negatives, 1)
        others = others[torch.randperm(len(others))[:negatives]]
        rows = torch.cat((present, others)).sort().values
        offsets = absent[rows] * math.log(stands_for)
    place = {row + 1: n for n, row in enumerate(rows.tolist() + beyond.tolist(), 1)}
    return torch.cat((rows, beyond)), [[place[w] for w in t] for t in transcripts], torch.cat((offsets, torch.zeros(len(beyond))))


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
