"""Evaluation during training: losses and errors on dev, and the alignment of words."""

from typing import Any, Dict, Iterator, List, Sequence, Tuple

import kaldialign
import torch

from utils.nn.ctc import ctc, greedy
from utils.train.dataset import Features, collate, ordered_batches
from utils.train.objective import Objective


def validate(
    objective: Objective, cuts: Sequence[Any], features: Features, batch_seconds: float
) -> Tuple[Dict[str, float], float]:
    """The loss a token (natural log) and the greedy error rate (%) of each head.

    Utterances with too few frames for their transcripts, whose loss is infinite, count for the error alone.

    Returns:
      `dev_<head>_loss` and `dev_<head>_error`; the mean of the heads' errors, by which checkpoints are ranked.
    """
    sums: Dict[str, float] = {}
    errors: Dict[str, List[int]] = {}
    for group in ordered_batches(cuts, batch_seconds):
        batch = collate(group, features, objective.lexicon)
        for name, (log_probs, lengths, targets) in objective.evaluate(batch, objective.lexicon.vocabulary).items():
            loss = ctc(log_probs, lengths, targets, "torch")
            sums[name] = sums.get(name, 0.0) + loss[torch.isfinite(loss)].sum().item()
            tally = errors.setdefault(name, [0, 0])
            for hypothesis, target in zip(greedy(log_probs, lengths), targets):
                tally[0] += kaldialign.edit_distance(target, hypothesis)["total"]
                tally[1] += len(target)
    row = {f"dev_{name}_loss": value / max(errors[name][1], 1) for name, value in sums.items()}
    row.update({f"dev_{name}_error": 100 * wrong / max(of, 1) for name, (wrong, of) in errors.items()})
    return row, sum(row[f"dev_{name}_error"] for name in errors) / len(errors)


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
