"""Objects that another process opens again from the same files, where their content is large or can't be pickled."""

import pickle
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

Own = TypeVar("Own", bound="Reopened")
_opened: Dict[Callable[..., Any], Tuple[bytes, Any]] = {}  # in this process: opening function -> its call, what it gave


class Reopened:
    """Is pickled as the call that opens it: models, graphs and tables stay out of what is sent, and each process reads them once.

    The function that opens it ends with `opened_by`. What changes afterwards does not reach other processes.
    """

    _opening: Optional[Tuple[Callable[..., Any], Tuple[Any, ...]]] = None

    def opened_by(self: Own, function: Callable[..., Own], *arguments: Any) -> Own:
        """This object, for which other processes call `function(*arguments)`, both of which can be pickled."""
        self._opening = (function, arguments)
        return self

    def __reduce__(self) -> Tuple[Callable[[bytes], Any], Tuple[bytes]]:
        """How pickle sends it."""
        if self._opening is None:
            raise pickle.PicklingError(f"nothing says how {type(self).__name__} is opened in another process")
        return _again, (pickle.dumps(self._opening),)


def _again(call: bytes) -> Any:
    """What a call opens. Of each function, the process keeps only what the last call gave, so that memory stays bounded."""
    function, arguments = pickle.loads(call)
    before, found = _opened.get(function, (b"", None))
    if before != call:
        del found
        _opened.pop(function, None)  # frees the memory before the next one takes it
        found = function(*arguments)
        _opened[function] = (call, found)
    return found


def forget() -> None:
    """Let go of all that was opened: the files may be others in the next run."""
    _opened.clear()
