"""The loss of a batch: CTC of each head, and grounding (grounding.py)."""

import math
from types import SimpleNamespace
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor

from utils.lang.lexicon import Lexicon
from utils.nn.ctc import ctc
from utils.nn.model import AcousticModel, Output
from utils.train.alignment import Head, Heads, word_frames
from utils.train.dataset import Batch
from utils.train.grounding import grounding


class NotFinite(Exception):
    """A loss is infinite or not a number."""

    def __init__(self, head: str, loss: Tensor) -> None:
        """loss: (N,), of each utterance of the batch, in this head."""
        super().__init__(head)
        self.head, self.loss = head, loss


class Objective:
    """Computes losses of a model; for training it samples the words that the word head's softmax runs over.

    Args:
      config: the groups model and loss.
      autocast: the type of half precision that the network runs in; None for float32.
    """

    def __init__(
        self,
        model: AcousticModel,
        lexicon: Lexicon,
        config: SimpleNamespace,
        device: torch.device,
        autocast: Optional[torch.dtype],
    ) -> None:
        self.model, self.lexicon, self.config, self.device, self.autocast = model, lexicon, config, device, autocast

    def __call__(self, batch: Batch, tokens: Mapping[str, float], grounded: bool) -> Tuple[Tensor, Dict[str, Tensor]]:
        """The weighted loss a token, and the loss a token of each head and of grounding (natural log).

        Args:
          tokens: of each head in all that one step of the optimiser learns from (`Batch.tokens`); this batch may be a part of it.
            The losses of its parts sum to its own.
          grounded: whether the training has reached the share after which grounding begins.
        Raises:
          NotFinite: a loss of a head is not finite.
        """
        weights = self.config.loss
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            output = self.model(batch.x.to(self.device, non_blocking=True), batch.lengths.to(self.device, non_blocking=True))
        rows = offsets = torch.zeros(0)
        targets: List[List[int]] = []
        if output.frames is not None:
            negatives = weights.negatives if self.model.training else -1
            rows, targets, offsets = choose_words(batch.words, self.lexicon.vocabulary, negatives)
            rows, offsets = rows.to(self.device), offsets.to(self.device)
        heads = self._heads(output, batch, rows, targets, offsets)
        losses = {name: ctc(*head, weights.backend) for name, head in heads.items()}
        for name, loss in losses.items():
            if not torch.isfinite(loss).all():
                raise NotFinite(name, loss.detach().cpu())
        means = {name: loss.sum() / max(tokens[name], 1) for name, loss in losses.items()}
        total = sum(getattr(weights, name) * mean for name, mean in means.items())
        if weights.grounding.weight and grounded and any(batch.words):
            share = sum(map(len, batch.words)) / tokens["word"]
            means["grounding"] = share * self._grounding(output, batch.words, heads, rows, offsets)
            total = total + weights.grounding.weight * means["grounding"]
        return total, means

    @torch.no_grad()
    def evaluate(self, batch: Batch, words: int) -> Heads:
        """The heads' outputs in evaluation mode; the word head's softmax runs over the first `words` words."""
        self.model.eval()
        output = self.model(batch.x.to(self.device), batch.lengths.to(self.device))
        return self._heads(
            output, batch, torch.arange(words, device=self.device), batch.words, torch.zeros(1, device=self.device)
        )

    def spans(self, heads: Heads, words: Sequence[Sequence[int]]) -> List[List[Tuple[int, int]]]:
        """`word_frames` of this model's heads."""
        return word_frames(
            heads, words, self.lexicon, self.config.model.word_subsampling // self.config.model.subword_subsampling
        )

    def _heads(self, output: Output, batch: Batch, rows: Tensor, targets: List[List[int]], offsets: Tensor) -> Heads:
        """Outputs and targets of each head.

        Args:
          rows: (W,), of the word head's table.
          targets: words of each transcript as places in `rows`, from 1.
          offsets: (W,), added to the words' scores.
        """
        heads: Heads = {}
        if output.subword is not None:
            heads["subword"] = Head(output.subword, output.subword_lengths, batch.subwords)
        if output.frames is not None:
            log_probs = self.model.word_log_probs(output, rows, vars(self.config.loss.dropout), offsets)
            heads["word"] = Head(log_probs, output.word_lengths, targets)
        return heads

    def _grounding(self, output: Output, words: List[List[int]], heads: Heads, rows: Tensor, offsets: Tensor) -> Tensor:
        assert self.model.word is not None and output.frames is not None
        spans = self.spans(heads, words)
        vectors, _ = self.model.word.table(rows, vars(self.config.loss.dropout))
        places = torch.tensor([place for row in heads["word"].targets for place in row], device=self.device) - 1
        weight = self.config.loss.grounding.joined
        return grounding(output.frames, spans, words, vectors, places, offsets, self.model.word.words, weight)


def choose_words(transcripts: Sequence[Sequence[int]], vocabulary: int, negatives: int) -> Tuple[Tensor, List[List[int]], Tensor]:
    """The words that the softmax of one step runs over: those of the batch, and a sample of the others.

    A sampled word stands for as many words as were left out for it: the log of their number is added to its score. Otherwise the
    sum in the softmax is too small, and words fire too easily once all are in it (importance sampling of the partition function:
    Bengio and Senecal 2008).

    Args:
      transcripts: word ids from 1.
      vocabulary: number of words to sample from. Words of higher ids are chosen if they are said.
      negatives: others to sample; all of them if negative, or if there are no more.
    Returns:
      table rows (W,), ascending; the transcripts as places in them, from 1; what to add to the scores of the rows (W,), 0 for
      words of the batch.
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
