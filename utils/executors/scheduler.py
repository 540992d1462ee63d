"""Whether the scheduler of a Dask cluster is there. Standard library only, so that an option is refused before anything runs."""

import re
import socket

from utils.core.errors import UserError

ANSWER = 10.0  # seconds that it has
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):(\d{1,5})")


class Unusable(UserError):
    """The cluster can't make pieces, whatever they are: it is gone, has no worker, or one that can't take part."""


def is_address(text: str) -> bool:
    """Whether a text has the form of an address, tcp://HOST:PORT."""
    return bool(_ADDRESS.fullmatch(text))


def reach(address: str) -> None:
    """Raise OSError where nothing listens at an address."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise OSError(f"{address} is no address")
    try:
        socket.create_connection((found[2].strip("[]"), int(found[3])), timeout=ANSWER).close()
    except (OverflowError, UnicodeError) as error:  # no such port, no name
        raise OSError(str(error)) from None


def absent(address: str, error: BaseException) -> str:
    """What to say where no scheduler answers."""
    said = str(error) or type(error).__name__
    return f"--scheduler {address}: no Dask scheduler answers there ({said}); start one, or leave --scheduler out"
