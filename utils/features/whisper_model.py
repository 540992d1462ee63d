"""Whisper models in CTranslate2's format: a folder of the user's, or a size that is downloaded."""

import json
from pathlib import Path
from typing import Any

from utils.core import download
from utils.core.errors import UserError

MODEL_FILES = ("model.bin", "config.json")


def whisper_folder(model: str, group: str) -> Path:
    """Where a Whisper model in CTranslate2's format lies: a folder, or a size (tiny, base.en, small ...), downloaded once.

    Args:
      model: the key `model` of the config's `group`.
    Raises:
      UserError: no such folder or size, files missing from the folder, another kind of model, or it can't be downloaded.
    """
    path = Path(model)
    if model and path.is_dir():
        return check_whisper(path, group)
    _ctranslate2()
    from faster_whisper.utils import available_models, download_model

    if not model or model not in available_models():
        raise UserError(
            f"{group}.model={model or '(empty)'} is neither a folder with a Whisper model in CTranslate2's format "
            f"({', '.join(MODEL_FILES)}) nor a size: {', '.join(available_models())}"
        )
    target = download.folder(f"whisper-{model}")
    if not all((target / name).exists() for name in MODEL_FILES):
        try:
            download_model(model, output_dir=str(target))
        except Exception as error:  # whatever the hub's client throws
            first = " ".join(str(error).split())[:200]
            raise UserError(
                f"the Whisper model {model} can't be downloaded ({type(error).__name__}: {first}); run again to go on, or copy "
                f"its folder here and name it by --set {group}.model=FOLDER"
            ) from None
    return check_whisper(target, group)


def check_whisper(folder: Path, group: str) -> Path:
    """`folder` again, if it has the files of a Whisper model; raises UserError where not."""
    missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{group}.model={folder} has no {' and no '.join(missing)}: it is no model in CTranslate2's format "
            f"(ct2-transformers-converter makes one of a Hugging Face folder)"
        )
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is not JSON: {error}") from None
    if "suppress_ids" not in settings and "alignment_heads" not in settings:
        raise UserError(f"{group}.model={folder} is a model of another kind: its config.json is not Whisper's")
    return folder


def _ctranslate2() -> Any:
    try:
        import ctranslate2
        import faster_whisper  # noqa: F401 - mel filters and the names of sizes
    except ImportError as error:
        raise UserError(
            f"Whisper needs the packages ctranslate2 and faster-whisper ({error}); utils/setup.sh installs them"
        ) from None
    return ctranslate2
