"""The results records of a corpus folder: `results.jsonl`, a line a record, and `results.dirty.jsonl`, which git ignores.

Lines with the one key "reference" come first: the number of reference words of every utterance of a split, once, by a digest. A
record's line has the keys of `records.SCHEMA`; its `utterance_words` is that digest. Counts by utterance are digits, larger ones
in parentheses: "05(12)" is 0, 5 and 12.

Lines are sorted by what identifies a record, so runs of two people are lines in two places of the file. Where git still puts
two versions of one line together (`merge=union` in .gitattributes), the newer record counts.
"""

import hashlib
import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Set, Tuple

from filelock import FileLock

from utils.core.errors import UserError
from utils.core.files import write_lines
from utils.results.records import SCHEMA, YOUNGER, Record, check, identity

CLEAN, DIRTY = "results.jsonl", "results.dirty.jsonl"
LOCK = ".results.lock"


def read_all(corpus_dirs: Iterable[Path]) -> List[Record]:
    """The records of some folders egs/<corpus>, clean and dirty ones, sorted. Corpora of one name are told apart in `corpus`."""
    found = [r for folder in corpus_dirs for name in (CLEAN, DIRTY) for r in read_file(Path(folder) / name)]
    sources: Dict[str, Set[str]] = {}
    for r in found:
        sources.setdefault(r["corpus"], set()).add(r["source"])
    return [{**r, "corpus": f"{r['corpus']} ({r['source'] or 'older'})"} if len(sources[r["corpus"]]) > 1 else r for r in found]


def read_file(path: Path) -> List[Record]:
    """The records of one file, sorted; none where there is no file.

    Raises:
      UserError: a line that is no record, or a record whose utterances are missing.
    """
    if not path.exists():
        return []
    words: Dict[str, List[int]] = {}
    found: Dict[Tuple, Record] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path}, line {number}"
        entry = _parsed(line, where)
        if "reference" in entry:
            words[entry["reference"]["digest"]] = decoded(entry["reference"]["words"])
            continue
        if entry.get("utterance_words") not in words:
            raise UserError(
                f"{where}: its utterances ({entry.get('utterance_words')}) have no line; restore it (git checkout {path})"
            )
        counts = {"utterance_words": words[entry["utterance_words"]], "utterance_errors": decoded(entry["utterance_errors"])}
        record = check({**YOUNGER, **entry, **counts}, where)
        key = identity(record)
        if key not in found or found[key]["date"] < record["date"]:
            found[key] = record
    return [found[key] for key in sorted(found)]


def write_file(path: Path, records: Iterable[Record]) -> None:
    """Write records, sorted, atomically; no record, no file."""
    records = sorted((check(r, str(path)) for r in records), key=identity)
    if not records:
        path.unlink(missing_ok=True)
        return
    sets = {}
    for r in records:
        sets[utterances_digest(r)] = {
            "corpus": r["corpus"],
            "split": r["split"],
            "utterance_set": r["utterance_set"],
            "digest": utterances_digest(r),
            "words": encoded(r["utterance_words"]),
        }
    first = sorted(sets.values(), key=lambda entry: (entry["corpus"], entry["split"], entry["digest"]))
    write_lines(path, [*(json.dumps({"reference": entry}, ensure_ascii=False) for entry in first), *map(_line, records)])


def publish(records: Sequence[Record], corpus_dir: Path) -> List[Path]:
    """Add records to a corpus folder, replacing those with the same identity; a clean record removes its dirty version.

    Returns: the files that were written.
    """
    clean, dirty = ([r for r in records if r["git_clean"] is state] for state in (True, False))
    made = {identity(r) for r in clean}
    with locked(corpus_dir):
        for name, fresh in ((CLEAN, clean), (DIRTY, dirty)):
            own = {identity(r) for r in fresh} | (made if name == DIRTY else set())
            kept = [r for r in read_file(corpus_dir / name) if identity(r) not in own]
            if fresh or name == DIRTY:
                write_file(corpus_dir / name, [*kept, *fresh])
    return [corpus_dir / name for name, fresh in ((CLEAN, clean), (DIRTY, dirty)) if fresh]


@contextmanager
def locked(corpus_dir: Path) -> Iterator[None]:
    """Let one process at a time write to a corpus folder; a process that holds the lock may take it again."""
    corpus_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(corpus_dir / LOCK, is_singleton=True):
        yield


def utterances_digest(record: Record) -> str:
    """What names a set of utterances with their numbers of reference words: 16 hexadecimal digits."""
    text = f"{record['utterance_set']} {encoded(record['utterance_words'])}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def encoded(counts: Iterable[int]) -> str:
    """Counts as digits: 0, 5, 12 -> "05(12)"."""
    return "".join(str(n) if n < 10 else f"({n})" for n in counts)


def decoded(text: str) -> List[int]:
    """The counts of `encoded`."""
    return [int(many or one) for many, one in re.findall(r"\((\d+)\)|(\d)", text)]


def _line(record: Record) -> str:
    short = {"utterance_words": utterances_digest(record), "utterance_errors": encoded(record["utterance_errors"])}
    entry = {key: short.get(key, record[key]) for key in SCHEMA if key != "source" or record[key]}
    return "{" + ", ".join(f'"{key}": {json.dumps(v, ensure_ascii=False, sort_keys=True)}' for key, v in entry.items()) + "}"


def _parsed(line: str, where: str) -> Dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        hint = "git left a conflict here: delete the marker lines and keep the records of both sides"
        if not re.match(r"(<{7}|={7}|>{7}|\|{7})", line):
            hint = "restore the file with git checkout, or delete the line and score again"
        raise UserError(f"{where} is not JSON ({error}); {hint}") from None
    if not isinstance(entry, dict):
        raise UserError(f"{where}: a results record is a JSON object")
    return entry
