"""speechocean762 (https://www.openslr.org/101): English read by 250 Mandarin speakers, half of them children, 16 kHz.

Official speaker-disjoint train (125 speakers) and test (125); dev is `data.options.dev_speakers` speakers of train, the first by
the SHA-1 of their names. Free, for commercial use too. The scores of the corpus are not read.
"""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import List

from utils.core import download
from utils.core.errors import UserError
from utils.corpus import kaldi
from utils.corpus.manifests import Corpus, hold_out_speakers, options
from utils.corpus.naming import named

URL = "https://www.openslr.org/resources/101/speechocean762.tar.gz"
UTTERANCES = {"train": 2500, "test": 2500}
OPTIONS = {"dev_speakers": 12}


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results."""
    return named("speechocean762", config, OPTIONS, "en")


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy, also where it holds the folder that is in the archive."""
    return [*kaldi.files(source), *kaldi.files(source / "speechocean762")]


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Download the corpus unless data.source names a copy, and read its train and test."""
    source = Path(config.source) if config.source else downloads / "speechocean762"
    if not config.source and not source.is_dir():
        archive = downloads / "speechocean762.tar.gz"
        download.fetch(URL, archive)
        download.unpack(archive, source)
    if not (source / "train").is_dir() and (source / "speechocean762").is_dir():  # the folder in the archive
        source = source / "speechocean762"
    parts = {split: kaldi.read(source / split, source, split, config.language) for split in UTTERANCES}
    for split, part in parts.items():
        n = len(part.utterances) + len(part.left_out)
        if n != UTTERANCES[split]:
            raise UserError(
                f"{source / split} has {n} utterances instead of {UTTERANCES[split]}; give the corpus as it was "
                "published" + ("" if config.source else ", or delete the folder to download it again")
            )
    train, test = parts["train"], parts["test"]
    shared = {u.speaker for u in train.utterances} & {u.speaker for u in test.utterances}
    if shared:
        raise UserError(f"{source}: speakers in both train and test: {', '.join(sorted(shared)[:5])}")
    utterances = hold_out_speakers(train.utterances, "dev", options(config, OPTIONS)["dev_speakers"])
    return Corpus(utterances + test.utterances, train.left_out + test.left_out)
