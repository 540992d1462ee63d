"""What results call a corpus: a name that says which options decided its data, and what tells two copies of one name apart."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Sequence

from utils.core.errors import UserError
from utils.corpus.manifests import options

LONGEST = 100  # characters of a name


def named(base: str, config: SimpleNamespace, usual: Dict[str, Any], language: str = "", said: Sequence[str] = ()) -> str:
    """`base`, and what is not as usual: "mycorpus channel=1 language=fr test=test_other".

    Args:
      config: the keys below `data`.
      usual: the options of the corpus with their defaults.
      language: the usual one; empty: `base` says it.
      said: options that `base` says already, or that don't decide the data.
    """
    chosen = {**options(config, usual), "language": config.language}
    known = {**usual, "language": language or config.language}
    other = {key: value for key, value in sorted(chosen.items()) if key not in said and value != known[key]}
    return " ".join([base, *(f"{key}={_text(value)}" for key, value in other.items())])


def checked(name: str, key: str) -> str:
    """A name that a user gave, once results can hold it; raises UserError, which names `key`, for another one."""
    if 0 < len(name) <= LONGEST and name.isprintable() and name == name.strip() and not set(name) & set("/\\="):
        return name
    shown = name if len(name) <= LONGEST else f"{name[:30]}... ({len(name)} characters)"
    raise UserError(
        f"results can't call a corpus {shown!r}; give it a name of at most {LONGEST} characters without / \\ and =: "
        f"--set {key}=NAME"
    )


def place(source: Path) -> str:
    """What tells a folder from all others on this machine without telling its path: eight hexadecimal digits."""
    return hashlib.sha256(str(source.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _text(value: Any) -> str:
    """As on the command line; text with blanks or quotes in quotes, so that no two names read the same."""
    plain = isinstance(value, str) and value and not set(value) & set(" \"'=[]{}")
    return value if plain else json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
