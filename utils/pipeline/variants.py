"""Names of recipes with settings, from egs/variants.yaml: `whisper_wordvec+decoder` for two keys of `rescore.attention`."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import FrozenSet, List, Sequence, Tuple

import yaml

from utils.core.errors import UserError
from utils.core.files import ROOT

FILE = ROOT / "egs" / "variants.yaml"


@dataclass(frozen=True)
class Variant:
    """A name for some settings of any recipe."""

    name: str
    what: str
    settings: FrozenSet[str]


@lru_cache(maxsize=None)
def variants(path: Path = FILE) -> Tuple[Variant, ...]:
    """The variants of the file, in its order.

    Raises:
      UserError: an entry without `what` or `set`.
    """
    found = yaml.safe_load(path.read_text(encoding="utf-8"))["variants"]
    for name, entry in found.items():
        if not isinstance(entry, dict) or entry.keys() != {"what", "set"} or not entry["set"]:
            raise UserError(f"{path}: {name} needs the keys 'what' and 'set', and no other")
    return tuple(Variant(name, entry["what"], frozenset(entry["set"])) for name, entry in found.items())


def split_settings(settings: Sequence[str]) -> Tuple[List[Variant], List[str]]:
    """The variants that settings consist of, and the settings that no variant covers.

    Where variants share a setting, the larger one is taken first.
    """
    left, found = set(settings), []
    for variant in sorted(variants(), key=lambda v: -len(v.settings)):
        if variant.settings <= left:
            found.append(variant)
            left -= variant.settings
    order = [v.name for v in variants()]
    return sorted(found, key=lambda v: order.index(v.name)), sorted(left)


def display_name(recipe: str, settings: Sequence[str]) -> str:
    """Recipe and settings in short: names where there are some, the last part of a key for every other setting."""
    found, left = split_settings(settings)
    name = "+".join([recipe, *(v.name for v in found)])
    return " ".join([name, *(_short(item) for item in left)])


def _short(setting: str) -> str:
    key, _, value = setting.partition("=")
    return f"{'.'.join(key.split('.')[-2:])}={value}" if len(key.split(".")) > 2 else setting
