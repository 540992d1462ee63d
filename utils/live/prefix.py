"""The part of a partial that stays: two first passes in a row agree on it (Liu et al. 2020, "local agreement")."""

from typing import List, Sequence, Tuple

from utils.bundle.transcript import Word


class Prefix:
    """The words of an open segment as first passes find them. What was stable once never changes."""

    def __init__(self) -> None:
        self.stable: List[Word] = []
        self._rest: List[Word] = []  # the words after them, of the last pass

    def update(self, words: Sequence[Word]) -> Tuple[List[Word], int]:
        """Take the words of another pass, with times in the segment.

        Returns:
          the words to show, and how many of them, from the first, are stable.
        """
        rest = self._after(words)
        agreed = 0
        while agreed < min(len(rest), len(self._rest)) and rest[agreed].text == self._rest[agreed].text:
            agreed += 1
        self.stable += rest[:agreed]
        self._rest = rest[agreed:]
        return [*self.stable, *self._rest], len(self.stable)

    def _after(self, words: Sequence[Word]) -> List[Word]:
        """Those of the words that follow the stable ones."""
        stable = [word.text for word in self.stable]
        if [word.text for word in words[: len(stable)]] == stable:
            return list(words[len(stable) :])
        return [word for word in words if (word.start + word.end) / 2 > self.stable[-1].end]
