"""A finished output of a stage that read the same: it is taken instead of being made again.

A stage's fingerprint holds more than the stage reads of its inputs: the model does not depend on the test set. Where another
test set gives training another fingerprint, but the same files, the model is there already.
"""

import filecmp
import gzip
import os
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Set

from utils.core.files import read_json, write_json

OWN = ("log.txt", "stage.json", "config.yaml", "inputs.jsonl", "timing.json", ".tmp-*")  # of a folder: not read by later stages
STAGE = re.compile(r'"[^"]*/([a-z]+)-[0-9a-f]{8}/')  # the beginning of a path in a manifest, up to the folder of a stage


def twin(
    partial: Path,
    inputs: Mapping[str, Path],
    same: Mapping[str, Any],
    unread: Sequence[str],
    settings: Callable[[Path], Any],
) -> Optional[Path]:
    """The folder of a finished output that was made of the same as `partial` will be; None where there is none.

    Args:
      partial: where the stage's output is made; it has config.yaml.
      inputs: stage name -> its finished folder.
      same: keys of stage.json and their values, which must be the same.
      unread: patterns of names of files in `inputs` that the stage does not read.
      settings: reads those of a folder.
    """
    for record in sorted(partial.parent.glob(f"{partial.name.partition('-')[0]}-????????/stage.json")):
        made = read_json(record)
        theirs = {name: partial.parent / folder for name, folder in made["inputs"].items()}
        if (
            all(made.get(key) == value for key, value in same.items())
            and settings(record.parent) == settings(partial)
            and theirs.keys() == inputs.keys()
            and all(_equal(theirs[name], inputs[name], (*OWN, *unread)) for name in inputs)
        ):
            return record.parent
    return None


def take(made: Path, partial: Path, changes: Dict[str, Any]) -> None:
    """Make `partial` an output with the files of a finished one, linked or copied, and its stage.json with `changes`."""
    shutil.rmtree(partial)
    shutil.copytree(made, partial, copy_function=_link, ignore=shutil.ignore_patterns("stage.json"))
    write_json(partial / "stage.json", {**read_json(made / "stage.json"), **changes})


def _equal(ours: Path, theirs: Path, unread: Sequence[str]) -> bool:
    names = _names(ours, unread)
    return ours == theirs or bool(names) and names == _names(theirs, unread) and all(_same(ours / n, theirs / n) for n in names)


def _names(folder: Path, unread: Sequence[str]) -> Set[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder) for path in files if not any(fnmatch(path.name, pattern) for pattern in unread)}


def _same(one: Path, other: Path) -> bool:
    if one.name.endswith(".jsonl.gz"):  # a manifest names the folder that it was made in
        first, second = (STAGE.sub(r'"\1/', gzip.open(path, "rt", encoding="utf-8").read()) for path in (one, other))
        return first == second
    return filecmp.cmp(one, other, shallow=False)


def _link(source: str, target: str) -> None:
    """Finished files are never changed in place, so a link is as good as a copy."""
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
