"""Evaluation during training: losses and errors on dev, and the alignment of words."""

from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

import kaldialign
import torch

from utils.distributed.group import Group
from utils.nn.ctc import ctc, greedy
from utils.train.dataset import Features, collate, ordered_batches
from utils.train.objective import Objective

Tally = Tuple[float, int, int]  # loss, errors, tokens


def validate(
    objective: Objective, cuts: Sequence[Any], features: Features, batch_seconds: float, group: Optional[Group] = None
) -> Tuple[Dict[str, float], float]:
    """The loss a token (natural log) and the greedy error rate (%) of each head.

    Words that the lexicon lacks count for the units, which can spell them. Utterances with too few frames for their transcripts,
    whose loss is infinite, count for the error alone. The processes of a group share the batches; sums are made in the order of
    the batches, so they are the same for any number of processes.

    Returns:
      `dev_<head>_loss` and `dev_<head>_error`; the mean of the heads' errors, by which checkpoints are ranked.
    """
    group = group or Group()
    batches = ordered_batches(cuts, batch_seconds)
    ours = {n: _tally(objective, batches[n], features) for n in range(group.rank, len(batches), group.size)}
    found = {n: tally for every in group.gather(ours) for n, tally in every.items()}
    sums: Dict[str, Tally] = {}
    for n in range(len(batches)):
        for name, tally in found[n].items():
            before = sums.get(name, (0.0, 0, 0))
            sums[name] = (before[0] + tally[0], before[1] + tally[1], before[2] + tally[2])
    row = {f"dev_{name}_loss": loss / max(of, 1) for name, (loss, _, of) in sums.items()}
    row.update({f"dev_{name}_error": 100 * wrong / max(of, 1) for name, (_, wrong, of) in sums.items()})
    return row, sum(row[f"dev_{name}_error"] for name in sums) / len(sums)


def _tally(objective: Objective, cuts: Sequence[Any], features: Features) -> Dict[str, Tally]:
    """Of each head, in one batch."""
    batch = collate(cuts, features, objective.lexicon, beyond=True)
    out: Dict[str, Tally] = {}
    for name, (log_probs, lengths, targets) in objective.evaluate(batch, objective.lexicon.vocabulary).items():
        loss = ctc(log_probs, lengths, targets, "torch")
        wrong = sum(kaldialign.edit_distance(t, h)["total"] for h, t in zip(greedy(log_probs, lengths), targets))
        out[name] = (loss[torch.isfinite(loss)].sum().item(), wrong, sum(map(len, targets)))
    return out


def aligned_words(
    objective: Objective, cuts: Sequence[Any], features: Features, batch_seconds: float
) -> Iterator[Tuple[str, float, float, str]]:
    """Each word of the transcripts: utterance, start and duration in seconds, word."""
    lexicon = objective.lexicon
    for group in ordered_batches(cuts, batch_seconds):
        batch = collate(group, features, lexicon)
        spans = objective.spans(objective.evaluate(batch, len(lexicon.words)), batch.words)
        for cut, row, own in zip(group, batch.words, spans):
            frame = cut.frame_shift * objective.config.model.word_subsampling
            for word, (start, end) in zip(row, own):
                yield cut.id, start * frame, (end - start) * frame, lexicon.words[word - 1]
