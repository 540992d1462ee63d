"""Which process of a training over several this one is: started by `--world-size`, by torchrun, or by SLURM's srun."""

import os
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from utils.core.errors import UserError

NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells each process


@dataclass(frozen=True)
class Place:
    """A process among those that train one model."""

    size: int = 1  # number of processes
    rank: Optional[int] = 0  # from 0; None: the one that starts and watches them, and trains nothing itself
    local_rank: int = 0  # among those of the same machine
    local_size: int = 1

    @property
    def publishes(self) -> bool:
        """Whether this process has the stage's lock, and publishes what was made."""
        return not self.rank

    def device(self, name: str) -> str:
        """The device of this process: of several on a machine with GPUs, each has one of its own."""
        return f"{name}:{self.local_rank}" if name == "cuda" and self.size > 1 else name


def find_place(asked: Optional[int], device: str, trains: bool, environment: Mapping[str, str] = os.environ) -> Place:
    """The place of this process.

    Args:
      asked: --world-size, if given.
      device: --device.
      trains: whether the command makes stage 5 alone, which several processes may make together.
      environment: has RANK and more if torchrun, or a line of SLURM's srun, started this process.
    Raises:
      UserError: half of the environment; an environment and an option that contradict each other; one GPU for all.
    """
    found = {name: environment[name] for name in NEEDED if environment.get(name)}
    place = Place(asked or 1, None if (asked or 1) > 1 else 0)
    if not trains and len(found) == len(NEEDED) and found["WORLD_SIZE"] != "1":
        raise UserError("processes that torchrun starts run -m steps.train; run.sh makes the other stages, in one process")
    if trains and "RANK" in found:
        missing = [name for name in NEEDED if name not in found]
        if missing:
            raise UserError(
                f"RANK={found['RANK']} is set, {' and '.join(missing)} not: start the processes with torchrun, or set all"
            )
        size, rank, local_rank, local_size, _ = (
            _number(environment, name, default)
            for name, default in (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1), ("MASTER_PORT", 0))
        )
        if rank >= size:
            raise UserError(f"RANK={rank}, but WORLD_SIZE={size}: ranks are 0 to {size - 1}")
        if asked and asked != size:
            raise UserError(f"--world-size {asked}, but WORLD_SIZE={size} in the environment: leave --world-size to torchrun")
        place = Place(size, rank, local_rank, local_size)
    if place.size > 1 and device.startswith("cuda:"):
        raise UserError(f"--device {device} is one GPU for {place.size} processes: give --device cuda, and each takes one")
    return place


def check_shared(config: Mapping[str, Any], recipe: str, processes: int) -> None:
    """Raise UserError where several processes can't train what a configuration says.

    Args:
      config: of the whole run; its train.accumulate counts the batches of all processes.
    """
    if processes == 1:
        return
    if config["system"] != "network":
        raise UserError(f"{processes} processes train a network, and recipe {recipe} has none; leave --world-size out")
    batches = config["train"]["accumulate"]
    if batches % processes:
        raise UserError(
            f"{processes} processes can't share {batches} batches in a step evenly: let train.accumulate be a multiple"
        )


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal():
        raise UserError(f"{name}={text} in the environment is not a whole number; torchrun sets it")
    return int(text)
