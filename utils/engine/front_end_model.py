"""The front end's pre-trained model: which files it has, what identifies it, and where it is found when a bundle is opened."""

from pathlib import Path
from types import SimpleNamespace
from typing import List, Optional, Union

from utils.bundle.files import BundleFiles
from utils.bundle.manifest import FrontEndModel
from utils.core.errors import UserError
from utils.core.files import digest, write_bytes
from utils.engine.contents import FRONT_END, front_end_folder
from utils.features.front_end import FrontEnd
from utils.features.front_ends import make
from utils.features.whisper_model import whisper_folder

WEIGHTS = ("model.bin", "model.safetensors", "pytorch_model.bin")  # of Whisper in CTranslate2's format; of transformers


def describe(config: SimpleNamespace, inside: bool) -> FrontEndModel:
    """What the manifest has of the front end.

    Args:
      config: the group `features`.
      inside: whether the model's files go into the bundle.
    """
    if config.front_end not in ("whisper", "ssl"):
        return FrontEndModel(config.front_end)
    folder = model_folder(config.front_end, config.model)
    if folder is None:  # torchaudio's own
        return FrontEndModel(config.front_end, config.model)
    named = config.model if not Path(config.model).is_dir() else Path(config.model).resolve().name
    return FrontEndModel(config.front_end, named, digest(weights_file(folder)), inside)


def model_folder(kind: str, model: str) -> Optional[Path]:
    """Where the model is; None for a bundle of torchaudio. Raises UserError where it is not there and can't be downloaded."""
    if kind == "whisper":
        return whisper_folder(model, "features")
    return Path(model) if Path(model).is_dir() else None


def weights_file(folder: Path) -> Path:
    """The file of the weights, whose content is what identifies a model."""
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise UserError(f"{folder} has no {', no '.join(WEIGHTS)}: it is not the folder of a front end's model")
    return found[0]


def copy_files(config: SimpleNamespace, bundle: Path) -> None:
    """Copy the model's files into front_end/ of a bundle.

    Raises:
      UserError: a model of torchaudio, which is no folder, or one whose weights are a pickle.
    """
    folder = model_folder(config.front_end, config.model)
    if folder is None:
        raise UserError(
            f"export.front_end=true: features.model={config.model} is torchaudio's own; name a folder of transformers"
        )
    if weights_file(folder).name == WEIGHTS[2]:
        raise UserError(
            f"export.front_end=true: {weights_file(folder)} is a pickle, and a bundle has none; save the model as {WEIGHTS[1]}"
        )
    for path in model_files(folder):
        write_bytes(bundle / FRONT_END / path.name, path.read_bytes())


def model_files(folder: Path) -> List[Path]:
    """The files that the model is loaded from."""
    kept = (".json", ".txt")
    return [path for path in sorted(folder.iterdir()) if path.is_file() and (path.suffix in kept or path.name in WEIGHTS[:2])]


def open_front_end(
    files: BundleFiles, config: SimpleNamespace, rate: int, given: Optional[Union[str, Path]], device: str
) -> FrontEnd:
    """The front end of a bundle, ready to compute features.

    Args:
      config: the group `features`; its `model` is changed to what was found.
      rate: data.sampling_rate.
      given: folder of the model, for a bundle that has it not inside.
    Raises:
      UserError: no such model, or one with other weights.
    """
    about = files.manifest.front_end
    if about.inside:
        config.model = front_end_folder(files)
    elif about.model:
        how = "give its folder (--front-end; front_end= in Python), or export with --set export.front_end=true"
        try:
            config.model = str(given or about.model)
            folder = model_folder(about.kind, config.model)
        except UserError as error:
            raise UserError(
                f"{files.path} needs the {about.kind} model {about.model}, which is not in it ({error}); {how}"
            ) from None
        if folder is not None and digest(weights_file(folder)) != about.sha256:
            raise UserError(
                f"{folder} has other weights than the {about.kind} model {about.model} that {files.path} needs; {how}"
            )
    return make(config, rate, device)
