"""The word-vector space: word vectors from spelling and meaning, and the head that maps speech into it.

    e_w = normalise(A spelling(w) + g_w C meaning(w))

g_w is 0 where the meaning of w is not known, and for a random share of the words in each training step.
"""

from typing import Dict, Optional, Tuple, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LetterEncoder(nn.Module):
    """Letters of a word -> vector: embeddings of letter and place (from both ends), two convolutions, pooling."""

    places = 24  # beyond it letters share a place

    def __init__(self, letters: int, dim: int, width: int = 64) -> None:
        super().__init__()
        self.letter = nn.Embedding(letters + 1, width, padding_idx=0)
        self.from_start = nn.Embedding(self.places, width)
        self.from_end = nn.Embedding(self.places, width)
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(width, 2 * width, 5, padding=2), nn.Conv1d(2 * width, 2 * width, 3, padding=1)]
        )
        self.output = nn.Linear(4 * width, dim)

    def forward(self, letters: Tensor) -> Tensor:
        """letters: (W, L), ids from 1, padded with 0 -> (W, dim)."""
        letters = letters[:, : max(1, int((letters > 0).sum(1).max()))]  # the longest of these words
        valid = (letters > 0).float()
        place = torch.arange(letters.shape[1], device=letters.device).expand_as(letters)
        behind = (valid.sum(1, keepdim=True).long() - 1 - place).clamp(min=0)
        x = (
            self.letter(letters)
            + self.from_start(place.clamp(max=self.places - 1))
            + self.from_end(behind.clamp(max=self.places - 1))
        )
        x = (x * valid[..., None]).transpose(1, 2)
        for convolution in self.convolutions:
            x = F.silu(convolution(x)) * valid[:, None]
        mean = x.sum(2) / valid.sum(1, keepdim=True).clamp(min=1)
        highest = x.masked_fill(valid[:, None] == 0, -1e4).amax(2)
        return self.output(torch.cat((mean, highest), 1))


class WordVectors(nn.Module):
    """The table e_w, composed from whatever parts `table` holds (see utils/vectors.py)."""

    def __init__(self, table: Dict[str, Tensor], dim: int) -> None:
        super().__init__()
        self.spelling: Optional[LetterEncoder] = None
        self.meaning: Optional[nn.Linear] = None
        self.register_buffer("letters", table.get("letters"), persistent=False)
        self.register_buffer("vectors", table.get("meaning"), persistent=False)
        self.register_buffer("known", table["known"].float() if "known" in table else None, persistent=False)
        if self.letters is not None:
            self.spelling = LetterEncoder(int(self.letters.max()), dim)
        if self.vectors is not None:
            self.meaning = nn.Linear(self.vectors.shape[1], dim, bias=False)

    def forward(self, words: Tensor, meaning_dropout: float = 0.0) -> Tensor:
        """words: (W,), row numbers of the table -> (W, dim), unit length.

        A word that no part can place (meaning alone, and its meaning not known) gets the zero vector: cosine 0 with everything.
        """
        parts = []
        if self.spelling is not None:
            parts.append(self.spelling(self.letters[words]))
        if self.meaning is not None:
            gate = self.known[words]
            if self.training and self.spelling is not None and meaning_dropout > 0:
                gate = gate * (torch.rand_like(gate) >= meaning_dropout)
            parts.append(gate[:, None] * self.meaning(self.vectors[words]))
        return F.normalize(sum(parts), dim=-1)


class SoftmaxTable(nn.Module):
    """The control: a learned vector and bias a word, as any word-level CTC has; it knows no word beyond training."""

    def __init__(self, words: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(words, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(words))


class WordHead(nn.Module):
    """Encoder frames at 80 ms -> the space of the word vectors, and a learned score of the blank."""

    def __init__(self, encoder_dim: int, dim: int, words: Union[WordVectors, SoftmaxTable]) -> None:
        super().__init__()
        self.output = nn.Linear(encoder_dim, dim)
        self.blank = nn.Linear(encoder_dim, 1)
        self.words = words
        self.log_scale = nn.Parameter(torch.tensor(2.7))  # cosines times 15 at the start

    def forward(self, h: Tensor) -> Tuple[Tensor, Tensor]:
        """h: (N, T, C) -> frame vectors (N, T, dim), times the scale, and blank scores (N, T)."""
        z, blank = self.output(h).float(), self.blank(h)[..., 0].float()  # cosines and their softmax are not for half precision
        if isinstance(self.words, WordVectors):
            z = F.normalize(z, dim=-1) * self.log_scale.exp()
        return z, blank

    def table(self, words: Tensor, meaning_dropout: float = 0.0) -> Tuple[Tensor, Tensor]:
        """words: (W,), row numbers -> vectors (W, dim) and biases (W,)."""
        if isinstance(self.words, WordVectors):
            return self.words(words, meaning_dropout), torch.zeros(len(words), device=words.device)
        return self.words.weight[words], self.words.bias[words]


def word_log_probs(z: Tensor, blank: Tensor, vectors: Tensor, bias: Tensor) -> Tensor:
    """Frame vectors (N, T, dim), blank scores (N, T), a table (W, dim), (W,) -> log-probabilities (N, T, 1 + W), blank first."""
    return torch.cat((blank[..., None], z @ vectors.T + bias), -1).log_softmax(-1)
