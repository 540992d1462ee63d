"""A recogniser in a process of its own, on another core: what it computes holds up no thread of this one."""

import atexit
import multiprocessing
import signal
import threading
from contextlib import suppress
from functools import cached_property
from multiprocessing.connection import Connection
from typing import Any, Callable, List, Mapping, Sequence

from utils.bundle.recogniser import Recogniser
from utils.bundle.transcript import Transcript
from utils.core.errors import UserError

ENDED = "the process that makes the finals has ended; start the server again (out of memory? see dmesg)"


class Apart:
    """The doors of `Recogniser` that make finals. Thread-safe; words are changed while recordings are recognised."""

    def __init__(self, opened: Callable[[], Recogniser]) -> None:
        """opened: opens it, in the process, while this one goes on; to be pickled."""
        context = multiprocessing.get_context("spawn")  # a fork would lack the threads of k2 and torch
        ours, theirs = zip(*(context.Pipe() for _ in range(3)))
        self._recognising, self._words, self._beside = map(_Caller, ours)
        self._process = context.Process(target=_work, args=(opened, theirs), daemon=True)
        self._process.start()
        for one in theirs:
            one.close()
        atexit.register(self.close)

    @cached_property
    def language(self) -> str:
        """ISO 639-1 code, once it is open; to be read before all else. Raises UserError as opening does."""
        return self._recognising.result()

    def transcribe_many(self, recordings: Sequence[Any], **options: Any) -> List[Transcript]:
        """As `Recogniser.transcribe_many`."""
        return self._recognising("transcribe_many", recordings, **options)

    def transcribe(self, samples: Any, rate: int) -> Transcript:
        """As `Recogniser.transcribe`."""
        return self._recognising("transcribe", samples, rate)

    @property
    def added(self) -> List[str]:
        """As `Recogniser.added`."""
        return self._words("added")

    def add_words(self, words: Sequence[str], weight: float, recordings: Mapping[str, Any], dry_run: bool) -> List[str]:
        """As `Recogniser.add_words`."""
        return self._words("add_words", words, weight, recordings, dry_run)

    def remove_words(self, words: Sequence[str]) -> None:
        """As `Recogniser.remove_words`."""
        self._words("remove_words", words)

    def call(self, name: str, *given: Any, beside: bool = False) -> Any:
        """Another door of the recogniser. beside: whether recordings may be recognised meanwhile."""
        return (self._beside if beside else self._recognising)(name, *given)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    def close(self) -> None:
        """End the process, once it has answered."""
        for caller in (self._recognising, self._words, self._beside):
            caller.close()
        self._process.join()


class _Caller:
    """One end of a pipe whose other end answers call by call."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def __call__(self, name: str, *given: Any, **options: Any) -> Any:
        with self._lock:
            try:
                self._pipe.send((name, given, options))
            except OSError:
                raise UserError(ENDED) from None
            return self.result()

    def result(self) -> Any:
        """The answer; raises what was raised there."""
        try:
            found = self._pipe.recv()
        except (EOFError, OSError):
            raise UserError(ENDED) from None
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """No call follows."""
        with self._lock:
            self._pipe.close()


def _work(opened: Callable[[], Recogniser], pipes: Sequence[Connection]) -> None:
    """The process: it ends when the one that started it closes the pipes, or ends."""
    for one in (signal.SIGINT, signal.SIGTERM):  # meant for the server, which lets sessions finish
        signal.signal(one, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        try:
            recogniser = opened()
        except Exception as error:
            pipes[0].send(_to_send(error))
            return
        pipes[0].send(recogniser.language)
        for pipe in pipes[1:]:
            threading.Thread(target=_answer, args=(recogniser, pipe), daemon=True).start()
        _answer(recogniser, pipes[0])


def _answer(recogniser: Recogniser, pipe: Connection) -> None:
    with suppress(EOFError, OSError):
        while True:
            name, given, options = pipe.recv()
            try:
                found = getattr(recogniser, name)
                found = found(*given, **options) if callable(found) else found
            except Exception as error:
                found = _to_send(error)
            pipe.send(found)


def _to_send(error: Exception) -> Exception:
    """An error that can be pickled, whatever it holds."""
    return error if isinstance(error, UserError) else RuntimeError(f"{type(error).__name__}: {error}")
