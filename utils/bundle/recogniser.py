"""The one door to a trained model: a bundle opened for recognising. It imports no torch and no k2; the engine may."""

from importlib import import_module
from pathlib import Path
from typing import Any, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from utils.bundle.evidence import Evidence, Heard, Rows
from utils.bundle.files import BundleFiles, HeldFiles, open_files, read_pack_file
from utils.bundle.manifest import Manifest
from utils.bundle.transcript import Transcript
from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.sealing.keys import Keys

ENGINES = {"k2": "utils.engine.k2", "onnx": "utils.bundle.onnx_engine"}
LONGEST = 600.0  # seconds of one recording: the cost of attention grows with their square
Sound = Tuple[np.ndarray, int]  # samples (T,) float32 from -1 to 1, and their rate in Hz


class Engine(Protocol):
    """What recognises. Its module has `open(files, packs, front_end, threads, ...)`, which returns one."""

    rate: int  # Hz, of the samples that it takes

    def transcribe_many(self, recordings: Sequence[Sound], **options: Any) -> List[Transcript]:
        """A transcript of each recording, in order. Thread-safe."""

    def first_pass(self, recordings: Sequence[Sound]) -> List[Transcript]:
        """As `transcribe_many`, by the network and one best path alone. Thread-safe, beside that too."""

    def evidence(self, recordings: Sequence[Sound], **options: Any) -> List[Evidence]:
        """What the network says of each recording, in order. Thread-safe, beside `transcribe_many` too."""

    def streaming(self) -> Any:
        """See `Recogniser.streaming`."""


class Recogniser:
    """A bundle that is ready to recognise. Several may be open in one process, and threads may share one."""

    def __init__(self, engine: Engine, manifest: Manifest, files: Optional[BundleFiles] = None) -> None:
        """See `open`."""
        self._engine, self.manifest, self._files = engine, manifest, files

    @classmethod
    def open(
        cls,
        path: Union[str, Path],
        engine: str = "k2",
        packs: Sequence[Union[str, Path]] = (),
        keys: Optional[Keys] = None,
        front_end: Optional[Union[str, Path]] = None,
        threads: int = 1,
        hold: bool = False,
        **options: Any,
    ) -> "Recogniser":
        """Open a bundle.

        Args:
          path: its folder.
          engine: k2 (the whole chain) or onnx (ONNX Runtime and NumPy alone).
          packs: vocabulary packs that `steps.add_words --bundle` made for it: files, or names of files beside the bundle.
          keys: what opens a sealed bundle, and whose signatures count; without them, the keys of the environment.
          front_end: folder of the front end's model, where it is not in the bundle.
          threads: of the network; 1 is fastest where several processes share a machine.
          hold: whether all that may be needed later is read now, so that the bundle may be replaced while it is open.
          options: what the engine offers besides; see its module's `open`.
        Raises:
          UserError: not a bundle, a damaged one, an unknown engine, a missing front-end model or pack.
        """
        if engine not in ENGINES:
            raise UserError(f"there is no engine '{engine}'{nearest(engine, ENGINES)}: there are {', '.join(ENGINES)}")
        files: BundleFiles = open_files(Path(path), keys)
        if hold:
            files = HeldFiles(files)
        module = import_module(ENGINES[engine])
        read = [read_pack(pack, Path(path), keys) for pack in packs]
        made = module.open(files, packs=read, front_end=front_end, threads=threads, **options)
        if isinstance(files, HeldFiles):
            files.hold()
        return cls(made, files.manifest, files)

    def content(self, name: str) -> Optional[bytes]:
        """A file of the bundle, checked; None where it has no such file. Raises UserError: it was changed."""
        return self._files.read(name) if self._files is not None and name in self._files.names else None

    @property
    def language(self) -> str:
        """ISO 639-1 code of the language that it recognises."""
        return self.manifest.language

    @property
    def rate(self) -> int:
        """Sampling rate of its features in Hz. Samples of any rate are taken; those of this one need no resampling."""
        return self._engine.rate

    def transcribe(self, samples: np.ndarray, rate: int, **options: Any) -> Transcript:
        """The words of a recording.

        Args:
          samples: (T,) float32 in [-1, 1], one channel.
          rate: Hz.
          options: of the engine, for this call; k2 has `words` to add, and a text as `context`.
        Raises:
          UserError: samples of another form, or that are not numbers; more than LONGEST seconds; words that can't be added.
        """
        return self.transcribe_many([(samples, rate)], **options)[0]

    def transcribe_many(self, recordings: Sequence[Sound], **options: Any) -> List[Transcript]:
        """As `transcribe` for each recording; short ones share batches, which is faster."""
        checked = [_checked(samples, rate) for samples, rate in recordings]
        return self._engine.transcribe_many(checked, **options) if checked else []

    def first_pass(self, recordings: Sequence[Sound]) -> List[Transcript]:
        """As `transcribe_many`, quickly: by the network and the best path of the first graph alone."""
        checked = [_checked(samples, rate) for samples, rate in recordings]
        return self._engine.first_pass(checked) if checked else []

    def evidence(self, recordings: Sequence[Sound], **options: Any) -> List[Evidence]:
        """What the network says of each recording before any graph: what search, spotting and commands work on.

        Args:
          options: of the engine; k2 has `features`, whether those of the front end are wanted too.
        """
        checked = [_checked(samples, rate) for samples, rate in recordings]
        return self._engine.evidence(checked, **options) if checked else []

    def front_end_features(self, recordings: Sequence[Sound]) -> List[Optional[np.ndarray]]:
        """`Evidence.features` of each recording without the network's work; None for one that is too short."""
        checked = [_checked(samples, rate) for samples, rate in recordings]
        return self._of_k2("front_end_features")(checked) if checked else []

    def decoder_scores(self, features: np.ndarray, sentences: Sequence[Sequence[str]]) -> Optional[List[float]]:
        """Natural log of p(sentence | speech) by the decoder of the front end's Whisper model; None where there is none.

        Args:
          features: `Evidence.features` of the recording.
          sentences: words as `normalise` has them.
        """
        return self._of_k2("decoder_scores")(features, sentences)

    def decoder_words(self, features: np.ndarray, beam: int = 5) -> Optional[List[str]]:
        """What that decoder itself would write, as `normalise` has it, by a search with this beam; None where there is none."""
        return self._of_k2("decoder_words")(features, beam)

    def hear(self, recordings: Sequence[Sound]) -> List[Heard]:
        """As `transcribe_many`, with the evidence and all likely words: for an index."""
        checked = [_checked(samples, rate) for samples, rate in recordings]
        return self._of_k2("hear")(checked) if checked else []

    @property
    def trained(self) -> Any:
        """The `utils.engine.chain.Trained` of the engine k2: the network itself, to adapt it."""
        return self._of_k2("trained")

    @property
    def units(self) -> List[str]:
        """Names of the sub-word units, by the columns of `Evidence.subword`; the first is the blank."""
        return self._of_k2("units")

    def normalise(self, text: str) -> str:
        """A text as transcripts have it: words between blanks."""
        return self._of_k2("normalise")(text)

    def rows(self, words: Optional[Sequence[str]] = None) -> Rows:
        """Rows of the table of word vectors. Nothing is added to the recogniser.

        Args:
          words: each 'WORD', as `normalise` has them, or 'WORD UNIT UNIT ...' with its pronunciation, known or not; None for
            the vocabulary.
        Raises:
          UserError: words that the model has no pronunciation or no vector for.
        """
        return self._of_k2("rows")(words)

    def meanings(self, words: Sequence[str]) -> np.ndarray:
        """Rows (n, width) of the table of meanings, of unit length; zeros for a word whose meaning the bundle does not know.

        Raises:
          UserError: the bundle's vectors have no part of meaning.
        """
        return self._of_k2("meanings")(words)

    def _of_k2(self, name: str) -> Any:
        if not hasattr(self._engine, name):
            raise UserError(f"this engine has no {name}; open the bundle with engine='k2'")
        return getattr(self._engine, name)

    def streaming(self) -> Any:
        """The `utils.bundle.streaming.Streaming` of a causal model; None for other models, which see whole segments."""
        return self._engine.streaming()

    @property
    def added(self) -> List[str]:
        """The words that were added by `add_words`, and those that it gave a weight."""
        return list(getattr(self._engine, "added", []))

    def add_words(
        self,
        words: Sequence[str],
        weight: float = 0.0,
        recordings: Mapping[str, Sequence[Path]] = {},
        dry_run: bool = False,
    ) -> List[str]:
        """Add words to this recogniser; the bundle stays as it is. Other threads go on with the words from before meanwhile.

        Args:
          words: each 'WORD' or 'WORD UNIT UNIT ...' with its pronunciation.
          weight: natural log by which the language model finds them more likely (hot words); also of words that it has already.
          recordings: more words, with recordings of each alone: audio files.
          dry_run: whether only the remarks are wanted: nothing is added.
        Returns:
          remarks: words that were changed, and words that the model can't tell from others.
        Raises:
          UserError: words that can't be added; an engine that can't add words.
        """
        if not hasattr(self._engine, "add_words"):
            raise UserError("this engine can't add words; open the bundle with engine='k2'")
        return self._engine.add_words(words, weight, recordings, dry_run)

    def remove_words(self, words: Sequence[str]) -> None:
        """Take words of `added` away again, or their weights. Without any left, it recognises bit for bit as before.

        Raises:
          UserError: a word that is not in `added`.
        """
        unknown = [word for word in words if word not in self.added]
        if unknown:
            raise UserError(f"not among the added words: {', '.join(unknown[:10])}")
        self._engine.remove_words(words)  # type: ignore[attr-defined]

    def stream(self, rate: int, settings: Any = None) -> Any:
        """A `utils.live.listening.Listener`: samples go in piece by piece, events come out.

        Args:
          rate: Hz.
          settings: a `utils.live.settings.Settings`; None for the usual ones.
        """
        return import_module("utils.live.listening").Listener(self, rate, settings)


def packs_folder(bundle: Path) -> Path:
    """Where `steps.add_words --bundle` puts packs: beside the bundle, whose own files are hashed."""
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.packs")


def read_pack(pack: Union[str, Path], bundle: Path, keys: Optional[Keys]) -> Tuple[str, bytes]:
    """Name and content of a vocabulary pack: a file, or the name of one beside the bundle."""
    folder = packs_folder(bundle)
    places = (Path(pack), folder / pack, folder / f"{pack}.safetensors", folder / f"{pack}.safetensors.sealed")
    found = next((path for path in places if path.exists()), None)
    if found is None:
        others = ", ".join(sorted({path.name.split(".")[0] for path in folder.glob("*") if path.suffix != ".tsv"})) or "none"
        raise UserError(
            f"there is no vocabulary pack {pack}, neither as a file nor in {folder}, which has {others}; "
            "python -m steps.add_words --bundle makes them"
        )
    return str(found), read_pack_file(found, keys)


def _checked(samples: np.ndarray, rate: int) -> Sound:
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise UserError(f"samples of one channel have one dimension, and these have shape {samples.shape}; take one channel")
    if samples.dtype.kind != "f":
        raise UserError(f"samples are {samples.dtype}, and must be float32 from -1 to 1; divide 16-bit integers by 32768")
    if not (isinstance(rate, (int, np.integer)) and rate > 0):
        raise UserError(f"the sampling rate is {rate!r}, and must be a whole number of Hz above 0")
    if len(samples) > LONGEST * rate:
        raise UserError(
            f"a recording of {len(samples) / rate:.0f} s is too long for one call ({LONGEST:.0f} s at most); cut it at pauses, "
            "as steps.recognise does"
        )
    if not np.isfinite(samples).all():
        raise UserError("some samples are not numbers (NaN or infinite)")
    return samples.astype(np.float32, copy=False), int(rate)
