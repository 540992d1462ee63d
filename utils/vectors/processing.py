"""What is done to the raw vectors of a source: centring, removal of the strongest components, PCA, scaling."""

from dataclasses import asdict, dataclass
from typing import Dict

import numpy as np
import torch
from torch import Tensor

from utils.core.errors import UserError


@dataclass(frozen=True)
class Processing:
    """Centring, removal of top components (all-but-the-top: Mu and Viswanath 2018), PCA, scaling to a mean square length of 1.

    It is learned from the table's words, and applied to words that are added later too.
    """

    mean: Tensor  # (D,)
    removed: Tensor  # (k, D), orthonormal: the strongest directions, which tell little but how frequent a word is
    axes: Tensor  # (width, D), orthonormal: the directions that PCA keeps; (0, D) without PCA
    scale: Tensor  # ()

    @classmethod
    def learn(cls, vectors: np.ndarray, remove: int, width: int) -> "Processing":
        """Learn from vectors (n, D).

        Args:
          remove: top components to remove.
          width: dimensions that PCA keeps; 0 for all.
        Raises:
          UserError: `remove` and `width` need more components than there are.
        """
        if remove + width > min(vectors.shape):
            raise UserError(
                f"vectors.meaning.remove={remove} and vectors.meaning.width={width} need {remove + width} components; "
                f"{vectors.shape[0]} words of {vectors.shape[1]} dimensions have {min(vectors.shape)}"
            )
        x = torch.from_numpy(vectors).double()
        mean = x.mean(0)
        axes = torch.linalg.svd(x - mean, full_matrices=False)[2] if remove or width else x[:0]
        made = cls(mean, axes[:remove], axes[remove : remove + width], torch.tensor(1.0, dtype=torch.float64))
        scale = made(vectors).square().sum(1).mean().sqrt().clamp(min=1e-8)
        return cls(mean, made.removed, made.axes, scale.double())

    def __call__(self, vectors: np.ndarray) -> Tensor:
        """(n, D) -> (n, width or D), float32."""
        x = torch.from_numpy(vectors).double() - self.mean
        x = x - x @ self.removed.T @ self.removed
        return ((x @ self.axes.T if len(self.axes) else x) / self.scale).float()

    def of(self, vectors: np.ndarray, known: np.ndarray) -> Tensor:
        """As above, with zeros for words that the source lacks; known: (n,) bool."""
        return self(np.asarray(vectors, dtype=np.float32)) * torch.from_numpy(known)[:, None]

    def tensors(self) -> Dict[str, Tensor]:
        """For safetensors; `Processing(**tensors)` restores it."""
        return {name: value.contiguous() for name, value in asdict(self).items()}


def of_trained(vectors: np.ndarray, known: np.ndarray, trained: int, width: int, where: str) -> Tensor:
    """Centre and scale vectors by statistics of the training vocabulary: (W, D) -> (W, D or width), zeros for unknown words.

    Args:
      known: (W,) bool.
      trained: number of words of the training vocabulary, which come first.
      width: dimensions that PCA keeps if there are more; 0 for all.
      where: the option that names the vectors, for the message.
    Raises:
      UserError: no word of the training vocabulary is known.
    """
    if not known[:trained].any():
        raise UserError(f"{where} has none of the {trained} words; is it of another language, or cased?")
    found = np.asarray(vectors, np.float32)[:trained][known[:trained]]
    return Processing.learn(found, 0, width if 0 < width < min(found.shape) else 0).of(vectors, known)
