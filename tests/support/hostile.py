"""Clients that break every rule, each in its own way."""

import asyncio
import base64
import os
import random
import struct
from typing import Any, Awaitable, Callable, Dict, List
from urllib.parse import urlsplit

import websockets

START = '{"type":"start","rate":8000}'


async def connected(url: str) -> Any:
    """A reader and a writer of a plain connection, which reads little."""
    where = urlsplit(url)
    return await asyncio.open_connection(where.hostname, where.port, limit=1024)


async def shaken(url: str) -> Any:
    """The writer of a connection after a WebSocket's handshake; what comes is not read any more."""
    where = urlsplit(url)
    reader, writer = await connected(url)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET {where.path} HTTP/1.1", f"Host: {where.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    writer.write("\r\n".join(lines).encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    return writer


def frame(opcode: int, content: bytes, final: bool = True) -> bytes:
    """A client's frame (RFC 6455, section 5.2)."""
    mask = os.urandom(4)
    size = len(content)
    first = bytes([opcode | 0x80 * final])
    if size < 126:
        head = first + bytes([0x80 | size])
    else:
        head = first + (b"\xfe" + struct.pack(">H", size) if size < 65536 else b"\xff" + struct.pack(">Q", size))
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(content))


async def garbage(url: str, rng: random.Random) -> None:
    """Bytes that are no HTTP."""
    _, writer = await connected(url)
    writer.write(rng.randbytes(rng.randrange(1, 5000)))
    await asyncio.sleep(rng.random() / 50)
    writer.close()


async def half_a_request(url: str, rng: random.Random) -> None:
    """A request that stops in the middle."""
    _, writer = await connected(url)
    writer.write(b"POST /v1/words HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"[: rng.randrange(1, 70)])
    await asyncio.sleep(rng.random() / 20)
    writer.close()


async def broken_frames(url: str, rng: random.Random) -> None:
    """Frames that are none, or not masked, or that promise what does not come."""
    writer = await shaken(url)
    writer.write(frame(1, START.encode()))
    short, huge, plain = frame(2, b"x" * 9)[:7], b"\x82\x7f" + b"\xff" * 8, b"\x82\x05hello"
    writer.write(rng.choice([rng.randbytes(300), huge, plain, frame(0, b"x"), short]))
    await asyncio.sleep(rng.random() / 20)
    writer.close()


async def deaf(url: str, rng: random.Random) -> None:
    """Sends audio and reads nothing, then is gone without a word."""
    writer = await shaken(url)
    writer.write(frame(1, START.encode()) + frame(2, rng.randbytes(16_001)))
    await asyncio.sleep(rng.random() / 10)
    writer.transport.abort()


async def messages(url: str, rng: random.Random) -> None:
    """Messages in any order, of any content."""
    bad: List[Any] = [
        START,
        START,
        '{"type":"finish"}',
        "",
        "[]",
        "null",
        '{"type":"start","rate":1e99}',
        "{" * 5000,
        "\0",
        "NaN",
    ]
    bad += [b"", b"\0", *(rng.randbytes(size) for size in (3, 4001, 20_000)), bytes(300_000), '{"type":"xxxxxxxxx"}']
    async with websockets.connect(url, proxy=None, close_timeout=1) as socket:
        if rng.random() < 0.7:
            await socket.send(START.replace("8000", str(rng.choice([8000, 4000, 11111, 192000, 44100]))))
        for _ in range(rng.randrange(1, 8)):
            await socket.send(rng.choice(bad))
        if rng.random() < 0.5:
            socket.transport.abort()
        else:
            await asyncio.wait_for(socket.recv(), 2)


async def flood(url: str, rng: random.Random) -> None:
    """A message a byte, without a pause."""
    writer = await shaken(url)
    writer.write(frame(1, START.encode()) + b"".join(frame(2, b"\1") for _ in range(2000)))
    await asyncio.sleep(rng.random() / 10)
    writer.transport.abort()


async def request(url: str, rng: random.Random) -> None:
    """An HTTP request with what no handler expects."""
    where = urlsplit(url)
    path = rng.choice(["/v1/words", "/v1/audio/transcriptions", "/v1/stream", "/page/../../setup.cfg", "/%00", "/v1/words/%ff"])
    kind = rng.choice(["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""])
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="\0.wav"\r\n\r\n' + rng.randbytes(99) + b"\r\n--x--"
    content = rng.choice([b"{", b'{"words":[1]}', b'{"words":["\\ud800"]}', rng.randbytes(100), part, b"[" * 50_000])
    head = f"{rng.choice(['POST', 'GET', 'DELETE', 'PUT'])} {path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: {kind}\r\n"
    reader, writer = await connected(url)
    writer.write(f"{head}Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content)
    answer = await asyncio.wait_for(reader.read(12), 10)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ") and answer[9:12] != b"500", answer
    writer.close()


KINDS: Dict[str, Callable[[str, random.Random], Awaitable[None]]] = {
    one.__name__: one for one in (garbage, half_a_request, broken_frames, deaf, messages, flood, request)
}


async def attack(url: str, seed: int) -> str:
    """One hostile session; returns its kind. That the server refuses it, or hangs up, is what it wants."""
    rng = random.Random(seed)
    name = list(KINDS)[seed % len(KINDS)]
    try:
        await KINDS[name](url, rng)
    except (OSError, EOFError, websockets.WebSocketException, asyncio.TimeoutError):
        pass
    return name
