"""AISHELL-1 (https://www.openslr.org/33): 178 hours of Mandarin, 400 speakers, 16 kHz, Apache 2.0, in its official splits.

    data_aishell/transcript/aishell_transcript_v0.8.txt    UTTERANCE WORD WORD ...
    data_aishell/wav/train/S0002/BAC009S0002W0122.wav

The transcripts are read here and not by Lhotse's `prepare_aishell`, which drops the blanks between their words. A folder with
only some of the speakers is a part, which results call aishell-part.
"""

import logging
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List

from utils.core import download
from utils.core.errors import UserError
from utils.corpus import kaldi, naming
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options

URL = "https://www.openslr.org/resources/33/data_aishell.tgz"
SPEAKERS = {"train": 340, "dev": 40, "test": 20}
UTTERANCES = {"train": 120098, "dev": 14326, "test": 7176}  # with a transcript
TRANSCRIPTS = Path("transcript") / "aishell_transcript_v0.8.txt"
OPTIONS: Dict[str, object] = {}


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results."""
    return naming.named("aishell" if _whole(config) else "aishell-part", config, OPTIONS, "zh")


def place(config: SimpleNamespace) -> str:
    """What tells parts of the corpus apart: a digest of the folder's path."""
    return "" if _whole(config) else naming.place(Path(config.source))


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy."""
    path = _folder(source) / TRANSCRIPTS
    return [path] if path.is_file() else []


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Download the corpus (15 GB) unless data.source names a copy, and list its utterances."""
    options(config, OPTIONS)
    folder = _folder(Path(config.source) if config.source else _downloaded(downloads))
    if not (folder / TRANSCRIPTS).is_file():
        raise UserError(
            f"{folder / TRANSCRIPTS} is missing; data.source=FOLDER names the folder data_aishell, with wav/ and transcript/"
        )
    texts = kaldi.table(folder / TRANSCRIPTS)
    utterances: List[Utterance] = []
    left_out: List[LeftOut] = []
    for split in SPEAKERS:
        waves = sorted(path for path in (folder / "wav" / split).glob("*/*.wav") if not path.name.startswith("."))
        if not waves:
            raise UserError(
                f"{folder / 'wav' / split} holds no speaker's folder with .wav files; unpack the archives in {folder / 'wav'}"
            )
        for wave in waves:
            if wave.stem in texts:
                utterances.append(Utterance(wave.stem, split, texts[wave.stem], wave.parent.name, config.language, wave))
            else:
                left_out.append(LeftOut(wave.stem, split, "no transcript", by_design=True))
    counts = Counter(u.split for u in utterances)
    if not _whole(config):
        log.warning("%s has some of the speakers alone, %d utterances: results call it aishell-part", folder, len(utterances))
    elif dict(counts) != UTTERANCES:
        found = ", ".join(f"{counts[split]} of {n} in {split}" for split, n in UTTERANCES.items())
        raise UserError(
            f"{folder} has all speakers, but not all utterances with a transcript ({found}); unpack the archives again"
        )
    return Corpus(utterances, left_out)


def _folder(source: Path) -> Path:
    """The folder with wav/ and transcript/: `source`, or data_aishell in it."""
    return source / "data_aishell" if (source / "data_aishell").is_dir() else source


def _whole(config: SimpleNamespace) -> bool:
    """Whether a copy has the folders of all speakers, as a download does."""
    if not config.source:
        return True
    wav = _folder(Path(config.source)) / "wav"
    return all(sum(path.is_dir() for path in (wav / split).glob("S*")) == n for split, n in SPEAKERS.items())


def _downloaded(downloads: Path) -> Path:
    """The unpacked corpus: the archive holds one archive a speaker."""
    whole, archives, archive = downloads / "aishell", downloads / "archives", downloads / "data_aishell.tgz"
    if not whole.is_dir():
        download.fetch(URL, archive)
        download.unpack(archive, archives)
        for path in sorted((archives / "data_aishell" / "wav").glob("*.tar.gz")):
            download.unpack(path, path.with_suffix("").with_suffix(""))  # wav/S0002/train/S0002/*.wav
            _join(path.with_suffix("").with_suffix(""), path.parent)
        archives.rename(whole)
    return whole


def _join(speaker: Path, wav: Path) -> None:
    """Move the folder of an unpacked speaker, S0002/train/S0002, to where it belongs, train/S0002."""
    for folder in speaker.glob("*/S*"):
        target = wav / folder.parent.name / folder.name
        target.parent.mkdir(exist_ok=True)
        if not target.exists():
            folder.rename(target)
