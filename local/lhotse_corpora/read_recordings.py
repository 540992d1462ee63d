"""Corpora whose recordings hold many utterances, by Lhotse's recipes."""

import csv
import gzip
import json
import zipfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Dict, Iterator, Set, Union
from xml.etree import ElementTree

from lhotse import Recording, SupervisionSegment
from lhotse.recipes import gigaspeech as lhotse_gigaspeech
from lhotse.recipes import wenet_speech as lhotse_wenetspeech
from lhotse.recipes.ami import PARTITIONS, prepare_ami
from lhotse.recipes.tedlium import prepare_tedlium
from lhotse.recipes.voxpopuli import prepare_voxpopuli

from local.lhotse_corpora import layout
from local.lhotse_corpora.recipe import Asked, Spoken, files, need, rows, spoken, view
from utils.core.errors import UserError
from utils.core.splits import SPLITS
from utils.corpus.manifests import LeftOut

Found = Iterator[Union[Spoken, LeftOut]]
GARBAGE = {"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"}  # what GigaSpeech writes where nobody speaks
CHUNK = 1 << 20  # characters of a JSON file read at once


def tedlium(asked: Asked) -> Found:
    """TED-LIUM 3 in its legacy splits: dev and test are those of TED-LIUM 2."""
    folder = layout.tedlium(asked)
    for split in SPLITS:
        home = folder / "legacy" / split
        audio, texts = ({path.stem for path in (home / kind).glob(f"*.{kind}")} for kind in ("sph", "stm"))
        odd = sorted(audio ^ texts)
        if odd:  # Lhotse's recipe takes all of a split or nothing
            missing = home / (f"stm/{odd[0]}.stm" if odd[0] in audio else f"sph/{odd[0]}.sph")
            raise UserError(
                f"{missing} is missing, and {len(odd) - 1} other talks of {split} lack their audio or their transcript; unpack "
                "the archive again, or move what is left of these talks away"
            )
        for name in sorted(texts):
            lines = list(rows(asked.reads(home / "stm" / f"{name}.stm"), 6))  # Lhotse would not say where a line is too short
            if not lines:
                yield LeftOut(name, split, f"no transcript in {home / 'stm' / f'{name}.stm'}")
    whole = prepare_tedlium(folder, normalize_text="kaldi")  # joins they 're, drops <unk>
    for split in SPLITS:
        yield from spoken(split, whole[split])


def ami(asked: Asked) -> Found:
    """AMI meetings, by a microphone and a partition of its own."""
    folder, annotations = layout.ami(asked)
    if annotations.suffix == ".zip":  # Lhotse would unpack it beside the archive
        target = asked.work / "annotations"
        try:
            with zipfile.ZipFile(annotations) as archive:
                archive.extractall(target)
        except (zipfile.BadZipFile, EOFError) as error:
            raise UserError(f"{annotations} is damaged ({error}); get it again") from None
        annotations = target
    if asked.options["mic"] == "ihm":
        yield from _without_headset(folder, annotations)
    whole = prepare_ami(folder, annotations, mic=asked.options["mic"], partition=asked.options["partition"])
    for split in SPLITS:
        found = list(spoken(split, whole[split]))
        yield from found
        there = {one.recording.id for one in found}
        for meeting in PARTITIONS[asked.options["partition"]][split]:
            if meeting not in there:
                yield LeftOut(meeting, split, "this copy has no recording of the meeting", by_design=True)


def _without_headset(folder: Path, annotations: Path) -> Found:
    """Speakers of meetings whose headset is not there.

    Raises:
      UserError: a headset is missing before another one: Lhotse counts the files, so the next one would get its transcripts.
    """
    there: Dict[str, Set[int]] = defaultdict(set)
    for path in files(folder, layout.AMI_FILES["ihm"]):
        meeting, _, digit = path.stem.rpartition(".Headset-")
        there[meeting].add(int(digit))
    for node in ElementTree.parse(annotations / "corpusResources" / "meetings.xml").getroot():
        meeting = node.get("observation", "")
        last = max(there[meeting], default=-1)
        for number in sorted(set(range(last)) - there[meeting]):
            raise UserError(
                f"{meeting}.Headset-{number}.wav is missing below {folder}, where Headset-{last} of the meeting is; get it, or "
                f"move the others of {meeting} away"
            )
        for number in sorted({int(speaker.get("channel", 0)) for speaker in node} - there[meeting]):
            if there[meeting]:
                why = f"this copy has no {meeting}.Headset-{number}.wav"
                yield LeftOut(f"{meeting}-{number}", "-", why, by_design=True)


def voxpopuli(asked: Asked) -> Found:
    """VoxPopuli: the transcribed part of a language, from the recordings of whole sessions, or as its own program cut it."""
    if (layout.voxpopuli_cut(asked) / "asr_train.tsv").is_file():
        yield from _voxpopuli_cut(asked)
        return
    audio, table = layout.voxpopuli(asked)
    sessions = _sessions(table)
    work = view(asked.work, {f"raw_audios/{asked.language}": audio, f"annotations/{table.name}": table})
    whole = prepare_voxpopuli(work, work / "annotations", lang=asked.language)
    found = [one for split in SPLITS for one in spoken(split, whole[split])]
    if not found:
        raise UserError(f"none of the recordings below {audio} is of a session of {table}; they are called SESSION_original.ogg")
    yield from found
    for session in sorted(set(sessions) - {one.recording.id for one in found}):
        yield LeftOut(session, "-", f"this copy has no recording of the session: {sessions[session]} utterances", by_design=True)


def _voxpopuli_cut(asked: Asked) -> Found:
    """asr_SPLIT.tsv beside YEAR/*.ogg, an utterance in each, which Lhotse has no recipe for."""
    home = layout.voxpopuli_cut(asked)
    for split in SPLITS:
        table = need(home / f"asr_{split}.tsv", f"the folder with transcribed_data/{asked.language}/")
        for name, raw, words, speaker, *_ in list(rows(asked.reads(table), 4, "\t"))[1:]:
            recording = Recording.from_file(home / name[:4] / f"{name}.ogg", recording_id=name)
            segment = SupervisionSegment(name, name, 0.0, recording.duration, 0, words, asked.language, speaker)
            segment.custom = {"orig_text": raw}
            yield Spoken(split, recording, segment)


def _sessions(table: Path) -> "Counter[str]":
    """Session -> its utterances in a table of VoxPopuli; raises UserError where that is damaged or of another release."""
    needed = {"session_id", "split", "start_time", "end_time", "speaker_id", "gender", "normed_text", "original_text"}
    try:
        with gzip.open(table, "rt", encoding="utf-8") as stream:
            lines = csv.DictReader(stream, delimiter="|")
            missing = needed - set(lines.fieldnames or ())
            counts = Counter(str(row.get("session_id")) for row in lines if row.get("split") in SPLITS)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} is damaged ({error}); get it again") from None
    if missing:
        raise UserError(f"{table} has no column {', '.join(sorted(missing))}: it is the table of another release; get it again")
    return counts


def gigaspeech(asked: Asked) -> Found:
    """GigaSpeech: one training subset, DEV and TEST."""
    table = layout.gigaspeech(asked)
    parts = {f"{{{asked.options['subset']}}}": "train", "{DEV}": "dev", "{TEST}": "test"}
    for audio in audios(table):
        chosen = {part: split for part, split in parts.items() if part in audio["subsets"]}
        if not chosen:
            continue
        recording, segments = lhotse_gigaspeech.parse_utterance(audio, table.parent)
        subsets = {segment["sid"]: segment["subsets"] for segment in audio["segments"]}
        for segment in segments:
            split = next((split for part, split in chosen.items() if part in subsets[segment.id]), None)
            if split and segment.text in GARBAGE:
                yield LeftOut(segment.id, split, f"nobody speaks: {segment.text}", by_design=True)
            elif split:
                yield Spoken(split, recording, segment)


def wenetspeech(asked: Asked) -> Found:
    """WenetSpeech: one training subset, DEV and a test set."""
    table = layout.wenetspeech(asked)
    parts = {asked.options["subset"]: "train", "DEV": "dev", asked.options["test"]: "test"}
    for audio in audios(table):
        recording, segments = lhotse_wenetspeech.parse_utterance(audio, table.parent, list(parts))
        for part, split in parts.items():
            for segment in segments[part]:
                yield Spoken(split, recording, segment)


def audios(table: Path) -> Iterator[Dict[str, Any]]:
    """The items of the list `audios` of a JSON file one by one: such files have gigabytes.

    Raises:
      UserError: the file is cut short, damaged, or has no such list.
    """
    decoder = json.JSONDecoder()
    with open(table, encoding="utf-8") as stream:
        text, place = _list_of_audios(stream, table)
        while True:
            place = _blanks(text, place)
            if place < len(text) and text[place] == "]":
                return
            try:
                item, place = decoder.raw_decode(text, place)
            except ValueError as error:
                more = stream.read(max(CHUNK, len(text)))
                if not more:
                    raise UserError(f"{table} is cut short or damaged: {error}; get it again") from None
                text, place = text[place:] + more, 0
                continue
            yield item


def _list_of_audios(stream: Any, table: Path) -> "tuple[str, int]":
    """What was read of a file, and the place in it at which the first item of the list begins."""
    text = ""
    while True:
        more = stream.read(CHUNK)
        text += more
        name = text.find('"audios"')
        start = text.find("[", name) if name >= 0 else -1
        if start >= 0:
            return text, start + 1
        if not more:
            raise UserError(f'{table} has no list "audios"; get it again')
        if name < 0:
            text = text[-len('"audios"') :]


def _blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place
