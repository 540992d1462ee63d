"""Where the files of each corpus are, as its publisher lays them out. A file that is missing raises UserError, which names it."""

from pathlib import Path
from typing import Dict, Tuple

from lhotse.recipes.ami import PARTITIONS
from lhotse.recipes.fleurs import DEFAULT_LANGUAGES

from local.lhotse_corpora.recipe import Asked, files, folder, need
from utils.core.download import unpack
from utils.core.errors import UserError
from utils.core.files import digest
from utils.core.splits import SPLITS

AIDATATANG_TRANSCRIPTS = Path("transcript") / "aidatatang_200_zh_transcript.txt"
AMI_ANNOTATIONS = "ami_public_manual_1.6.2"  # 1.6.1 has known errors
AMI_FILES = {"ihm": "*Headset-?.wav", "ihm-mix": "*Mix-Headset.wav", "sdm": "*Array1-01.wav", "mdm8-bf": "*MDM8.wav"}
VCTK_MICS = ("mic1", "mic2")


def librispeech(asked: Asked, part: str) -> Path:
    """The folder of a part, which has transcripts below it."""
    places = (asked.source / "LibriSpeech", asked.source / part / "LibriSpeech", asked.source)  # as unpacked, as downloaded here
    found = next((home / part for home in places if (home / part).is_dir()), folder(asked.source, "LibriSpeech") / part)
    need(found, "the folder LibriSpeech, with the parts that data.options.train, dev and test list")
    if not files(found, "*.trans.txt"):
        raise UserError(f"{found} has no SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt; unpack {part}.tar.gz again")
    return found


def thchs_30(asked: Asked) -> Path:
    """The folder with data/, train/, dev/ and test/."""
    found = folder(asked.source, "data_thchs30")
    for name in ("data", *SPLITS):
        need(found / name, "the folder data_thchs30, with data/, train/, dev/ and test/")
    for split in SPLITS:
        if not files(found / split, "*.wav"):
            raise UserError(
                f"{found / split} has no .wav file; as published it has links to {found / 'data'}: unpack the archive on a disk "
                "that has links"
            )
    return found


def aidatatang_200zh(asked: Asked) -> Path:
    """The folder with corpus/ and transcript/."""
    found = folder(asked.source, "aidatatang_200zh")
    for name in (AIDATATANG_TRANSCRIPTS, *(Path("corpus") / split for split in SPLITS)):
        need(found / name, "the folder aidatatang_200zh, with corpus/ and transcript/")
    for split in SPLITS:
        if not files(found / "corpus" / split, "*.wav"):
            raise UserError(f"{found / 'corpus' / split} has no .wav file; unpack the speakers' archives (.tar.gz) there")
    return found


def mls(asked: Asked) -> Path:
    """The folder of a language: mls_german_opus or mls_german."""
    names = [f"mls_{asked.language}_opus", f"mls_{asked.language}"]
    places = [folder(asked.source, name) for name in names]
    found = next((path for path in (asked.source, *places) if path.name in names), None)
    whole = f"the folder with {' or '.join(names)} in it"
    found = found or need(asked.source / names[0], whole)
    for name in ("metainfo.txt", *(f"{split}/transcripts.txt" for split in SPLITS)):
        need(found / name, whole)
    return found


def fleurs(asked: Asked) -> Tuple[Dict[str, Path], Dict[str, Path]]:
    """The tables of the splits of a language, and the folders with their recordings."""
    code, source = asked.language, asked.source
    if (source / "train.tsv").is_file() and source.name in DEFAULT_LANGUAGES and source.name != code:
        raise UserError(f"{source} is of the language {source.name}, not {code}: set data.language, or name the folder above it")
    for home in (source / "data" / code, source / "fleurs" / code, source / code, source):
        beside = home.parent / "metadata" / code  # as Lhotse's download lays it out
        for tables in (home, beside):
            if (tables / "train.tsv").is_file():
                audio = {split: _fleurs_audio(asked, home, split) for split in SPLITS}
                whole = f"the folder with {code}/ in it, with train.tsv, dev.tsv, test.tsv and audio/"
                return {split: need(tables / f"{split}.tsv", whole) for split in SPLITS}, audio
    need(source / "data" / code / "train.tsv", f"the folder with data/{code}/ in it, as published")
    raise AssertionError("unreachable: the table does not exist")


def _fleurs_audio(asked: Asked, home: Path, split: str) -> Path:
    packed = home / "audio" / f"{split}.tar.gz"
    places = [home / "audio" / split / split, home / "audio" / split, home / split]
    found = next((path for path in places if path.is_dir()), None)
    if found is None and packed.is_file():
        place = asked.downloads / f"{asked.language}-{split}-{digest(asked.reads(packed))[:8]}"
        unpack(packed, place)
        found = next((path for path in (place / split, place) if path.is_dir()), None)
    return found or need(packed, f"the folder with data/{home.name}/ in it")


def vctk(asked: Asked) -> Tuple[Path, bool]:
    """The folder of VCTK, and whether it is release 0.92."""
    if asked.options["mic"] not in VCTK_MICS:
        raise UserError(f"data.options.mic={asked.options['mic']}: one of {', '.join(VCTK_MICS)}")
    home = folder(folder(asked.source, "VCTK-Corpus-0.92"), "VCTK-Corpus")
    new = (home / "wav48_silence_trimmed").is_dir()
    whole = "the folder VCTK-Corpus-0.92, with txt/ and wav48_silence_trimmed/, or VCTK-Corpus, with txt/ and wav48/"
    for name in ("speaker-info.txt", "txt", "wav48_silence_trimmed" if new else "wav48"):
        need(home / name, whole)
    return home, new


def ljspeech(asked: Asked) -> Path:
    """The folder with metadata.csv and wavs/."""
    found = folder(asked.source, "LJSpeech-1.1")
    for name in ("metadata.csv", "wavs"):
        need(found / name, "the folder LJSpeech-1.1, with metadata.csv and wavs/")
    return found


def timit(asked: Asked) -> Path:
    """The folder with TRAIN/ and TEST/, in capitals or small letters."""
    places = [asked.source / name for name in (".", "data", "timit", "TIMIT", "timit/timit", "TIMIT/TIMIT")]
    found = next((path for path in places if {"TRAIN", "TEST"} <= _names(path)), asked.source)
    for name in ("TRAIN", "TEST"):
        if name not in _names(found):
            need(found / name, "the folder of TIMIT (LDC93S1) with TRAIN/ and TEST/")
    return found


def _names(path: Path) -> "set[str]":
    return {p.name.upper() for p in path.iterdir()} if path.is_dir() else set()


def speechcommands(asked: Asked) -> Dict[str, Path]:
    """The folder of each of the two archives by the archive's name; the second is missing where test comes from the list."""
    version, test = str(asked.options["version"]), asked.options["test"]
    if version not in ("1", "2") or test not in ("archive", "list"):
        raise UserError(f"data.options.version={version}, test={test}: version is 1 or 2, test is archive or list")
    names = [f"speech_commands_v0.0{version}", f"speech_commands_test_set_v0.0{version}"]
    home = next((path for path in (asked.source / f"SpeechCommands{version}", asked.source) if path.is_dir()), asked.source)
    main = home if (home / "testing_list.txt").is_file() else home / names[0]
    whole = f"the folder with {' and '.join(names)}, each an archive unpacked"
    for name in ("testing_list.txt", "validation_list.txt"):
        asked.reads_text(need(main / name, whole))
    if test == "list":
        return {names[0]: main}
    return {names[0]: main, names[1]: need(home / names[1], f"{whole}; data.options.test=list takes testing_list.txt instead")}


def tedlium(asked: Asked) -> Path:
    """The folder with legacy/."""
    found = folder(asked.source, "TEDLIUM_release-3")
    for split in SPLITS:
        for kind in ("sph", "stm"):
            need(found / "legacy" / split / kind, "the folder TEDLIUM_release-3, with legacy/ in it: releases 1 and 2 have none")
    return found


def ami(asked: Asked) -> Tuple[Path, Path]:
    """The folder with the meetings, and the annotations: a folder or a .zip."""
    mic, partition = asked.options["mic"], asked.options["partition"]
    if mic not in AMI_FILES or partition not in PARTITIONS:
        raise UserError(
            f"data.options.mic={mic}, partition={partition}: mic is one of {', '.join(AMI_FILES)}, partition one of "
            f"{', '.join(PARTITIONS)}"
        )
    found = folder(asked.source, "amicorpus")
    places = [home / f"{AMI_ANNOTATIONS}{suffix}" for home in (found, asked.source) for suffix in ("", ".zip")]
    annotations = next((path for path in places if path.exists()), None)
    whole = f"the folder with the meetings and {AMI_ANNOTATIONS}.zip, unpacked or not"
    if annotations is None:
        annotations = need(places[-1], whole)
    if annotations.is_dir():
        for name in ("corpusResources/meetings.xml", "segments", "words"):
            need(annotations / name, whole)
    for path in files(annotations, "*.xml") if annotations.is_dir() else [annotations]:
        asked.reads(path)
    if not files(found, AMI_FILES[mic]):
        raise UserError(f"{found} has no {AMI_FILES[mic]} (data.options.mic={mic}); data.source=FOLDER names {whole}")
    return found, annotations


def voxpopuli(asked: Asked) -> Tuple[Path, Path]:
    """The folder with the recordings of sessions, and the table of a language."""
    raw = folder(asked.source, "raw_audios")
    found = next((path for path in (raw / "original", raw / asked.language) if path.is_dir()), raw)
    table = f"asr_{asked.language}.tsv.gz"
    places = [home / table for home in (asked.source, asked.source / "annotations" / "asr", voxpopuli_cut(asked))]
    whole = f"the folder with raw_audios/original/ and {table}, or with transcribed_data/{asked.language}/"
    return found, asked.reads(next((path for path in places if path.is_file()), None) or need(places[0], whole))


def voxpopuli_cut(asked: Asked) -> Path:
    """Where VoxPopuli's own program leaves the utterances of a language, cut."""
    return folder(asked.source, "transcribed_data") / asked.language


def gigaspeech(asked: Asked) -> Path:
    """GigaSpeech.json."""
    subsets = ("XS", "S", "M", "L", "XL")
    if asked.options["subset"] not in subsets:
        raise UserError(f"data.options.subset={asked.options['subset']}: there are {', '.join(subsets)}")
    found = need(folder(asked.source, "GigaSpeech") / "GigaSpeech.json", "the folder with GigaSpeech.json and audio/")
    return asked.reads(found)


def wenetspeech(asked: Asked) -> Path:
    """WenetSpeech.json."""
    known = {"subset": ("S", "M", "L"), "test": ("TEST_NET", "TEST_MEETING")}
    for option, values in known.items():
        if asked.options[option] not in values:
            raise UserError(f"data.options.{option}={asked.options[option]}: there are {', '.join(values)}")
    found = need(folder(asked.source, "WenetSpeech") / "WenetSpeech.json", "the folder with WenetSpeech.json and audio/")
    return asked.reads(found)
