"""The training set as Lhotse Shar: tar files that are read from beginning to end, from a folder, over HTTP or from S3.

Of each shard there are `cuts.N.jsonl.gz` and `features.N.tar`, `recording.N.tar`, or both; `CutSet.from_shar` reads them too. The
manifest of stage 1 says where in a shard an utterance lies, with a digest of its bytes. So an utterance can be read alone, and a
shard that is damaged or of another run is noticed. A header of the tar file has what makes features the same bits as in files.
"""

import hashlib
import io
import json
import tarfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterable, List, Tuple

import numpy as np
import soundfile
from lhotse import Recording
from lhotse.audio import AudioSource
from lhotse.cut import MonoCut
from lhotse.shar.utils import to_shar_placeholder
from lhotse.utils import fastcopy

from utils.core.errors import UserError
from utils.core.files import atomic_path, relative
from utils.corpus.cuts import SHAR_FEATURES, SHAR_WAVEFORMS, SHARDS
from utils.corpus.manifests import write_manifest
from utils.features import addresses
from utils.features.front_end import FrontEnd
from utils.features.stored import compressed, described

Row = Tuple[MonoCut, np.ndarray, np.ndarray]  # a cut, its features (T, C), its samples (1, S)
FIELDS = {"features": ("features",), "waveforms": ("recording",), "both": ("features", "recording")}  # by features.shar
MORE = "NUPTSE.more"  # header of a member of a tar file, see utils.features.stored.compressed
REMEDY = (
    "copy it again from the folder that stage 1 wrote (where it is that folder: delete it, and run from stage 1 on), and run the "
    "same command: finished steps are kept"
)


@dataclass(frozen=True)
class Place:
    """Where the member of an utterance, with its headers, is in its shard."""

    offset: int  # bytes
    size: int  # bytes
    digest: str
    total: int = 0  # bytes of the shard

    @classmethod
    def of(cls, cut: MonoCut) -> "Place":
        """That of a cut whose features, or waveform, are in a shard."""
        return cls(**json.loads(cut.features.storage_key))

    def taken(self, content: bytes, cut: MonoCut) -> bytes:
        """`content`, if it is the member of the cut.

        Raises:
          UserError: it is not; names the shard.
        """
        if _digest(content) == self.digest:
            return content
        what = "is damaged or of another run" if len(content) == self.size else "is cut short or of another run"
        raise UserError(f"shard {cut.features.storage_path} {what}: it lacks utterance {cut.id} as stage 1 wrote it; {REMEDY}")


def write(rows: Iterable[Row], number: int, content: str, front_end: FrontEnd, out: Path, final: Path) -> List[MonoCut]:
    """Write a shard, each of its files whole or not at all.

    Args:
      content: features, waveforms (as they go into the front end: FLAC if they have 16 bits, else WAV of float32), or both.
      out: folder of stage 1.
      final: the name that it gets.
    Returns:
      the cuts, which say where their features are, or the waveforms that these can be made of.
    """
    fields = FIELDS[content]
    names = [f"{field}.{number:06d}.tar" for field in fields]
    found: List[Tuple[MonoCut, Tuple[int, ...], Place]] = []
    with ExitStack() as stack:
        files = [stack.enter_context(atomic_path(out / SHARDS / name)) for name in names]
        streams = [stack.enter_context(open(path, "wb")) for path in files]
        cuts = []
        for cut, features, samples in rows:
            made = {field: MADE[field](cut, features, samples, front_end) for field in fields}
            places = [_add(stream, cut.id, data) for stream, data in zip(streams, made.values())]
            found.append((cut, features.shape, places[0]))
            bare = fastcopy(cut, start=0, channel=0, features=None, recording=None)
            cuts.append(fastcopy(bare, **{field: data.manifest for field, data in made.items()}))
        totals = [_end(stream) for stream in streams]
        write_manifest(out / SHARDS / f"cuts.{number:06d}.jsonl.gz", cuts)
    kind = SHAR_FEATURES if fields[0] == "features" else SHAR_WAVEFORMS
    path = relative(final / SHARDS / names[0])
    keys = [json.dumps(asdict(replace(place, total=totals[0]))) for _, _, place in found]
    return [described(cut, shape, front_end, kind, path, key) for (cut, shape, _), key in zip(found, keys)]


def read(cut: MonoCut) -> bytes:
    """The data of a cut that is in a shard; the rest of the shard is not read.

    Raises:
      UserError: the shard can't be read, or does not hold it; names the shard.
    """
    place = Place.of(cut)
    return place.taken(addresses.read(cut.features.storage_path, place.offset, place.size), cut)


def read_whole(path: str, total: int) -> bytes:
    """A shard of `total` bytes.

    Raises:
      UserError: it can't be read, or has another size.
    """
    content = addresses.read(path)
    if len(content) == total:
        return content
    what = "is cut short or of another run" if len(content) < total else "is of another run"
    raise UserError(f"shard {path} {what}: it has {len(content)} bytes, and stage 1 wrote {total}; {REMEDY}")


def member(content: bytes) -> Tuple[bytes, str]:
    """The data of an utterance, and what else `restored` needs, from the bytes of its member."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        info = tar.next()
        stream = tar.extractfile(info) if info else None
        assert info and stream  # the digest is right
        return stream.read(), info.pax_headers.get(MORE, "")


def samples_of(content: bytes) -> np.ndarray:
    """The waveform (1, S) float32 of the bytes of a member."""
    return soundfile.read(io.BytesIO(member(content)[0]), dtype="float32")[0][None]


@dataclass(frozen=True)
class _Data:
    """What a shard holds of an utterance."""

    ending: str  # of the file's name
    content: bytes
    manifest: Any  # Lhotse's, with a placeholder for the data
    more: str = ""  # for the header MORE


def _features(cut: MonoCut, features: np.ndarray, samples: np.ndarray, front_end: FrontEnd) -> _Data:
    content, more = compressed(features, front_end.tick_power)
    manifest = described(fastcopy(cut, start=0, channel=0), features.shape, front_end, "memory_lilcom", "", "").features
    return _Data("llc", content, to_shar_placeholder(manifest), more)


def _waveform(cut: MonoCut, features: np.ndarray, samples: np.ndarray, front_end: FrontEnd) -> _Data:
    audio, length, rate = io.BytesIO(), samples.shape[1], front_end.sampling_rate
    whole = np.round(samples[0] * 2.0**15)
    exact = np.array_equal(whole, samples[0] * 2.0**15) and -(2**15) <= whole.min() and whole.max() < 2**15
    if exact:
        soundfile.write(audio, whole.astype(np.int16), rate, format="FLAC", subtype="PCM_16")
    else:  # of a copy; with fewer bits, features near silence would be others. libsndfile would write the time of day
        from scipy.io import wavfile  # slow to import, and recognising can do without

        wavfile.write(audio, rate, samples[0].astype(np.float32))
    manifest = Recording(cut.id, [AudioSource("memory", [0], b"")], rate, length, length / rate, channel_ids=[0])
    return _Data("flac" if exact else "wav", audio.getvalue(), to_shar_placeholder(manifest))


MADE = {"features": _features, "recording": _waveform}


def _add(stream: BinaryIO, name: str, data: _Data) -> Place:
    """Add data and its description to a tar file, as Lhotse's TarIterator reads them."""
    content = _member(f"{name}.{data.ending}", data.content, {MORE: data.more} if data.more else {})
    place = Place(stream.tell(), len(content), _digest(content))
    stream.write(content)
    description = json.dumps(data.manifest.to_dict(), ensure_ascii=False) + "\n"
    stream.write(_member(f"{name}.json", description.encode(), {}))
    return place


def _member(name: str, data: bytes, headers: Dict[str, str]) -> bytes:
    """A file in a tar file: its headers, its content, zeros to the end of the block."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size, info.pax_headers = len(data), headers
        tar.addfile(info, io.BytesIO(data))
        return stream.getvalue()[: tar.offset]


def _end(stream: BinaryIO) -> int:
    """Write the end of a tar file; returns the size of all."""
    stream.write(bytes(2 * tarfile.BLOCKSIZE))
    stream.flush()
    return stream.tell()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
