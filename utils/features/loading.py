"""Features of a cut, wherever stage 1 left them: in a file, in a shard, or to be made of the audio now."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import numpy as np
import torch
from lhotse.cut import MonoCut

from utils.core.errors import UserError
from utils.corpus.cuts import ON_THE_FLY, SHAR_FEATURES, SHAR_WAVEFORMS
from utils.features import shards
from utils.features.augmentation import Augmentation, open_augmentation
from utils.features.extraction import prepare
from utils.features.front_end import FrontEnd
from utils.features.front_ends import make
from utils.features.stored import restored, rounded
from utils.pipeline.config import made_with

UNMADE = [("none", "features"), ("shar", "waveforms")]  # features.storage and features.shar of which stage 1 leaves no features


@dataclass(frozen=True)
class _Maker:
    """What makes features as stage 1 did."""

    front_end: FrontEnd
    config: SimpleNamespace  # the group `features`
    augment: Optional[Augmentation]

    def features(self, samples: np.ndarray, cut: MonoCut) -> np.ndarray:
        """samples: (1, S) -> (T, C), rounded as in a file of stage 1."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the number of threads could change the last bit
        (found,) = self.front_end.extract([samples])
        torch.set_num_threads(threads)
        if isinstance(found, Exception):
            raise UserError(f"utterance {cut.id} has no features, and had some in stage 1 ({found}): its audio has changed")
        return rounded(found, self.front_end.tick_power)


def features_of(cut: MonoCut, folder: Path) -> np.ndarray:
    """The features (T, C) of a cut that `read_cuts` gave, float32; the same, however they are stored.

    Args:
      folder: of stage 1.
    Raises:
      UserError: a shard is missing, damaged or of another run; audio that features are made of is gone or has changed.
    """
    kind, key = cut.features.storage_type, cut.features.storage_key
    if kind == ON_THE_FLY:
        maker = _maker(folder)
        found = prepare(cut, 1.0, maker.front_end.sampling_rate, maker.config.denoise)
        if found.problem:
            remedy = "put the audio back, or store features (features.storage=files)"
            raise UserError(f"features of utterance {cut.id} can't be made of its audio: {found.problem}; {remedy}")
        return maker.features(maker.augment(found.samples, cut.id) if maker.augment and int(key) else found.samples, cut)
    if kind not in (SHAR_FEATURES, SHAR_WAVEFORMS):
        return cut.load_features()
    content = key if isinstance(key, bytes) else shards.read(cut)
    if kind == SHAR_WAVEFORMS:
        return _maker(folder).features(shards.samples_of(content), cut)
    return restored(*shards.member(content))


def encodes(folder: Path) -> bool:
    """Whether reading the training set of a folder of stage 1 runs a neural network: its features are made on the fly by one."""
    made = made_with(folder).features
    return made.front_end in ("whisper", "ssl") and (getattr(made, "storage", "files"), getattr(made, "shar", "")) in UNMADE


@lru_cache(4)
def _maker(folder: Path) -> _Maker:
    made = made_with(folder)
    augment = open_augmentation(made.augment, made.data.sampling_rate) if made.augment.copies else None
    return _Maker(make(made.features, made.data.sampling_rate), made.features, augment)
