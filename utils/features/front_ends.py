"""The front ends by name. Each is imported only where it is wanted: filter banks need neither CTranslate2 nor torchaudio."""

from types import SimpleNamespace

from utils.features.front_end import FrontEnd


def make(config: SimpleNamespace, rate: int, device: str = "cpu") -> FrontEnd:
    """Make the front end that the group `features` names.

    Args:
      config: the group `features`.
      rate: sampling rate of the corpus, Hz; encoders take 16 kHz, whatever it is.
    Raises:
      UserError: settings that the front end can't work with.
    """
    return _made(config, rate, device).opened_by(make, config, rate, device)


def _made(config: SimpleNamespace, rate: int, device: str) -> FrontEnd:
    if config.front_end == "ssl":
        from utils.features.ssl_front_end import SslFrontEnd

        return SslFrontEnd(config, device)
    if config.front_end == "whisper" and config.layers != [-1]:
        from utils.features.whisper_hidden_states import WhisperHiddenStates

        return WhisperHiddenStates(config, device)
    if config.front_end == "whisper":
        from utils.features.whisper_front_end import WhisperFrontEnd

        return WhisperFrontEnd(config, device)
    from utils.features.fbank import FbankFrontEnd

    return FbankFrontEnd(config, rate)


def model_bytes(config: SimpleNamespace) -> int:
    """Size of the file of the Whisper model that the group `features` names; 0 for filter banks."""
    if config.front_end != "whisper":
        return 0
    from utils.features.whisper_model import whisper_folder

    return (whisper_folder(config.model, "features") / "model.bin").stat().st_size
