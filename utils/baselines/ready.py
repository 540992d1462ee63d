"""Ready-made recognisers to compare recipes with: Whisper without changes, and PocketSphinx with its English model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Sequence, Set

import numpy as np

from utils.core.errors import UserError
from utils.core.languages import of_whisper
from utils.core.memory import keep_freed
from utils.core.timing import timed
from utils.decode.pieces import write_piece
from utils.decode.recognised import recognised_normaliser
from utils.executors.reopened import Reopened
from utils.features.extraction import audio
from utils.features.whisper import RATE, WINDOW, Placement
from utils.features.whisper_model import whisper_folder

MORE_TOKENS = 8  # of a window, in addition to those for its seconds


class Ready(Reopened):
    """A recogniser that is not trained here."""

    bytes: int  # of its files

    def words(self, samples: np.ndarray, language: str, seconds: Dict[str, float]) -> str:
        """Recognise samples (S,), float32 at 16 kHz; adds the seconds of each link to `seconds`."""
        raise NotImplementedError


class Whisper(Ready):
    """A Whisper model of any size with faster-whisper: beam search at temperature 0, without the fallback to sampling.

    That fallback would also stop endless repetitions; here the number of tokens of a window is bounded by the length of its
    speech. The rest follows faster-whisper: audio padded to 30 s, timestamps, a given language. The model is loaded with the
    first utterance, that is, in the worker process.
    """

    def __init__(self, config: SimpleNamespace, device: str, languages: Set[str]) -> None:
        """Raises UserError: there is no model, or the device lacks the compute type."""
        self.place = Placement(config.compute_type, device, "ready")
        self.folder = whisper_folder(config.model, "ready")
        if not (self.folder / "tokenizer.json").is_file():
            raise UserError(
                f"ready.model={self.folder} has no tokenizer.json, which recognition needs in addition to the encoder's files"
            )
        self.bytes = (self.folder / "model.bin").stat().st_size
        self.beam, self.tokens = config.beam, config.tokens
        self.model: Any = None  # a faster_whisper.WhisperModel, once it is loaded

    def words(self, samples: np.ndarray, language: str, seconds: Dict[str, float]) -> str:
        """Recognise samples (S,), float32 at 16 kHz; adds the seconds of encoder and search to `seconds`.

        Raises:
          UserError: the model doesn't know the language.
        """
        self._load()
        if of_whisper(language) not in self.model.supported_languages:
            raise UserError(f"ready.model={self.folder} doesn't know the language '{language}': use a multilingual model")
        own: Dict[str, float] = {}
        self.model.spent = own
        with timed(own, "beam"):
            longest = int(self.tokens * min(len(samples) / RATE, WINDOW / 100)) + MORE_TOKENS if self.tokens else None
            settings = {"language": of_whisper(language), "beam_size": self.beam, "temperature": 0.0, "max_new_tokens": longest}
            segments, _ = self.model.transcribe(samples, **settings)
            text = " ".join(segment.text for segment in segments)
        own["beam"] -= own["front_end"]
        for link, spent in own.items():
            seconds[link] = seconds.get(link, 0.0) + spent
        return text

    def _load(self) -> None:
        if self.model is not None:
            return
        from faster_whisper import WhisperModel

        class Timed(WhisperModel):
            """Measures the time of its encoder separately."""

            spent: Dict[str, float] = {}

            def encode(self, features: np.ndarray) -> Any:
                with timed(self.spent, "front_end"):
                    return super().encode(features)

        try:
            self.model = Timed(str(self.folder), **self.place.arguments, cpu_threads=1)
        except (RuntimeError, ValueError) as error:
            raise UserError(f"ready.model={self.folder} is not a Whisper model that CTranslate2 can read: {error}") from None


class PocketSphinx(Ready):
    """PocketSphinx with the English acoustic model, dictionary and trigram of its package; decodes whole utterances."""

    def __init__(self, config: SimpleNamespace, device: str, languages: Set[str]) -> None:
        """Raises UserError: the package is missing, or the corpus is not English."""
        try:
            import pocketsphinx
        except ImportError as error:
            raise UserError(f"the system pocketsphinx needs its package ({error}); utils/setup.sh installs it") from None
        if languages != {"en"}:
            raise UserError(f"pocketsphinx has only an English model, and the corpus is in {', '.join(sorted(languages))}")
        self.bytes = sum(path.stat().st_size for path in Path(pocketsphinx.get_model_path("en-us")).rglob("*") if path.is_file())
        self.decoder: Any = None

    def words(self, samples: np.ndarray, language: str, seconds: Dict[str, float]) -> str:
        """Recognise samples (S,), float32 at 16 kHz; adds the seconds to `seconds`."""
        if self.decoder is None:
            import pocketsphinx

            self.decoder = pocketsphinx.Decoder(samprate=float(RATE), cmn="batch", loglevel="FATAL")
        pcm = (np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16).tobytes()
        with timed(seconds, "beam"):
            self.decoder.reinit_feat()  # otherwise earlier utterances change the result
            self.decoder.start_utt()
            self.decoder.process_raw(pcm, no_search=False, full_utt=True)
            self.decoder.end_utt()
            found = self.decoder.hyp()
        return found.hypstr if found else ""


SYSTEMS: Dict[str, Callable[[SimpleNamespace, str, Set[str]], Ready]] = {"whisper": Whisper, "pocketsphinx": PocketSphinx}


def open_ready(system: str, config: SimpleNamespace, device: str, languages: Set[str]) -> Ready:
    """The recogniser that the key `system` names; config: the group `ready`."""
    keep_freed()
    return SYSTEMS[system](config, device, languages).opened_by(open_ready, system, config, device, languages)


def recognise(cuts: Sequence[Any], out: Path, recogniser: Ready, data: Path) -> None:
    """Recognise some cuts and write them as a piece (utils/decode/pieces.py).

    Args:
      data: folder of stage 0; hypotheses become words as its transcripts did.
    """
    normalisers = {language: recognised_normaliser(data, language) for language in {c.supervisions[0].language for c in cuts}}
    seconds: Dict[str, float] = {}
    found: List[List[str]] = []
    for cut in cuts:
        language = cut.supervisions[0].language
        text = recogniser.words(audio(cut, RATE, "none")[0], language, seconds)
        found.append(normalisers[language](text).split())
    write_piece(out, cuts, {"beam": found}, seconds)
