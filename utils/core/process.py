"""A separate process that ends, with all its workers, when this one does."""

import ctypes
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def apart(work: Callable[[], int], grace: float = 15.0) -> Tuple[int, Optional[int]]:
    """Run `work` in a fork, in a process group of its own, and wait for it. Call it from the main thread.

    Ctrl-C, SIGTERM and SIGHUP end `work` by a KeyboardInterrupt, whether they were sent to every process or only to this one. A
    second signal, or `grace` seconds without an end, kills it. Ctrl-Z stops it too. Nothing that it started survives it, on
    Linux even where this process is killed.

    Returns:
      the exit status of `work`, or minus the signal that killed it; and the signal that this process received meanwhile, or None.
    """
    kept = [s for s in STOPS if signal.getsignal(s) is not signal.SIG_IGN]  # nohup's SIGHUP stays ignored
    parent, got = os.getpid(), []
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, [*kept, signal.SIGTSTP])  # none may arrive before the handlers are set
    child = os.fork()
    if child == 0:
        _in_child(work, kept, parent, old_mask)
    with suppress(OSError):  # the child does it too: whichever is first
        os.setpgid(child, child)

    def stop(number: int, frame: Any) -> None:
        got.append(number)
        _signal_group(child, signal.SIGINT if len(got) == 1 and number != signal.SIGALRM else signal.SIGKILL)
        signal.setitimer(signal.ITIMER_REAL, grace)

    def pause(number: int, frame: Any) -> None:
        _signal_group(child, signal.SIGSTOP)
        os.kill(parent, signal.SIGSTOP)
        _signal_group(child, signal.SIGCONT)

    with _handlers({**dict.fromkeys(kept, stop), signal.SIGALRM: stop, signal.SIGTSTP: pause}):
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        _, status = os.waitpid(child, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _signal_group(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status), got[0] if got else None


def _in_child(work: Callable[[], int], kept: list, parent: int, mask: set) -> None:
    status = 130
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        for number in (signal.SIGTTIN, signal.SIGTTOU):  # a background group may use the terminal
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        for number in kept:
            signal.signal(number, _interrupt_once)
        sys.unraisablehook = _interrupt_again
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != parent:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = work()
    except KeyboardInterrupt:
        pass
    finally:
        os._exit(status)


def _interrupt_once(number: int, frame: Any) -> None:
    for each in STOPS:  # a second signal must not interrupt the clean-up after the first
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt_again(lost: Any) -> None:
    """Raise a KeyboardInterrupt soon after one that Python had to ignore: in a hook of a fork, say, or in a `__del__`."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    signal.signal(signal.SIGALRM, _interrupt_once)
    signal.setitimer(signal.ITIMER_REAL, 0.01)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


@contextmanager
def _handlers(wanted: Dict[int, Callable[[int, Any], None]]) -> Iterator[None]:
    old = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class quiet:
    """Hides messages that C++ libraries (kaldilm, kaldi-hmm-gmm) write straight to file descriptor 2."""

    def __enter__(self) -> None:
        self._kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)

    def __exit__(self, *_: Any) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
