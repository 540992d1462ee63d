"""The recogniser that makes the finals, with more doors: commands, what later queries need, and these queries."""

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from utils.bundle.evidence import Rows
from utils.bundle.recogniser import Recogniser
from utils.commands.recognise import Answer, Commands
from utils.core.errors import UserError
from utils.recognition.outcomes import Segment
from utils.search.contents import Indexed, Listening, Window
from utils.search.index import Hit, Index, key_of
from utils.search.shards import About, Source, shard_of


class Grammars(NamedTuple):
    """Grammars to open with a recogniser."""

    files: Mapping[str, Path]  # name -> YAML
    slots: Mapping[str, Sequence[str]] = {}  # values in place of those of the files
    ambiguous: str = "refuse"  # or first


class Past(NamedTuple):
    """A finished segment of a stream, as later queries need it."""

    segment: int
    start: float  # seconds
    seconds: float  # length
    window: Window


class Doors(Recogniser):
    """A `Recogniser` for `utils.live.live.Live`, which may stand in a process of its own: all that goes in and out is data."""

    grammars: Dict[str, Commands] = {}
    _asked: Optional[About] = None
    _rows: Optional[Tuple[Tuple[str, ...], Rows]] = None

    @classmethod
    def open(cls, path: Union[str, Path], engine: str = "k2", *given: Any, **options: Any) -> "Doors":
        """As `Recogniser.open`, with grammars: a `Grammars`. Raises UserError as `Commands.open` does, too."""
        grammars = options.pop("grammars", None)
        made = super().open(path, engine, *given, **options)
        assert isinstance(made, Doors)
        if grammars is not None:
            more = (grammars.slots, grammars.ambiguous)
            made.grammars = {name: Commands.open(file, made, *more) for name, file in grammars.files.items()}
        return made

    def can_find(self) -> str:
        """Why `found` would not work with this bundle; empty where it does."""
        try:
            about = self._about()
        except UserError as error:
            return str(error)
        return "" if about.units and about.dim else "this bundle has no word vectors or no sub-word head, and search needs both"

    def _about(self) -> About:
        if self._asked is None:
            nothing = self.evidence([(np.zeros(self.rate, np.float32), self.rate)])[0]
            sizes, seconds = (nothing.subword.shape[1], nothing.frames.shape[1]), (nothing.subword_seconds, nothing.word_seconds)
            self._asked = About(key_of(self.manifest), *sizes, seconds, self.language)
            self.table()  # so that an engine without rows says it now
        return self._asked

    def table(self) -> Rows:
        """`rows()` of the vocabulary, made once for the words of now."""
        now = tuple(self.added)
        if self._rows is None or self._rows[0] != now:
            self._rows = (now, self.rows())
        return self._rows[1]

    def understood(self, grammar: str, samples: np.ndarray, rate: int) -> Answer:
        """The command of one of the grammars, by name."""
        return self.grammars[grammar].recognise(samples, rate)

    def remembered(self, samples: np.ndarray, rate: int) -> Indexed:
        """As `transcribe`, with what later queries need. Raises UserError for an engine that can't give it."""
        return Listening(self, self.table()).transcribe_many([(samples, rate)])[0]

    def found(self, kept: Sequence[Past], text: str, most: int, seconds: float) -> List[Tuple[int, Hit]]:
        """Where a term was said, the surest first, each with its segment.

        Args:
          kept: at least one, in their order.
          text: words, known to the model or not.
          most: hits.
          seconds: of the stream.
        Raises:
          UserError: a text without a word, or with one that the model has no pronunciation or no vector for.
        """
        about = self._about()
        said = [Segment(one.start, Indexed([], [], one.seconds, window=one.window)) for one in kept]
        index = Index([shard_of([(Source("", {}, seconds), said)], about)], about.seconds, self, self.table())
        (hits,) = index.find(index.queries([text]), most=most)
        starts = [one.start for one in kept]
        return [(kept[max(0, int(np.searchsorted(starts, hit.start + 1e-3)) - 1)].segment, hit) for hit in hits]
