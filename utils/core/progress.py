"""Progress bars where tqdm is installed. Recognising without torch needs few packages, and this is not one of them."""

from typing import Any, Iterable, Iterator, Optional

try:
    from tqdm import tqdm
except ImportError:

    class tqdm:  # type: ignore[no-redef] # noqa: N801 - the same name
        """What is used of tqdm, without a bar."""

        n: float = 0

        def __init__(self, iterable: Optional[Iterable[Any]] = None, **settings: Any) -> None:
            self._iterable = iterable

        def __iter__(self) -> Iterator[Any]:
            return iter(self._iterable or ())

        def __enter__(self) -> "tqdm":
            return self

        def __exit__(self, *error: Any) -> None:
            pass

        def update(self, n: float = 1) -> None:
            """Nothing."""

        def set_postfix_str(self, text: str) -> None:
            """Nothing."""


__all__ = ["tqdm"]
