"""From a corpus's utterances to validated Lhotse manifests: what every module of local/ shares.

A module of local/ gives one `Utterance` per transcript and lists what it leaves out. Here audio is checked in parallel, text is
normalised, cuts are built, everything is counted, and unusable utterances are listed with a reason.
"""

import gzip
import hashlib
import json
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

from lhotse import (
    CutSet,
    MonoCut,
    Recording,
    RecordingSet,
    SupervisionSegment,
    SupervisionSet,
    validate_recordings_and_supervisions,
)
from lhotse import validate as lhotse_validate
from lhotse.audio import AudioSource

from utils.audio.decoding import Copies
from utils.core.allowed import nearest
from utils.core.errors import UserError, printable
from utils.core.files import atomic_path, relative, write_json, write_lines
from utils.core.inputs import write_inputs
from utils.core.parallel import threaded
from utils.core.splits import SPLITS, UNTRANSCRIBED, cuts_path
from utils.corpus import audio, channels, doubtful, overlap
from utils.corpus.wording import Said, Words, in_words
from utils.text.encoding import spoiled


@dataclass(frozen=True)
class Utterance:
    """One transcript and where it is spoken."""

    id: str
    split: str  # train, dev, test
    text: str  # what is said, before the normaliser
    speaker: str
    language: str  # ISO 639-1
    audio: Path
    start: float = 0.0  # seconds
    end: Optional[float] = None  # seconds; None: the end of the file
    channel: Optional[int] = None  # of several, from 0; None: the file must have one
    recording: str = ""  # id of the recording; empty: that of the utterance
    raw: str = ""  # the text as published, where the module of local/ changed it
    transcribed: bool = True  # False, which only test may have: nobody wrote down what is said, and `text` is empty


@dataclass(frozen=True)
class LeftOut:
    """A part of the corpus that is left out."""

    id: str
    split: str  # or "-"
    reason: str
    by_design: bool = False  # no speech, or published incomplete: known in advance, and not counted as lost


@dataclass(frozen=True)
class Corpus:
    """What `prepare` of a module of local/ returns."""

    utterances: List[Utterance]
    left_out: List[LeftOut]
    inputs: Sequence[Path] = ()  # files that the utterances' audio was made from, where it is below the stage's output
    first_version: int = 0  # the first version of the normaliser that is known to give these words; 0: find it


def options(config: SimpleNamespace, known: Dict[str, Any]) -> Dict[str, Any]:
    """data.options, with the defaults of a module of local/.

    Raises:
      UserError: an option that the module doesn't have, or of another type.
    """
    for key, value in config.options.items():
        if key not in known:
            raise UserError(
                f"data.options.{key}: local/{config.module}.py has no such option{nearest(key, known)}; it has {', '.join(known)}"
            )
        if type(value) is not type(known[key]) and known[key] is not None:
            raise UserError(f"data.options.{key} must be like {known[key]!r}, not {value!r}")
    return {**known, **config.options}


def hold_out_speakers(utterances: List[Utterance], split: str, n: int) -> List[Utterance]:
    """The same utterances, those of n speakers of train moved to `split`; see `chosen_by_name`."""
    who = chosen_by_name((u.speaker for u in utterances if u.split == "train"), n)
    return [replace(u, split=split) if u.split == "train" and u.speaker in who else u for u in utterances]


def chosen_by_name(names: Iterable[str], n: int) -> Set[str]:
    """n of the names, by their digests."""
    return set(sorted(set(names), key=name_digest)[:n])


def name_digest(name: str) -> str:
    """The SHA-1 of a name, by which things are put in an order that is as good as random, and the same on every machine."""
    return hashlib.sha1(name.encode()).hexdigest()


def write(
    corpus: Corpus, name: str, config: SimpleNamespace, out: Path, final: Path, nj: int, log: logging.Logger, source: str = ""
) -> None:
    """Check everything and write the files of the data stage.

    Args:
      corpus: what the module of local/ found.
      name: the name of the corpus in results.
      config: the keys below `data`.
      out: the partial folder, which already has the converted audio.
      final: the final name of `out`, for the paths in manifests.
      nj: files decoded at once.
      source: which of the corpora of this name it is; empty where there is one.
    Raises:
      UserError: ids that occur twice, a split without utterances, more left out than data.max_left_out.
    """
    _unique(corpus.utterances)
    left_out = list(corpus.left_out)
    said = [Said(u.id, u.language, u.text) for u in corpus.utterances]
    words = in_words(said, config, corpus.first_version, out, log)
    texts = _usable(corpus.utterances, words, left_out)
    cuts = _cuts([u for u in corpus.utterances if u.id in texts], texts, config, out, final, nj, log, left_out)
    _account(corpus.utterances, left_out, config, out, final, log)
    splits = {split: [cut for _, cut in sorted(cuts[split].items())] for split in SPLITS}
    for split, found in splits.items():
        if not found:
            lost = sum(item.split == split for item in left_out)
            why = f": all {lost} are left out, see {out / 'left_out.tsv'}" if lost else ""
            raise UserError(f"no utterance in the {split} set of {name}{why}")
    if config.train_minutes:
        splits["train"] = _drawn(splits["train"], 60 * config.train_minutes, log)
    _say_unscored([u for u in corpus.utterances if u.split == "test"], cuts["test"], out, log)
    _write_manifests(splits, out)
    write_inputs(out, [*corpus.inputs, *(u.audio for u in corpus.utterances if out not in u.audio.parents)], nj)
    counts = {split: _counts(found) for split, found in splits.items()}
    write_json(
        out / "summary.json",
        {
            "name": name,
            "source": source,
            "normaliser": words.normaliser,
            "segmentation": words.segmentation,
            "language": "+".join(sorted({u.language for u in corpus.utterances})),
            "splits": counts,
            "left_out": sum(not item.by_design for item in left_out),
            "left_out_by_design": sum(item.by_design for item in left_out),
        },
    )
    for split, c in counts.items():
        log.info("%-5s %5d utterances, %7.3f hours, %6d words, %d speakers", split, *c.values())


def write_manifest(path: Path, items: Iterable[Any]) -> None:
    """Write Lhotse items as .jsonl.gz, atomically; the same items give the same bytes (no time or name in the header)."""
    with atomic_path(path) as temporary, open(temporary, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
        for item in items:
            stream.write((json.dumps(item.to_dict(), ensure_ascii=False) + "\n").encode())


def _unique(utterances: List[Utterance]) -> None:
    splits: Dict[str, List[str]] = defaultdict(list)
    for u in utterances:
        splits[u.id].append(u.split)
    twice = [f"{i} ({' and '.join(found)})" for i, found in splits.items() if len(found) > 1]
    if twice:
        raise UserError(
            f"{len(twice)} utterance ids occur more than once: {', '.join(twice[:5])}; every utterance needs an id of its own, "
            "and one that is trained or tuned on can't be tested"
        )


def _usable(utterances: List[Utterance], words: Words, left_out: List[LeftOut]) -> Dict[str, str]:
    """The texts of the utterances that have one; the others are added to `left_out`."""
    usable = {}
    for u in utterances:
        reason = spoiled(u.text)
        if reason:
            left_out.append(LeftOut(u.id, u.split, reason))
        elif words.texts[u.id] or u.split == "test":  # nothing said is a test too: what is recognised there is inserted
            usable[u.id] = words.texts[u.id]
        else:
            reason = "no text" if not u.text.strip() else f"no word in the text {u.text!r}"
            left_out.append(LeftOut(u.id, u.split, reason, by_design=u.id in words.shortened))  # nothing but [noise]: no defect
    return usable


def _say_unscored(utterances: List[Utterance], cuts: Dict[str, MonoCut], out: Path, log: logging.Logger) -> None:
    """Warn of test utterances without a word in their reference; list those without a transcript in untranscribed.txt."""
    silent = [u for u in utterances if u.id in cuts and not cuts[u.id].supervisions[0].text]
    unknown, empty = [u.id for u in silent if not u.transcribed], [u for u in silent if u.transcribed]
    if unknown:
        write_lines(out / UNTRANSCRIBED, sorted(unknown))
        log.warning("test: %d of %d utterances have no transcript: they are recognised, not scored", len(unknown), len(cuts))
    if empty:
        log.warning(
            "test: %d of %d utterances have no word in their transcript; each word recognised there counts as inserted: %s",
            len(empty),
            len(cuts),
            ", ".join(f"{u.id} ({_one_line(u.text)!r})" for u in empty[:5]),
        )
    if len(silent) == len(cuts):
        log.warning("test has no word in any transcript, so it will have no error rate")


def _cuts(
    utterances: List[Utterance],
    texts: Dict[str, str],
    config: SimpleNamespace,
    out: Path,
    final: Path,
    nj: int,
    log: logging.Logger,
    left_out: List[LeftOut],
) -> Dict[str, Dict[str, MonoCut]]:
    """Cuts of the usable utterances by split and id; the others are added to `left_out`."""
    files: Dict[Tuple[str, Path, Optional[int]], List[Utterance]] = defaultdict(list)
    paths: Dict[str, Path] = {}
    for u in utterances:
        recording_id = u.recording or u.id
        files[recording_id, u.audio, u.channel].append(u)
        known = paths.setdefault(recording_id, u.audio)
        if known != u.audio and known.resolve() != u.audio.resolve():
            both = f"{known} and {u.audio} (utterance '{u.id}' of {u.split})"
            raise UserError(f"the recording id '{recording_id}' is used for two files: {both}; give each an id of its own")

    def look(item: Any) -> audio.Checked:
        (_, path, channel), spoken = item
        return audio.check(path, [(u.start, u.end) for u in spoken], copies, channel)

    copies = Copies(out / "audio")
    used: List[doubtful.Spoken] = []
    placed: List[overlap.Spoken] = []
    doubted: Dict[str, List[doubtful.Doubt]] = {}

    cuts: Dict[str, Dict[str, MonoCut]] = {split: {} for split in SPLITS}
    rates: Counter = Counter()
    checked = list(zip(files.items(), threaded(look, files.items(), nj, "audio")))
    shared = channels.shared(
        [
            channels.Use(u.id, recording_id, texts[u.id], found.path, channel or 0, u.start, u.end)
            for ((recording_id, _, channel), spoken), found in checked
            if found.channels > 1
            for u in spoken
        ],
        log,
    )
    clipped: List[str] = []
    for ((recording_id, _, _), spoken), found in checked:
        recording = None
        for u, span in zip(spoken, found.spans):
            problem = span.problem or shared.get(u.id)
            if problem is None and recording is None:
                rates[found.rate] += 1
                recording = _recording(recording_id, found, config.sampling_rate, out, final)
            cut = None if problem else _cut(u, texts[u.id], recording)
            if cut and not config.min_duration <= cut.duration <= config.max_duration:
                problem = (
                    f"lasts {cut.duration:.2f} s (data.min_duration={config.min_duration:g}, "
                    f"data.max_duration={config.max_duration:g})"
                )
            if problem:
                left_out.append(LeftOut(u.id, u.split, problem))
            elif cut:
                cuts[u.split][u.id] = cut
                used.append(doubtful.Spoken(u.id, u.split, u.language, texts[u.id], cut.duration, span.digest))
                doubted[u.id] = list(span.doubts)
                where = (found.path, cut.channel, cut.start, cut.end)
                placed.append(overlap.Spoken(u.id, u.split, texts[u.id], span.digest, *where))
                if u.start < 0 or u.end is not None and u.end > (found.samples + 1) / found.rate:
                    clipped.append(u.id)
    for name, more in doubtful.of_corpus(used).items():
        doubted[name] += more
    doubtful.report(doubted, used, out, final, log)
    overlap.warn(placed, log)
    if clipped:
        log.info(
            "%d segments begin before or end after their recording by up to %g s and are cut there: %s",
            len(clipped),
            audio.SLACK,
            ", ".join(clipped[:5]),
        )
    for rate, n in rates.items():
        if rate != config.sampling_rate:
            log.info("%d recordings of %d Hz are resampled to %d Hz (data.sampling_rate)", n, rate, config.sampling_rate)
    return cuts


def _recording(name: str, found: audio.Checked, rate: int, out: Path, final: Path) -> Recording:
    path = final / found.path.relative_to(out) if out in found.path.parents else found.path
    source = AudioSource("file", list(range(found.channels)), relative(path))
    recording = Recording(name, [source], found.rate, found.samples, found.samples / found.rate)
    return recording if found.rate == rate else recording.resample(rate)


def _cut(u: Utterance, text: str, recording: Recording) -> MonoCut:
    channel = u.channel or 0 if len(recording.sources[0].channels) > 1 else 0
    start = max(u.start, 0.0)
    duration = round((recording.duration if u.end is None else min(u.end, recording.duration)) - start, 8)
    segment = SupervisionSegment(
        u.id, recording.id, 0.0, duration, channel, text, u.language, u.speaker, custom={"raw": u.raw or u.text}
    )
    return MonoCut(u.id, start, duration, channel, [segment], recording=recording)


def _account(
    utterances: List[Utterance], left_out: List[LeftOut], config: SimpleNamespace, out: Path, final: Path, log: logging.Logger
) -> None:
    """List what was left out; raise UserError where it is too much."""
    left_out.sort(key=lambda item: (item.by_design, item.id))
    path = out / "left_out.tsv"
    write_lines(path, (f"{i.id}\t{i.split}\t{'by design: ' * i.by_design}{_one_line(i.reason)}" for i in left_out))
    lost = [item for item in left_out if not item.by_design]
    known = {u.id for u in utterances}
    total = len(utterances) + sum(item.id not in known for item in lost)
    first = "".join(f"\n  {printable(item.id)}: {_one_line(item.reason)}" for item in lost[:5])
    if total and len(lost) > config.max_left_out * total:
        raise UserError(
            f"{len(lost)} of {total} utterances ({len(lost) / total:.1%}) can't be used; data.max_left_out allows "
            f"{config.max_left_out:.1%}. All are listed in {path}; the first:{first}\nrepair them, or allow it with "
            f"--set data.max_left_out={min(1.0, round(len(lost) / total + 0.005, 2)):g}"
        )
    if left_out:
        log.info(
            "left out: %d by design, %d of %d utterances for a defect (%s)%s",
            len(left_out) - len(lost),
            len(lost),
            total,
            final / path.name,
            first,
        )


def _write_manifests(splits: Dict[str, List[MonoCut]], out: Path) -> None:
    every = [cut for split in SPLITS for cut in splits[split]]
    recordings = RecordingSet.from_recordings({cut.recording.id: cut.recording for cut in every}.values())
    supervisions = SupervisionSet.from_segments(cut.supervisions[0].with_offset(cut.start) for cut in every)
    validate_recordings_and_supervisions(recordings, supervisions)
    write_manifest(out / "recordings.jsonl.gz", recordings)
    write_manifest(out / "supervisions.jsonl.gz", supervisions)
    for split in SPLITS:
        lhotse_validate(CutSet.from_cuts(splits[split]))
        write_manifest(cuts_path(out, split), splits[split])


def _drawn(cuts: List[MonoCut], seconds: float, log: logging.Logger) -> List[MonoCut]:
    """Cuts of so many seconds, by the SHA-1 of their ids; those of fewer seconds are among those of more."""
    drawn = sorted(cuts, key=lambda cut: name_digest(cut.id))
    until = accumulate(cut.duration for cut in drawn)
    kept = drawn[: max(1, sum(end <= seconds for end in until))]
    if len(kept) == len(cuts):
        log.warning("data.train_minutes=%g: train has no more than that, and is used whole", seconds / 60)
    return sorted(kept, key=lambda cut: cut.id)


def _counts(cuts: List[MonoCut]) -> Dict[str, Any]:
    return {
        "utterances": len(cuts),
        "hours": round(sum(cut.duration for cut in cuts) / 3600, 4),
        "words": sum(len(cut.supervisions[0].text.split()) for cut in cuts),
        "speakers": len({cut.supervisions[0].speaker for cut in cuts}),
    }


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
