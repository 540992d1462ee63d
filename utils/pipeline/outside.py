"""Files outside a stage's inputs that its output depends on: their content enters its fingerprint.

Each function takes the resolved configuration, the corpus's folder in exp/ and the fingerprints of earlier stages, and gives a
description of each file's content by the file's name. A row of the table of stages names the function of its stage.
"""

from functools import partial, reduce
from importlib import import_module
from operator import getitem
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence

from utils.core.errors import UserError
from utils.core.files import digest

Config = Dict[str, Any]
Outside = Callable[[Config, Path, Mapping[str, str]], Dict[str, str]]


def nothing(config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    """A stage that reads its inputs alone."""
    return {}


def corpus(config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    """The tables of a local copy of the corpus, which its module lists, also in folders that its options name.

    Tables that are missing don't count: what they are needed for is for the module to say, in stage 0.
    Raises UserError where the local copy is no folder.
    """
    if not config["data"]["source"]:
        return {}
    source = Path(config["data"]["source"])
    if not source.is_dir():
        raise UserError(
            f"data.source={source} is not a folder; give the corpus in its official layout, or leave it empty to download"
        )
    tables = getattr(import_module(f"local.{config['data']['module']}"), "tables", None)
    named = [source / value for value in config["data"]["options"].values() if value and isinstance(value, str)]
    found = [path for folder in (source, *named) if folder.is_dir() for path in tables(folder)] if tables else []
    return {str(path.relative_to(source) if source in path.parents else path): digest(path) for path in found if path.is_file()}


def heard_by(config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    """The encoder that is the front end, where it is a folder; noises and rooms of augmented copies."""
    return {
        **_folder(config["features"]["model"]),
        **files_of("augment.noise", "augment.impulse_responses")(config, exp, fingerprints),
    }


def ready_model(config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    """The ready-made recogniser, where it is a folder."""
    return _folder(config["ready"]["model"])


def begun_from(config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    """The model that training begins from. Raises UserError where train.init names none, before any stage has run."""
    named = config["train"]["init"]
    if named and Path(named).exists():
        initial_weights(Path(named))
    return _files_of(["train.init"], config, exp, fingerprints)


def initial_weights(path: Path) -> Path:
    """The file with the weights of a bundle, or of what steps.distil wrote. Raises UserError where there is none."""
    file = path / "model.safetensors" if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        raise UserError(f"train.init={path} has no model.safetensors; name an unencrypted bundle, or what steps.distil wrote")
    return file


def files_of(*keys: str) -> Outside:
    """Files, or folders of files, that keys name. The function raises UserError for one that does not exist."""
    return partial(_files_of, keys)


def _files_of(keys: Sequence[str], config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    out: Dict[str, str] = {}
    for key in keys:
        out.update(_named(key, reduce(getitem, key.split("."), config)))
    return out


def packs(config: Config, exp: Path, fingerprints: Mapping[str, str]) -> Dict[str, str]:
    """Vocabulary packs; that one is missing is an error only in the stage itself."""
    paths = {name: pack_path(exp, fingerprints["train"], name) for name in config["decode"]["packs"]}
    return {f"packs/{name}": digest(path) if path.is_file() else "absent" for name, path in paths.items()}


def pack_path(exp: Path, model: str, name: str) -> Path:
    """Where the vocabulary pack `name` for the model of a training fingerprint is, in the corpus's folder `exp`."""
    return exp / "packs" / model / f"{name}.safetensors"


def _folder(model: str) -> Dict[str, str]:
    folder = Path(model)
    return {path.name: _stamp(path) for path in sorted(folder.iterdir()) if path.is_file()} if model and folder.is_dir() else {}


def _named(key: str, value: Any) -> Dict[str, str]:
    if not value:
        return {}
    path = Path(value)
    if not path.exists():
        raise UserError(f"{key}={value}: there is no such file or folder")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return {f"{key.partition('.')[2]}/{p.relative_to(path) if p != path else p.name}": _stamp(p) for p in files}


def _stamp(path: Path) -> str:
    """Size and time of a file that is too large to read for every plan."""
    return f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"
