"""The word-vector space: word vectors from spelling and meaning, and the head that maps speech into it.

    e_w = normalise(A spelling(w) + B pronunciation(w) + g_w C meaning(w))

A word with several pronunciations gets the mean of their vectors. Phones in IPA are known by their articulatory features too, so
that a phone that no training word has still has a place. g_w is 0 if the meaning of w is not known. In each training step a
random share of the words lacks one of its parts, but never both spelling and pronunciation.
"""

from typing import Dict, Mapping, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SymbolEncoder(nn.Module):
    """Letters or phones of a word -> vector: embeddings of symbol and position (from both ends), two convolutions, pooling."""

    places = 24  # symbols further from the ends share a position
    reach = 2  # of the wider kernel, to each side
    hidden = 0.3  # share of the symbols with features that have nothing else in a training step

    def __init__(self, letters: int, dim: int, width: int = 64, features: Optional[Tensor] = None) -> None:
        """features: (1 + letters, F) of the symbols, by id; None where they are known by themselves alone."""
        super().__init__()
        self.letter = nn.Embedding(letters + 1, width, padding_idx=0)
        self.register_buffer("features", features, persistent=False)
        if features is not None:
            self.of_features = nn.Linear(features.shape[1], width, bias=False)
        self.from_start = nn.Embedding(self.places, width)
        self.from_end = nn.Embedding(self.places, width)
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(width, 2 * width, 5, padding=2), nn.Conv1d(2 * width, 2 * width, 3, padding=1)]
        )
        self.output = nn.Linear(4 * width, dim)

    def forward(self, letters: Tensor) -> Tensor:
        """letters: (W, L), ids from 1, padded with 0 -> (W, dim).

        The words are concatenated with room for the reach of a kernel between them, which takes less work than a padded batch.
        """
        lengths = (letters > 0).sum(1)
        letters = letters[:, : max(1, int(lengths.max()))].long()  # the longest of these words
        valid = letters > 0
        place = torch.arange(letters.shape[1], device=letters.device).expand_as(letters)
        behind = lengths[:, None] - 1 - place
        ends = (lengths + self.reach).cumsum(0)
        where = (ends - lengths - self.reach)[:, None] + place  # (W, L)
        said = where[valid]
        x = (
            self._symbols(letters[valid])
            + self.from_start(place[valid].clamp(max=self.places - 1))
            + self.from_end(behind[valid].clamp(max=self.places - 1))
        )
        x = x.new_zeros(int(ends[-1]), x.shape[1]).index_copy(0, said, x).T[None]
        there = x.new_zeros(x.shape[2]).index_fill(0, said, 1.0)
        for convolution in self.convolutions:
            x = F.silu(convolution(x)) * there
        x = x[0].T[where.clamp(max=x.shape[2] - 1)] * valid[..., None]  # (W, L, 2 width)
        mean = x.sum(1) / lengths.clamp(min=1)[:, None]
        highest = x.masked_fill(~valid[..., None], -1e4).amax(1)
        return self.output(torch.cat((mean, highest), 1))

    def _symbols(self, ids: Tensor) -> Tensor:
        """ids: (S,) -> (S, width). Ids beyond the training's, which have a row of `features`, have nothing else."""
        if self.features is None:
            return self.letter(ids)
        known = ids < self.letter.num_embeddings
        if self.training:
            known = known & (torch.rand(len(self.features), device=ids.device) >= self.hidden)[ids]
        return self.letter(ids * known) + self.of_features(self.features[ids])


class WordVectors(nn.Module):
    """Composes e_w from the parts that `table` has (see utils/vectors/table.py)."""

    def __init__(self, table: Dict[str, Tensor], dim: int) -> None:
        super().__init__()
        self.spelling: Optional[SymbolEncoder] = None
        self.pronunciation: Optional[SymbolEncoder] = None
        self.meaning: Optional[nn.Linear] = None
        self.register_buffer("letters", table.get("letters"), persistent=False)
        self.register_buffer("phones", table.get("phones"), persistent=False)
        self.register_buffer("vectors", table.get("meaning"), persistent=False)
        self.register_buffer("known", table["known"].float() if "known" in table else None, persistent=False)
        if self.letters is not None:
            self.spelling = SymbolEncoder(int(self.letters.max()), dim)
        if self.phones is not None:
            self.pronunciation = SymbolEncoder(int(self.phones.max()), dim, features=table.get("phone_features"))
        if self.vectors is not None:
            self.meaning = nn.Linear(self.vectors.shape[1], dim, bias=False)

    def forward(self, words: Tensor, dropout: Mapping[str, float] = {}) -> Tensor:
        """words: (W,), row numbers of the table -> (W, dim), unit length.

        A word without any part (only meaning is used, and its meaning is not known) gets the zero vector, with a cosine of 0 to
        all.

        Args:
          dropout: part (spelling, pronunciation, meaning) -> share of the words that lack it in a training step.
        """
        return self.compose(
            None if self.letters is None else self.letters[words],
            None if self.phones is None else self.phones[words],
            None if self.vectors is None else self.vectors[words],
            None if self.vectors is None else self.known[words],
            dropout if self.training else {},
        )

    def joined(self, first: Tensor, second: Tensor) -> Tensor:
        """Vectors (W, dim) of pairs of words as one word, spellings and pronunciations joined; first, second: (W,), rows."""
        letters = phones = None
        if self.letters is not None:
            letters = _on_end(self.letters[first], self.letters[second])
        if self.phones is not None:
            phones = _on_end(self.phones[first, 0], self.phones[second, 0])[:, None]
        meaning = None if self.vectors is None else self.vectors.new_zeros(len(first), self.vectors.shape[1])
        return self.compose(letters, phones, meaning, None if meaning is None else meaning[:, 0])

    def compose(
        self,
        letters: Optional[Tensor],
        phones: Optional[Tensor],
        meaning: Optional[Tensor],
        known: Optional[Tensor],
        dropout: Mapping[str, float] = {},
    ) -> Tensor:
        """Vectors (W, dim) of any words from their parts.

        Args:
          letters: (W, L); phones: (W, K, P), of K pronunciations; meaning: (W, D); None for a part that the model does not have.
          known: (W,), 1 if the meaning is known, else 0.
          dropout: as in `forward`.
        """
        parts: Dict[str, Tensor] = {}
        if self.spelling is not None:
            parts["spelling"] = self._spelled(letters)
        if self.pronunciation is not None:
            parts["pronunciation"] = self._pronounced(phones)
        if self.meaning is not None:
            assert known is not None, "this model's vectors have a part of meaning"
            parts["meaning"] = known[:, None] * self.meaning(meaning)
        some = next(iter(parts.values()))
        one, two = torch.rand(2, len(some), 1, device=some.device)
        shares = [dropout.get(part, 0.0) for part in ("spelling", "pronunciation")]
        if len(parts.keys() & {"spelling", "pronunciation"}) == 2:  # at most one of the two
            parts["spelling"] = parts["spelling"] * (one >= shares[0])
            parts["pronunciation"] = parts["pronunciation"] * ((one < shares[0]) | (one >= sum(shares)))
        if "meaning" in parts and len(parts) > 1:
            parts["meaning"] = parts["meaning"] * (two >= dropout.get("meaning", 0.0))
        return F.normalize(sum(parts.values()), dim=-1)

    def _spelled(self, letters: Tensor) -> Tensor:
        """letters: (W, L) -> (W, dim), zeros for a word without any, though the encoder has a bias."""
        assert self.spelling is not None
        there = (letters > 0).any(1, keepdim=True)
        return self.spelling(letters if letters.shape[1] else F.pad(letters, (0, 1))) * there

    def _pronounced(self, phones: Tensor) -> Tensor:
        """phones: (W, K, P) -> (W, dim), the mean over the pronunciations of each word, zeros if it has none."""
        there = phones[:, :, 0] > 0 if phones.shape[2] else phones.new_zeros(phones.shape[:2], dtype=torch.bool)
        assert self.pronunciation is not None
        total = self.pronunciation.output.weight.new_zeros(len(phones), self.pronunciation.output.out_features)
        if there.any():
            total = total.index_add(0, torch.nonzero(there)[:, 0], self.pronunciation(phones[there]))
        return total / there.sum(1, keepdim=True).clamp(min=1)


def _on_end(first: Tensor, second: Tensor) -> Tensor:
    """Concatenate sequences row by row: (W, L), (W, L), padded with 0 at the end -> (W, 2 L), padded likewise."""
    both = torch.cat((first, second), 1)
    return both.gather(1, (both == 0).long().sort(dim=1, stable=True).indices)


class SoftmaxTable(nn.Module):
    """The control: a learned vector and bias for each word, as in any word-level CTC; it has no rows for other words."""

    def __init__(self, words: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(words, dim) * dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(words))


class WordTable(NamedTuple):
    """What the word head scores frames against: W words."""

    vectors: Tensor  # (W, dim)
    bias: Tensor  # (W,), added to the words' scores


class WordHead(nn.Module):
    """Encoder frames at 80 ms -> vectors in the word space, and a learned score of the blank."""

    def __init__(self, encoder_dim: int, dim: int, words: Union[WordVectors, SoftmaxTable]) -> None:
        super().__init__()
        self.output = nn.Linear(encoder_dim, dim)
        self.blank = nn.Linear(encoder_dim, 1)
        self.words = words
        self.log_scale = nn.Parameter(torch.tensor(2.7))  # multiplies cosines by 15 at first

    def forward(self, h: Tensor) -> Tuple[Tensor, Tensor]:
        """h: (N, T, C) -> frame vectors (N, T, dim), multiplied by the scale, and scores of the blank (N, T)."""
        z, blank = self.output(h).float(), self.blank(h)[..., 0].float()  # half precision is too coarse
        if isinstance(self.words, WordVectors):
            z = F.normalize(z, dim=-1) * self.log_scale.exp()
        return z, blank

    def table(self, words: Tensor, dropout: Mapping[str, float] = {}) -> WordTable:
        """The table of some words; words: (W,), row numbers."""
        if isinstance(self.words, WordVectors):
            return WordTable(self.words(words, dropout), torch.zeros(len(words), device=words.device))
        return WordTable(self.words.weight[words], self.words.bias[words])


def word_scores(frames: Tensor, blank: Tensor, vectors: Tensor, bias: Union[Tensor, float] = 0.0) -> Tensor:
    """Scores of the blank and of words before the softmax. Training, decoding, rescoring and adding words all use this function.

    The bias is added in place: with a table of 200,000 words the scores take most of the memory of decoding.

    Args:
      frames: (..., T, dim), frame vectors from `WordHead`.
      blank: (..., T), scores of the blank.
      vectors: (W, dim), a table of word vectors.
      bias: (W,), added to the words' scores.
    Returns:
      (..., T, 1 + W), blank first.
    """
    return torch.cat((blank[..., None], (frames @ vectors.T).add_(bias)), -1)
