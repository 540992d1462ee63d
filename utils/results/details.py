"""What the folders of a run hold beyond its record: aligned words, training curves, speech.

A record's fingerprints name the folders, exp/<corpus>/<stage>-<fingerprint>. Where they are gone, or hold other words than the
record, a `Run` is empty and says why.
"""

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from utils.core.files import ROOT, read_jsonl
from utils.core.splits import cuts_path, untranscribed
from utils.results.comparison import Cell
from utils.results.records import Record, set_digest
from utils.text.scoring import Alignment, score

LONGEST = 30.0  # seconds of speech that a page plays
ROOM = 8_000_000  # characters of speech in a page, of all utterances together
GONE = "no folder in exp holds its words (made on another machine, or deleted)"


@dataclass(frozen=True)
class Run:
    """One seed of a system: the first one whose recognised words are still in exp."""

    cell: Cell
    seed: int
    alignments: Dict[str, Alignment] = field(default_factory=dict)  # by utterance
    curve: Sequence[Mapping[str, float]] = ()  # rows of the train stage's curves.jsonl
    data: Optional[Path] = None  # folder of the data stage
    missing: str = ""  # why something can't be shown

    @property
    def errors(self) -> Dict[str, int]:
        """Edits by utterance."""
        return {name: sum(r != h for r, h in pairs) for name, pairs in self.alignments.items()}


@dataclass(frozen=True)
class Clip:
    """The speech of one utterance, or why there is none."""

    seconds: float = 0.0
    flac: str = ""  # base64
    missing: str = ""


def find(cell: Cell, exp: Path) -> Run:
    """The run behind a cell, from the folders in `exp`."""
    runs: List[Run] = []
    for record in cell.records:
        runs.append(_run(cell, record, exp))
        if runs[-1].alignments:
            return runs[-1]
    return next((r for r in runs if r.curve), runs[0])


def worst(runs: Sequence[Run], count: int) -> List[str]:
    """The `count` utterances with the most errors of each run, without repeats; those with the most errors in all first."""
    chosen: Set[str] = set()
    total: Dict[str, int] = {}
    for run in runs:
        ranked = sorted(((-n, name) for name, n in run.errors.items() if n))
        chosen |= {name for _, name in ranked[:count]}
        for name, n in run.errors.items():
            total[name] = total.get(name, 0) + n
    return sorted(chosen, key=lambda name: (-total[name], name))


def speech(wanted: Mapping[str, Tuple[Path, Sequence[str]]], split: str, room: int = ROOM) -> Dict[Tuple[str, str], Clip]:
    """FLAC of utterances at the rate of the data stage. Corpora take turns, so that none uses up the limit alone.

    Args:
      wanted: corpus -> (folder of its data stage, utterance ids by falling priority).
      room: limit in characters of base64 over all clips.
    Returns: (corpus, id) -> its clip.
    """
    cuts = {corpus: _cuts(folder, split, ids) for corpus, (folder, ids) in wanted.items()}
    out: Dict[Tuple[str, str], Clip] = {}
    for _, corpus, name in sorted((turn, corpus, name) for corpus, (_, ids) in wanted.items() for turn, name in enumerate(ids)):
        clip = _clip(cuts[corpus].get(name))
        if len(clip.flac) > room:
            clip = Clip(clip.seconds, missing="the page has no room left for its speech")
        room -= len(clip.flac)
        out[corpus, name] = clip
    return out


def _run(cell: Cell, record: Record, exp: Path) -> Run:
    folders = {
        s: found for s, fp in record["fingerprints"].items() for found in sorted(exp.glob(f"*/{s}-{fp}")) if found.is_dir()
    }
    curves = folders["train"] / "curves.jsonl" if "train" in folders else None
    curve = read_jsonl(curves) if curves and curves.is_file() else ()
    name = f"hyps-{record['decoding']}-{record['split']}.jsonl"
    words = next((folder / name for folder in folders.values() if (folder / name).is_file()), None)
    if words is None:
        return Run(cell, record["seed"], curve=curve, missing=GONE)
    unknown = untranscribed(folders["data"], record["split"]) if "data" in folders else ()
    scores = score((row["id"], row["ref"], row["hyp"]) for row in read_jsonl(words) if row["id"] not in unknown)
    if set_digest(scores.ids) != record["utterance_set"] or scores.errors.tolist() != record["utterance_errors"]:
        return Run(cell, record["seed"], missing=f"{words.parent.name} in exp holds other words than the record was made of")
    return Run(cell, record["seed"], dict(zip(scores.ids, scores.alignments)), curve, folders.get("data"))


def _cuts(folder: Path, split: str, ids: Sequence[str]) -> Dict[str, Any]:
    """Cuts by id; Lhotse is imported here, as it needs torch and comparing doesn't."""
    if not cuts_path(folder, split).is_file():
        return {}
    from utils.corpus.cuts import read_cuts

    wanted = set(ids)
    return {cut.id: cut.with_recording_path_prefix(ROOT) for cut in read_cuts(folder, split) if cut.id in wanted}


def _clip(cut: Any) -> Clip:
    import soundfile

    from utils.corpus.audio import load

    if cut is None or not all(Path(source.source).is_file() for source in cut.recording.sources):
        return Clip(missing="its audio is not on this machine")
    if cut.duration > LONGEST:
        return Clip(cut.duration, missing=f"longer than {LONGEST:g} s")
    stream = io.BytesIO()
    try:
        soundfile.write(stream, load(cut).T, cut.sampling_rate, format="FLAC", subtype="PCM_16")
    except Exception as error:  # every reader raises its own; one bad file must not stop the page
        return Clip(cut.duration, missing=f"its audio can't be read ({type(error).__name__})")
    return Clip(cut.duration, base64.b64encode(stream.getvalue()).decode())
