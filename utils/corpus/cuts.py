"""Reading the cuts of a finished stage, wherever its folder is now."""

import re
from pathlib import Path
from typing import Iterator, Sequence

from lhotse import CutSet
from lhotse.cut import MonoCut

from utils.core.errors import UserError
from utils.core.splits import cuts_path

STAGE = re.compile(r"[a-z]+-[0-9a-f]{8}")  # the folder of a stage's output
# What manifests say of features that are in no file of Lhotse's: in a shard, made of a waveform in a shard, or made of audio.
SHAR_FEATURES, SHAR_WAVEFORMS, ON_THE_FLY = "shar_features", "shar_waveforms", "on_the_fly"
SHARDS = "shards"  # folder of stage 1


def read_cuts(folder: Path, split: str, leave_out: Sequence[str] = (), shards: str = "") -> CutSet:
    """The cuts of one split of stage `data` or `features`, in memory, without those named in `leave_out`.

    Manifests hold the paths that files had when they were made. Files of this exp/ are found where it is now.

    Args:
      shards: the folder or address of the shards, if they are not in the stage's folder.
    Raises:
      UserError: a file of features is missing.
    """
    out, seen = set(leave_out), set()
    kept = []
    for cut in moved_cuts(CutSet.from_file(cuts_path(folder, split)), folder.parent):
        in_shards = cut.has_features and cut.features.storage_type in (SHAR_FEATURES, SHAR_WAVEFORMS)
        if in_shards and shards:
            cut.features.storage_path = f"{shards.rstrip('/')}/{Path(cut.features.storage_path).name}"
        if cut.has_features and cut.features.storage_type != ON_THE_FLY and cut.features.storage_path not in seen:
            seen.add(cut.features.storage_path)
            path = Path(cut.features.storage_path)
            if "://" not in cut.features.storage_path and not path.is_file():
                if in_shards and shards:
                    raise UserError(f"features.shards={shards} has no {path.name}, which stage 1 wrote ({folder}): copy it there")
                elsewhere = "; or, if it is elsewhere, set features.shards to that folder or address" * in_shards
                raise UserError(
                    f"{path} is missing, which stage {folder.name} made; delete the folder {folder} and run the same command "
                    f"from stage 0 on: it is made again{elsewhere}"
                )
        if cut.id not in out:
            kept.append(cut)
    return CutSet.from_cuts(kept)


def moved_cuts(cuts: CutSet, exp: Path) -> Iterator[MonoCut]:
    """The cuts, in which files of stages are those in `exp`, the corpus's folder of outputs."""
    for cut in cuts:
        if cut.has_features:
            cut.features.storage_path = moved(cut.features.storage_path, exp)
        for source in cut.recording.sources if cut.has_recording else ():
            if source.type == "file":
                source.source = moved(source.source, exp)
        yield cut


def moved(path: str, exp: Path) -> str:
    """Where a file is now: below `exp`, if it is a file of a stage whose output is there."""
    parts = Path(path).parts
    for n, part in enumerate(parts):
        if STAGE.fullmatch(part) and (exp / part).is_dir():
            return str(exp.joinpath(*parts[n:]))
    return path
