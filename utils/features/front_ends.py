"""The front ends by name."""

from types import SimpleNamespace
from typing import Union

from utils.features.fbank import FbankFrontEnd
from utils.features.front_end import Windowed
from utils.features.ssl_front_end import SslFrontEnd
from utils.features.whisper import WhisperFrontEnd
from utils.features.whisper_hidden_states import WhisperHiddenStates
from utils.features.whisper_model import whisper_folder


def make(config: SimpleNamespace, rate: int, device: str = "cpu") -> Union[FbankFrontEnd, Windowed]:
    """The front end that the group `features` names; its `sampling_rate` is that of the samples it takes.

    Raises:
      UserError: settings that it can't work with.
    """
    if config.front_end == "ssl":
        return SslFrontEnd(config, device)
    if config.front_end == "whisper" and config.layers != [-1]:
        return WhisperHiddenStates(config, device)
    return WhisperFrontEnd(config, device) if config.front_end == "whisper" else FbankFrontEnd(config, rate)


def model_bytes(config: SimpleNamespace) -> int:
    """Size of the model that the group `features` names; 0 for filter banks."""
    return (whisper_folder(config.model, "features") / "model.bin").stat().st_size if config.front_end == "whisper" else 0
