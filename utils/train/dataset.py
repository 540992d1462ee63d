"""Training and validation batches from Lhotse cuts."""

import math
import pickle
import random
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

import numpy
import torch
from lhotse import CutSet
from lhotse.dataset import DynamicBucketingSampler, SpecAugment
from lhotse.dataset.sampling import SimpleCutSampler
from lhotse.utils import fix_random_seed
from safetensors.torch import load as of_bytes
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from utils.core.batches import by_length
from utils.core.errors import UserError
from utils.features.cmvn import STATISTICS
from utils.features.loading import features_of
from utils.lang.lexicon import Lexicon

Step = Tuple[int, CutSet]  # the seed of its random numbers, and its utterances


@dataclass
class Batch:
    """Utterances, padded with zeros at their ends."""

    ids: List[str]
    x: Tensor  # (N, T, feature_dim)
    lengths: Tensor  # (N,), frames
    subwords: List[List[int]]  # sub-word ids of each transcript; words that the lexicon lacks are left out, see `collate`
    words: List[List[int]]  # word ids, likewise
    random: bytes = b""  # states of the random number generators, for the model that gets the batch; see `set_random`

    def tokens(self) -> Dict[str, int]:
        """How many tokens the transcripts have, by head."""
        return {"subword": sum(map(len, self.subwords)), "word": sum(map(len, self.words))}

    def part(self, first: int, last: int) -> "Batch":
        """Utterances `first` to `last`, not included."""
        rows = slice(first, last)
        lengths = self.lengths[rows]
        return Batch(self.ids[rows], self.x[rows, : int(lengths.max())], lengths, self.subwords[rows], self.words[rows])

    def split(self, count: int) -> List["Batch"]:
        """At most `count` parts of about the same number of utterances."""
        edges = [n * len(self.ids) // count for n in range(count + 1)]
        return [self.part(first, last) for first, last in zip(edges, edges[1:]) if first < last]

    def pin_memory(self) -> "Batch":
        """The batch in pinned memory, which a GPU can read; DataLoader calls this."""
        return replace(self, x=self.x.pin_memory(), lengths=self.lengths.pin_memory())

    def __reduce__(self) -> Tuple:
        """Pickle by value: torch passes tensors between processes in /dev/shm, which is small in containers."""
        return _batch, (self.ids, self.x.numpy(), self.lengths.numpy(), self.subwords, self.words, self.random)


def _batch(ids: List[str], x: numpy.ndarray, lengths: numpy.ndarray, *rest: Any) -> Batch:
    return Batch(ids, torch.from_numpy(x), torch.from_numpy(lengths), *rest)


def set_random(states: bytes) -> None:
    """Set the random number generators to where they were once a batch was made; a GPU's to what the batch's seed gives."""
    seed, python, numbers, own = pickle.loads(states)
    fix_random_seed(seed)
    random.setstate(python)
    numpy.random.set_state(numbers)
    torch.set_rng_state(torch.from_numpy(own))


class Features:
    """Normalised features of cuts, cached in half precision up to a limit."""

    def __init__(self, folder: Path, cache_gb: float, more: Optional[Path] = None) -> None:
        """
        Args:
          folder: of stage 1.
          cache_gb: memory for features.
          more: folder of synthesised speech; it has statistics of its own speakers with features.normalise=speaker.
        """
        self.stats: Dict[str, Tensor] = of_bytes((folder / STATISTICS).read_bytes())
        if more is not None and (more / STATISTICS).exists():
            self.stats.update(of_bytes((more / STATISTICS).read_bytes()))
        self.folder = folder
        self.cache: Dict[str, Tensor] = {}
        self.room = cache_gb * 2**30

    def __call__(self, cut) -> Tensor:  # noqa: ANN001 - a Lhotse cut
        """(T, feature_dim), float32; the same numbers from the disk and from the cache."""
        kept = self.cache.get(cut.id)
        if kept is None:
            kept = self.normalise(torch.from_numpy(features_of(cut, self.folder)), cut.supervisions[0].speaker).half()
            size = kept.numel() * 2
            if size <= self.room:
                self.cache[cut.id] = kept
                self.room -= size
        return kept.float()

    def normalise(self, x: Tensor, speaker: str) -> Tensor:
        """x: (T, feature_dim) -> normalised by the mean and standard deviation of all training speech, or of the speaker."""
        for prefix in ("", f"{speaker}/"):
            if prefix + "mean" in self.stats:
                return (x - self.stats[prefix + "mean"]) / self.stats[prefix + "std"]
        if self.stats:
            raise UserError(f"no normalisation statistics for speaker {speaker}; run stage 1 again")
        return x


def epoch_batches(cuts: CutSet, batch_seconds: float, seed: int, epoch: int, buffer: int = 0) -> List[CutSet]:
    """All batches of one epoch, grouping cuts of similar length; their order depends only on seed and epoch.

    Args:
      buffer: utterances of which batches are drawn at a time, as they come from the files or shards of stage 1, which are in
        another order every epoch; 0: as many as Lhotse takes, in the order of the manifest.
    """
    room = {}
    if buffer:
        cuts, room = in_shuffled_files(cuts, seed, epoch), {"buffer_size": buffer}
    # Lhotse warns of cuts in memory, which is intended, and of a cut longer than a batch, which becomes a batch of its own
    warnings.filterwarnings("ignore", category=UserWarning, module=r"lhotse\.dataset\.sampling")
    buckets = min(10, len(cuts) // 40)
    if buckets > 1:
        sampler = DynamicBucketingSampler(
            cuts, max_duration=batch_seconds, num_buckets=buckets, shuffle=True, seed=seed, world_size=1, rank=0, **room
        )
    else:
        sampler = SimpleCutSampler(cuts, max_duration=batch_seconds, shuffle=True, seed=seed, world_size=1, rank=0)
    sampler.set_epoch(epoch)
    return list(sampler)  # of all processes: at the end of an epoch, Lhotse's own shares by rank lose cuts or have some twice


def in_shuffled_files(cuts: CutSet, seed: int, epoch: int) -> CutSet:
    """The cuts file by file, or shard by shard, as stage 1 stored them; the order of the files follows from seed and epoch."""
    files: Dict[str, List] = {}
    for cut in cuts:
        files.setdefault(cut.features.storage_path, []).append(cut)
    order = list(files.values())
    random.Random(f"{seed} {epoch}").shuffle(order)
    return CutSet.from_cuts([cut for one in order for cut in one])


def ordered_batches(cuts: CutSet, batch_seconds: float) -> List[List]:
    """Batches for decoding, longest utterances first: this keeps padding small, and the most memory is needed at the start."""
    return by_length(list(cuts), lambda cut: (cut.duration, cut.id), batch_seconds)


class Augment:
    """Lhotse's SpecAugment (Park et al. 2019) with the settings of `train`: `warp` moves times, `mask` does not."""

    def __init__(self, config: SimpleNamespace) -> None:
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
        self.config = config

    def masked(self, x: Tensor) -> Tensor:
        """x: (T, C) with masks; unchanged if it is too short for one frame of a time mask, where Lhotse fails."""
        frames = self.config.mask_fraction * len(x)
        masks = min(self.config.time_masks, math.ceil(frames / self.config.time_width))
        return x if frames // masks < 1 else self.mask(x[None])[0]


def collate(
    cuts: Sequence, features: Features, lexicon: Lexicon, augment: Optional[Augment] = None, beyond: bool = False
) -> Batch:
    """Load, augment and pad a batch.

    Args:
      beyond: with the sub-words of words that the lexicon lacks, as `Lexicon.text_to_token_ids` has them.
    """
    loaded = [features(cut) for cut in cuts]
    if augment is not None:  # utterance by utterance: masks are a share of its length
        loaded = [augment.warp(x[None])[0] for x in loaded]
        loaded = [augment.masked(x) for x in loaded]
    texts = [cut.supervisions[0].text.split() for cut in cuts]
    words = [[word for word in text if word in lexicon.word_id] for text in texts]
    return Batch(
        [cut.id for cut in cuts],
        torch.nn.utils.rnn.pad_sequence(loaded, batch_first=True),
        torch.tensor([len(x) for x in loaded]),
        list(map(lexicon.text_to_token_ids, texts)) if beyond else list(map(lexicon.words_to_token_ids, words)),
        [lexicon.words_to_ids(ws) for ws in words],
    )


class _Collated(Dataset):
    """(seed, cuts) -> their batch, or the error."""

    def __init__(self, features: Features, lexicon: Lexicon, augment: Augment) -> None:
        self.features, self.rest = features, (lexicon, augment)

    def __getitem__(self, step: Step) -> Union[Batch, UserError]:
        seed, cuts = step
        fix_random_seed(seed)
        try:
            batch = collate(cuts, self.features, *self.rest)
        except UserError as e:  # DataLoader would wrap it in a traceback
            return e
        states = (seed, random.getstate(), numpy.random.get_state(), torch.get_rng_state().numpy())
        return replace(batch, random=pickle.dumps(states))


def training_batches(
    steps: Iterable[Step], features: Features, lexicon: Lexicon, augment: Augment, workers: int, pin: bool
) -> Iterator[Batch]:
    """The batch of each step, in order.

    All random numbers of a step follow from its seed alone, also those of dropout in the model that gets the batch (see
    `Batch.random`). So a resumed run draws the same numbers as an uninterrupted one, whatever the number of workers, and a
    process of a group the same as one that trains alone.

    Args:
      steps: with workers they are read ahead.
      workers: processes that make batches ahead, each with its share of the memory for features; with 0 each batch is made here
        when it is asked for.
      pin: make the batches in memory that a GPU can read.
    Raises:
      UserError: what `collate` raises; a worker that is killed.
    """
    loader = DataLoader(
        _Collated(features, lexicon, augment),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_share_room,
    )
    made = iter(loader)
    while True:
        try:
            got = next(made)
        except StopIteration:
            return
        except RuntimeError as e:
            if "DataLoader worker" not in str(e):
                raise
            raise UserError(
                f"a process that makes batches ended ({e}); if memory was short, lower --nj or train.cache_gb"
            ) from None
        if isinstance(got, UserError):
            raise got
        yield got


def _as_it_is(made: Any) -> Any:
    return made


def _share_room(worker: int) -> None:
    info = get_worker_info()
    info.dataset.features.room /= info.num_workers
