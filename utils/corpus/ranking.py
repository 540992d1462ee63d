"""Whether a dev set can rank models: large enough, of several speakers, and like the training set in sound and speech rate."""

from collections import Counter
from operator import methodcaller
from typing import Any, Callable, Dict, Iterator, List, Sequence

import numpy as np

from utils.corpus.held_out import SECONDS, UTTERANCES

SAMPLE = 200  # utterances of a split whose features are compared
FAR = 1.0  # standard deviations of train's utterances between the sounds of the splits
FASTER = 1.5  # ratio of the speech rates
LONGER = 3.0  # ratio of the durations of utterances
MOSTLY = 0.8  # share of one speaker in dev, where train has several
REMEDY = (
    f"Error rates on it choose checkpoints and weights badly: take a dev set of {UTTERANCES} utterances or more and ten minutes, "
    "with voices and recordings as in train (without a folder dev/, kaldi_dir holds one out of train)"
)


def fitness(train: Sequence[Any], dev: Sequence[Any], load: Callable = methodcaller("load_features")) -> Dict[str, float]:
    """Measures of a dev set beside train.

    Args:
      train, dev: cuts with features, those of train at their own speed.
      load: gives the features (T, F) of a cut.
    Returns:
      `utterances` and `seconds` of dev; `speaker`, the largest share of one in dev, and `speakers` of train; ratios dev : train
      of `rate` (words a second) and `duration`; `far`: the distance of the mean features of their utterances, in standard
      deviations of train's (root mean square over the features' dimensions).
    """
    rates, means = [], []
    for cuts in (dev, train):
        words = sum(len(cut.supervisions[0].text.split()) for cut in cuts)
        seconds = sum(cut.duration for cut in cuts)
        rates.append((words / seconds, seconds / len(cuts)))
        means.append(np.stack(list(_means(cuts, load))))  # (U, F)
    said: Counter = Counter()
    for cut in dev:
        said[cut.supervisions[0].speaker] += cut.duration
    spread = means[1].std(0) + 1e-6
    return {
        "utterances": len(dev),
        "seconds": sum(said.values()),
        "speaker": max(said.values()) / sum(said.values()),
        "speakers": len({cut.supervisions[0].speaker for cut in train}),
        "rate": rates[0][0] / max(rates[1][0], 1e-6),
        "duration": rates[0][1] / rates[1][1],
        "far": float(np.sqrt((((means[0].mean(0) - means[1].mean(0)) / spread) ** 2).mean())),
    }


def faults(found: Dict[str, float]) -> List[str]:
    """What makes a dev set unfit to rank models, in words, with what to do; nothing for one that is fit."""
    out = []
    if found["utterances"] < UTTERANCES or found["seconds"] < SECONDS:
        out.append(f"{found['utterances']:.0f} utterances and {found['seconds'] / 60:.1f} minutes are few")
    if found["speakers"] >= 5 and found["speaker"] > MOSTLY:
        out.append(f"one speaker says {100 * found['speaker']:.0f}% of it, while train has {found['speakers']:.0f}")
    if found["far"] > FAR:
        out.append(f"its recordings sound unlike those of train (features {found['far']:.1f} standard deviations away)")
    if not 1 / FASTER < found["rate"] < FASTER:
        out.append(f"it has {found['rate']:.1f} times as many words a second as train")
    if not 1 / LONGER < found["duration"] < LONGER:
        out.append(f"its utterances are {found['duration']:.1f} times as long as those of train")
    return [f"dev: {'; '.join(out)}. {REMEDY}"] if out else []


def _means(cuts: Sequence[Any], load: Callable) -> Iterator[np.ndarray]:
    """The mean features of some utterances, the same on every run: (F,) each."""
    for cut in cuts[:: max(1, len(cuts) // SAMPLE)]:
        yield load(cut).mean(0)
