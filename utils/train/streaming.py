"""Batches whose utterances are in shards: each shard is read once an epoch, while the model trains on those before it."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Collection, Deque, Dict, Iterator, List, Sequence, Tuple

from lhotse import CutSet
from lhotse.cut import MonoCut
from lhotse.utils import fastcopy

from utils.corpus.cuts import SHAR_FEATURES, SHAR_WAVEFORMS
from utils.features.shards import Place, read_whole

AHEAD = 2  # shards that are read before they are needed


def streamed(steps: Sequence[Tuple[int, CutSet]], cached: Collection[str] = ()) -> Iterator[Tuple[int, CutSet]]:
    """The steps, in which cuts of shards have their data in memory; other cuts are as they were.

    Shards are read in the order in which the steps need them. Their utterances wait in memory, compressed, until their step
    comes. In the order of `train.buffer` that is about as many as the buffer holds.

    Args:
      steps: of an epoch, or what is left of it after an interruption: only what these need is read.
      cached: ids of cuts whose features are in memory.
    Raises:
      UserError: a shard is missing, cut short, damaged or of another run, or its server fails; names the shard.
    """
    needed: Dict[str, List[MonoCut]] = {}  # shard -> its utterances, in the order of their first need
    for cut in (cut for _, cuts in steps for cut in cuts):
        if cut.has_features and cut.features.storage_type in (SHAR_FEATURES, SHAR_WAVEFORMS) and cut.id not in cached:
            needed.setdefault(cut.features.storage_path, []).append(cut)
    wanted = {cut.id for cuts in needed.values() for cut in cuts}
    coming = iter(list(needed))
    ready: Dict[str, bytes] = {}  # id of an utterance -> its data
    waiting: Deque[Tuple[str, "Future[bytes]"]] = deque()
    pool = ThreadPoolExecutor(1, "shards")

    def ask() -> None:
        for path in coming:
            waiting.append((path, pool.submit(read_whole, path, Place.of(needed[path][0]).total)))
            break

    def loaded(cut: MonoCut) -> MonoCut:
        while cut.id not in ready:
            path, shard = waiting.popleft()
            content = shard.result()
            ask()
            for each in needed.pop(path):
                place = Place.of(each)
                ready[each.id] = place.taken(content[place.offset : place.offset + place.size], each)
        return fastcopy(cut, features=fastcopy(cut.features, storage_key=ready.pop(cut.id)))

    try:
        for _ in range(AHEAD):
            ask()
        for seed, cuts in steps:
            yield seed, CutSet.from_cuts([loaded(cut) if cut.id in wanted else cut for cut in cuts])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
