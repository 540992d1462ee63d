"""A recogniser in processes of its own, on other cores: what they compute holds up no thread of this one."""

import atexit
import multiprocessing
import queue
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from multiprocessing.connection import Connection
from typing import Any, Callable, List, Mapping, Sequence

from utils.bundle.recogniser import Recogniser
from utils.bundle.transcript import Transcript
from utils.core.errors import UserError
from utils.live.memory import keep_flat

ENDED = "the process that makes the finals has ended; start the server again (out of memory? see dmesg)"


class Apart:
    """The doors of `Recogniser` that make finals. Thread-safe; words are changed while recordings are recognised."""

    def __init__(self, opened: Callable[[], Recogniser], count: int = 1) -> None:
        """
        Args:
          opened: opens it, in each process, while this one goes on; to be pickled.
          count: of processes: so many calls are worked on at once.
        """
        self.count = count
        self._workers = [_Worker(opened) for _ in range(count)]
        self._idle: "queue.SimpleQueue[_Worker]" = queue.SimpleQueue()
        for one in self._workers:
            self._idle.put(one)
        atexit.register(self.close)

    @cached_property
    def language(self) -> str:
        """ISO 639-1 code, once it is open; to be read before all else. Raises UserError as opening does."""
        return [one.recognising.result() for one in self._workers][0]

    def transcribe_many(self, recordings: Sequence[Any], **options: Any) -> List[Transcript]:
        """As `Recogniser.transcribe_many`."""
        return self._recognised("transcribe_many", recordings, **options)

    def transcribe(self, samples: Any, rate: int) -> Transcript:
        """As `Recogniser.transcribe`."""
        return self._recognised("transcribe", samples, rate)

    @property
    def added(self) -> List[str]:
        """As `Recogniser.added`."""
        return self._workers[0].words("added")

    def add_words(self, words: Sequence[str], weight: float, recordings: Mapping[str, Any], dry_run: bool) -> List[str]:
        """As `Recogniser.add_words`; the processes do it at once."""
        given = (words, weight, recordings, dry_run)
        if dry_run:
            return self._workers[0].words("add_words", *given)
        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(lambda one: one.words("add_words", *given), self._workers))[0]  # they all refuse, or none does

    def remove_words(self, words: Sequence[str]) -> None:
        """As `Recogniser.remove_words`."""
        for one in self._workers:
            one.words("remove_words", words)

    def call(self, name: str, *given: Any, beside: bool = False) -> Any:
        """Another door of the recogniser. beside: whether recordings may be recognised meanwhile."""
        return self._workers[-1].beside(name, *given) if beside else self._recognised(name, *given)

    @property
    def alive(self) -> bool:
        """Whether all processes run."""
        return all(one.process.is_alive() for one in self._workers)

    def close(self) -> None:
        """End the processes, once they have answered."""
        for one in self._workers:
            for caller in (one.recognising, one.words, one.beside):
                caller.close()
        for one in self._workers:
            one.process.join()

    def _recognised(self, *given: Any, **options: Any) -> Any:
        worker = self._idle.get()
        while not worker.process.is_alive() and any(one.process.is_alive() for one in self._workers):
            worker = self._idle.get()  # one that ended gets no more calls while others run
        try:
            return worker.recognising(*given, **options)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process, and what calls it."""

    def __init__(self, opened: Callable[[], Recogniser]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would lack the threads of k2 and torch
        ours, theirs = zip(*(context.Pipe() for _ in range(3)))
        self.recognising, self.words, self.beside = map(_Caller, ours)
        self.process = context.Process(target=_work, args=(opened, theirs), daemon=True)
        self.process.start()
        for one in theirs:
            one.close()


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
    keep_flat()
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
