"""The server: its protocol, its limits and its HTTP, by real clients; whatever some clients do, the words of the others stay."""

import asyncio
import json
import time

import httpx2 as httpx
import numpy as np
import pytest
import soundfile
import websockets
from scipy.signal import resample_poly

from support.clients import START, pcm, rest, said, served, shown, started, texts
from utils.live.live import Live
from utils.server.limits import Limits

NAMES = ("0_0_1_1_0_1_1_0", "0_1_0_1_1_1_0_0", "0_0_0_1_0_0_0_1")


@pytest.fixture(scope="module")
def live(yesno):
    made = Live.open(yesno.bundle)
    made.start()
    yield made
    made.close(finish=False)


@pytest.fixture(scope="module")
def server(live):
    with served(live) as found:
        yield found


@pytest.fixture(scope="module")
def speech(yesno):
    """Recordings of yesno at 8 kHz, with silence after them, by name."""
    found = {name: soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32")[0] for name in NAMES}
    return {name: np.concatenate((samples, np.zeros(4000, np.float32))) for name, samples in found.items()}


def words_of(name):
    return ["yes" if digit == "1" else "no" for digit in name.split("_")]


def errors(messages):
    return [message["code"] for message in messages if message["type"] == "error"]


@pytest.mark.slow
def test_a_session_says_partials_as_differences_then_finals_then_its_end(server, speech):
    name = NAMES[0]
    messages = asyncio.run(said(server.ws, pcm(speech[name]), speed=4.0))
    assert messages[0]["type"] == "ready" and messages[0]["rate"] == 8000 and messages[0]["language"] == "he"
    assert messages[0]["limits"]["sessions"] == 50 and messages[0]["session"]
    assert texts(messages) == words_of(name)
    steps = list(shown(messages))
    assert len(steps) >= 3 and steps[-1] and all(set(words) <= {"yes", "no"} for words in steps)
    finals = [message for message in messages if message["type"] == "final"]
    spans = [(word["start"], word["end"]) for final in finals for word in final["words"]]
    assert spans == sorted(spans) and all(0 <= start < end <= len(speech[name]) / 8000 for start, end in spans)
    assert all(0 < word["confidence"] <= 1 for final in finals for word in final["words"])
    assert all(final["nbest"][0]["text"] == final["text"] for final in finals)
    assert messages[-2] == {"type": "ended", "heard": round(len(speech[name]) / 8000, 3)} and messages[-1]["code"] == 1000


@pytest.mark.slow
def test_messages_of_any_size_and_audio_of_any_rate_have_the_same_words(server, speech):
    x, name = speech[NAMES[1]], NAMES[1]

    async def all_of_them():
        one, other = pcm(x), pcm(resample_poly(x, 11025, 8000).astype(np.float32))
        return await asyncio.gather(
            said(server.ws, one, size=7777),
            said(server.ws, other, size=4001, rate=11025),
            said(server.ws, pcm(resample_poly(x, 6, 1).astype(np.float32)), size=100_000, rate=48000),
            said(server.ws, one, partials=False),
            said(server.ws, one[:24_000]),
            said(server.ws, one[:24_000], size=1),
        )

    found = asyncio.run(all_of_them())
    assert [texts(one) for one in found[:4]] == [words_of(name)] * 4
    assert not list(shown(found[3])) and list(shown(found[0]))
    assert found[4][-2:] == found[5][-2:] and texts(found[4]) == texts(found[5]) and len(texts(found[4])) > 0


BAD = {
    "no JSON": (["{"], "bad_message", 1008),
    "another JSON": (["[1]"], "bad_message", 1008),
    "deep JSON": (["[" * 100_000], "bad_message", 1008),
    "no start": (['{"type":"finish"}'], "bad_message", 1008),
    "no rate": (['{"type":"start"}'], "bad_message", 1008),
    "a rate in words": (['{"type":"start","rate":"8000"}'], "bad_message", 1008),
    "a rate of 1 Hz": (['{"type":"start","rate":1}'], "bad_message", 1008),
    "another format": (['{"type":"start","rate":8000,"format":"mp3"}'], "bad_message", 1008),
    "an unknown key": (['{"type":"start","rate":8000,"\\ud800":1}'], "bad_message", 1008),
    "audio first": ([b"\0\0"], "bad_message", 1008),
    "text where audio is due": ([json.dumps(START), b"\1" * 3000, "hello"], "bad_message", 1008),
    "a second start": ([json.dumps(START), json.dumps(START)], "bad_message", 1008),
    "audio after the end": ([json.dumps(START), '{"type":"finish"}', b"\0\0"], "bad_message", 1008),
    "a large message": ([json.dumps(START), bytes(300_000)], "too_big", 1009),
    "large text": (["x" * 300_000], "too_big", 1009),
    "a huge message": ([json.dumps(START), bytes(2_000_000)], None, 1009),
}


async def sent(url, messages):
    socket = await websockets.connect(url, proxy=None)
    try:
        for message in messages:
            await socket.send(message)
    except websockets.ConnectionClosed:
        pass
    return await asyncio.wait_for(rest(socket), 20)


@pytest.mark.slow
def test_bad_messages_get_a_named_error_and_a_code(server):
    async def all_of_them():
        return await asyncio.gather(*(sent(server.ws, case[0]) for case in BAD.values()))

    for (name, (_, code, close)), messages in zip(BAD.items(), asyncio.run(all_of_them())):
        if name == "audio after the end" and not errors(messages):  # it had ended
            continue
        assert errors(messages) == [code] * (code is not None), (name, messages)
        assert messages[-1]["code"] == close and len(messages[-1]["reason"]) < 100, name
        for message in messages[:-1]:
            if message["type"] == "error":
                assert 20 < len(message["message"]) < 300 and "\n" not in message["message"]
    assert not server.shared.sessions and not server.shared.opening


@pytest.mark.slow
def test_of_200_at_once_as_many_are_served_as_there_is_room_for_and_the_others_know_it_at_once(live, speech):
    name = NAMES[0]

    async def all_of_them(url):
        began = time.monotonic()
        opened = await asyncio.gather(*(started(url) for _ in range(200)))
        first = [json.loads(text) for text in await asyncio.gather(*(socket.recv() for socket in opened))]
        seconds = time.monotonic() - began
        served_ones = [socket for socket, message in zip(opened, first) if message["type"] == "ready"]
        for socket in served_ones:
            await socket.send(pcm(speech[name]))
            await socket.send('{"type":"finish"}')
        return first, seconds, await asyncio.gather(*map(rest, served_ones))

    with served(live, Limits(sessions=8)) as found:
        first, seconds, messages = asyncio.run(all_of_them(found.ws))
        page = httpx.get(f"{found.http}/metrics").text
    assert [message["type"] for message in first].count("ready") == 8 and seconds < 10
    assert {message["code"] for message in first if message["type"] == "error"} == {"too_many_sessions"}
    assert [texts(one) for one in messages] == [words_of(name)] * 8
    assert 'nuptse_errors_total{code="too_many_sessions"} 192.0' in page


@pytest.mark.slow
def test_limits_of_time_end_a_session_with_its_finals_and_a_reason(live, speech):
    async def idle(url):
        socket = await started(url)
        await socket.send(pcm(speech[NAMES[0]]))
        return await asyncio.wait_for(rest(socket), 20)

    async def silent(url):
        socket = await websockets.connect(url, proxy=None)
        return await asyncio.wait_for(rest(socket), 20)

    with served(live, Limits(idle_seconds=0.5, session_seconds=9.0, send_seconds=0.5)) as found:
        quiet = asyncio.run(idle(found.ws))
        long = asyncio.run(said(found.ws, pcm(np.concatenate([*speech.values()]))))
        assert errors(asyncio.run(silent(found.ws))) == ["idle"]
    assert texts(quiet) == words_of(NAMES[0])
    assert [message["type"] for message in quiet[-3:]] == ["ended", "error", "closed"] and errors(quiet) == ["idle"]
    assert errors(long) == ["too_long"] and texts(long)[:6] == words_of(NAMES[0])[:6] and long[-1]["code"] == 1008


@pytest.mark.slow
def test_who_sends_faster_than_the_recogniser_may_be_ahead_so_far_and_no_further(live, speech):
    audio = pcm(np.concatenate([speech[NAMES[0]]] * 12))
    with served(live, Limits(backlog_seconds=20.0)) as found:
        too_fast = asyncio.run(said(found.ws, audio, size=200_000))
        fast = asyncio.run(said(found.ws, pcm(speech[NAMES[0]]), size=200_000))
    assert errors(too_fast) == ["too_fast"] and too_fast[-1]["code"] == 1008
    assert texts(fast) == words_of(NAMES[0])
