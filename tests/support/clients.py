"""Clients of the server, as programs are, and a server on a free port."""

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Dict, Iterator, List, Optional, Sequence

import numpy as np
import websockets

from utils.server.app import create_app
from utils.server.limits import Limits
from utils.server.run import bound, server_of

Message = Dict[str, Any]
START = {"type": "start", "rate": 8000}


@contextmanager
def served(live: Any, limits: Optional[Limits] = None, tls: Any = None, **access: Any) -> Iterator[SimpleNamespace]:
    """A real server in a thread: its http and ws addresses, and what its requests share."""
    app = create_app(live, limits or Limits(), **access)
    listening = bound("127.0.0.1", 0)
    server = server_of(app, listening, tls)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        stream = server.address.replace("http", "ws", 1) + "/v1/stream"
        yield SimpleNamespace(http=server.address, ws=stream, shared=app.state.serving, server=server)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def pcm(samples: np.ndarray) -> bytes:
    """Samples (T,) from -1 to 1 as 16-bit PCM."""
    return (np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes()


async def started(url: str, **changes: Any) -> Any:
    """A session after its start, and without its ready."""
    # Without pings: where the tests have a small part of a core, an answer may take longer than the client would wait.
    socket = await websockets.connect(url, proxy=None, max_size=None, ping_interval=None, open_timeout=60)
    await socket.send(json.dumps({**START, **changes}))
    return socket


async def rest(socket: Any) -> List[Message]:
    """The messages until the socket is closed; last, how it was."""
    out: List[Message] = []
    try:
        async for text in socket:
            out.append(json.loads(text))
    except websockets.ConnectionClosed:
        pass
    out.append({"type": "closed", "code": socket.close_code, "reason": socket.close_reason})
    return out


async def said(url: str, audio: bytes, size: int = 1600, speed: float = 0.0, **changes: Any) -> List[Message]:
    """All messages of a session.

    Args:
      size: bytes of a message.
      speed: seconds of audio that are sent in a second; 0: as fast as may be.
    """
    socket = await started(url, **changes)
    reading = asyncio.create_task(rest(socket))
    began, rate = time.monotonic(), changes.get("rate", START["rate"])
    try:
        for n in range(0, len(audio), size):
            if speed:
                await asyncio.sleep(max(0.0, began + n / (2 * rate * speed) - time.monotonic()))
            await socket.send(audio[n : n + size])
        await socket.send(json.dumps({"type": "finish"}))
    except websockets.ConnectionClosed:
        pass
    return await asyncio.wait_for(reading, 60)


def texts(messages: Sequence[Message]) -> List[str]:
    """The words of the finals."""
    return [word["text"] for message in messages if message["type"] == "final" for word in message["words"]]


def shown(messages: Sequence[Message]) -> Iterator[List[str]]:
    """What a client that follows the differences shows of a segment, after each partial; checks what they promise."""
    held: Dict[int, List[str]] = {}
    firm: Dict[int, List[str]] = {}
    for message in messages:
        if message["type"] == "partial":
            before = held.get(message["segment"], [])
            assert 0 <= message["keep"] <= len(before)
            now = before[: message["keep"]] + [word["text"] for word in message["words"]]
            kept = firm.get(message["segment"], [])
            assert now[: len(kept)] == kept and message["stable"] >= len(kept)
            held[message["segment"]], firm[message["segment"]] = now, now[: message["stable"]]
            yield now
