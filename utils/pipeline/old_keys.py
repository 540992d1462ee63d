"""Keys of earlier versions: configurations that have them still load, and what was made with them is still found."""

import copy
import logging
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence

from utils.core.errors import UserError

log = logging.getLogger("nuptse")


@dataclass(frozen=True)
class Dropped:
    """A key that no longer exists."""

    off: Any  # the value that switched it off, which is still accepted
    reason: str  # why it was removed
    in_fingerprint: bool = True  # whether its off value was part of fingerprints


# Old name -> name of today.
RENAMED: Dict[str, str] = {
    "model.subword_stride": "model.subword_subsampling",
    "model.word_stride": "model.word_subsampling",
    "decode.first_order": "decode.first_pass_lm_order",
}
DROPPED: Dict[str, Dropped] = {
    "rescore.spans": Dropped(
        False, "on no corpus did rivals and durations of words change the WER by more than its interval", False
    ),
    "loss.consistency": Dropped(0.0, "on no corpus did CR-CTC lower the WER by more than its interval"),
    "decode.unknown": Dropped(False, "on no corpus did <unk> in the sub-word lattice lower the WER by more than its interval"),
    "vectors.outside": Dropped(
        "", "on no corpus did words from outside the training text lower the WER by more than its interval"
    ),
    "loss.outside": Dropped(0, "on no corpus did words from outside the training text lower the WER by more than its interval"),
}


def current_key(key: str, value: Any, where: str) -> Optional[str]:
    """The name of today for a key; None for a dropped key at its off value. Logs a line where the key is an old one.

    Raises:
      UserError: a dropped key has another value than off.
    """
    if key in RENAMED:
        log.info("%s: '%s' is called '%s' now", where, key, RENAMED[key])
        return RENAMED[key]
    if key not in DROPPED:
        return key
    dropped = DROPPED[key]
    if value not in (dropped.off, None):
        raise UserError(f"{where}: {key}={value} is no longer possible: {dropped.reason}; remove the key")
    log.info("%s: '%s' no longer exists; ignored, because its value switches it off", where, key)
    return None


def current_names(config: Dict[str, Any]) -> Dict[str, Any]:
    """A stored configuration (nested, of some keys) under the names of today."""
    out = copy.deepcopy(config)
    for old, new in RENAMED.items():
        _rename(out, old, new)
    return out


def as_fingerprinted(config: Dict[str, Any], declared: Sequence[str]) -> Dict[str, Any]:
    """A configuration of a stage as earlier versions hashed it, so that finished outputs keep their fingerprints.

    Args:
      declared: keys and groups of keys that the stage declares.
    """
    out = copy.deepcopy(config)
    for old, new in RENAMED.items():
        _rename(out, new, old)
    for key, dropped in DROPPED.items():
        group, _, name = key.rpartition(".")
        if dropped.in_fingerprint and group in declared:
            out[group].setdefault(name, dropped.off)
    return out


def _rename(config: Dict[str, Any], key: str, new: str) -> None:
    """Rename a dotted key inside its group; does nothing where it is missing."""
    *parents, last = key.split(".")
    group: Any = config
    for name in parents:
        group = group.get(name, {})
    if last in group:
        group[new.rpartition(".")[2]] = group.pop(last)
