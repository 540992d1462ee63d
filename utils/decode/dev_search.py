"""The weights of the first pass that an experiment asks for: numbers of the configuration, or found on batches of dev."""

import logging
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

from utils.core.files import read_json, write_json
from utils.core.parallel import run_all
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.search_weights import AUTO, FILE, SearchWeights, find, given, read_weights, write_weights

SECONDS = 1200.0  # of dev audio that are searched for each candidate


def sample(batches: Sequence[Sequence[Any]]) -> List[int]:
    """Numbers of the batches of dev that weights are found on: all, or evenly spaced ones of about SECONDS of audio."""
    total = sum(cut.duration for cuts in batches for cut in cuts)
    count = max(1, round(len(batches) * min(1.0, SECONDS / max(total, 1e-9))))
    return sorted({n * len(batches) // count for n in range(count)})


def search_weights(
    decoder: FirstPassDecoder, config: SimpleNamespace, dev: Sequence[Sequence[Any]], out: Path, nj: int, log: logging.Logger
) -> Dict[str, SearchWeights]:
    """The weights of each graph, given or found on batches of dev; written as first_pass.json, which a resumed run reads.

    Args:
      config: the group `decode`.
      dev: batches of cuts; the pieces `<out>/dev/<number>` keep the output of the network for `decoder.decode`.
      nj: processes; the result does not depend on them.
    """
    if (out / FILE).exists():
        return read_weights(out)
    folder, batches = out / "weights", sample(dev)
    found: Dict[str, SearchWeights] = {}
    tried: Dict[str, Dict[SearchWeights, int]] = {}
    for graph in decoder.graphs:
        values = given(config, graph)
        if AUTO not in values:
            found[graph] = SearchWeights(*values)
            continue

        def errors(candidates: Sequence[SearchWeights], graph: str = graph) -> List[int]:
            names = [f"{graph}-{w.blank_penalty:g}-{w.lm_scale:g}" for w in candidates]
            pieces = [(n, folder / f"{'_'.join(names)}-{n:05d}.json") for n in batches]

            def work(n: int, path: Path) -> None:
                write_json(path, decoder.errors(dev[n], out / "dev" / f"{n:05d}", graph, candidates))

            run_all(work, [piece for piece in pieces if not piece[1].exists()], nj, f"weights of the {graph}")
            return [sum(row) for row in zip(*(read_json(path) for _, path in pieces))]

        started = time.perf_counter()
        tried[graph] = find(graph, config, errors)
        found[graph] = next(iter(tried[graph]))
        log.info(
            "%s: blank penalty %g, LM scale %g, found on dev with %d searches in %.1f s",
            *(graph, found[graph].blank_penalty, found[graph].lm_scale, len(tried[graph]), time.perf_counter() - started),
        )
    write_weights(out, found, tried)
    shutil.rmtree(folder, ignore_errors=True)
    return found
