"""The results record: one for each corpus, split, recipe with settings, decoding and seed.

Every record is checked when it is written and when it is read, so code that has a record can rely on every key. Tables and
pictures are drawn from records only. `utils.results.store` keeps them in files.

`git_commit` is the commit at which the stage score ran, the newest of the chain: a run at that commit gives the same
fingerprints and therefore the same numbers. `git_commits` has the commit of each stage. `git_clean` is true only where score and
every stage before it ran on a tree without changes; other records go to a file that git ignores.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from utils.core.errors import UserError
from utils.core.files import write_text
from utils.pipeline.config import PATHS, nearest
from utils.rescore import scores

# along the chain: the last is the result; rescoring's come from its registry of scores
DECODINGS = (*("beam", "greedy", "word_lattice", "first_pass", "lattice"), *(d.name for d in scores.decodings()))
# timed on one core
LINKS = (*("front_end", "encoder", "greedy", "word_lattice", "lattice", "whole_lm"), *scores.links(), *("gmm", "beam"))

NULL = type(None)
# A type; several of which one fits; [of the items]; {str: of the values}; or {} for any mapping.
SCHEMA: Dict[str, Any] = {
    "corpus": str,
    "source": str,  # which of the corpora of this name; empty where there is one, or the record is older
    "split": str,
    "recipe": str,
    "overrides": [str],
    "decoding": str,
    "seed": int,
    "utterances": int,
    "utterances_left_out": int,
    "words": int,
    "errors": int,
    "insertions": int,
    "deletions": int,
    "substitutions": int,
    "wer": float,
    "wer_interval": [float],
    "cer": (float, NULL),
    "cer_interval": ([float], NULL),
    "characters": ({}, NULL),  # counts where all is measured in characters: COUNTED, and "oracle", percent or null
    "oov_words": int,
    "oov_recall": (float, NULL),
    "iv_recall": (float, NULL),
    "oracle_wer": (float, NULL),
    "by_language": {str: {}},
    "utterance_set": str,
    "utterance_words": [int],
    "utterance_errors": [int],
    "weights": {},
    "lattice_density": (float, NULL),  # arcs a frame of the lattices that it comes from (Kaldi's lattice-depth), their sum
    "confidence": ({str: float}, NULL),  # ece, nce of the words' confidences; null where there are none, or the record is older
    "parameters": int,  # learned in training
    "model_mb": (float, NULL),  # of all models that recognising loads; null in records older than the key
    "normaliser": str,
    "seconds": {str: float},
    "peak_memory_mb": {str: float},
    "rtf": {str: float},
    "stage_threads": {str: int},
    "fingerprints": {str: str},
    "git_commit": str,
    "git_commits": {str: str},
    "git_clean": bool,
    "versions": {str: str},
    "device": str,
    "machine": str,
    "threads": int,
    "date": str,
}
# Keys that records of earlier versions lack, with what these read as.
YOUNGER = {"lattice_density": None, "source": "", "characters": None}
COUNTED = ("words", "errors", "insertions", "deletions", "substitutions", "utterance_words", "utterance_errors")
Record = Dict[str, Any]


def check(record: Any, where: str) -> Record:
    """`record`, once it has every key of SCHEMA, no other, the right types, and counts that agree with each other.

    Raises:
      UserError: naming `where`, the key and what is expected.
    """
    if not isinstance(record, dict):
        raise UserError(f"{where}: a results record is a JSON object")
    for key in record:
        if key not in SCHEMA:
            raise UserError(f"{where}: unknown key '{key}'{nearest(key, SCHEMA)} in a results record")
    for key, kind in SCHEMA.items():
        if key not in record:
            raise UserError(f"{where}: a results record needs '{key}'; score again with this version (./run.sh --stage 8)")
        if not _fits(record[key], kind):
            raise UserError(f"{where}: '{key}' must be {spoken(kind)}, not {str(record[key])[:60]}")
    counted = {"wer": record, **({"cer": record["characters"]} if record["characters"] else {})}
    for rate, counts in counted.items():
        lacking = [key for key in COUNTED if key not in counts]
        if lacking:
            raise UserError(f"{where}: 'characters' lacks '{lacking[0]}'; score again with this version (./run.sh --stage 8)")
        for total, parts in (
            ("words", counts["utterance_words"]),
            ("errors", counts["utterance_errors"]),
            ("errors", [counts[k] for k in ("insertions", "deletions", "substitutions")]),
        ):
            if counts[total] != sum(parts):
                raise UserError(
                    f"{where}: '{total}' is {counts[total]} but its parts sum to {sum(parts)}; the record was changed by hand"
                )
        if not record["utterances"] == len(counts["utterance_words"]) == len(counts["utterance_errors"]):
            raise UserError(f"{where}: 'utterances' is not the length of 'utterance_words' and 'utterance_errors'")
        if abs((record[rate] or 0.0) - 100.0 * counts["errors"] / max(counts["words"], 1)) > 0.001:
            raise UserError(
                f"{where}: '{rate}' {record[rate]} is not {counts['errors']}/{counts['words']}; the record was changed by hand"
            )
    for key in ("wer_interval", "cer_interval"):
        if record[key] is not None and (len(record[key]) != 2 or record[key][0] > record[key][1]):
            raise UserError(f"{where}: '{key}' must be a lower and an upper end, not {record[key]}")
    if record["decoding"] not in DECODINGS:
        raise UserError(f"{where}: {_unknown_decoding(record['decoding'])}")
    return record


def write(path: Path, record: Record) -> None:
    """Check and write one record, atomically; a key a line, so that a record of thousands of utterances stays readable."""
    check(record, str(path))
    lines = (f" {json.dumps(key)}: {json.dumps(record[key], ensure_ascii=False, sort_keys=True)}" for key in SCHEMA)
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read(path: Path) -> Record:
    """Read and check one record that `write` wrote."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON ({error}); delete it and score again") from None
    return check({**YOUNGER, **found} if isinstance(found, dict) else found, str(path))


def identity(record: Record) -> Tuple[Any, ...]:
    """What tells a record from all others of its corpus folder, in the order in which records are sorted."""
    return tuple(record[key] for key in ("corpus", "source", "recipe")) + (
        " ".join(record["overrides"]),
        record["seed"],
        record["split"],
        record["decoding"],
    )


def named_overrides(overrides: Sequence[str]) -> List[str]:
    """The --set strings that make a different system; the last of a key counts.

    Neither the seed is one, nor where the corpus is and what is taken of it: the record's `corpus` says that. Of a file or folder
    only the name is kept.
    """
    kept = {}
    for item in overrides:
        key, _, value = item.partition("=")
        key = key.strip()
        if key not in ("seed", "data.source", "data.language") and not key.startswith("data.options"):
            kept[key] = f"{key}={Path(value.strip()).name if key in PATHS else value.strip()}"
    return sorted(kept.values())


def result_decoding(decodings: Iterable[str]) -> str:
    """Which of a recipe's decodings is its result: the last of the chain."""
    return max(decodings, key=decoding_rank)


def decoding_rank(decoding: str) -> int:
    """Place in the chain; raises UserError for a decoding that has none."""
    if decoding not in DECODINGS:
        raise UserError(_unknown_decoding(decoding))
    return DECODINGS.index(decoding)


def links(decoding: str, graph: str) -> Tuple[str, ...]:
    """The timed links that a decoding may consist of; the sum of their `rtf` is its real-time factor.

    Args:
      graph: the lattices that rescoring read: lattice, word_lattice, or lattice+word_lattice.
    """
    first_pass = {
        "beam": ("front_end", "beam"),
        "greedy": ("front_end", "encoder", "greedy"),
        "first_pass": ("front_end", "encoder", "lattice"),
        "lattice": ("front_end", "encoder", "lattice", "whole_lm", "gmm"),
        "word_lattice": ("front_end", "encoder", "word_lattice"),
        scores.WHOLE_LATTICE.name: ("front_end", "encoder", graph, "whole_lm", *scores.WHOLE_LATTICE.links),
    }
    if decoding in first_pass:
        return first_pass[decoding]
    return ("front_end", "encoder", *graph.split("+"), "whole_lm", *scores.links_of(decoding))


def set_digest(ids: Iterable[str]) -> str:
    """What names a set of utterances: SHA-256 of the sorted ids, 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def _unknown_decoding(decoding: str) -> str:
    return (
        f"unknown decoding '{decoding}'{nearest(decoding, DECODINGS)}; a new one is an entry of utils/rescore/scores.py "
        "or of utils/results/records.py DECODINGS"
    )


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return any(_fits(value, k) for k in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and all(_fits(v, kind[0]) for v in value)
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(_fits(v, k) for k in kind.values() for v in value.values())
    return type(value) in (float, int) if kind is float else type(value) is kind


def spoken(kind: Any) -> str:
    """A type of SCHEMA, in words."""
    if isinstance(kind, tuple):
        return " or ".join(spoken(k) for k in kind)
    if isinstance(kind, list):
        return f"a list of {spoken(kind[0])}s"
    if isinstance(kind, dict):
        return "a mapping" + (f" to {spoken(kind[str]).removeprefix('a ')}s" if kind else "")
    return {str: "text", int: "whole number", float: "number", bool: "true or false", NULL: "null"}[kind]
