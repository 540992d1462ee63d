"""Training and validation batches from Lhotse cuts."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, Iterator, List, Optional, Sequence

import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler, SpecAugment
from lhotse.dataset.sampling import SimpleCutSampler
from lhotse.utils import fix_random_seed
from safetensors.torch import load_file
from torch import Tensor

from utils.errors import UserError
from utils.lexicon import Lexicon


@dataclass
class Batch:
    """Utterances padded with zeros behind their ends."""

    ids: List[str]
    x: Tensor  # (N, T, num_mel_bins)
    lengths: Tensor  # (N,), frames
    subwords: List[List[int]]  # sub-word ids of each transcript; words outside the lexicon are left out
    words: List[List[int]]  # word ids likewise

    def part(self, first: int, last: int, views: int) -> "Batch":
        """Utterances `first` to `last`, not included, in all of their views."""
        own = len(self.ids) // views
        rows = [view * own + n for view in range(views) for n in range(first, last)]
        lengths = self.lengths[rows]
        ids, subwords, words = ([kept[row] for row in rows] for kept in (self.ids, self.subwords, self.words))
        return Batch(ids, self.x[rows, : int(lengths.max())], lengths, subwords, words)


class Features:
    """Normalised features of cuts; kept in memory in half precision up to a limit."""

    def __init__(self, folder: Path, cache_gb: float, more: Optional[Path] = None) -> None:
        """folder: of stage 1; more: of synthesised speech, which has the statistics of its own speakers where they are wanted."""
        self.stats: Dict[str, Tensor] = load_file(str(folder / "cmvn.safetensors"))
        if more is not None and (more / "cmvn.safetensors").exists():
            self.stats.update(load_file(str(more / "cmvn.safetensors")))
        self.cache: Dict[str, Tensor] = {}
        self.room = cache_gb * 2**30

    def __call__(self, cut) -> Tensor:  # noqa: ANN001 - a Lhotse cut
        """(T, num_mel_bins), float32. The same numbers whether they come from the disk or the cache."""
        kept = self.cache.get(cut.id)
        if kept is None:
            kept = self.normalise(torch.from_numpy(cut.load_features()), cut.supervisions[0].speaker).half()
            size = kept.numel() * 2
            if size <= self.room:
                self.cache[cut.id] = kept
                self.room -= size
        return kept.float()

    def normalise(self, x: Tensor, speaker: str) -> Tensor:
        """x: (T, num_mel_bins) -> zero mean and unit variance by the statistics of stage 1."""
        for prefix in ("", f"{speaker}/"):
            if prefix + "mean" in self.stats:
                return (x - self.stats[prefix + "mean"]) / self.stats[prefix + "std"]
        if self.stats:
            raise UserError(f"no normalisation statistics for speaker {speaker}; run stage 1 again")
        return x


def read_cuts(folder: Path, split: str, leave_out: Sequence[str] = ()) -> CutSet:
    """The cuts of one split of stage `data` or `features`, in memory, without those named in `leave_out`."""
    out = set(leave_out)
    return CutSet.from_cuts(cut for cut in CutSet.from_file(folder / f"cuts_{split}.jsonl.gz") if cut.id not in out)


def epoch_batches(cuts: CutSet, batch_seconds: float, seed: int, epoch: int) -> List[CutSet]:
    """All batches of one epoch, cuts of like length together, in an order that depends on seed and epoch alone."""
    # Lhotse warns of cuts in memory (ours are) and of a single cut that is longer than a batch should be (it is a batch then).
    warnings.filterwarnings("ignore", category=UserWarning, module=r"lhotse\.dataset\.sampling")
    buckets = min(10, len(cuts) // 40)
    if buckets > 1:
        sampler = DynamicBucketingSampler(
            cuts, max_duration=batch_seconds, num_buckets=buckets, shuffle=True, seed=seed, world_size=1, rank=0
        )
    else:
        sampler = SimpleCutSampler(cuts, max_duration=batch_seconds, shuffle=True, seed=seed, world_size=1, rank=0)
    sampler.set_epoch(epoch)
    return list(sampler)


def ordered_batches(cuts: CutSet, batch_seconds: float) -> List[List]:
    """Batches for decoding: longest first, so that padding is little and memory peaks at once."""
    out: List[List] = []
    for cut in sorted(cuts, key=lambda c: (-c.duration, c.id)):
        if not out or out[-1][0].duration * (len(out[-1]) + 1) > batch_seconds:
            out.append([])
        out[-1].append(cut)
    return out


class Augment:
    """Lhotse's SpecAugment (Park et al. 2019) as the group `train` says: `warp` moves times, `mask` leaves them where they are."""

    def __init__(self, config: SimpleNamespace) -> None:
        if config.time_masks < 1:
            raise UserError(
                "train.time_masks must be at least 1 (Lhotse divides by it); train.time_width=1 leaves next to nothing masked"
            )
        nothing = dict(num_feature_masks=0, num_frame_masks=1, frames_mask_size=1, max_frames_mask_fraction=1.0)  # width 0
        self.warp = SpecAugment(config.time_warp, **nothing)
        self.mask = SpecAugment(
            None,
            num_feature_masks=config.freq_masks,
            features_mask_size=config.freq_width,
            num_frame_masks=config.time_masks,
            frames_mask_size=config.time_width,
            max_frames_mask_fraction=config.mask_fraction,
        )


def collate(
    cuts: Sequence, features: Features, lexicon: Lexicon, augment: Optional[Augment] = None, views: int = 1
) -> Batch:
    """Load, augment and pad a batch; with several views, all utterances once more for each, in the same order, masked anew."""
    cuts = list(cuts)
    loaded = [features(cut) for cut in cuts]
    if augment is not None:  # each utterance alone: masks are a share of its own length
        loaded = [augment.warp(x[None])[0] for x in loaded]
        loaded = [augment.mask(x[None])[0] for _ in range(views) for x in loaded]
        cuts *= views
    words = [[w for w in cut.supervisions[0].text.split() if w in lexicon.word_id] for cut in cuts]
    return Batch(
        [cut.id for cut in cuts],
        torch.nn.utils.rnn.pad_sequence(loaded, batch_first=True),
        torch.tensor([len(x) for x in loaded]),
        [lexicon.words_to_token_ids(ws) for ws in words],
        [lexicon.words_to_ids(ws) for ws in words],
    )


def training_batches(
    batches: Sequence[CutSet], first: int, features: Features, lexicon: Lexicon, augment: Augment, views: int, seed: int
) -> Iterator[Batch]:
    """Batches `first`, `first + 1`, ... of an epoch. All random numbers of step n, the dropout of the model that gets the batch
    among them, follow from `seed` and n alone: a resumed run draws what an uninterrupted one would have drawn.
    """
    for n in range(first, len(batches)):
        fix_random_seed((seed * 100_003 + n) % 2**31)
        yield collate(batches[n], features, lexicon, augment, views)
