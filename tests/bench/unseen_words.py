"""Words that a model lacks, added while a session runs: are they found in the next sentence as often as in files?"""

import asyncio
import json
import random
import urllib.parse
import urllib.request
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import websockets

from utils.bundle.recogniser import Recogniser
from utils.lang.lexicon import Lexicon
from utils.lang.spelling import spellings

MESSAGE = 0.08  # seconds of audio in a message
QUIET = 1.0  # seconds before and after a sentence


def drawn(texts: Sequence[Sequence[str]], lexicon: Lexicon, language: str, count: int) -> Dict[str, List[int]]:
    """Words of recordings that a model lacks and can spell, drawn at random, each with the recordings that it is said in."""
    said: Dict[str, List[int]] = {}
    for n, text in enumerate(texts):
        for word in dict.fromkeys(text):
            if word not in lexicon.word_id:
                said.setdefault(word, []).append(n)
    spelled = spellings(sorted(said), lexicon, language)
    words = sorted(word for word in said if word in spelled)
    return {word: said[word] for word in random.Random(0).sample(words, min(count, len(words)))}


def found_by_files(
    recogniser: Recogniser, words: Dict[str, List[int]], sounds: Sequence[np.ndarray], rate: int
) -> Dict[str, List[bool]]:
    """Whether each word is in what is recognised of its recordings, with it added for the call."""
    out = {}
    for word, places in words.items():
        transcripts = recogniser.transcribe_many([(sounds[n], rate) for n in places], words=[word])
        out[word] = [word in [one.text for one in transcript.words] for transcript in transcripts]
    return out


async def found_live(
    address: str, words: Dict[str, List[int]], sounds: Sequence[np.ndarray], rate: int
) -> Tuple[Dict[str, List[bool]], List[float]]:
    """As `found_by_files`, in sessions that run when the word is added; and how many seconds each call took."""
    out, seconds = {}, []
    for word, places in words.items():
        added = asyncio.Event()
        sessions = [asyncio.create_task(_session(address, sounds[n], rate, added)) for n in places]
        await asyncio.sleep(QUIET)
        began = asyncio.get_running_loop().time()
        await _call(address, "POST", "/v1/words", {"words": [word]})
        seconds.append(asyncio.get_running_loop().time() - began)
        added.set()
        out[word] = [word in said for said in await asyncio.gather(*sessions)]
        await _call(address, "DELETE", f"/v1/words/{urllib.parse.quote(word)}")
    return out, seconds


async def _session(address: str, sound: np.ndarray, rate: int, added: asyncio.Event) -> List[str]:
    """The words of the finals of a session that hears near silence until a word was added, then a sentence."""
    words: List[str] = []
    quiet = np.random.default_rng(0).normal(0, 1e-4, round(QUIET * rate)).astype(np.float32)
    loop, size = asyncio.get_running_loop(), round(MESSAGE * rate)
    async with websockets.connect(address.replace("http", "ws", 1) + "/v1/stream", proxy=None, max_size=None) as socket:
        await socket.send(json.dumps({"type": "start", "rate": rate}))
        began, sent = loop.time(), 0

        async def play(samples: np.ndarray) -> None:
            nonlocal sent
            pcm = (np.clip(samples, -1, 1) * 32767).round().astype("<i2")
            for start in range(0, len(pcm), size):
                sent += len(pcm[start : start + size])
                await asyncio.sleep(max(0.0, began + sent / rate - loop.time()))
                await socket.send(pcm[start : start + size].tobytes())

        while not added.is_set():
            await play(quiet[:size])
        await play(np.concatenate((sound, quiet)))
        await socket.send(json.dumps({"type": "finish"}))
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "final":
                words += [word["text"] for word in message["words"]]
            elif message["type"] in ("error", "failed"):
                raise RuntimeError(message["message"])
    return words


async def _call(address: str, method: str, path: str, body: Any = None) -> None:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, content, {"Content-Type": "application/json"}, method=method)
    await asyncio.get_running_loop().run_in_executor(None, lambda: urllib.request.urlopen(request).read())
