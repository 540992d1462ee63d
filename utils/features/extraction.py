"""Features of cuts by a front end, in chunks that several processes make, and normalisation statistics."""

import errno
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import torch
from lhotse import Features, LilcomChunkyWriter
from lhotse.cut import MonoCut
from lhotse.utils import compute_num_frames, fastcopy
from safetensors.numpy import save

from utils.core.errors import UserError
from utils.core.files import atomic_path, read_json, relative, write_bytes, write_json, write_lines
from utils.core.parallel import run_all
from utils.core.timing import timed
from utils.corpus.manifests import write_manifest

CHUNK = 200  # cuts a chunk
GROUP = 300.0  # seconds of audio that the front end gets at once
Sums = Dict[str, List[Any]]  # speaker -> [frames, sum (C,), sum of squares (C,)]


@dataclass(frozen=True)
class Chunk:
    """Cuts that share one storage file: `cuts` of one split, at one speed."""

    name: str
    split: str
    speed: float
    cuts: List[MonoCut]


def audio(cut: MonoCut, rate: int, denoise: str) -> np.ndarray:
    """Samples of a cut, (1, T) float32 in [-1, 1], resampled to `rate` and, where asked, denoised."""
    if cut.sampling_rate != rate:
        cut = cut.resample(rate)
    samples = cut.load_audio()
    if denoise == "noisereduce":
        samples = _noisereduce()(y=samples, sr=rate).astype(np.float32)
    return samples


def chunks(splits: Mapping[str, Sequence[MonoCut]], speeds: Sequence[float]) -> List[Chunk]:
    """All the work: every split as it is, and the training set once more at each of `speeds`.

    Raises UserError for a speed that occurs twice, is 1, or is none.
    """
    if len({1.0, *speeds}) != len(speeds) + 1 or min(speeds, default=1.0) <= 0:
        raise UserError(f"features.speed_perturb={list(speeds)}: give positive factors other than 1, each once")
    out: List[Chunk] = []
    for split, cuts in splits.items():
        for speed in (1.0, *speeds) if split == "train" else (1.0,):
            for start in range(0, len(cuts), CHUNK):
                name = f"{split}-{start // CHUNK:05d}" if speed == 1.0 else f"{split}-sp{speed:g}-{start // CHUNK:05d}"
                out.append(Chunk(name, split, speed, list(cuts[start : start + CHUNK])))
    return out


def compute(chunk: Chunk, config: SimpleNamespace, front_end: Any, out: Path, final: Path) -> None:
    """Make one chunk: `feats/NAME.lca`, `parts/NAME.jsonl.gz` (its cuts), and last `parts/NAME.json`: left out, sums, time.

    The features are lilcom's (1/64 off at most, a natural log's in fbank; less where the front end asks for finer ticks): a third
    of the size of float32, and read 4000 times faster than real time, where a file an utterance is only twice as fast to read.
    """
    torch.set_num_threads(1)  # threads could change the last bit
    rate = front_end.sampling_rate
    kept: List[MonoCut] = []
    left_out: List[Tuple[str, str]] = []
    sums: Sums = {}
    seconds: Dict[str, float] = {}
    path = out / "feats" / f"{chunk.name}.lca"
    with atomic_path(path) as temporary, LilcomChunkyWriter(temporary, tick_power=front_end.tick_power) as storage:
        for original, cut, features, problem in _features(chunk, front_end, config.denoise, seconds):
            if problem:
                left_out.append((_name(original, chunk.speed), problem))
                continue
            _add(sums, cut.supervisions[0].speaker, features)
            kept.append(
                fastcopy(
                    cut,
                    features=Features(
                        type=front_end.name,
                        num_frames=features.shape[0],
                        num_features=features.shape[1],
                        frame_shift=front_end.frame_shift,
                        sampling_rate=rate,
                        start=cut.start,
                        duration=cut.duration,
                        channels=cut.channel,
                        storage_type=storage.name,
                        storage_path=relative(final / "feats" / path.name),
                        storage_key=storage.write(cut.id, features),
                    ),
                )
            )
    write_manifest(out / "parts" / f"{chunk.name}.jsonl.gz", kept)
    write_json(
        out / "parts" / f"{chunk.name}.json",
        {
            "kept": len(kept),
            "left_out": left_out,
            "seconds": seconds,
            "audio_seconds": sum(cut.duration for cut in kept),
            "sums": {speaker: [frames, first.tolist(), second.tolist()] for speaker, (frames, first, second) in sums.items()},
        },
    )


def make_missing(work: Callable[[int], None], chunks: Sequence[Chunk], front_end: Any, job: Any, what: str) -> None:
    """Call `work(n)`, which computes chunk n, for those that an interrupted run has not left; in one process where a GPU encodes.

    Args:
      job: of the stage, whose folder they lie in.
      what: is made, for the progress bar.
    """
    missing = [(n,) for n, chunk in enumerate(chunks) if done(chunk, job.out) is None]
    if len(missing) < len(chunks):
        job.log.info("going on: %d of %d chunks stand", len(chunks) - len(missing), len(chunks))
    run_all(work, missing, 1 if job.device.startswith("cuda") and front_end.encoder else job.nj, what)


def done(chunk: Chunk, out: Path) -> Optional[Dict[str, Any]]:
    """What `compute` noted of a chunk, or None where it is still to be made."""
    path = out / "parts" / f"{chunk.name}.json"
    return read_json(path) if path.exists() else None


def account(job: Any, chunks: Sequence[Chunk], asked: int) -> Dict[str, Any]:
    """List in left_out.tsv of a stage's folder which of the `asked` cuts of its finished chunks have no features, and why.

    Returns:
      what `compute` noted of each chunk, by its name.
    Raises:
      UserError: they are more than `data.max_left_out` allows, or a cut is neither here nor there.
    """
    records = {chunk.name: done(chunk, job.out) for chunk in chunks}
    lost = [(name, chunk.split, reason) for chunk in chunks for name, reason in records[chunk.name]["left_out"]]
    kept = sum(record["kept"] for record in records.values())
    if kept + len(lost) != asked:
        raise UserError(f"{asked} cuts went in, {kept} came out and {len(lost)} were left out: remove {job.out} and run again")
    path = job.out / "left_out.tsv"
    write_lines(path, ("\t".join(item) for item in lost))
    first = "".join(f"\n  {name}: {reason}" for name, _, reason in lost[:5])
    allowed = job.config.data.max_left_out
    if len(lost) > allowed * asked:
        for chunk in chunks:
            if records[chunk.name]["left_out"]:  # looked at again in the next run: somebody may mend the audio
                (job.out / "parts" / f"{chunk.name}.json").unlink()
        share = len(lost) / asked
        raise UserError(
            f"{len(lost)} of {asked} cuts have no features ({share:.1%}; data.max_left_out allows {allowed:.1%}). "
            f"All are listed in {path}; the first:{first}\nmend them, or allow it with "
            f"--set data.max_left_out={min(1.0, round(share + 0.005, 2)):g}"
        )
    if lost:
        job.log.warning("left out %d of %d cuts (%s):%s", len(lost), asked, job.plan.out / path.name, first)
    return records


def total(records: Sequence[Sums]) -> Sums:
    """Sums of several chunks, speaker by speaker, in their order: the same bits however many processes made them."""
    out: Sums = {}
    for record in records:
        for speaker, (frames, first, second) in record.items():
            sofar = out.setdefault(speaker, [0, np.zeros(len(first)), np.zeros(len(first))])
            out[speaker] = [sofar[0] + frames, sofar[1] + np.array(first), sofar[2] + np.array(second)]
    return out


def write_cmvn(sums: Sums, per_speaker: bool, path: Path, smallest: float) -> None:
    """Write mean and standard deviation, (C,) float32 each: of everything in `sums`, or `<speaker>/mean` of each speaker.

    No deviation is below `smallest`.
    """
    table: Dict[str, np.ndarray] = {}
    if not per_speaker and sums:
        sums = total([{"": value} for value in sums.values()])
    for speaker, (frames, first, second) in sums.items():
        mean = first / frames
        std = np.sqrt(np.maximum(second / frames - mean**2, smallest**2))
        prefix = f"{speaker}/" if per_speaker else ""
        table[prefix + "mean"], table[prefix + "std"] = mean.astype(np.float32), std.astype(np.float32)
    write_bytes(path, save(table))


def _features(
    chunk: Chunk, front_end: Any, denoise: str, seconds: Dict[str, float]
) -> Iterator[Tuple[MonoCut, MonoCut, Any, str]]:
    """Every cut of a chunk: as it was, at the chunk's speed, its features (T, C) float32, and why it has none ('' where it has).

    What the front end takes is added to `seconds`.
    """
    group: List[Tuple[MonoCut, MonoCut, Any, str]] = []
    for n, original in enumerate(chunk.cuts, 1):
        group.append((original, *_samples(original, chunk.speed, front_end.sampling_rate, denoise)))
        if n == len(chunk.cuts) or sum(samples.shape[1] for _, _, samples, _ in group) >= GROUP * front_end.sampling_rate:
            with timed(seconds, "front_end"):
                extracted = iter(front_end.extract([samples for _, _, samples, problem in group if not problem]))
            for before, cut, _, problem in group:
                features = None if problem else next(extracted)
                yield before, cut, features, problem or _unfit(cut, features, front_end)
            group = []


def _samples(original: MonoCut, speed: float, rate: int, denoise: str) -> Tuple[MonoCut, np.ndarray, str]:
    """The cut at `speed`, its samples (1, S), and why they can't be used ('' where they can)."""
    none = np.zeros((1, 0), np.float32)
    missing = [s.source for s in original.recording.sources if s.type == "file" and not Path(s.source).is_file()]
    if missing:
        return original, none, f"no audio file {missing[0]}"
    if original.duration <= 0:
        return original, none, f"zero length ({original.duration:g} s)"
    try:
        cut = original if speed == 1.0 else original.perturb_speed(speed)
        samples = audio(cut, rate, denoise)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # whatever a decoder throws at bad audio: the cut is left out and listed with it
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        return original, none, _said(error)
    if not np.isfinite(samples).all():
        return cut, none, "samples that are not numbers (NaN or infinite)"
    return cut, samples, ""


def _unfit(cut: MonoCut, features: Any, front_end: Any) -> str:
    """Why what the front end made of a cut can't be used, or ''."""
    if isinstance(features, Exception):
        return _said(features)
    if not np.isfinite(features).all():
        return "features that are not numbers (NaN or infinite)"
    expected = compute_num_frames(cut.duration, front_end.frame_shift, front_end.sampling_rate)
    if features.shape[0] == 0 or abs(features.shape[0] - expected) > 1:
        return f"{features.shape[0]} frames instead of {expected}"
    return ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _add(sums: Sums, speaker: str, features: np.ndarray) -> None:
    x = features.astype(np.float64)
    frames, first, second = sums.get(speaker, (0, 0.0, 0.0))
    sums[speaker] = [frames + len(x), first + x.sum(0), second + np.einsum("tc,tc->c", x, x)]


def _name(cut: MonoCut, speed: float) -> str:
    return cut.id if speed == 1.0 else f"{cut.id}_sp{speed:g}"


def _noisereduce() -> Any:
    try:
        import noisereduce
    except ImportError:
        raise UserError("features.denoise=noisereduce needs the package noisereduce: install it, or set it to none") from None
    return partial(noisereduce.reduce_noise, n_jobs=1)
