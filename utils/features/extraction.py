"""Stage 1's work: features of all cuts, in chunks that several processes make."""

import errno
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import soundfile
import torch
from lhotse import LilcomChunkyWriter
from lhotse.cut import MonoCut
from lhotse.features.io import MemoryRawWriter
from lhotse.utils import compute_num_frames

from utils.core.errors import UserError
from utils.core.files import atomic_path, read_json, relative, write_json, write_lines
from utils.core.timing import timed
from utils.corpus.audio import load
from utils.corpus.cuts import ON_THE_FLY
from utils.corpus.manifests import write_manifest
from utils.features import shards
from utils.features.augmentation import Augmentation
from utils.features.cmvn import Sums, add
from utils.features.front_end import FrontEnd
from utils.features.stored import described, rounded
from utils.pipeline.contract import Job

CHUNK = 200  # cuts
GROUP = 300.0  # seconds of audio that the front end gets at once


@dataclass(frozen=True)
class Chunk:
    """Cuts of one split, at one speed, whose features share a file."""

    name: str
    split: str
    speed: float
    cuts: List[MonoCut]
    copy: int = 0  # which of the augmented copies, from 1; 0: the recordings as they are
    number: int = 0  # among the chunks of its split


@dataclass
class ChunkRecord:
    """What `compute` notes of a chunk, in `parts/NAME.json`."""

    kept: int = 0  # cuts with features
    left_out: List[Tuple[str, str]] = field(default_factory=list)  # id and reason of the others
    seconds: Dict[str, float] = field(default_factory=dict)  # of work, by link of the chain
    audio_seconds: float = 0.0
    sums: Sums = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A cut on its way through the front end."""

    original: MonoCut
    cut: MonoCut  # at the chunk's speed
    samples: np.ndarray  # (1, S) float32
    problem: str  # why it can't have features; '' if it can


def audio(cut: MonoCut, rate: int, denoise: str) -> np.ndarray:
    """Samples of a cut, (1, S) float32 in [-1, 1], at `rate` Hz; denoise: none or noisereduce."""
    if cut.sampling_rate != rate:
        cut = cut.resample(rate)
    samples = load(cut)
    if denoise == "noisereduce":
        samples = _noisereduce()(y=samples, sr=rate).astype(np.float32)
    return samples


def chunks(splits: Mapping[str, Sequence[MonoCut]], speeds: Sequence[float], copies: int = 0, size: int = CHUNK) -> List[Chunk]:
    """All chunks: of every split as it is, and of the training set at each of `speeds` and as augmented copies.

    Args:
      size: cuts of a chunk.
    Raises UserError where an utterance has the id of another one's copy.
    """
    out: List[Chunk] = []
    ways = [(1.0, 0), *((speed, 0) for speed in speeds), *((1.0, copy) for copy in range(1, copies + 1))]
    for split, cuts in splits.items():
        before = len(out)
        for speed, copy in ways if split == "train" else ways[:1]:
            for start in range(0, len(cuts), size):
                name = f"{split}{_ending(speed, copy).replace('_', '-')}-{start // size:05d}"
                out.append(Chunk(name, split, speed, list(cuts[start : start + size]), copy, len(out) - before))
    twice = [name for name, n in Counter(_name(cut, chunk) for chunk in out for cut in chunk.cuts).items() if n > 1]
    if twice:
        raise UserError(
            f"utterance '{twice[0]}' has the name of a copy (features.speed_perturb={list(speeds)}, augment.copies={copies}); "
            "give it another id, or set features.speed_perturb=[] and augment.copies=0"
        )
    return out


def compute(
    chunk: Chunk,
    config: SimpleNamespace,
    front_end: FrontEnd,
    out: Path,
    final: Path,
    augment: Optional[Augmentation] = None,
    storage: str = "files",
) -> None:
    """Make one chunk: `feats/NAME.lca` or shards, `parts/NAME.jsonl.gz` (its cuts), and last `parts/NAME.json` (its ChunkRecord).

    Features are stored by lilcom, which rounds them (by 1/64 at most for filter banks, in natural log; less for front ends with
    finer ticks): a third of the size of float32, and read 4000 times faster than real time. A file for each utterance would be
    twice as fast to read.

    Args:
      config: the group `features`.
      out: folder to write to.
      final: the name that `out` gets when the stage is finished; the cuts refer to it.
      augment: what augmented copies are made with.
      storage: as the key features.storage.
    """
    torch.set_num_threads(1)  # the number of threads could change the last bit
    record = ChunkRecord()

    def rows() -> Iterator[shards.Row]:
        for prepared, features in _features(chunk, front_end, config.denoise, record.seconds, augment):
            if isinstance(features, str):
                record.left_out.append((_name(prepared.original, chunk), features))
                continue
            add(record.sums, prepared.cut.supervisions[0].speaker, features)
            yield prepared.cut, features, prepared.samples

    if storage == "files":
        kept = _in_a_file(rows(), chunk, front_end, out, final)
    elif storage == "shar":
        kept = shards.write(rows(), chunk.number, config.shar, front_end, out, final)
    else:
        place = (ON_THE_FLY, relative(final / chunk.name), str(chunk.copy))
        kept = [described(cut, features.shape, front_end, *place) for cut, features, _ in rows()]
    record.kept, record.audio_seconds = len(kept), sum(cut.duration for cut in kept)
    record.sums = {speaker: [n, first.tolist(), second.tolist()] for speaker, (n, first, second) in record.sums.items()}
    write_manifest(out / "parts" / f"{chunk.name}.jsonl.gz", kept)
    write_json(out / "parts" / f"{chunk.name}.json", asdict(record))


def in_memory(cuts: Sequence[MonoCut], front_end: FrontEnd, denoise: str) -> Iterator[Union[MonoCut, str]]:
    """Every cut with its features in memory, which are those that `compute` stores; or the reason why it has none."""
    memory = MemoryRawWriter()
    for prepared, features in _features(Chunk("", "test", 1.0, list(cuts)), front_end, denoise, {}):
        if isinstance(features, str):
            yield features
        else:
            key = memory.write("", rounded(features, front_end.tick_power))
            yield described(prepared.cut, features.shape, front_end, memory.name, "", key)


def _in_a_file(rows: Iterable[shards.Row], chunk: Chunk, front_end: FrontEnd, out: Path, final: Path) -> List[MonoCut]:
    path = out / "feats" / f"{chunk.name}.lca"
    place = LilcomChunkyWriter.name, relative(final / "feats" / path.name)
    with atomic_path(path) as temporary, LilcomChunkyWriter(temporary, tick_power=front_end.tick_power) as storage:
        return [described(cut, x.shape, front_end, *place, storage.write(cut.id, x)) for cut, x, _ in rows]


def make_missing(work: Callable[..., None], pieces: Sequence[Tuple], front_end: FrontEnd, job: Job, what: str) -> None:
    """Call `work(chunk, ...)`, which computes a chunk, for all that an interrupted run has not finished.

    The job's executor shares them out; with a front end on a GPU, this process makes them all.

    Args:
      pieces: chunks, each with what else `work` needs.
      what: is made, for the progress bar.
    """
    missing = [piece for piece in pieces if done(piece[0], job.out) is None]
    if len(missing) < len(pieces):
        job.log.info("resuming: %d of %d chunks are finished", len(pieces) - len(missing), len(pieces))
    (job.network_executor if front_end.encoder else job.executor).run_all(work, missing, what)


def done(chunk: Chunk, out: Path) -> Optional[ChunkRecord]:
    """What `compute` noted of a chunk; None if it is not finished."""
    path = out / "parts" / f"{chunk.name}.json"
    return ChunkRecord(**read_json(path)) if path.exists() else None


def account(job: Job, chunks: Sequence[Chunk], asked: int) -> Dict[str, ChunkRecord]:
    """Count the cuts of the finished chunks, and list those without features, with reasons, in the stage's left_out.tsv.

    Args:
      asked: cuts that went in.
    Returns:
      what `compute` noted of each chunk, by its name.
    Raises:
      UserError: more cuts were left out than `data.max_left_out` allows, or some are neither kept nor left out.
    """
    found = {chunk.name: done(chunk, job.out) for chunk in chunks}
    records = {name: record for name, record in found.items() if record is not None}
    lost = [(name, chunk.split, reason) for chunk in chunks for name, reason in records[chunk.name].left_out]
    kept = sum(record.kept for record in records.values())
    if kept + len(lost) != asked:
        raise UserError(f"{asked} cuts went in, {kept} came out and {len(lost)} were left out: remove {job.out} and run again")
    path = job.out / "left_out.tsv"
    write_lines(path, ("\t".join(item) for item in lost))
    first = "".join(f"\n  {name}: {reason}" for name, _, reason in lost[:5])
    allowed = job.config.data.max_left_out
    if len(lost) > allowed * asked:
        for name, record in records.items():
            if record.left_out:  # the next run makes it again, in case the audio was repaired
                (job.out / "parts" / f"{name}.json").unlink()
        share = len(lost) / asked
        raise UserError(
            f"{len(lost)} of {asked} cuts have no features ({share:.1%}; data.max_left_out allows {allowed:.1%}). "
            f"All are listed in {path}; the first:{first}\nrepair them, or allow it with "
            f"--set data.max_left_out={min(1.0, round(share + 0.005, 2)):g}"
        )
    if lost:
        job.log.warning("left out %d of %d cuts (%s):%s", len(lost), asked, job.plan.out / path.name, first)
    return records


def _features(
    chunk: Chunk, front_end: FrontEnd, denoise: str, seconds: Dict[str, float], augment: Optional[Augmentation] = None
) -> Iterator[Tuple[Prepared, Union[np.ndarray, str]]]:
    """Every cut of a chunk with its features (T, C) float32, or with the reason why it has none.

    The front end's time is added to `seconds`.
    """
    group: List[Prepared] = []
    for n, original in enumerate(chunk.cuts, 1):
        one = prepare(original, chunk.speed, front_end.sampling_rate, denoise)
        if chunk.copy and augment and not one.problem:
            name = _name(original, chunk)
            one = replace(one, cut=one.cut.with_id(name), samples=augment(one.samples, name))
        group.append(one)
        if n == len(chunk.cuts) or sum(one.samples.shape[1] for one in group) >= GROUP * front_end.sampling_rate:
            with timed(seconds, "front_end"):
                extracted = iter(front_end.extract([one.samples for one in group if not one.problem]))
            for one in group:
                yield one, one.problem or _checked(one.cut, next(extracted), front_end)
            group = []


def prepare(original: MonoCut, speed: float, rate: int, denoise: str) -> Prepared:
    """Load a cut's audio at `speed`; where that can't be done, the result says why."""
    none = np.zeros((1, 0), np.float32)
    missing = [s.source for s in original.recording.sources if s.type == "file" and not Path(s.source).is_file()]
    if missing:
        return Prepared(original, original, none, f"no audio file {missing[0]}")
    if original.duration <= 0:
        return Prepared(original, original, none, f"zero length ({original.duration:g} s)")
    try:
        cut = original if speed == 1.0 else original.perturb_speed(speed)
        samples = audio(cut, rate, denoise)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # decoders raise errors of many types at bad audio: the cut is left out
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return Prepared(original, original, none, _replaced(original) or _one_line(error))
    if not np.isfinite(samples).all():
        return Prepared(original, cut, none, "samples that are not numbers (NaN or infinite)")
    return Prepared(original, cut, samples, "")


def _replaced(cut: MonoCut) -> str:
    """What is to be done about an audio file that is as long no more as when stage 0 checked it; '' where it is."""
    path = cut.recording.sources[0].source
    if cut.recording.transforms:  # another speed: other seconds
        return ""
    with suppress(soundfile.LibsndfileError):
        seconds = soundfile.info(path).duration
        if abs(seconds - cut.recording.duration) > 0.01:
            was = f"lasts {seconds:.2f} s, and lasted {cut.recording.duration:.2f} s in stage 0"
            return f"{path} was replaced: it {was}; delete the folder of stage data in exp and run again from stage 0 on"
    return ""


def _checked(cut: MonoCut, features: Union[np.ndarray, Exception], front_end: FrontEnd) -> Union[np.ndarray, str]:
    """The front end's features of a cut, or why they can't be used."""
    if isinstance(features, Exception):
        return _one_line(features)
    if not np.isfinite(features).all():
        return "features that are not numbers (NaN or infinite)"
    expected = compute_num_frames(cut.duration, front_end.frame_shift, front_end.sampling_rate)
    if features.shape[0] == 0 or abs(features.shape[0] - expected) > 1:
        return f"{features.shape[0]} frames instead of {expected}"
    return features


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _name(cut: MonoCut, chunk: Chunk) -> str:
    return cut.id + _ending(chunk.speed, chunk.copy)


def _ending(speed: float, copy: int) -> str:
    """Of the names of copies; Lhotse's for those at another speed."""
    return (f"_sp{speed:g}" if speed != 1.0 else "") + (f"_copy{copy}" if copy else "")


def _noisereduce() -> Any:
    try:
        import noisereduce
    except ImportError:
        raise UserError("features.denoise=noisereduce needs the package noisereduce: install it, or set it to none") from None
    return partial(noisereduce.reduce_noise, n_jobs=1)
