"""A sample of AISHELL-1: 1000 sentences of Mandarin, 1.2 hours, two speakers, 16 kHz, Apache 2.0. It is on no server.

    AISHELL_Sample_data/BAC009S0150W0001.wav
    kaldi_file/text                             UTTERANCE WORD WORD ...

`data.options.split=sentence` (default): by the SHA-256 of a sentence without its blanks, a tenth of the sentences are dev and a
tenth test, so no sentence is in two splits. `speaker`: `test_speaker` is test, the other train and, in a tenth of the sentences,
dev; a sentence that both say is left out of train and dev.
"""

import hashlib
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List

from utils.core.errors import UserError
from utils.corpus import kaldi, naming
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options

UTTERANCES = 1000
SPLITS = ("sentence", "speaker")
OPTIONS = {"split": "sentence", "test_speaker": "S0252"}
TEXT, WAVES = Path("kaldi_file") / "text", "AISHELL_Sample_data"


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results; that of a part of the sample says so."""
    whole = len(_waves(Path(config.source))) == UTTERANCES
    return naming.named("aishell_sample" if whole else "aishell_sample-part", config, OPTIONS, "zh")


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy."""
    return [source / TEXT] if (source / TEXT).is_file() else []


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """List the utterances of the copy that data.source names."""
    chosen = options(config, OPTIONS)
    if chosen["split"] not in SPLITS:
        raise UserError(f"data.options.split={chosen['split']}: there are {', '.join(SPLITS)}")
    if not config.source:
        raise UserError(f"aishell_sample is on no server: name the folder with {WAVES}/ and {TEXT} by --set data.source=FOLDER")
    source = Path(config.source)
    if not (source / TEXT).is_file():
        raise UserError(f"{source / TEXT} is missing; data.source=FOLDER names the folder with {WAVES}/ and {TEXT}")
    waves, texts = _waves(source), kaldi.table(source / TEXT)
    if len(waves) != UTTERANCES:
        log.warning("%s has %d utterances instead of %d: results call it aishell_sample-part", source, len(waves), UTTERANCES)
    speakers = {key: key[6:11] for key in waves}  # BAC009S0150W0001
    if chosen["split"] == "speaker" and chosen["test_speaker"] not in set(speakers.values()):
        found = ", ".join(sorted(set(speakers.values())))
        raise UserError(f"data.options.test_speaker={chosen['test_speaker']}: {source} has {found or 'no .wav file'}")
    said = {_sentence(texts[key]) for key in waves if key in texts and speakers[key] == chosen["test_speaker"]}
    utterances: List[Utterance] = []
    left_out: List[LeftOut] = []
    for key, wave in waves.items():
        if key not in texts:
            left_out.append(LeftOut(key, "-", f"no line in {TEXT}"))
            continue
        split = {0: "dev", 1: "test"}.get(tenth(texts[key]), "train")
        if chosen["split"] == "speaker":
            split = "test" if speakers[key] == chosen["test_speaker"] else "train" if split == "test" else split
            if split != "test" and _sentence(texts[key]) in said:
                left_out.append(LeftOut(key, split, "the test speaker says the same sentence", by_design=True))
                continue
        utterances.append(Utterance(key, split, texts[key], speakers[key], config.language, wave))
    return Corpus(utterances, left_out)


def tenth(text: str) -> int:
    """Which tenth of all sentences a transcript is in, however its words are cut."""
    return int(hashlib.sha256(_sentence(text).encode()).hexdigest(), 16) % 10


def _sentence(text: str) -> str:
    return "".join(text.split())


def _waves(source: Path) -> Dict[str, Path]:
    """Utterance -> its recording, sorted."""
    return {path.stem: path for path in sorted((source / WAVES).glob("*.wav")) if not path.name.startswith(".")}
