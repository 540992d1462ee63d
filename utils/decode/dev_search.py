"""The weights of the first pass that an experiment asks for: numbers of the configuration, or found on batches of dev."""

import logging
import shutil
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Sequence

from utils.core.files import read_json, write_json
from utils.core.parallel import Executor
from utils.decode.first_pass import FirstPassDecoder
from utils.decode.search_weights import AUTO, FILE, SearchWeights, find, given, read_weights, write_weights

log = logging.getLogger("nuptse.decode")
SECONDS = 1200.0  # of dev audio that are searched for each candidate


def sample(batches: Sequence[Sequence[Any]]) -> List[int]:
    """Numbers of the batches of dev that weights are found on: all, or evenly spaced ones of about SECONDS of audio."""
    total = sum(cut.duration for cuts in batches for cut in cuts)
    count = max(1, round(len(batches) * min(1.0, SECONDS / max(total, 1e-9))))
    return sorted({n * len(batches) // count for n in range(count)})


def search_weights(
    decoder: FirstPassDecoder, config: SimpleNamespace, dev: Sequence[Sequence[Any]], out: Path, executor: Executor
) -> Dict[str, SearchWeights]:
    """The weights of each graph, given or found on batches of dev; written as first_pass.json, which a resumed run reads.

    Args:
      config: the group `decode`.
      dev: batches of cuts; the pieces `<out>/dev/<number>` keep the output of the network for `decoder.decode`.
      executor: searches the batches; the result does not depend on it.
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
            paths = [folder / f"{'_'.join(names)}-{n:05d}.json" for n in batches]
            pieces = [(dev[n], out / "dev" / f"{n:05d}", path) for n, path in zip(batches, paths) if not path.exists()]
            executor.run_all(partial(_errors, decoder, graph, candidates), pieces, f"weights of the {graph}")
            return [sum(row) for row in zip(*map(read_json, paths))]

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


def _errors(
    decoder: FirstPassDecoder, graph: str, candidates: Sequence[SearchWeights], cuts: Sequence[Any], piece: Path, path: Path
) -> None:
    write_json(path, decoder.errors(cuts, piece, graph, candidates))
