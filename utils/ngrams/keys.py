"""N-grams as numbers that sort like them: word ids packed into one or two unsigned 64-bit integers.

Two orders of an n-gram w1 .. wn are used, most significant word first. In *suffix order*, wn .. w1, all n-grams with the same
last words are neighbours. In *context order*, w(n-1) .. w1 wn, all n-grams of one context are. (Heafield et al. 2013, section 3.)
The context of an n-gram in context order is an (n-1)-gram in suffix order.
"""

from dataclasses import dataclass
from typing import Any, List, Sequence

import numpy as np

from utils.core.errors import UserError

Keys = Any  # np.ndarray: (N, width), uint64, the most significant integer first
WORD = 64


@dataclass(frozen=True)
class Packing:
    """How n-grams up to `order` are packed, `bits` a word.

    Raises:
      UserError: they don't fit into 128 bits.
    """

    bits: int
    order: int

    def __post_init__(self) -> None:
        if self.bits * self.order > 2 * WORD:
            raise UserError(
                f"{self.order}-grams of a vocabulary of 2^{self.bits} words don't fit into 128 bits: "
                f"at most {2 * WORD // self.bits}-grams do; choose a lower order, or fewer words"
            )

    @classmethod
    def of(cls, ids: int, order: int) -> "Packing":
        """For ids 0 .. ids - 1."""
        return cls(max(1, (ids - 1).bit_length()), order)

    @property
    def width(self) -> int:
        """Integers an n-gram."""
        return 1 if self.bits * self.order <= WORD else 2

    def pack(self, columns: Sequence[np.ndarray]) -> Keys:
        """Keys of columns of word ids, the most significant first."""
        keys = np.zeros((len(columns[0]), self.width), np.uint64)
        for column in columns:
            keys = _left(keys, self.bits)
            keys[:, -1] |= column.astype(np.uint64)
        return keys

    def at(self, keys: Keys, place: int) -> np.ndarray:
        """Word ids at a place, counted from the least significant."""
        return (_right(keys, place * self.bits)[:, -1] & np.uint64((1 << self.bits) - 1)).astype(np.int64)

    def shorter(self, keys: Keys) -> Keys:
        """Without the least significant word: the suffix of an n-gram in suffix order, the context of one in context order."""
        return _right(keys, self.bits)

    def lower(self, keys: Keys) -> Keys:
        """w2 .. wn in context order, of n-grams in context order."""
        low = _right(_left(keys, self.width * WORD - self.bits), self.width * WORD - self.bits)
        return _left(_right(keys, 2 * self.bits), self.bits) | low

    def by_context(self, keys: Keys, n: int) -> Keys:
        """n-grams in context order, of those in suffix order."""
        above = self.width * WORD - (n - 1) * self.bits
        rest = _right(_left(keys, above), above) if n > 1 else np.zeros_like(keys)
        out = _left(rest, self.bits)
        out[:, -1] |= self.at(keys, n - 1).astype(np.uint64)
        return out

    def by_suffix(self, keys: Keys, n: int) -> Keys:
        """n-grams in suffix order, of those in context order."""
        last = np.zeros_like(keys)
        last[:, -1] = self.at(keys, 0).astype(np.uint64)
        return self.shorter(keys) | _left(last, (n - 1) * self.bits)

    def words(self, keys: Keys, n: int) -> List[np.ndarray]:
        """Columns of word ids w1 .. wn, of n-grams in context order."""
        return [self.at(keys, place) for place in (*range(1, n), 0)]


def sorting(keys: Keys) -> np.ndarray:
    """The permutation that sorts keys."""
    return np.argsort(keys[:, 0]) if keys.shape[1] == 1 else np.lexsort((keys[:, 1], keys[:, 0]))


def first_of_each(keys: Keys) -> np.ndarray:
    """Rows, (G,), at which another key begins; keys: sorted."""
    if not len(keys):
        return np.zeros(0, np.int64)
    different = (keys[1:] != keys[:-1]).any(axis=1) if keys.shape[1] > 1 else keys[1:, 0] != keys[:-1, 0]
    return np.concatenate([[0], np.flatnonzero(different) + 1])


def find(table: Keys, wanted: Keys) -> np.ndarray:
    """The row of each wanted key in a sorted table of different keys; -1 where it has none."""
    if not len(table) or not len(wanted):
        return np.full(len(wanted), -1, np.int64)
    if table.shape[1] == 1:
        rows = np.searchsorted(table[:, 0], wanted[:, 0])
    else:  # below every wanted key are as many keys as a stable sort of both, wanted keys first, puts before it
        order = sorting(np.concatenate([wanted, table]))
        of_table = order >= len(wanted)
        rows = np.empty(len(wanted), np.int64)
        rows[order[~of_table]] = np.cumsum(of_table)[~of_table]
    rows = np.minimum(rows, len(table) - 1)
    return np.where((table[rows] == wanted).all(axis=1), rows, -1)


def position(table: Keys, key: Sequence[int]) -> int:
    """The first row of a sorted table, which may be on a disk, whose key is not below `key`."""
    value = np.uint64(key[0])
    first = int(np.searchsorted(table[:, 0], value))
    if len(key) == 1:
        return first
    last = int(np.searchsorted(table[:, 0], value, "right"))
    return first + int(np.searchsorted(table[first:last, 1], np.uint64(key[1])))


def _right(keys: Keys, bits: int) -> Keys:
    """Shifted to the right."""
    if bits == 0:
        return keys.copy()
    if keys.shape[1] == 1:
        return keys >> np.uint64(bits) if bits < WORD else np.zeros_like(keys)
    out = np.zeros_like(keys)
    high, low = keys[:, 0], keys[:, 1]
    if bits < WORD:
        out[:, 0] = high >> np.uint64(bits)
        out[:, 1] = (low >> np.uint64(bits)) | (high << np.uint64(WORD - bits))
    elif bits < 2 * WORD:
        out[:, 1] = high >> np.uint64(bits - WORD)
    return out


def _left(keys: Keys, bits: int) -> Keys:
    """Shifted to the left; what leaves is lost."""
    if bits == 0:
        return keys.copy()
    if keys.shape[1] == 1:
        return keys << np.uint64(bits) if bits < WORD else np.zeros_like(keys)
    out = np.zeros_like(keys)
    high, low = keys[:, 0], keys[:, 1]
    if bits < WORD:
        out[:, 0] = (high << np.uint64(bits)) | (low >> np.uint64(WORD - bits))
        out[:, 1] = low << np.uint64(bits)
    elif bits < 2 * WORD:
        out[:, 0] = low << np.uint64(bits - WORD)
    return out
