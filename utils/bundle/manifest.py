"""`manifest.json`: what a bundle is, and the SHA-256 and size of every other file in it."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Mapping, Optional, Union

from utils.core.errors import UserError
from utils.core.files import digest, files_in, write_json

NAME = "manifest.json"
WORD_VECTORS = "word_vectors.safetensors"  # the word head's table
GRAPHS = {"lattice": "HLG", "word_lattice": "word_graph", "whole": "G"}  # .safetensors in the bundle, .pt in stages
FORMAT = 1  # raised when an older program can't read what stage 9 writes
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """A file of a bundle."""

    sha256: str  # of its content, hexadecimal
    bytes: int


@dataclass(frozen=True)
class FrontEndModel:
    """What computes the features."""

    kind: str  # features.front_end: fbank, mfcc, whisper, ssl
    model: str = ""  # features.model, as a user would name it again: a size such as base, or a folder's name; '' without one
    sha256: Optional[str] = None  # of the model's files, see utils/engine/front_end_model.py; None without a model
    inside: bool = False  # whether the bundle has the model's files, in front_end/


@dataclass(frozen=True)
class Manifest:
    """What a bundle is."""

    corpus: str
    recipe: str
    language: str  # data.language
    front_end: FrontEndModel
    created_by: Dict[str, str]  # package or 'commit' -> version
    licences: Dict[str, str] = field(default_factory=dict)  # what is in the bundle -> its licence, or where to find it
    notes: List[str] = field(default_factory=list)  # what the bundle can't do, one sentence each
    files: Dict[str, FileEntry] = field(
        default_factory=dict
    )  # name relative to the bundle, with / -> entry; without the manifest
    model: str = ""  # fingerprint of the training, which packs name
    format: int = FORMAT


def graph_file(graph: str) -> str:
    """The file of a graph of `GRAPHS` in a bundle."""
    return f"{GRAPHS[graph]}.safetensors"


def write_manifest(folder: Path, about: Manifest) -> Manifest:
    """Write the manifest of all files in `folder`, atomically. about: without files."""
    paths = [path for path in files_in(folder) if path != folder / NAME]
    entries = {path.relative_to(folder).as_posix(): FileEntry(digest(path), path.stat().st_size) for path in paths}
    made = Manifest(**{**vars(about), "files": entries})
    write_json(folder / NAME, asdict(made))
    return made


def read_manifest(content: bytes, where: Union[str, Path] = NAME) -> Manifest:
    """The manifest in a file's bytes.

    Args:
      where: the file's name, for errors.
    Raises:
      UserError: not JSON, of a newer format, without a field, or with names that lead out of the bundle.
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{where} is not a bundle's manifest: it is no JSON; copy the bundle again") from None
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        raise UserError(f"{where} is not a bundle's manifest: it has no number 'format'; copy the bundle again")
    if value["format"] > FORMAT:
        raise UserError(
            f"{where}: the bundle has format {value['format']}, and this version reads up to {FORMAT}; update this program"
        )
    try:
        return _manifest(value)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} is not a bundle's manifest: {error}; copy the bundle again") from None


def _manifest(value: Mapping[str, Any]) -> Manifest:
    texts = {key: _of(value, key, str) for key in ("corpus", "recipe", "language", "model")}
    mappings = {key: _of(value, key, dict) for key in ("created_by", "licences", "files", "front_end")}
    for key in ("created_by", "licences"):
        if not all(isinstance(text, str) for text in mappings[key].values()):
            raise ValueError(f"'{key}' has something other than text")
    front = mappings.pop("front_end")
    known = FrontEndModel(_of(front, "kind", str), _of(front, "model", str), front.get("sha256"), _of(front, "inside", bool))
    if known.sha256 is not None and not _is_sha256(known.sha256):
        raise ValueError("'front_end' has a SHA-256 that is none")
    files = {_safe(name): _entry(name, entry) for name, entry in mappings.pop("files").items()}
    notes = _of(value, "notes", list)
    return Manifest(
        **texts, **mappings, front_end=known, notes=[str(note) for note in notes], files=files, format=value["format"]
    )


def _of(value: Mapping[str, Any], key: str, kind: type) -> Any:
    if type(value.get(key)) is not kind:
        raise ValueError(f"'{key}' is missing or has the wrong form")
    return value[key]


def _safe(name: str) -> str:
    """A name that stays in the bundle. The rules of every system hold everywhere, since bundles travel."""
    path = PurePosixPath(name)
    parts = name.split("/")
    if path.is_absolute() or "\\" in name or ":" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"the name {name!r} leads out of the bundle")
    if name == NAME:
        raise ValueError(f"{NAME} lists itself")
    return name


def _entry(name: str, value: Any) -> FileEntry:
    if not isinstance(value, dict) or not _is_sha256(value.get("sha256")) or type(value.get("bytes")) is not int:
        raise ValueError(f"the entry of {name!r} has no SHA-256 or no size")
    return FileEntry(value["sha256"], value["bytes"])


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and bool(_SHA256.fullmatch(value))
