"""Corpora with an utterance in each file, by Lhotse's recipes."""

from pathlib import Path
from typing import Dict, Iterator, List, Union

from lhotse.recipes.aidatatang_200zh import prepare_aidatatang_200zh
from lhotse.recipes.fleurs import prepare_single_fleurs_language
from lhotse.recipes.librispeech import prepare_librispeech
from lhotse.recipes.ljspeech import prepare_ljspeech
from lhotse.recipes.mls import prepare_mls
from lhotse.recipes.speechcommands import prepare_speechcommands
from lhotse.recipes.thchs_30 import prepare_thchs_30
from lhotse.recipes.timit import prepare_timit
from lhotse.recipes.vctk import prepare_vctk

from local.lhotse_corpora import layout
from local.lhotse_corpora.recipe import Asked, Spoken, by_split, files, paired, rows, spoken, view
from utils.core.errors import UserError
from utils.core.splits import SPLITS
from utils.corpus.manifests import LeftOut
from utils.text.encoding import utf8_lines

Found = Iterator[Union[Spoken, LeftOut]]


def librispeech(asked: Asked) -> Found:
    """LibriSpeech and Mini LibriSpeech: the parts that the options train, dev and test list."""
    for split, part in by_split(asked.options):
        folder = layout.librispeech(asked, part)
        tables = files(folder, "*.trans.txt")
        blank = next((table for table in tables if not all(map(str.strip, list(utf8_lines(table))[:-1]))), None)
        if blank:  # Lhotse's recipe would end with a ValueError
            raise UserError(f"{blank} has a blank line; delete it, or unpack {part}.tar.gz again")
        transcribed = {row[0]: split for table in tables for row in rows(asked.reads(table), 2)}
        found = list(spoken(split, prepare_librispeech(folder.parent, dataset_parts=[part])[part]))
        yield from found
        yield from paired(found, transcribed, files(folder, "*.flac"))


def thchs_30(asked: Asked) -> Found:
    """THCHS-30: train, dev and test."""
    folder = layout.thchs_30(asked)
    whole = prepare_thchs_30(view(asked.work, {"data_thchs30": folder}))
    found = [one for split in SPLITS for one in spoken(split, whole[split])]
    yield from found
    transcribed = {path.name[: -len(".wav.trn")]: "-" for path in map(asked.reads_text, files(folder / "data", "*.wav.trn"))}
    audio = [path for split in SPLITS for path in files(asked.work / "data_thchs30" / split, "*.wav")]
    yield from paired(found, transcribed, audio, "no text in its .trn, or no audio file")


def aidatatang_200zh(asked: Asked) -> Found:
    """aidatatang_200zh: train, dev and test."""
    folder = layout.aidatatang_200zh(asked)
    whole = prepare_aidatatang_200zh(view(asked.work, {"aidatatang_200zh": folder}))
    found = [one for split in SPLITS for one in spoken(split, whole[split])]
    yield from found
    transcribed = {row[0]: "-" for row in rows(asked.reads(folder / layout.AIDATATANG_TRANSCRIPTS), 2)}
    yield from paired(found, transcribed, files(asked.work / "aidatatang_200zh" / "corpus", "*.wav"))


def mls(asked: Asked) -> Found:
    """Multilingual LibriSpeech: one language, as Opus or FLAC."""
    folder = layout.mls(asked)
    opus = folder.name.endswith("_opus")
    suffix = "opus" if opus else "flac"
    speakers = {row[0].strip() for row in rows(asked.reads(folder / "metainfo.txt"), 2, "|")}
    for split in SPLITS:
        table = folder / split / "transcripts.txt"
        transcribed = [row[0] for row in rows(asked.reads(table), 2, "\t")]
        unknown = sorted({name.partition("_")[0] for name in transcribed} - speakers)
        if unknown:  # as below
            raise UserError(
                f"{folder / 'metainfo.txt'} lacks the speaker {unknown[0]}, whom {table} has; unpack the archive again"
            )
        audio = {path.stem for path in files(folder / split, f"*.{suffix}")}
        lost = [name for name in transcribed if name not in audio]
        if lost:  # Lhotse's recipe would end with a KeyError
            raise UserError(
                f"{table} has {len(lost)} transcripts without a .{suffix} file below {folder / split}, the first of {lost[0]}; "
                "unpack the archive again, or delete their lines"
            )
    whole = prepare_mls(view(asked.work, {folder.name: folder}), opus=opus)[asked.language]
    found = [one for split in SPLITS for one in spoken(split, whole[split])]
    yield from found
    yield from paired(found, {}, [p for split in SPLITS for p in files(asked.work / folder.name / split, f"*.{suffix}")])


def fleurs(asked: Asked) -> Found:
    """FLEURS: one language; its rows name no speakers, so every recording counts as one."""
    tables, audio = layout.fleurs(asked)
    links = {f"metadata/{asked.language}/{split}.tsv": path for split, path in tables.items()}
    links.update({f"{asked.language}/{split}": path for split, path in audio.items()})
    work = view(asked.work, links)
    for path in tables.values():
        for row in rows(asked.reads(path), 7, "\t"):
            if not row[5].strip().isdigit():
                raise UserError(f"{path}: '{row[5]}' is no number of samples; get the file again")
    whole = prepare_single_fleurs_language(work / asked.language, language=asked.language)
    found = [one for split in SPLITS for one in spoken(split, whole[split])]
    yield from found
    yield from paired(found, {}, [path for split in SPLITS for path in files(work / asked.language / split, "*.wav")])


def vctk(asked: Asked) -> Found:
    """VCTK, release 0.92 (two microphones) or 0.80; it has no splits."""
    folder, new = layout.vctk(asked)
    mic = f"_{asked.options['mic']}" if new else ""
    home = folder / ("wav48_silence_trimmed" if new else "wav48")
    audio = [path for path in files(home, "*.flac" if new else "*.wav") if path.stem.endswith(mic)]
    there = {path.stem for path in audio}
    texts = {f"{path.stem}{mic}": path for path in map(asked.reads_text, files(folder / "txt", "*.txt"))}
    absent = [name for name in texts if name not in there and not name.startswith("p362")]  # as published: see Lhotse's recipe
    absent = [name for name in absent if not (name.startswith("p280") and mic == "_mic2")]
    if absent:  # Lhotse's recipe would end with a KeyError
        raise UserError(
            f"{texts[absent[0]]} has no recording {absent[0]} below {home}, nor have {len(absent) - 1} other texts; unpack the "
            "archive again, or delete these texts"
        )
    found = list(spoken("train", prepare_vctk(folder, use_edinburgh_vctk_url=new, mic_id=asked.options["mic"])))
    yield from found
    for item in paired(found, {}, audio):
        yield LeftOut(item.id, item.split, item.reason, by_design=item.id.startswith("p315"))  # whose texts were lost


def ljspeech(asked: Asked) -> Found:
    """LJ Speech: one speaker; it has no splits."""
    folder = layout.ljspeech(asked)
    transcribed = {row[0]: "-" for row in rows(asked.reads(folder / "metadata.csv"), 3, "|")}
    found = list(spoken("train", prepare_ljspeech(folder)))
    for one in found:
        one.supervision.speaker = "LJ"
        one.supervision.text = one.supervision.custom["normalized_text"]  # as read: numbers and abbreviations are words
    yield from found
    yield from paired(found, transcribed, files(folder / "wavs", "*.wav"))


def timit(asked: Asked) -> Found:
    """TIMIT: train, and the dev and core test speakers of Kaldi's recipe; without the two sentences that all speakers say."""
    folder = layout.timit(asked)
    links = {}  # Lhotse's recipe knows names in capitals alone; LDC's disc has small letters, other copies capitals
    texts: Dict[str, str] = {}
    for path in files(folder, "*"):
        parts = [part.upper() for part in path.relative_to(folder).parts]
        if len(parts) == 4 and "." not in path.stem and path.suffix.upper() in (".WAV", ".TXT", ".WRD", ".PHN"):
            links["/".join(["data", *parts])] = path
            if path.suffix.upper() == ".TXT":
                asked.reads_text(path)
            if path.suffix.upper() == ".TXT" and parts[0] == "TRAIN":
                texts[f"{parts[2]}-{Path(parts[3]).stem}"] = "train"
    whole = prepare_timit(view(asked.work, links))
    found = [one for part in ("TRAIN", "DEV", "TEST") for one in spoken(part.lower(), whole[part])]
    for one in found:
        shared = one.supervision.id.rpartition("-")[2].startswith("SA") and not asked.options["sa"]
        why = "one of the two sentences that every speaker says (data.options.sa)"
        yield LeftOut(one.supervision.id, one.split, why, by_design=True) if shared else one
    lost = "a text without all of its .WAV, .WRD and .PHN"
    yield from paired(found, texts, files(asked.work / "data" / "TRAIN", "*.WAV"), lost)


def speechcommands(asked: Asked) -> Found:
    """Speech Commands: single words; recordings without one are left out."""
    folders = layout.speechcommands(asked)
    main, *_ = folders.values()
    version = str(asked.options["version"])
    if len(folders) == 1:  # Lhotse knows the test archive alone: make one of the list, where every word may be an unknown one
        folders = {**folders, **_of_list(main, f"speech_commands_test_set_v0.0{version}")}
    whole = prepare_speechcommands(version, view(asked.work, folders))
    for split, part in zip(SPLITS, ("train", "valid", "test")):
        for one in spoken(split, whole[part]):
            word: str = one.supervision.text or ""
            yield one if word else LeftOut(one.supervision.id, split, "noise without a word", by_design=True)
    for split, table in {"dev": "validation_list.txt", "test": "testing_list.txt"}.items():
        for name in _listed(main / table):
            if not (main / name).is_file() and (split == "dev" or asked.options["test"] == "list"):
                yield LeftOut(name.replace("/", "_")[: -len(".wav")], split, f"no file {main / name}, which {table} names")


def _listed(table: Path) -> List[str]:
    return [name.strip() for name in utf8_lines(table) if name.strip()]


def _of_list(main: Path, archive: str) -> Dict[str, Path]:
    """Links that are the test archive of Speech Commands with what testing_list.txt names."""
    return {f"{archive}/_unknown_/{name.replace('/', '_')}": main / name for name in _listed(main / "testing_list.txt")}
