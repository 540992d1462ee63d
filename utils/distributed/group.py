"""A group of processes that train one model (torch.distributed). They share the batches of a step, and all have the same weights.

Gradients are summed by an all-reduce after the backward passes, not by torch's DistributedDataParallel. That expects one forward
and one backward pass of every process in a step; here a process may have none (the last step of an epoch) or several
(`train.accumulate`, parts of a batch that did not fit into memory). Nor does it see that the word head's table, which is read
after the model's `forward`, is used. And the divisor is the number of tokens in all processes, not the number of processes.
"""

import json
import logging
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping

import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from utils.core.errors import UserError
from utils.core.files import unwritable
from utils.distributed.launch import Lost
from utils.pipeline.place import Place

WAIT = "NUPTSE_GROUP_TIMEOUT"  # environment variable: seconds that a process waits for the others
DEFAULT_WAIT = 50.0
START_WAIT = 120.0  # seconds until all must have come
SETTLE = 3.0  # seconds in which the others read why the group does not begin


@dataclass
class Group:
    """The processes of one training. A process that trains alone is a group of one, which exchanges nothing."""

    place: Place = Place()
    store: Any = None
    summing: Any = None  # torch's process group that sums gradients: nccl between GPUs; None: gloo, as for all else
    meetings: int = 0  # exchanges that this process has begun

    @property
    def rank(self) -> int:
        """Number of this process, from 0. Process 0 writes the files."""
        return self.place.rank or 0

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.place.size

    def who(self) -> List[str]:
        """Of each process, in order: its number, machine and log."""
        return [self.store.get(f"who/{rank}").decode() for rank in range(self.size)]

    def gather(self, value: Any) -> List[Any]:
        """The `value` of every process, in order, on every process."""
        out = [value] * self.size
        if self.size > 1:
            with self._meeting():
                distributed.all_gather_object(out, value)
        return out

    def total(self, values: Mapping[str, float]) -> Dict[str, float]:
        """The sum of `values` over the processes, by name; a process may lack a name."""
        sums: Dict[str, float] = {}
        for one in self.gather(dict(values)):
            for name, value in one.items():
                sums[name] = sums.get(name, 0) + value
        return sums

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes. One that no process has stays None, so that AdamW skips it."""
        if self.size == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        used = torch.tensor([float(p.grad is not None) for p in trained], device=trained[0].device)
        flat = torch.cat([used, *(_flat(p) for p in trained)])
        with self._meeting():
            distributed.all_reduce(flat, group=self.summing)
            flags, *sums = flat.split([len(trained), *(p.numel() for p in trained)])
            flags = flags.tolist()  # here a GPU waits for the sum
        for p, flag, total in zip(trained, flags, sums):
            p.grad = total.view_as(p).clone() if flag else None

    def share(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give all processes the weights of process 0."""
        if self.size > 1:
            with self._meeting():
                for p in parameters:
                    distributed.broadcast(p.data, 0, group=self.summing)

    @contextmanager
    def _meeting(self) -> Iterator[None]:
        """Exchange with the others. Each process first notes how far it is, so that the one that does not come can be named."""
        self.meetings += 1
        try:
            self.store.set(f"met/{self.rank}", str(self.meetings))
            yield
        except RuntimeError as error:
            raise Lost(self._missing(error)) from None

    def _missing(self, error: RuntimeError) -> str:
        try:
            behind = [rank for rank in range(self.size) if int(self.store.get(f"met/{rank}")) < self.meetings]
            names = " and ".join(f"rank {rank} ({self.store.get(f'who/{rank}').decode()})" for rank in behind)
        except RuntimeError:
            return "the process that the group met at is gone (rank 0, or torchrun on its machine); see its log"
        reason = str(error).splitlines()[0]
        if "imed out" in reason or "imeout" in reason:
            reason = f"no answer for {_seconds():g} s; {WAIT} sets another limit"
        return f"{names or 'another rank'} did not come to exchange {self.meetings} ({reason}); see its log"


def join(place: Place, about: Mapping[str, str], device: str, log: Path) -> Group:
    """Meet the other processes, where MASTER_ADDR and MASTER_PORT say, and compare what they are about to train.

    Args:
      about: what must be the same everywhere: settings, versions, the commit.
      device: of this process.
      log: of this process; errors of others name it.
    Raises:
      UserError: nobody answers at that address; a process does not come; a process has something else in `about`.
    """
    address = f"MASTER_ADDR={os.environ['MASTER_ADDR']}, MASTER_PORT={os.environ['MASTER_PORT']}"
    remedy = "it must be the machine of rank 0, as seen from here, and a free port"
    for name, value in (("NCCL_ASYNC_ERROR_HANDLING", "1"), ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1")):  # end what hangs in nccl
        os.environ.setdefault(name, value)
    try:
        socket.getaddrinfo(os.environ["MASTER_ADDR"], None)
        store, _, _ = next(rendezvous("env://", place.rank, place.size, timeout=timedelta(seconds=START_WAIT)))
        store.set(f"met/{place.rank}", "0")
        store.set(f"who/{place.rank}", f"process {os.getpid()} on {socket.gethostname()}, {log}")
        store.set(f"about/{place.rank}", json.dumps(dict(about)))
    except (RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{address} does not answer ({reason}); {remedy}") from None
    verdict = _verdict(store, place)
    if verdict:
        raise UserError(verdict)
    try:
        distributed.init_process_group(
            "gloo", store=store, rank=place.rank, world_size=place.size, timeout=timedelta(seconds=_seconds())
        )
        if device.startswith("cuda"):
            torch.cuda.set_device(torch.device(device))
            return Group(place, store, distributed.new_group(backend="nccl", timeout=timedelta(seconds=_seconds())))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise Lost(
            f"the processes can't reach each other ({reason}); set GLOO_SOCKET_IFNAME to the network between them"
        ) from None
    return Group(place, store)


def leave() -> None:
    """End this process's part in the group."""
    distributed.destroy_process_group()


@contextmanager
def named_errors(place: Place, folder: Path) -> Iterator[None]:
    """Let errors that a user can act on say whose they are. folder: where this process writes."""
    try:
        yield
    except (UserError, OSError, RuntimeError) as error:
        said = unwritable(error, folder) or (str(error) if isinstance(error, UserError) else "")
        if not said:
            raise
        kind = Lost if isinstance(error, Lost) else UserError
        raise kind(f"rank {place.rank} of {place.size}: {said}") from error


def own_log(log: logging.Logger) -> None:
    """Keep a process other than 0 from writing what process 0 writes too, to the terminal and to its log."""
    log.handlers.clear()
    log.propagate = False


def _verdict(store: Any, place: Place) -> str:
    """What process 0 found when it compared all; '' where they agree. It ends last, as it may be the one that has the store."""
    try:
        if place.rank == 0:
            verdict = _compare(store, place.size)
            store.set("verdict", verdict)
            for rank in range(1, place.size if verdict else 0):
                _came(store, f"read/{rank}", SETTLE)
            return verdict
        store.wait(["verdict"], timedelta(seconds=START_WAIT + 10))
        verdict = store.get("verdict").decode()
        store.set(f"read/{place.rank}", "")
        return verdict
    except RuntimeError as error:
        raise Lost(
            f"rank 0 has ended, or did not answer within {START_WAIT:.0f} s ({str(error).splitlines()[0]}); see its log"
        ) from None


def _compare(store: Any, size: int) -> str:
    """What a process is about to train that process 0 is not; '' where all agree."""
    told: List[Dict[str, str]] = []
    for rank in range(size):
        if not _came(store, f"about/{rank}", START_WAIT):
            return f"rank {rank} of {size} did not come within {START_WAIT:.0f} s; see its log"
        told.append(json.loads(store.get(f"about/{rank}")))
    for rank, one in enumerate(told):
        names = [name for name in {**told[0], **one} if told[0].get(name) != one.get(name)]
        names.sort(key="fingerprint".__eq__)  # last: any other difference tells more
        said = [f"{name} is {one.get(name)}, not {told[0].get(name)}" for name in names[:5]]
        if said:
            who, remedy = store.get(f"who/{rank}").decode(), "the same options, from the same commit, with the same packages"
            return f"not the same training: on rank {rank} ({who}) {'; '.join(said)}, as on rank 0; start all with {remedy}"
    return ""


def _came(store: Any, key: str, seconds: float) -> bool:
    try:
        store.wait([key], timedelta(seconds=seconds))
        return True
    except RuntimeError:
        return False


def _seconds() -> float:
    text = os.environ.get(WAIT) or str(DEFAULT_WAIT)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UserError(f"{WAIT}={text} is not a number of seconds")
    return seconds


def _flat(p: nn.Parameter) -> Tensor:
    return torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
