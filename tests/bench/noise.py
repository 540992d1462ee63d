"""Error rates in noise, rooms, over lines: the bundle of a run recognises the test set as others would have recorded it.

    python -m tests.bench.noise --corpus asterisk --recipe wordvec_hybrid [--set K=V] --noises FOLDER

Missing stages run first. An utterance gets the same stretch of noise, at every ratio, and the same room in every configuration.
Of the folder's recordings those are used that `augment.noise` leaves for tests. Rooms are simulated, or from `--rooms FOLDER`.
Writes egs/<corpus>/noise.jsonl and noise.md; with `--split dev`, for choosing settings, only prints.
"""

import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from lhotse import MonoCut
from tqdm import tqdm

from tests.bench.common import configuration, corpus_folder, described, records_of, stages_until, what, write_page, write_record
from utils.audio.noises import Recordings, chance, noise_files, simulated_room, stretch
from utils.bundle.recogniser import Recogniser
from utils.core.languages import in_characters
from utils.core.tables import Table, as_text, number, signed, span
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.corpus.manifests import name_digest
from utils.features.augmentation import as_mp3, by_telephone, mixed, reverberated
from utils.pipeline import driver
from utils.pipeline.config import made_with
from utils.pipeline.stages import Plan
from utils.text.scoring import characters, difference, edits, error_rate, interval

BATCH = 32  # recordings
RATIOS = ("20 dB", "10 dB", "5 dB", "0 dB")  # of the energy of speech to that of noise
OTHERS = ("room", "telephone", "MP3", "quiet", "loud")
Condition = Callable[[np.ndarray, str], np.ndarray]  # speech (1, S) and its utterance -> the same recorded otherwise


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--noises", required=True, type=Path, metavar="FOLDER", help="recordings of noise")
    p.add_argument("--rooms", type=Path, metavar="FOLDER", help="impulse responses of rooms (default: simulated rooms)")
    p.add_argument("--split", choices=("dev", "test"), default="test", help="dev: to choose settings by; only prints")
    p.add_argument("--most", type=int, default=400, metavar="N", help="utterances, drawn at random (default 400)")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("export", options)
    rate = made_with(plans["data"].out).data.sampling_rate
    cuts = sorted(read_cuts(plans["data"].out, options.split), key=lambda cut: name_digest(cut.id))[: options.most]
    noises = Recordings(noise_files(options.noises, "test"), rate)
    rooms = Recordings(noise_files(options.rooms), rate, first=True) if options.rooms else []
    recogniser, rows = Recogniser.open(plans["export"].out / "bundle"), []
    for name, condition in conditions(noises, rooms, rate).items():
        errors = []
        for first in tqdm(range(0, len(cuts), BATCH), desc=name, unit="batch"):
            batch = cuts[first : first + BATCH]
            found = recogniser.transcribe_many([(_full_scale(condition(load(cut), cut.id)), rate) for cut in batch])
            errors += [edits(_words(cut), [word.text for word in one.words]) for cut, one in zip(batch, found)]
        rows.append({"condition": name, "errors": errors})
    said = [len(characters(_words(cut))) for cut in cuts]
    corpus, seed = corpus_folder(plans), made_with(plans["train"].out).seed
    about = dict(seed=seed, recordings=len(noises), language=cuts[0].supervisions[0].language, said=said)
    record = described(options, plans, rows, **about, rooms=len(rooms))
    if options.split == "dev":
        for table in tables([{**record, "split": "dev"}]):
            print(as_text(table))
        return
    write_record(corpus, "noise", record)
    for table in draw(corpus):
        print(as_text(table))


def conditions(noises: Sequence[np.ndarray], rooms: Sequence[np.ndarray], rate: int) -> Dict[str, Condition]:
    """How the utterances are recorded; chance follows from their ids. noises, rooms: (T,) each; no rooms: simulated ones."""

    def beside(ratio: float) -> Condition:
        return lambda speech, name: mixed(speech, stretch(noises, speech.shape[1], chance(name))[None], ratio, rate)

    def room(speech: np.ndarray, name: str) -> np.ndarray:
        draw = chance(f"{name} in a room")
        return reverberated(speech, rooms[draw.integers(len(rooms))] if rooms else simulated_room(rate, draw))

    return {
        "clean": lambda speech, name: speech,
        **{name: beside(float(name.split()[0])) for name in RATIOS},
        "room": room,
        "telephone": lambda speech, name: by_telephone(speech, rate),
        "MP3": lambda speech, name: as_mp3(speech, rate, 0.95),
        "quiet": lambda speech, name: speech * 0.1,
        "loud": lambda speech, name: np.clip(speech * 4, -1, 1),  # 12 dB: peaks are cut off
    }


def _words(cut: MonoCut) -> List[str]:
    return cut.supervisions[0].text.split()


def _full_scale(samples: np.ndarray) -> np.ndarray:
    """(T,) of (1, T) samples, no louder than full scale."""
    return (samples[0] / max(1.0, float(np.abs(samples).max()))).astype(np.float32)


def draw(corpus: Path) -> List[Table]:
    """Write noise.md from noise.jsonl; returns its tables."""
    made = tables(records_of(corpus, "noise"))
    write_page(corpus, "noise", made)
    return made


def tables(records: Sequence[Mapping[str, Any]]) -> List[Table]:
    """Error rates in noise, and those in rooms, over lines and at other levels."""
    unit, first = ("characters" if in_characters(records[0]["language"]) else "words"), records[0]
    rooms = (
        f"{first['rooms']} impulse responses" if first["rooms"] else "simulated, by noise that dies away by 60 dB in 0.1 to 0.5 s"
    )
    told = (
        f"Error rate of {unit} (%), mean over the seeds, with its 95% interval over utterances; in round brackets the difference "
        "from the same recipe without augmentation and denoising (paired bootstrap). "
    )
    used = f"{len(first['said'])} utterances of {first.get('split', 'test')}, beside {first['recordings']} noises"
    captions = {
        "Noise": f"{told}By the ratio of speech to noise; {used} that no training used.",
        "Rooms, lines, levels": f"{told}Rooms: {rooms}. Telephone: 8 kHz, mu-law. MP3: at nearly the strongest compression. "
        "Quiet: 20 dB less. Loud: 12 dB more, with peaks cut off.",
    }
    return [
        Table(title, caption, ["configuration", "seeds", *names], _rows(records, names), 2)
        for (title, caption), names in zip(captions.items(), (("clean", *RATIOS), OTHERS))
    ]


def _rows(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> List[List[str]]:
    groups: Dict[Tuple[str, str], List[Mapping[str, Any]]] = {}  # the seeds of a configuration, on the same utterances
    for record in records:
        groups.setdefault((what(record), str(record["said"])), []).append(record)
    return [
        [name, " ".join(sorted(str(record["seed"]) for record in own)), *(_cell(own, condition, records) for condition in names)]
        for (name, _), own in groups.items()
    ]


def _plain(record: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """The record of the same configuration without augmentation and denoising, if there is one."""
    own = [item for item in record["overrides"] if not item.startswith(("augment.", "features.denoise"))]
    wanted = configuration({**record, "overrides": own})
    same = [other for other in records if configuration(other) == wanted and other["overrides"] != record["overrides"]]
    return same[0] if same and same[0]["said"] == record["said"] else None


def _cell(own: Sequence[Mapping[str, Any]], condition: str, records: Sequence[Mapping[str, Any]]) -> str:
    def errors_of(of: Sequence[Optional[Mapping[str, Any]]]) -> List[np.ndarray]:
        rows = [row for one in of if one for row in one["rows"]]
        return [np.array(row["errors"]) for row in rows if row["condition"] == condition]

    errors, words = errors_of(own), np.array(own[0]["said"])
    if len(errors) < len(own):
        return number(None)
    total, of = np.sum(errors, 0), words * len(errors)
    cell = f"{number(error_rate(total, of))} {span(*interval(total, of))}"
    before = errors_of([_plain(record, records) for record in own])
    if len(before) == len(own):
        found = difference(total, np.sum(before, 0), of)
        cell += f" ({signed(found.value)} {span(found.low, found.high)})"
    return cell


if __name__ == "__main__":
    sys.exit(main())
