"""Whisper models in CTranslate2's format: a folder that the user names, or a size that is downloaded."""

import json
import warnings
from pathlib import Path
from typing import Any, Union

from utils.core import download
from utils.core.errors import UserError
from utils.core.files import digest

MODEL_FILES = ("model.bin", "config.json")


def whisper_folder(model: Union[str, Path], group: str) -> Path:
    """The folder of a Whisper model in CTranslate2's format.

    Args:
      model: a folder, or a size (tiny, base.en, small ...), which is downloaded once.
      group: of the configuration, whose key `model` this is; for messages.
    Raises:
      UserError: no such folder or size, files are missing, a model of another kind, or the download failed.
    """
    if not isinstance(model, str):
        return check_whisper(model, group)
    if model and Path(model).is_dir():
        return check_whisper(Path(model), group)
    import_ctranslate2()
    from faster_whisper.utils import available_models, download_model

    if not model or model not in available_models():
        raise UserError(
            f"{group}.model={model or '(empty)'} is neither a folder with a Whisper model in CTranslate2's format "
            f"({', '.join(MODEL_FILES)}) nor a size: {', '.join(available_models())}"
        )
    target = download.folder(f"whisper-{model}")
    if not all((target / name).exists() for name in MODEL_FILES):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of an argument that faster-whisper gives the hub's client
                download_model(model, output_dir=str(target))
        except Exception as error:  # the hub's client raises errors of many types
            cause = download.root_cause(error)
            first = " ".join(str(cause).split())[:200]
            raise UserError(
                f"the Whisper model {model} can't be downloaded ({type(cause).__name__}: {first}); run again to resume, or copy "
                f"its folder here and name it by --set {group}.model=FOLDER"
            ) from None
        check_published(target)
    return check_whisper(target, group)


def check_published(folder: Path) -> None:
    """Compare what the hub's client downloaded with the SHA-256 that the hub publishes of large files.

    The client notes it (beside revision and time), but compares sizes only.

    Raises:
      UserError: a file differs, and was deleted.
    """
    notes = folder / ".cache" / "huggingface" / "download"
    for note in sorted(notes.rglob("*.metadata")):
        path = folder / note.relative_to(notes).with_suffix("")
        published = note.read_text(encoding="utf-8").split("\n")[1].strip()
        if len(published) == 64 and path.is_file() and digest(path) != published:  # small files have a git hash of 40 digits
            path.unlink()
            note.unlink()
            raise UserError(f"{path} is not the file that was published (its SHA-256 is not {published}); run again")


def check_whisper(folder: Path, group: str) -> Path:
    """Return `folder` if it has the files of a Whisper model; raise UserError if not."""
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{group}.model={folder} has no {' and no '.join(missing)}: it is not a model in CTranslate2's format "
            f"(ct2-transformers-converter converts a Hugging Face folder)"
        )
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not JSON: {error}") from None
    if "suppress_ids" not in settings and "alignment_heads" not in settings:
        raise UserError(f"{group}.model={folder} is a model of another kind: its config.json is not Whisper's")
    return folder


def import_ctranslate2() -> Any:
    """The package ctranslate2; raises UserError if it or faster-whisper is missing."""
    try:
        import ctranslate2
        import faster_whisper  # noqa: F401 - mel filters and the names of sizes
    except ImportError as error:
        raise UserError(
            f"Whisper needs the packages ctranslate2 and faster-whisper ({error}); utils/setup.sh installs them"
        ) from None
    return ctranslate2
