"""yesno, OpenSLR 1 (https://www.openslr.org/1): one man says eight Hebrew words, each yes or no, in each of 60 files at 8 kHz.

The file name holds the transcript: `1_0_1_1_1_0_1_0.wav`. Train and test are Lhotse's and icefall's (every second file of the
sorted list); `data.options.dev` files of train become dev, evenly spread.
"""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import List

from utils.core import download
from utils.core.errors import UserError
from utils.core.files import files_in
from utils.corpus.manifests import Corpus, Utterance, options
from utils.corpus.naming import named

URL = "https://www.openslr.org/resources/1/waves_yesno.tar.gz"
SHA256 = {URL: "c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73"}  # as torchaudio publishes it
FILES = 60
WORDS = {"0": "NO", "1": "YES"}
OPTIONS = {"dev": 5}


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results."""
    return named("yesno", config, OPTIONS, "he")


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy: all of them, they are small."""
    return [path for path in files_in(source) if path.match("*_*.wav")]


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Download the corpus unless data.source names a copy, and list its utterances."""
    if config.source:
        source = Path(config.source)
    else:
        archive = downloads / "waves_yesno.tar.gz"
        source = downloads / "waves_yesno"
        if not source.is_dir():
            download.fetch(URL, archive, SHA256.get(URL, ""))
            download.unpack(archive, source)
    waves = tables(source)
    if len(waves) != FILES:
        raise UserError(
            f"{source} holds {len(waves)} recordings instead of {FILES}; give the folder `waves_yesno` as it was "
            "published" + ("" if config.source else ", or delete it to download it again")
        )
    train, test = waves[::2], waves[1::2]
    n = options(config, OPTIONS)["dev"]
    if not 0 < n < len(train):
        raise UserError(f"data.options.dev={n}: between 1 and {len(train) - 1} of the {len(train)} recordings of train")
    dev = {train[i * len(train) // n] for i in range(n)}
    splits = {**{w: "dev" if w in dev else "train" for w in train}, **dict.fromkeys(test, "test")}
    return Corpus([_utterance(wave, splits[wave], config.language) for wave in waves], [])


def _utterance(wave: Path, split: str, language: str) -> Utterance:
    digits = wave.stem.split("_")
    if len(digits) != 8 or not set(digits) <= set(WORDS):
        raise UserError(f"{wave}: the name must hold eight digits 0 or 1, like 1_0_1_1_1_0_1_0.wav")
    return Utterance(wave.stem, split, " ".join(WORDS[d] for d in digits), "one", language, wave)
