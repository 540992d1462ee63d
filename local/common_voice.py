"""Common Voice (https://commonvoice.mozilla.org): sentences that volunteers read, in many languages, MP3 of 32 to 48 kHz, CC0.

Laid out as Mozilla's archives are, of one language or several:

    LOCALE/clips/*.mp3
    LOCALE/train.tsv, dev.tsv, test.tsv     Mozilla's splits; a dev or test that is missing or has no row is held out of train; or
    LOCALE/validated.tsv                    without these: a share (data.options.held_out) each is dev and test, see
                                            utils/corpus/held_out.py; where that is 0, a tenth of the speakers, by SHA-256
    LOCALE/clip_durations.tsv               in newer releases: clips that are shorter than it says are left out

It needs data.source: Mozilla asks for consent before a download.
"""

import csv
import hashlib
import logging
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Dict, List, Sequence

from utils.audio.decoding import packet_seconds
from utils.core.errors import UserError
from utils.core.languages import canonical, family
from utils.core.parallel import threaded
from utils.core.splits import SPLITS
from utils.corpus.held_out import check_share, hold_out
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options
from utils.corpus.naming import named
from utils.languages.registry import unknown
from utils.text.encoding import utf8_lines

OPTIONS = {"locale": "", "held_out": 0.0}  # locale: of several languages as one, joined by +
HELD_OUT = 0.1  # of train, for a split that Mozilla's tables lack, where data.options.held_out is 0
LONG_ENOUGH = 0.9  # share of the published length that a clip must have: programs count the padding of an MP3 differently
CHINESE = ("hak", "nan", "wuu", "yue")  # whose speech may be among what Mozilla calls zh
COLUMNS = ("client_id", "path", "sentence")


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results: common_voice-en."""
    base = f"common_voice-{options(config, OPTIONS)['locale'] or config.language}"
    return named(base, config, OPTIONS, said=("locale", "held_out"))


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy."""
    return sorted(path for split in (*SPLITS, "validated") for path in source.glob(f"*/{split}.tsv"))


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """The utterances of a language, or of the several that data.options.locale names."""
    if not config.source:
        raise UserError(
            "common_voice is downloaded by hand, since Mozilla asks for consent: unpack it, and name the folder with the folder "
            "of the language in it by --set data.source=FOLDER"
        )
    locales = [locale.strip() for locale in options(config, OPTIONS)["locale"].split("+")]
    if len(locales) > 1 and "" in locales:
        raise UserError(f"data.options.locale={'+'.join(locales)}: a language is missing beside the +")
    most = options(config, OPTIONS)["held_out"]
    if most:
        check_share(most)
    several = len(locales) > 1
    parts = [
        _of_locale(config, locale, locale if several else config.language, f"{locale}-" * several, nj, log) for locale in locales
    ]
    return Corpus([u for part in parts for u in part.utterances], [one for part in parts for one in part.left_out])


def _of_locale(config: SimpleNamespace, locale: str, language: str, prefix: str, nj: int, log: logging.Logger) -> Corpus:
    """The utterances of one language; prefix: before the names of its speakers."""
    folder = _folder(Path(config.source), locale, language)
    most = options(config, OPTIONS)["held_out"]
    official = {split: folder / f"{split}.tsv" for split in SPLITS}
    missing: List[str] = []
    utterances: List[Utterance] = []
    left_out: List[LeftOut] = []
    if any(table.is_file() for table in official.values()):
        missing = [split for split in ("test", "dev") if _empty(official[split])]
        parts = [(split, table) for split, table in official.items() if split not in missing]
    else:
        missing = ["test", "dev"] if most else []
        parts = [("", folder / "validated.tsv")]
    seconds = _seconds(folder / "clip_durations.tsv")
    rows = [(split, row, _clip(folder, row["path"])) for split, table in parts for row in _rows(table)]
    _check_language([row for _, row, _ in rows], folder, language)  # before all clips are read
    short = _cut_short([clip for _, _, clip in rows if clip.name in seconds and clip.is_file()], seconds, nj)
    for split, row, clip in rows:
        identity, own = clip.stem, split or ("train" if most else _split(row["client_id"]))
        if not clip.is_file():
            left_out.append(LeftOut(identity, own, f"no file {clip}"))
        elif clip in short:
            left_out.append(LeftOut(identity, own, short[clip]))
        else:
            speaker = prefix + row["client_id"][:32]  # of 128 hexadecimal digits
            utterances.append(Utterance(identity, own, row["sentence"], speaker, language, clip))
    if missing:
        if parts[0][0]:
            log.info("%s has no %s", folder, " and no ".join(missing))
        utterances = hold_out(utterances, missing, most or HELD_OUT, log)
    return Corpus(utterances, left_out)


def _empty(table: Path) -> bool:
    """Whether a table is missing, or has no row below its header, as those of small languages may."""
    return not table.is_file() or not any(map(str.strip, islice(utf8_lines(table), 1, None)))


def _check_language(rows: Sequence[Dict[str, str]], folder: Path, language: str) -> None:
    """Raises UserError where the tables say that the clips are of another language. Cantonese is `zh-HK` there, and `yue`."""
    named = {locale for locale in {row.get("locale") or "" for row in rows} if not unknown(locale)}
    known = (family(language), "zh" if family(language) in CHINESE else "")
    other = sorted(locale for locale in named if family(locale) not in known)
    if other:
        raise UserError(
            f"the clips of {folder} are of the language {other[0]}, as its tables say, not of {language}: set "
            f"data.language={other[0]}"
        )


def _folder(source: Path, locale: str, language: str) -> Path:
    """The folder of a language, which `source` has or is. Raises UserError where there is none, or several."""
    if not locale and (source / "clips").is_dir():
        return source
    there = sorted(path.name for path in source.iterdir() if (path / "clips").is_dir())
    found = [name for name in there if name == (locale or language)]
    found = found or [name for name in there if not locale and canonical(name) == canonical(language)]
    near = [name for name in there if not locale and family(name) == family(language)]
    found = found or [name for name in near if "-" not in canonical(language) or canonical(name) == family(name)]
    if len(found) == 1:
        return source / found[0]
    if found:
        raise UserError(
            f"{source} has several folders of the language {language}: choose one by --set data.options.locale="
            + " or ".join(found)
        )
    raise UserError(
        f"{source} has no folder {locale or language}/ with clips/ in it; it has {', '.join(there) or 'no language at all'}"
        + (": choose by --set data.language or --set data.options.locale" if there else "")
    )


def _rows(table: Path) -> List[Dict[str, str]]:
    """The rows of a table of Mozilla's; raises UserError where it is missing, or lacks a column."""
    if not table.is_file():
        raise UserError(f"{table} is missing; unpack the archive of the language again")
    rows = list(csv.DictReader(utf8_lines(table), delimiter="\t", quoting=csv.QUOTE_NONE))
    missing = [column for column in COLUMNS if rows and column not in rows[0]]
    if missing or not rows:
        raise UserError(
            f"{table} has {f'no column {missing[0]}' if missing else 'no row'}; Mozilla's tables have {', '.join(COLUMNS)}"
        )
    short = next((n for n, row in enumerate(rows, 2) if any(row[column] is None for column in COLUMNS)), None)
    if short:
        raise UserError(f"{table}, line {short}: fewer columns than the header; unpack the archive again")
    return rows


def _seconds(table: Path) -> Dict[str, float]:
    """Clip -> its length in seconds as published; empty where an older release has no such table."""
    if not table.is_file():
        return {}
    rows = [row for row in csv.reader(utf8_lines(table), delimiter="\t", quoting=csv.QUOTE_NONE) if row][1:]
    wrong = next((n for n, row in enumerate(rows, 2) if len(row) != 2 or not row[1].isdigit()), None)
    if wrong:
        raise UserError(f"{table}, line {wrong}: no clip and milliseconds; unpack the archive again, or delete the table")
    return {clip: int(milliseconds) / 1000 for clip, milliseconds in rows}


def _clip(folder: Path, name: str) -> Path:
    """The file of a clip, as tables name it."""
    clip = folder / "clips" / name
    return clip if clip.suffix else clip.with_suffix(".mp3")  # the first releases name no suffix


def _cut_short(clips: List[Path], seconds: Dict[str, float], nj: int) -> Dict[Path, str]:
    """Clips that are shorter than published, and why they are left out. Headers don't tell, so all of each clip is read."""
    lengths = zip(clips, threaded(packet_seconds, clips, nj, "clips"))
    return {
        clip: f"cut short: {clip} lasts {lasts or 0.0:.2f} of {seconds[clip.name]:.2f} s; unpack the archive again"
        for clip, lasts in lengths
        if (lasts or 0.0) < LONG_ENOUGH * seconds[clip.name]
    }


def _split(speaker: str) -> str:
    tenth = int(hashlib.sha256(speaker.encode()).hexdigest(), 16) % 10
    return {0: "dev", 1: "test"}.get(tenth, "train")
