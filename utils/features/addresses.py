"""Bytes of a file in a folder, on a web server, or in a store that smart_open knows (s3://, gs://, az://)."""

import http.client
import time
import urllib.error
import urllib.request
from typing import Any, Callable, Optional

from utils.core.download import TIMEOUT, root_cause
from utils.core.errors import UserError

WAITS = (1.0, 5.0)  # seconds before a server is asked again


def read(address: str, first: int = 0, size: Optional[int] = None) -> bytes:
    """`size` bytes of a file from byte `first` on, or as many as there are; None: all.

    A server that fails is asked again, twice.

    Raises:
      UserError: the file is missing or can't be read; names it.
    """
    remote = "://" in address
    for wait in (*WAITS, None) if remote else (None,):
        try:
            return _read(address, first, size)
        except ImportError as error:
            raise UserError(f"{address} needs a package: {' '.join(str(error).split())}") from None
        except MemoryError:
            raise
        except Exception as error:  # smart_open's stores raise errors of many types
            refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if wait is None or refused or isinstance(error, (FileNotFoundError, NotImplementedError)):  # an unknown scheme
                again = ", also at the third try" if remote and wait is None else ""
                reason = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({root_cause(error)}){again}"
                remedy = "see that features.shards names the folder or address of all shards, and run the same command again"
                raise UserError(f"shard {address} {reason}; {remedy}") from None
        time.sleep(wait)
    raise AssertionError("not reached")


def _read(address: str, first: int, size: Optional[int]) -> bytes:
    if address.startswith(("http://", "https://")):
        return _read_http(address, first, size)
    opened: Callable[..., Any] = open
    if "://" in address:
        from smart_open import open as opened
    with opened(address, "rb") as stream:
        if first:
            stream.seek(first)
        return stream.read() if size is None else stream.read(size)


def _read_http(address: str, first: int, size: Optional[int]) -> bytes:
    """smart_open would need requests, which nothing else here does."""
    headers = {"User-Agent": "nuptse"}
    if size is not None:
        headers["Range"] = f"bytes={first}-{first + size - 1}"
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT) as response:
        if size is None or response.status == http.client.PARTIAL_CONTENT:
            return response.read()
        content = response.read(first + size)  # of a server that only sends whole files
        if len(content) < min(first + size, int(response.headers.get("Content-Length") or 0)):
            raise http.client.IncompleteRead(content)
        return content[first:]
