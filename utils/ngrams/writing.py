"""Models of tables as ARPA files, a block at a time."""

from pathlib import Path
from typing import Optional, Sequence

import numpy as np

from utils.core.files import atomic_path
from utils.ngrams.estimating import logs
from utils.ngrams.kneser_ney import Model, with_backoffs
from utils.ngrams.ngram import BOS, EOS


def write_arpa(model: Model, words: Sequence[str], path: Path, memory: int, folder: Optional[Path] = None) -> None:
    """Write an ARPA file, n-grams in context order: sorted by the words before the last, the nearest first.

    Args:
      words: the first has FIRST_ID.
      memory, folder: as in kneser_ney.estimate.
    """
    names = ["", BOS, EOS, *words]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        stream.write("\\data\\\n" + "".join(f"ngram {n}={model.grams[n].rows}\n" for n in range(1, model.order + 1)))
        for n in range(1, model.order + 1):
            stream.write(f"\n\\{n}-grams:\n")
            line = "%.7f\t" + " ".join(["%s"] * n) + "%s\n"
            for keys, columns in with_backoffs(model, n, memory // 4, folder):  # Python's numbers and strings take more room
                said = [map(names.__getitem__, column.tolist()) for column in model.packing.words(keys, n)]
                rows = zip(logs(columns["p"]).tolist(), *said, _backoffs(columns["backoff"]))
                stream.writelines(map(line.__mod__, rows))
        stream.write("\n\\end\\\n")


def _backoffs(backoff: np.ndarray) -> Sequence[str]:
    """What ends the lines of n-grams with these back-off weights; not a number for none."""
    if np.isnan(backoff).all():
        return [""] * len(backoff)
    return ["" if value != value else "\t%.7f" % value for value in logs(backoff).tolist()]
