"""What may follow a stream beside its words; `utils.watching` has one."""

from typing import Optional, Protocol, Union

import numpy as np

from utils.bundle.transcript import Transcript
from utils.live.first_pass import Open
from utils.live.segments import Segment


class Watch(Protocol):
    """Follows one stream. It must not block: what takes long is done in a thread of its own."""

    after: float  # seconds that the first pass hears for it after the end of speech, beyond what it hears for the words

    @property
    def backlog(self) -> float:
        """Seconds of the stream that wait to be watched."""

    def accept(self, samples: np.ndarray) -> None:
        """The stream took (T,) more samples."""

    def heard(self, start: float, segment: Open) -> None:
        """The first pass heard more of the open segment, which begins at `start` seconds."""

    def closed(self, segment: Segment, heard: Optional[Open]) -> None:
        """A segment ended; `heard`: what the first pass has of it, which nobody else uses any more."""

    def transcribe(self, samples: np.ndarray, rate: int) -> Transcript:
        """The final words of a segment, in place of the recogniser's `transcribe`."""

    def final(self, segment: Segment, found: Union[Transcript, str]) -> None:
        """The words of a segment were told, or why there are none."""

    def finish(self) -> bool:
        """Nothing follows. Whether all was told; if not, the stream is asked again once it was."""
