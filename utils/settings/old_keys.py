"""Keys of earlier versions: configurations that have them still load, and what was made with them is still found."""

import copy
import logging
from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

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
# Group -> its keys, all of which a value of the group is for; fingerprints have one value where they are equal.
SPLIT: Dict[str, Sequence[str]] = {
    group: (f"{group}.subword", f"{group}.word") for group in ("decode.blank_penalty", "decode.first_lm_scale")
}
# Key -> its old values, with those of today.
VALUES: Dict[str, Dict[str, str]] = {"data.segmentation": {"blanks": "given", "characters": "char"}}
# Group of SPLIT -> the value at which earlier versions, which did not have it, did the same.
YOUNGER: Dict[str, float] = {"decode.blank_penalty": 0.0}
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


def current_value(key: str, value: Any) -> Any:
    """The value of today for one of a key; others stay."""
    return VALUES[key].get(value, value) if key in VALUES and isinstance(value, str) else value


def current_names(config: Dict[str, Any]) -> Dict[str, Any]:
    """A stored configuration (nested, of some keys) under the names of today."""
    out = copy.deepcopy(config)
    for old, new in RENAMED.items():
        _rename(out, old, new)
    for key in VALUES:
        group, name = _group(out, key)
        if name in group:
            group[name] = current_value(key, group[name])
    for old, parts in SPLIT.items():
        group, name = _group(out, old)
        if name in group and not isinstance(group[name], dict):
            group[name] = {part.rpartition(".")[2]: group[name] for part in parts}
    return out


def as_fingerprinted(config: Dict[str, Any], declared: Sequence[str]) -> Dict[str, Any]:
    """A configuration of a stage as earlier versions hashed it, so that finished outputs keep their fingerprints.

    Args:
      declared: keys and groups of keys that the stage declares.
    """
    out = copy.deepcopy(config)
    for old, new in RENAMED.items():
        _rename(out, new, old)
    for key, renamed in VALUES.items():
        group, name = _group(out, key)
        earlier = {value: old for old, value in renamed.items()}
        if group.get(name) in earlier:
            group[name] = earlier[group[name]]
    for old in SPLIT:
        group, name = _group(out, old)
        values = list(group.get(name, {}).values())
        if values and values.count(values[0]) == len(values):
            group[name] = values[0]
    for key, value in YOUNGER.items():
        holder, younger = _group(out, key)
        if holder.get(younger) == value:
            del holder[younger]
    for key, dropped in DROPPED.items():
        parent, _, last = key.rpartition(".")
        if dropped.in_fingerprint and parent in declared:
            out[parent].setdefault(last, dropped.off)
    return out


def _group(config: Dict[str, Any], key: str) -> Tuple[Dict[str, Any], str]:
    """The group of a dotted key, empty where it is missing, and the key's name in it."""
    *parents, last = key.split(".")
    group: Any = config
    for name in parents:
        group = group.get(name, {})
    return group, last


def _rename(config: Dict[str, Any], key: str, new: str) -> None:
    """Rename a dotted key inside its group; does nothing where it is missing."""
    group, last = _group(config, key)
    if last in group:
        group[new.rpartition(".")[2]] = group.pop(last)
