"""What live streams cost, how late their words come, and what they lose.

    python -m tests.bench.streams --corpus asterisk --recipe stream_wordvec [--clients 1,10,50] [--minutes 10] [--second BUNDLE]
        [--processes 3] [--add 1000] [--idle-words 100,1000,10000] [--unseen 40]

For each number of clients a server starts (`steps.serve`), and the clients play recordings of test over WebSocket at their own
speed, in a random order with pauses between. Measured are the delays of partials and finals, processor time, memory, and the word
error rate of the finals beside that of the same recordings as files. With --add, so many words are added at half time. With
--idle-words, the word error rate of the files is measured with so many added words that nobody says. With --unseen, so many
words of test that the model lacks are drawn; each is added while sessions run, which then hear the recordings that it is said in.
With --clients '' nothing else is measured. Missing stages run first. Writes egs/<corpus>/streams.jsonl and streams.md.
"""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Container, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import websockets
from kaldialign import edit_distance

from tests.bench.common import corpus_folder, described, stages_until, write_record
from tests.bench.streams_page import IDLE, UNSEEN, draw
from tests.bench.unseen_words import drawn, found_by_files, found_live
from utils.bundle.recogniser import Recogniser
from utils.core.files import ROOT
from utils.core.tables import as_text
from utils.corpus.audio import load as load_audio
from utils.corpus.cuts import read_cuts
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.spelling import spellings
from utils.live.settings import Settings
from utils.pipeline import driver
from utils.pipeline.stages import Plan

PAUSE = 1.0  # seconds of near silence between two recordings
MESSAGE = 0.08  # seconds of audio in a message
WARM = 5.0  # seconds at the beginning that are not measured
SHARES = (50, 95, 99)  # percentiles


@dataclass
class Client:
    """What one client played, and what came back."""

    played: List[int] = field(default_factory=list)  # indices of recordings
    words: List[str] = field(default_factory=list)  # of finals
    partials: List[Tuple[float, float]] = field(default_factory=list)  # when (seconds from the beginning), and how late
    finals: List[float] = field(default_factory=list)  # how late
    seconds: float = 0.0  # of audio
    heard: float = 0.0  # of it, as the server says at the end
    error: str = ""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--clients", type=_numbers, default=[1, 10, 50])
    p.add_argument("--minutes", type=float, default=10.0)
    p.add_argument("--second", metavar="BUNDLE", default="")
    p.add_argument("--processes", type=int, default=0)
    p.add_argument("--add", type=int, default=0)
    p.add_argument("--idle-words", type=_numbers, default=[])
    p.add_argument("--unseen", type=int, default=0)
    return driver.with_plans(p, arguments, _run)


def _numbers(text: str) -> List[int]:
    return [int(part) for part in text.split(",") if part]


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("export", options)
    bundle, cuts = plans["export"].out / "bundle", list(read_cuts(plans["data"].out, "test"))
    sounds, rate = [load_audio(cut)[0] for cut in cuts], cuts[0].sampling_rate
    texts = [cut.supervisions[0].text.split() for cut in cuts]
    recogniser = Recogniser.open(options.second or bundle)
    alone: List[List[str]] = []
    if options.clients or options.idle_words:
        alone = [[word.text for word in one.words] for one in recogniser.transcribe_many([(sound, rate) for sound in sounds])]
    said = {word.lower() for text in texts for word in text}
    lexicon = read_lexicon(plans["lang"].out)
    fresh = _words(recogniser.language, said, lexicon, max([options.add, *options.idle_words], default=0))
    idle = [_idle(recogniser, sounds, rate, texts, alone, fresh[:n]) for n in options.idle_words]
    words = drawn(texts, lexicon, recogniser.language, options.unseen) if options.unseen else {}
    by_files = found_by_files(recogniser, words, sounds, rate)
    del recogniser
    unseen = [_unseen(bundle, options, words, by_files, sounds, rate)] if words else []
    rows = [_load(bundle, n, options, sounds, rate, texts, alone, fresh[: options.add]) for n in options.clients]
    corpus = corpus_folder(plans)
    trials = ["a second bundle"] * bool(options.second) + [f"{options.processes} processes"] * bool(options.processes)
    trial = " and ".join(trials + [f"{options.add} words added"] * bool(options.add))
    more = {"minutes": options.minutes, "cores": len(os.sched_getaffinity(0))}
    if rows:
        write_record(corpus, "streams", described(options, plans, rows, trial=trial, **more))
    if idle:
        write_record(corpus, "streams", described(options, plans, idle, trial=IDLE, **more))
    if unseen:
        write_record(corpus, "streams", described(options, plans, unseen, trial=UNSEEN, **more))
    print(as_text(draw(corpus)))


def _words(language: str, said: Container[str], lexicon: Lexicon, count: int) -> List[str]:
    """The most frequent words of the language that nobody says in the recordings, and that the model lacks and can spell."""
    if not count:
        return []
    import wordfreq

    known = {word.lower() for word in lexicon.words}
    listed = wordfreq.top_n_list(language, 4 * count + 20_000)
    words = [word for word in listed if word.isalpha() and len(word) > 2 and word not in said and word not in known]
    spelled = spellings(words[: 2 * count], lexicon, language)
    return [word for word in words if word in spelled][:count]


def _idle(
    recogniser: Recogniser,
    sounds: Sequence[np.ndarray],
    rate: int,
    texts: Sequence[Sequence[str]],
    alone: Sequence[Sequence[str]],
    words: Sequence[str],
) -> Dict[str, Any]:
    """The WER of the files with added words that nobody says."""
    began = time.perf_counter()
    recogniser.add_words(words)
    seconds = time.perf_counter() - began
    found = recogniser.transcribe_many([(sound, rate) for sound in sounds])
    recogniser.remove_words(words)
    rates = [_wer(texts, said) for said in (alone, [[word.text for word in one.words] for one in found])]
    return {"words": len(words), "seconds": seconds, "wer_without": rates[0], "wer": rates[1]}


def _unseen(
    bundle: Path,
    options: Any,
    words: Dict[str, List[int]],
    by_files: Dict[str, List[bool]],
    sounds: Sequence[np.ndarray],
    rate: int,
) -> Dict[str, Any]:
    """How often words that the model lacks are found, added to running sessions and by the files' way."""
    with _server(bundle, options, max(map(len, words.values()))) as (address, _):
        live, seconds = asyncio.run(found_live(address, words, sounds, rate))
    counts = {"words": len(words), "recordings": sum(map(len, words.values()))}
    found = {"live": sum(map(sum, live.values())), "files": sum(map(sum, by_files.values()))}
    alike = sum(a == b for word in words for a, b in zip(live[word], by_files[word]))
    return {**counts, **found, "alike": alike, "seconds": _shares(seconds), "drawn": {w: [live[w], by_files[w]] for w in words}}


def _wer(texts: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> float:
    return 100 * sum(edit_distance(a, b)["total"] for a, b in zip(texts, said)) / sum(map(len, texts))


def _load(
    bundle: Path,
    clients: int,
    options: Any,
    sounds: Sequence[np.ndarray],
    rate: int,
    texts: Sequence[Sequence[str]],
    alone: Sequence[Sequence[str]],
    added: Sequence[str],
) -> Dict[str, Any]:
    """A server with so many clients: what `draw` shows of it."""
    with _server(bundle, options, clients) as (address, process):
        memory: List[Tuple[float, float]] = []
        done = threading.Event()
        watch = threading.Thread(target=_watch, args=(process, memory, done))
        watch.start()
        before, seconds = _cpu(process), 60 * options.minutes
        found, took = asyncio.run(_play(address, clients, sounds, rate, seconds, added))
        cpu = _cpu(process) - before
        done.set()
        watch.join()
    played = [n for one in found for n in one.played]
    reference = [[word for n in one.played for word in texts[n]] for one in found]
    by_minute = [
        float(np.mean([mb for at, mb in memory if 60 * m <= at < 60 * (m + 1)] or [memory[-1][1]]))
        for m in range(max(2, int(seconds // 60)))
    ]
    partials = [late for one in found for at, late in one.partials if at > WARM]
    row = {
        "clients": clients,
        "partials": _shares(partials),
        "finals": _shares([late for one in found for late in one.finals]),
        "real_time_factor": cpu / sum(one.seconds for one in found),
        "mb": by_minute[1],
        "mb_by_minute": [round(mb, 1) for mb in by_minute],
        "growth": 100 * (by_minute[-1] / by_minute[1] - 1),
        "wer": _wer(reference, [one.words for one in found]),
        "wer_of_files": _wer([texts[n] for n in played], [alone[n] for n in played]),
        "errors": [message for message, _ in Counter(one.error for one in found if one.error).most_common(3)],
        "recordings": len(played),
    }
    if added:
        near = [late for one in found for at, late in one.partials if -0.5 < at - seconds / 2 < took + 2]
        lost = sum(one.seconds - one.heard for one in found if not one.error)
        row.update(added=len(added), added_seconds=took, partials_meanwhile=max(near, default=0.0), lost=round(lost, 3))
    return row


def _shares(values: Sequence[float]) -> List[float]:
    return [round(float(v), 3) for v in np.percentile(values, SHARES)] if values else []


@contextmanager
def _server(bundle: Path, options: Any, clients: int) -> Iterator[Tuple[str, Any]]:
    words = [sys.executable, "-m", "steps.serve", "--bundle", str(bundle), "--port", "0", "--sessions", str(clients + 1)]
    words += [
        *(["--processes", str(options.processes)] * bool(options.processes)),
        *(["--second", options.second] * bool(options.second)),
    ]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = re.search(r"http://\S+", process.stdout.readline())
    if address is None:
        sys.exit("the server did not start")
    try:
        yield address[0], process
    finally:
        process.terminate()
        process.wait(90)


def _pids(process: Any) -> List[str]:
    """Of the server and of its processes for finals."""
    return [str(process.pid), *Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _cpu(process: Any) -> float:
    """Seconds of processor time."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in _pids(process)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def _watch(process: Any, memory: List[Tuple[float, float]], done: threading.Event) -> None:
    """Note resident memory, in MB, every few seconds."""
    began = time.monotonic()
    while not done.wait(2.0):
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _pids(process))
        memory.append((time.monotonic() - began, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))


async def _play(
    address: str, clients: int, sounds: Sequence[np.ndarray], rate: int, seconds: float, added: Sequence[str]
) -> Tuple[List[Client], float]:
    """What came back to the clients, and how many seconds adding words took."""
    found = [Client() for _ in range(clients)]
    url = address.replace("http", "ws", 1) + "/v1/stream"
    work = [_client(url, one, sounds, rate, seconds, random.Random(n)) for n, one in enumerate(found)]
    adding = asyncio.create_task(_add(address, seconds / 2, added)) if added else None
    await asyncio.gather(*work)
    return found, await adding if adding else 0.0


async def _add(address: str, after: float, words: Sequence[str]) -> float:
    await asyncio.sleep(after)
    body = json.dumps({"words": list(words)}).encode()
    request = urllib.request.Request(f"{address}/v1/words", body, {"Content-Type": "application/json"})
    began = time.monotonic()
    await asyncio.get_running_loop().run_in_executor(None, lambda: urllib.request.urlopen(request).read())
    return time.monotonic() - began


async def _client(url: str, one: Client, sounds: Sequence[np.ndarray], rate: int, seconds: float, rng: random.Random) -> None:
    """Play recordings at their own speed."""
    await asyncio.sleep(rng.random() * WARM / 2)
    try:
        async with websockets.connect(url, proxy=None, max_size=None) as socket:
            await socket.send(json.dumps({"type": "start", "rate": rate}))
            await socket.recv()
            began = time.monotonic()
            reading = asyncio.create_task(_read(socket, one, began))
            size, sent = round(MESSAGE * rate), 0
            noise = np.random.default_rng(rng.randrange(10**6))
            while sent < seconds * rate and not reading.done():
                n = rng.randrange(len(sounds))
                one.played.append(n)
                samples = np.concatenate((sounds[n], noise.normal(0, 1e-4, round(PAUSE * rate)).astype(np.float32)))
                pcm = (np.clip(samples, -1, 1) * 32767).round().astype("<i2")
                for start in range(0, len(pcm), size):
                    sent += len(pcm[start : start + size])
                    await asyncio.sleep(max(0.0, began + sent / rate - time.monotonic()))  # it is sent when it was said
                    await socket.send(pcm[start : start + size].tobytes())
            await socket.send(json.dumps({"type": "finish"}))
            one.seconds = sent / rate
            await asyncio.wait_for(reading, 60)
    except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
        one.error = f"{type(error).__name__}: {error}"


async def _read(socket: Any, one: Client, began: float) -> None:
    settings = Settings()
    async for text in socket:
        now, said = time.monotonic() - began, json.loads(text)
        if said["type"] == "partial":
            one.partials.append((now, now - said["heard"]))
        elif said["type"] == "final":
            one.finals.append(now - (said["end"] - settings.after))
            one.words += [word["text"] for word in said["words"]]
        elif said["type"] == "ended":
            one.heard = said["heard"]
        elif said["type"] in ("error", "failed"):
            one.error = said["message"]


if __name__ == "__main__":
    sys.exit(main())
