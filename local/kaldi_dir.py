"""kaldi_dir: anyone's own data, in Kaldi data directories below data.source: train/, dev/, test/, each with

    wav.scp                RECORDING PATH                   absolute, from data.source, or from the repository; or a command
    segments               UTTERANCE RECORDING START END    seconds; optional: without it, a recording is an utterance
    reco2file_and_channel  RECORDING FILE CHANNEL           optional: A or B (1 or 2), where each speaker has a channel
    text                   UTTERANCE WORD WORD ...
    utt2spk                UTTERANCE SPEAKER

A dev or test that does not exist is held out of train, always the same, see utils/corpus/held_out.py: whole speakers where they
allow it, else utterances.
"""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import List

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.core.splits import SPLITS
from utils.corpus import kaldi, naming
from utils.corpus.held_out import check_share, hold_out
from utils.corpus.manifests import Corpus, options

OPTIONS = {"name": "", "train": "train", "dev": "dev", "test": "test", "held_out": 0.1, "channel": -1, "allow_pipes": False}


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results: data.options.name, else that of the folder; language and options that aren't usual."""
    chosen = options(config, OPTIONS)
    base = naming.checked(chosen["name"] or Path(config.source).resolve().name, "data.options.name")
    return naming.named(base, config, OPTIONS, "en", said=("name", "allow_pipes"))


def place(config: SimpleNamespace) -> str:
    """What tells corpora of one name apart: a digest of the folder's path."""
    return naming.place(Path(config.source))


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy."""
    return kaldi.files(source)


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Read the data directories; splits that do not exist are held out of train."""
    chosen = options(config, OPTIONS)
    if not config.source:
        raise UserError(
            "kaldi_dir needs your data: --set data.source=FOLDER, with Kaldi data directories train/, dev/ and test/ in it"
        )
    check_share(chosen["held_out"])
    source = Path(config.source)
    utterances, left_out = [], []
    inputs: List[Path] = []
    missing = []
    for split in SPLITS:
        folder = source / chosen[split]
        if not folder.is_dir():
            _refuse_unless_held_out(split, chosen[split], source)
            missing.append(split)
            continue
        found = kaldi.read(
            folder,
            source,
            split,
            config.language,
            None if chosen["channel"] < 0 else chosen["channel"],
            out / "wav" if chosen["allow_pipes"] else None,
        )
        utterances += found.utterances
        left_out += found.left_out
        inputs += found.inputs
    usable = sum(u.split == "train" for u in utterances)
    if 0 < usable <= len(missing):
        lost = [item for item in left_out if item.split == "train"]
        raise UserError(
            f"{source / chosen['train']} has {usable} usable utterance{'s' * (usable > 1)}"
            + (f" ({len(lost)} left out; the first is {lost[0].id}: {lost[0].reason})" if lost else "")
            + f", and at least one is held out for each missing folder ({', '.join(chosen[split] for split in missing)}): "
            f"none is left to train on. Record more, or add {' and '.join(f'{chosen[split]}/' for split in missing)}"
        )
    if missing:  # test first, so that it stays the same when a dev is made later
        log.info("no %s in %s", " and ".join(chosen[split] for split in missing), source)
        utterances = hold_out(utterances, list(reversed(missing)), chosen["held_out"], log)
    return Corpus(utterances, left_out, inputs)


def _refuse_unless_held_out(split: str, name: str, source: Path) -> None:
    """Raise UserError for a folder that does not exist, except a dev or test that was not asked for by name."""
    if split != "train" and name == OPTIONS[split]:
        return
    there = sorted(str(path.parent.relative_to(source)) for path in source.glob("*/wav.scp"))
    remedy = (
        "it is a data directory itself: --set data.options.train=."
        if (source / "wav.scp").is_file() and split == "train"
        else f"--set data.options.{split}=NAME names it{nearest(name, there)}; there are {', '.join(there) or 'none'}"
    )
    raise UserError(f"{source} has no data directory {name}/ for {split}; {remedy}")
