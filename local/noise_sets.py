"""Noises and rooms for augmentation: MUSAN and RIRS_NOISES, from OpenSLR, read through Lhotse's recipes.

What is prepared is a folder `noises` and a folder `rooms`, of links to the files, which `augment.noise` and
`augment.impulse_responses` take.
"""

import logging
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Callable, Dict, Iterable, Mapping, Sequence

import lhotse
from lhotse import Recording, RecordingSet
from lhotse.audio.backend import audio_backend
from lhotse.recipes.musan import scan_recordings
from lhotse.recipes.rir_noise import prepare_rir_noise

from local.lhotse_corpora import archives
from local.lhotse_corpora.recipe import Archive, Headers, files, folder, need
from utils.audio.noises import Recordings
from utils.core.errors import UserError, printable

RATE = 16000  # Hz, at which both are published
NOISES, ROOMS = "noises", "rooms"

log = logging.getLogger("nuptse")


@dataclass(frozen=True)
class Part:
    """A part of a set of noises."""

    kind: str  # NOISES or ROOMS
    folder: str  # below the set's own
    published: int = 0  # files; 0: nobody says


@dataclass(frozen=True)
class NoiseSet:
    """How to get a set of noises, and what is in it."""

    title: str
    page: str
    licence: str
    home: str  # the folder that its archive holds
    archive: str  # below OpenSLR's address
    read: Callable[[Path, str, str], Iterable[Recording]]  # its folder, a part, the part's folder -> what Lhotse finds
    parts: Mapping[str, Part]
    usual: Sequence[str]  # parts that are taken unless others are asked for


def _musan(home: Path, part: str, place: str) -> Iterable[Recording]:
    """Not by `prepare_musan`, which stops at a piece of music that is annotated and not there."""
    return scan_recordings(home / place)


def _rirs_noises(home: Path, part: str, place: str) -> Iterable[Recording]:
    yield from prepare_rir_noise(home, parts=[part])[part]["recordings"]
    if part == "real_rir":  # Lhotse takes the names with "rir" in them, which those of the Aachen rooms (air_...) lack
        yield from (Recording.from_file(path) for path in files(home / place, "air_*.wav") if "rir" not in path.stem)


SETS: Dict[str, NoiseSet] = {
    "musan": NoiseSet(
        "MUSAN",
        page="https://www.openslr.org/17",
        licence="CC BY 4.0",
        home="musan",
        archive="17/musan.tar.gz",
        read=_musan,
        parts={"noise": Part(NOISES, "noise", 930), "music": Part(NOISES, "music", 660), "speech": Part(NOISES, "speech", 426)},
        usual=("noise", "music"),
    ),
    "rirs_noises": NoiseSet(
        "RIRS_NOISES",
        page="https://www.openslr.org/28",
        licence="Apache 2.0",
        home="RIRS_NOISES",
        archive="28/rirs_noises.zip",
        read=_rirs_noises,
        parts={
            "point_noise": Part(NOISES, "pointsource_noises", 843),
            "iso_noise": Part(NOISES, "real_rirs_isotropic_noises"),
            "real_rir": Part(ROOMS, "real_rirs_isotropic_noises", 325),
            "sim_rir": Part(ROOMS, "simulated_rirs", 60000),
        },
        usual=("point_noise", "iso_noise", "real_rir", "sim_rir"),
    ),
}


def prepare(name: str, source: str, downloads: Path, out: Path, parts: Sequence[str] = ()) -> Dict[str, Path]:
    """Download a set, unless `source` names a copy, check its files, and link them.

    Args:
      name: of `SETS`.
      source: its folder, or one that holds it; '' downloads it to `downloads`.
      out: a new folder, for `noises/`, `rooms/`, and Lhotse's manifest of each part.
      parts: of the set; none: the usual ones.
    Returns:
      the folders that were made, by kind.
    Raises:
      UserError: a folder is missing or has no audio, a file is damaged; nothing is left behind.
    """
    chosen = SETS[name]
    parts = list(dict.fromkeys(parts or chosen.usual))
    unknown = [part for part in parts if part not in chosen.parts]
    if unknown:
        raise UserError(f"{chosen.title} has no part '{unknown[0]}'; it has {', '.join(chosen.parts)}")
    if out.exists():
        raise UserError(f"{out} exists; name another folder, or remove it")
    home = folder(_source(chosen, source, downloads), chosen.home)
    found = {part: _recordings(chosen, part, home) for part in parts}
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    for part, recordings in found.items():
        place = partial / chosen.parts[part].kind / part
        place.mkdir(parents=True)
        for one in recordings:
            path = Path(os.path.abspath(one.sources[0].source))
            (place / f"{one.id}{path.suffix}").symlink_to(path)
        recordings.to_file(str(partial / f"{part}.jsonl.gz"))
    os.rename(partial, out)
    return {kind: out / kind for kind in dict.fromkeys(chosen.parts[part].kind for part in parts)}


def _source(chosen: NoiseSet, source: str, downloads: Path) -> Path:
    if not source:
        return archives.get([Archive(f"{archives.OPENSLR}/{chosen.archive}", chosen.home)], downloads)
    if not Path(source).is_dir():
        raise UserError(f"{source} is not a folder; name the folder {chosen.home}, see {chosen.page}")
    return Path(source)


def _recordings(chosen: NoiseSet, part: str, home: Path) -> RecordingSet:
    """The recordings of a part, checked."""
    place = need(home / chosen.parts[part].folder, f"the folder {chosen.home}")
    if not files(place, "*.wav"):
        raise UserError(f"{place} has no WAV file; unpack {chosen.archive.rpartition('/')[2]} again, see {chosen.page}")
    try:
        with audio_backend(Headers()), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            every = chosen.read(home, part, place.name)
            found = [one for one in every if not Path(one.sources[0].source).name.startswith(".")]  # such as macOS leaves there
    except Exception as error:  # Lhotse's recipes assert, look up and parse
        said = printable(" ".join(f"{type(error).__name__}: {error}".split()))
        raise UserError(
            f"{home}: Lhotse {lhotse.__version__} can't read it as {chosen.title} ({said}); give it as it is published, see "
            f"{chosen.page}"
        ) from error
    if not found:
        raise UserError(f"{place} has no file of the part {part}; it has {', '.join(p.name for p in files(place, '*.wav')[:3])}")
    Recordings([Path(one.sources[0].source) for one in found], RATE)  # checks every file
    published = chosen.parts[part].published
    if published and len(found) != published:
        log.warning("%s: %s has %d files in this copy, %d as published", chosen.title, part, len(found), published)
    hours = sum(one.duration for one in found) / 3600
    log.info("%s: %s, %d files, %.1f hours", chosen.title, part, len(found), hours)
    return RecordingSet.from_recordings(sorted(found, key=lambda one: one.id))
