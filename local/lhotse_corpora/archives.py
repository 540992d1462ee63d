"""Downloads of corpora whose licence lets everyone have them, from their publishers.

Lhotse's own download functions are not called: they don't compare a file's size with the server's, and some leave the folder that
they unpack half written or need packages of their own. `utils.core.download` continues, compares, locks and unpacks whole.
"""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import List

from lhotse.recipes.ami import MEETINGS
from lhotse.recipes.librispeech import MINI_LIBRISPEECH
from lhotse.recipes.vctk import EDINBURGH_VCTK_URL
from lhotse.recipes.voxpopuli import DOWNLOAD_BASE_URL as VOXPOPULI
from lhotse.recipes.voxpopuli import YEARS

from local.lhotse_corpora.layout import AMI_ANNOTATIONS
from local.lhotse_corpora.recipe import Archive, Asked, by_split
from utils.core import download
from utils.core.errors import UserError

OPENSLR = "https://www.openslr.org/resources"
AMI = "https://groups.inf.ed.ac.uk/ami"
FIVE_HEADSETS = ("EN2001a", "EN2001d", "EN2001e")


def librispeech(asked: Asked) -> List[Archive]:
    """An archive a part."""
    parts = [part for _, part in by_split(asked.options)]
    return [Archive(f"{OPENSLR}/{31 if part in MINI_LIBRISPEECH else 12}/{part}.tar.gz", part) for part in parts]


def thchs_30(asked: Asked) -> List[Archive]:
    """One archive, with links in it."""
    return [Archive(f"{OPENSLR}/18/data_thchs30.tgz", "data_thchs30")]


def aidatatang_200zh(asked: Asked) -> List[Archive]:
    """One archive, which holds one a speaker."""
    return [Archive(f"{OPENSLR}/62/aidatatang_200zh.tgz", "aidatatang_200zh")]


def tedlium(asked: Asked) -> List[Archive]:
    """One archive."""
    return [Archive(f"{OPENSLR}/51/TEDLIUM_release-3.tgz", "TEDLIUM_release-3")]


def mls(asked: Asked) -> List[Archive]:
    """An archive a language."""
    name = f"mls_{asked.language}_opus"
    return [Archive(f"https://dl.fbaipublicfiles.com/mls/{name}.tar.gz", name)]


def fleurs(asked: Asked) -> List[Archive]:
    """A table and an archive a split."""
    base = f"https://huggingface.co/datasets/google/fleurs/resolve/main/data/{asked.language}"
    home = f"data/{asked.language}"
    return [
        one
        for split in ("train", "dev", "test")
        for one in (Archive(f"{base}/{split}.tsv", home + "/"), Archive(f"{base}/audio/{split}.tar.gz", f"{home}/audio/{split}"))
    ]


def voxpopuli(asked: Asked) -> List[Archive]:
    """The sessions of each year, which all languages share, and the table of a language."""
    years = [Archive(f"{VOXPOPULI}/audios/original_{year}.tar", f"raw_audios/original_{year}") for year in YEARS]
    return [Archive(f"{VOXPOPULI}/annotations/asr/asr_{asked.language}.tsv.gz", "./"), *years]


def vctk(asked: Asked) -> List[Archive]:
    """One archive: release 0.92."""
    return [Archive(EDINBURGH_VCTK_URL, "VCTK-Corpus-0.92")]


def ljspeech(asked: Asked) -> List[Archive]:
    """One archive."""
    return [Archive("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2", "LJSpeech-1.1")]


def speechcommands(asked: Asked) -> List[Archive]:
    """An archive for train and dev, and one for test."""
    version = asked.options["version"]
    names = [f"speech_commands_v0.0{version}", f"speech_commands_test_set_v0.0{version}"]
    names = names if asked.options["test"] == "archive" else names[:1]
    return [Archive(f"https://download.tensorflow.org/data/{name}.tar.gz", name) for name in names]


def ami(asked: Asked) -> List[Archive]:
    """A file a meeting and microphone, and the annotations."""
    mirror, out = f"{AMI}/AMICorpusMirror/amicorpus", []
    for meeting in (meeting for meetings in MEETINGS.values() for meeting in meetings):
        names = {
            "ihm": [f"{meeting}/audio/{meeting}.Headset-{n}.wav" for n in range(5 if meeting in FIVE_HEADSETS else 4)],
            "ihm-mix": [f"{meeting}/audio/{meeting}.Mix-Headset.wav"],
            "sdm": [f"{meeting}/audio/{meeting}.Array1-01.wav"],
            "mdm8-bf": [f"beamformed/{meeting}/{meeting}_MDM8.wav"],
        }.get(asked.options["mic"], [])
        out += [Archive(f"{mirror}/{name}", f"amicorpus/{name.rpartition('/')[0]}/") for name in names]
    return [Archive(f"{AMI}/AMICorpusAnnotations/{AMI_ANNOTATIONS}.zip", "./"), *out]


def get(archives: List[Archive], downloads: Path) -> Path:
    """Download and unpack what is not there yet; returns `downloads`.

    Raises:
      UserError: a server can't be reached, or a file is damaged; the same command continues.
    """
    for one in archives:
        name = one.url.rpartition("/")[2]
        if one.folder.endswith("/"):
            path = downloads / one.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            download.fetch(one.url, path)
            continue
        target = downloads / one.folder
        if target.is_dir():
            continue
        path = target.with_name(name)
        download.fetch(one.url, path)
        _unpack(path, target)
    return downloads


def _unpack(archive: Path, target: Path) -> None:
    """Unpack an archive with the archives in it into `target`, which is there once all is done."""
    whole = target.with_name(target.name + ".unpacked")
    if archive.suffix == ".zip":
        _unzip(archive, whole)
    else:
        download.unpack(archive, whole)
        _links(archive, whole)
    for inner in sorted(whole.rglob("*.tar.gz")):
        download.unpack(inner, inner.with_name(inner.name[: -len(".tar.gz")]))
    os.rename(whole, target)


def _unzip(archive: Path, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(partial)  # which keeps names inside the folder
    except (zipfile.BadZipFile, EOFError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{archive} is damaged ({error}); delete it and run the same command again") from None
    os.rename(partial, target)


def _links(archive: Path, target: Path) -> None:
    """Make the links of a tar archive that lead to a file in the unpacked folder; `download.unpack` leaves links out."""
    root = target.resolve()
    with tarfile.open(archive) as tar:
        for member in (m for m in tar if m.issym()):
            link = target / member.name
            leads = (link.parent / member.linkname).resolve()
            if root in leads.parents and leads.is_file() and root in link.resolve().parents and not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(member.linkname)
