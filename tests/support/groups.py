"""Groups of two processes that go wrong. `python -m support.groups FOLDER` prints how each ended, as JSON: error and seconds.

A Python of its own, because groups are forks of a process that has no threads.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Dict

import torch

from utils.core.errors import UserError
from utils.distributed.group import WAIT, Group, join, named_errors
from utils.distributed.launch import launch
from utils.pipeline.contract import Stopped
from utils.pipeline.place import Place

SIGNALS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "interrupted": signal.SIGINT}


def _sums(group: Group) -> None:
    """Gradients that one, both, or none of two processes have."""
    rows = [torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(3)]
    rows[0].grad = torch.full((2, 3), 1.0 + group.rank)
    if group.rank == 1:
        rows[1].grad = torch.arange(6.0).view(2, 3)
    group.sum_gradients(rows)
    assert torch.equal(rows[0].grad, torch.full((2, 3), 3.0)) and torch.equal(rows[1].grad, torch.arange(6.0).view(2, 3))
    assert rows[2].grad is None
    assert group.total({"word": 2, **({"grounding": 0.5} if group.rank else {})}) == {"word": 4, "grounding": 0.5}
    assert group.gather("ab"[group.rank]) == ["a", "b"]
    group.share(rows)


def _ended(case: str, folder: Path) -> Dict[str, Any]:
    def work(place: Place) -> None:
        with named_errors(place, folder):
            epochs = "4" if case == "settings" and place.rank else "3"
            group = join(place, {"setting train.epochs": epochs, "fingerprint": epochs}, "cpu", folder / f"log-{place.rank}")
            _sums(group)
            if place.rank == 1 and case in SIGNALS:
                os.kill(os.getpid(), SIGNALS[case])
            if place.rank == 1 and case == "full":
                with open("/dev/full", "w", encoding="utf-8") as stream:
                    stream.write("no room for this")
            if place.rank == 0 and case == "bug":
                raise KeyError("a fault of the code")
            if place.rank == 0 and case == "pruned":
                raise Stopped("after two epochs")
            for _ in range(3):
                group.gather(place.rank)

    started, said = time.perf_counter(), ""
    try:
        launch(work, 2, lambda rank: folder / f"log-{rank}")
    except (UserError, Stopped) as error:
        said = f"{type(error).__name__}: {error}"
    return {"said": said, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    os.environ[WAIT] = "2"
    cases = ["well", "settings", "full", "bug", "pruned", *SIGNALS]
    print(json.dumps({case: _ended(case, Path(sys.argv[1])) for case in cases}))
