"""What a trained model makes of recordings of single words: a vector, and sub-word units."""

from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from utils.core.errors import UserError
from utils.corpus.audio import whole
from utils.features.extraction import audio
from utils.features.front_end import FrontEnd
from utils.features.front_ends import make
from utils.lang.lexicon import Lexicon
from utils.nn.ctc import greedy
from utils.nn.model import AcousticModel
from utils.pipeline.config import made_with
from utils.train.dataset import Features
from utils.vectors.wordvec import word_scores


@torch.no_grad()
def of_recordings(
    files: Sequence[Path],
    model: AcousticModel,
    table: Tensor,
    lexicon: Lexicon,
    folders: Mapping[str, Path],
    front_end: Optional[FrontEnd] = None,
) -> Tuple[Tensor, List[Tuple[str, ...]]]:
    """The vector of one word, and the units that the sub-word head finds in its recordings.

    Args:
      files: recordings of the word alone.
      table: (V, dim), the word head's vectors of the model's words.
      folders: of finished stages, by name.
      front_end: that of the features, where it is loaded already.
    Returns:
      (dim,), of unit length; different sequences of units.
    Raises:
      UserError: a recording that can't be read, or has no features, for example one that is too short.
    """
    settings = made_with(folders["features"])
    front_end = front_end or make(settings.features, settings.data.sampling_rate)
    features = Features(folders["features"], 0.0)
    frames, blanks, units = [], [], []
    for file in files:
        with whole(file) as cut:
            (x,) = front_end.extract([audio(cut, settings.data.sampling_rate, settings.features.denoise)])
        if isinstance(x, Exception):
            raise UserError(f"--audio {file}: {x}")
        x = features.normalise(torch.from_numpy(x), "")
        output = model(x[None], torch.tensor([len(x)]))
        scores = word_scores(output.frames, output.blank, table)[0]
        frames.append(output.frames[0])
        blanks.append(scores.softmax(-1)[:, 0])
        if output.subword is not None:
            units += [tuple(lexicon.tokens[i - 1] for i in ids) for ids in greedy(output.subword, output.subword_lengths)]
    return mean_vector(frames, blanks), list(dict.fromkeys(u for u in units if u))


def mean_vector(frames: Sequence[Tensor], blanks: Sequence[Tensor]) -> Tensor:
    """The vector of a word from its recordings: the mean of the word head's frames, each weighted by 1 - p(blank).

    Args:
      frames: (T, dim) for each recording.
      blanks: (T,), probability of the blank, likewise.
    Returns:
      (dim,), of unit length.
    """
    total = sum(((1 - blank)[:, None] * F.normalize(one, dim=-1)).sum(0) for one, blank in zip(frames, blanks))
    return F.normalize(total, dim=-1)
