"""Workers of Dask on this machine: always as many as were asked for, however often they are killed, also while they start."""

import os
import signal
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import List

from utils.core.files import ROOT
from utils.executors.scheduler import Unusable

OPTIONS = (
    "--nthreads",
    "1",
    "--no-nanny",
    "--no-dashboard",
    "--memory-limit",
    "0",
    "--host",
    "127.0.0.1",
    "--death-timeout",
    "60",
)
SETUP = ("--preload", "utils.executors.worker_setup")
CONFIG = {
    "DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical",  # what matters is said by the process that waits for the pieces
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",  # it would count in the seconds of the pieces
}


class LocalWorkers:
    """Processes of workers.

    Args:
      address: of their scheduler.
      count: workers.
    """

    def __init__(self, address: str, count: int) -> None:
        self.folder = TemporaryDirectory(prefix="nuptse-dask-")
        files = ("--local-directory", self.folder.name)
        self.command = [sys.executable, "-m", "distributed.cli.dask_worker", address, *OPTIONS, *SETUP, *files]
        self.processes: List[subprocess.Popen] = []
        self.count = count
        self.tend()

    def tend(self) -> None:
        """Start those that are missing. Raises Unusable where one ended by itself: it could not start."""
        ended = [process.returncode for process in self.processes if process.poll() is not None]
        failed = [status for status in ended if status > 0]
        if failed:
            raise Unusable(f"a worker of Dask ended with status {failed[0]}; its message is above")
        self.processes = [process for process in self.processes if process.returncode is None]
        # Ctrl-C goes to every process of the terminal; they leave it to this one, which ends them
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            while len(self.processes) < self.count:
                self.processes.append(subprocess.Popen(self.command, cwd=ROOT, env={**os.environ, **CONFIG}))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def close(self) -> None:
        """End them at once: pieces are whole or not there."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.folder.cleanup()
