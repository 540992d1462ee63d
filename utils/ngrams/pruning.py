"""Entropy pruning (Stolcke 1998): n-grams go whose loss changes the perplexity of the model by less than a threshold.

How likely a context is, is taken from how often the text has it: the lower orders of Kneser-Ney models are no marginal
distributions (Chelba et al. 2010). What a longer kept n-gram begins or ends with is kept, so every context still sums to 1.
"""

from dataclasses import replace
from pathlib import Path
from typing import Dict, Optional, Tuple

import numpy as np

from utils.ngrams.counting import rows_of
from utils.ngrams.keys import find, first_of_each
from utils.ngrams.kneser_ney import CONTEXT, GRAM, Model, left_over, lookup
from utils.ngrams.tables import Sorter, Table, whole_groups


def pruned(model: Model, threshold: float, memory: int, folder: Optional[Path] = None) -> Model:
    """The model without n-grams of several words whose loss raises the perplexity by less than `threshold`, relatively.

    Args:
      model: normalised: estimated with a Selection that is renormalised.
      threshold: 1e-8, say; 0 prunes nothing that says anything.
      memory, folder: as in kneser_ney.estimate.
    """
    packing, rows = model.packing, rows_of(memory, model.packing)
    made = replace(model, grams={1: model.grams[1]}, contexts={})
    needed: Optional[Table] = None  # n-grams of this order that kept ones begin or end with
    for n in range(model.order, 1, -1):
        grams, contexts, sorter = _outputs(model, n, threshold, memory, folder)
        for keys, columns in whole_groups(model.grams[n].blocks(rows), packing):
            context = packing.shorter(keys)
            first = first_of_each(context)
            sizes = np.diff(first, append=len(keys))
            _, known = model.contexts[n].between(context[first[:1]], context[first[-1:]])
            lower = lookup(model.grams[n - 1], packing.lower(keys))
            loss = _loss(columns["p"], lower, known, first, sizes, model.tokens)
            keep = np.expm1(loss) >= threshold
            if needed is not None:
                keep |= find(needed.between(keys[:1], keys[-1:])[0], keys) >= 0
            kept = np.add.reduceat(keep, first, dtype=np.int64)
            renewed = left_over(np.where(keep, columns["p"], 0), np.where(keep, lower, 0), first)
            backoff = np.where(kept == sizes, known["backoff"], renewed)
            shown = kept > 0
            grams.append(keys[keep], {name: values[keep] for name, values in columns.items()})
            contexts.append(context[first[shown]], {"backoff": backoff[shown], "raw": known["raw"][shown]})
            if n > 2:
                begins, ends = packing.by_context(context[first[shown]], n - 1), packing.lower(keys[keep])
                sorter.add(np.concatenate([begins, ends]), {})
        made.grams[n], made.contexts[n] = grams.finish(), contexts.finish()
        needed = _unique(sorter, n, rows, folder) if n > 2 else None
    return made


def _loss(
    p: np.ndarray, lower: np.ndarray, known: Dict[str, np.ndarray], first: np.ndarray, sizes: np.ndarray, total: int
) -> np.ndarray:
    """By how much the entropy of the model rises without each n-gram, in nats (Stolcke 1998, equation 2)."""
    left = np.maximum(1 - np.add.reduceat(p, first), 1e-12)
    below = np.maximum(1 - np.add.reduceat(lower, first), 1e-12)
    left, below, share = (np.repeat(x, sizes) for x in (left, below, known["raw"] / total))
    without = np.log((left + p) / (below + lower))  # the back-off weight without the n-gram
    return -share * (p * (np.log(lower) + without - np.log(p)) + left * (without - np.log(left / below)))


def _outputs(model: Model, n: int, threshold: float, memory: int, folder: Optional[Path]) -> Tuple[Table, Table, Sorter]:
    """Where what is kept of one order goes; what an interrupted pruning has left is deleted."""

    def table(name: str, columns: Dict[str, str]) -> Table:
        path = folder / f"{model.order}-pruned-{threshold:g}-{name}-{n}" if folder else None
        Table(model.packing.width, columns, path).remove()
        return Table(model.packing.width, columns, path)

    sorter = Sorter(model.packing.width, {"times": "<u4"}, memory, folder / f"pruned-needed-{n}" if folder else None, summed=True)
    sorter.restart()
    return table("grams", GRAM), table("contexts", CONTEXT), sorter


def _unique(sorter: Sorter, n: int, rows: int, folder: Optional[Path]) -> Table:
    path = folder / f"pruned-sorted-{n}" if folder else None
    Table(sorter.width, {}, path).remove()
    table = Table(sorter.width, {}, path)
    for keys, _ in sorter.blocks(rows):
        table.append(keys, {})
    sorter.remove()
    return table.finish()
