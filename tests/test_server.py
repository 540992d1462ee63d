"""The server: its protocol, its limits and its HTTP, by real clients; whatever some clients do, the words of the others stay."""

import asyncio
import json
import random
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import httpx2 as httpx
import numpy as np
import openai
import pytest
import soundfile
import websockets
from prometheus_client.parser import text_string_to_metric_families
from scipy.signal import resample_poly

from steps import serve
from support.clients import START, pcm, rest, said, served, shown, started, texts
from support.driving import refusal
from support.hostile import KINDS, attack, frame, shaken
from support.sounds import encode
from utils.bundle.transcript import Transcript, Word
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.live.events import Ended, Final, Partial
from utils.live.live import Live
from utils.server.access import read_tokens
from utils.server.limits import Limits
from utils.server.metrics import KEPT, Arrivals
from utils.server.outbox import Full, Outbox
from utils.server.protocol import Messages, Samples

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
def spoken(yesno):
    """Recordings of yesno at 8 kHz, with silence after them, by name."""
    found = {name: soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32")[0] for name in NAMES}
    return {name: np.concatenate((samples, np.zeros(4000, np.float32))) for name, samples in found.items()}


def test_samples_are_the_same_however_their_bytes_are_cut():
    rng = random.Random(1)
    audio = rng.randbytes(20_001)
    taken, at, samples = [], 0, Samples(8000)
    while at < len(audio):
        size = rng.choice((0, 1, 3, 158, 161, 2000))
        taken += [one for one in [samples.push(audio[at : at + size])] if one is not None]
        at += size
    assert all(len(one) >= 80 for one in taken)
    found = np.concatenate([*taken, samples.rest()])
    assert np.array_equal(found, np.frombuffer(audio[:-1], "<i2").astype(np.float32) / 32768)


def test_differences_follow_what_the_client_has_and_times_that_creep_are_sent_in_the_end():
    messages, found = Messages(), []
    for n in range(12):
        words = [Word("one", 0.03 * n, 0.5), Word("two" if n < 6 else "too", 1.0, 1.5, 0.5)][: n + 1]
        found.append(messages.of(Partial(0, 0.0, words, 0, 2.0)))
    assert [message["keep"] for message in found] == [0, 1, 2, 2, 0, 2, 1, 2, 0, 2, 2, 2]
    assert messages.of(Partial(1, 3.0, [Word("one", 0.33, 0.5)], 1, 4.0))["keep"] == 0  # of another segment


def test_who_reads_slowly_gets_the_newest_partial_and_every_final():
    async def taken(outbox, count):
        return [await outbox.get() for _ in range(count)]

    outbox = Outbox(4)
    partials = [Partial(n // 3, 0.0, [], n % 3, 0.0) for n in range(9)]
    for one in partials[:6]:
        outbox.put(one)
    final = Final(1, 0.0, 1.0, Transcript([]))
    outbox.put(final)
    outbox.put(partials[6])
    outbox.put("{}")
    assert asyncio.run(taken(outbox, 4)) == [partials[2], final, partials[6], "{}"]
    for _ in range(4):
        outbox.put("{}")
    with pytest.raises(Full):
        outbox.put(Ended(1.0))


def words_of(name):
    return ["yes" if digit == "1" else "no" for digit in name.split("_")]


def errors(messages):
    return [message["code"] for message in messages if message["type"] == "error"]


@pytest.mark.slow
def test_arrivals_of_the_last_minutes_are_known_in_memory_that_does_not_grow():
    arrivals, sizes = Arrivals(), []
    for n in range(1, 50_000):  # over an hour, in messages of 80 ms, each of which takes 10 ms to come
        arrivals.add(0.08 * n, 100 + 0.08 * n + 0.01)
        sizes.append(len(arrivals._seconds))
    until = 0.08 * 49_999
    for back in (0.0, 0.04, 30.0, KEPT - 1):
        assert 0 <= arrivals.at(until - back) - (100 + until - back) - 0.01 < 0.08
    assert max(sizes) < 2.1 * KEPT / 0.08 and max(sizes[25_000:]) == max(sizes[:25_000])


def test_a_session_says_partials_as_differences_then_finals_then_its_end(server, spoken):
    name = NAMES[0]
    messages = asyncio.run(said(server.ws, pcm(spoken[name]), speed=4.0))
    assert messages[0]["type"] == "ready" and messages[0]["rate"] == 8000 and messages[0]["language"] == "he"
    assert messages[0]["limits"]["sessions"] == 25 and messages[0]["session"]
    assert texts(messages) == words_of(name)
    steps = list(shown(messages))
    assert len(steps) >= 3 and steps[-1] and all(set(words) <= {"yes", "no"} for words in steps)
    finals = [message for message in messages if message["type"] == "final"]
    spans = [(word["start"], word["end"]) for final in finals for word in final["words"]]
    assert spans == sorted(spans) and all(0 <= start < end <= len(spoken[name]) / 8000 for start, end in spans)
    assert all(0 < word["confidence"] <= 1 for final in finals for word in final["words"])
    assert all(final["nbest"][0]["text"] == final["text"] for final in finals)
    assert messages[-2] == {"type": "ended", "heard": round(len(spoken[name]) / 8000, 3)} and messages[-1]["code"] == 1000


@pytest.mark.slow
def test_messages_of_any_size_and_audio_of_any_rate_have_the_same_words(server, spoken):
    x, name = spoken[NAMES[1]], NAMES[1]

    async def all_of_them():
        one, other = pcm(x), pcm(resample_poly(x, 11025, 8000).astype(np.float32))
        return await asyncio.gather(
            said(server.ws, one, size=7777, speed=4.0),
            said(server.ws, other, size=4001, rate=11025),
            said(server.ws, pcm(resample_poly(x, 6, 1).astype(np.float32)), size=100_000, rate=48000),
            said(server.ws, one, partials=False, speed=4.0),
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
def test_of_200_at_once_as_many_are_served_as_there_is_room_for_and_the_others_know_it_at_once(live, spoken):
    name = NAMES[0]

    async def all_of_them(url):
        began = time.monotonic()
        opened = await asyncio.gather(*(started(url) for _ in range(200)))
        first = [json.loads(text) for text in await asyncio.gather(*(socket.recv() for socket in opened))]
        seconds = time.monotonic() - began
        served_ones = [socket for socket, message in zip(opened, first) if message["type"] == "ready"]
        for socket in served_ones:
            await socket.send(pcm(spoken[name]))
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
def test_limits_of_time_end_a_session_with_its_finals_and_a_reason(live, spoken):
    async def idle(url):
        socket = await started(url)
        await socket.send(pcm(spoken[NAMES[0]]))
        return await asyncio.wait_for(rest(socket), 20)

    async def silent(url):
        socket = await websockets.connect(url, proxy=None)
        return await asyncio.wait_for(rest(socket), 20)

    with served(live, Limits(idle_seconds=0.5, session_seconds=9.0, send_seconds=0.5)) as found:
        quiet = asyncio.run(idle(found.ws))
        long = asyncio.run(said(found.ws, pcm(np.concatenate([*spoken.values()]))))
        assert errors(asyncio.run(silent(found.ws))) == ["idle"]
    assert texts(quiet) == words_of(NAMES[0])
    assert [message["type"] for message in quiet[-3:]] == ["ended", "error", "closed"] and errors(quiet) == ["idle"]
    assert errors(long) == ["too_long"] and texts(long)[:6] == words_of(NAMES[0])[:6] and long[-1]["code"] == 1008


@pytest.mark.slow
def test_who_sends_faster_than_the_recogniser_may_be_ahead_so_far_and_no_further(live, spoken):
    audio = pcm(np.concatenate([spoken[NAMES[0]]] * 12))
    with served(live, Limits(backlog_seconds=20.0)) as found:
        too_fast = asyncio.run(said(found.ws, audio, size=200_000))
        fast = asyncio.run(said(found.ws, pcm(spoken[NAMES[0]]), size=200_000))
    assert errors(too_fast) == ["too_fast"] and too_fast[-1]["code"] == 1008
    assert texts(fast) == words_of(NAMES[0])


@pytest.mark.slow
def test_a_client_that_leaves_mid_word_or_does_not_read_costs_nobody_anything(live, spoken):
    name = NAMES[0]

    async def all_of_them(found):
        left, deaf = [await started(found.ws) for _ in range(5)], await shaken(found.ws)
        for socket in left:
            await socket.send(pcm(spoken[name])[:20_001])
            socket.transport.abort()
        deaf.write(frame(1, json.dumps(START).encode()))
        await asyncio.sleep(0.3)
        for _ in range(20):  # of many words that are added
            found.server.loop.call_soon_threadsafe(found.shared.tell, {"type": "words", "added": ["x" * 100_000], "removed": []})
        honest = await said(found.ws, pcm(spoken[name]), speed=4.0)
        while found.shared.sessions:
            await asyncio.sleep(0.05)
        deaf.close()
        return honest

    with served(live, Limits(send_seconds=0.5)) as found:
        assert texts(asyncio.run(asyncio.wait_for(all_of_them(found), 30))) == words_of(name)
        assert 'nuptse_errors_total{code="too_slow"} 1.0' in httpx.get(f"{found.http}/metrics").text
    assert not [stream for stream in live.streams if not stream.over]


async def besieged(url, spoken, count):
    """Words of ten honest streams, one after another, until `count` hostile sessions are over; and the kinds of these."""
    over = asyncio.Event()

    async def honest(n):
        found = []
        while not over.is_set() or not found:
            name = NAMES[n % len(NAMES)]
            messages = await said(url, pcm(spoken[name]), size=800 + 7 * n, speed=6.0)
            found.append((name, texts(messages), errors(messages), messages[-1]["code"]))
        return found

    async def hostile(n):
        return [await attack(url, seed) for seed in range(n, count, 20)]

    streams = [asyncio.create_task(honest(n)) for n in range(10)]
    kinds = await asyncio.gather(*(hostile(n) for n in range(20)))
    over.set()
    return [one for found in await asyncio.gather(*streams) for one in found], [kind for some in kinds for kind in some]


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_hostile_sessions_change_no_word_of_ten_honest_streams(live, spoken, count):
    with served(live, Limits(sessions=50)) as found:
        words, kinds = asyncio.run(besieged(found.ws, spoken, count))
        health = httpx.get(f"{found.http}/healthz").json()
    assert len(kinds) == count and set(kinds) == set(KINDS)
    assert len(words) >= 10 and [one for one in words if one[1:] != (words_of(one[0]), [], 1000)] == []
    assert health["status"] == "ok" and not found.shared.sessions and not found.shared.opening
    assert not [stream for stream in live.streams if not stream.over]


@pytest.mark.slow
def test_tokens_and_origins_admit_whom_they_name(live, spoken):
    token, home = "correct-horse-battery", "https://home.example"

    async def first(url, **how):
        async with websockets.connect(url, proxy=None, **how) as socket:
            with suppress(websockets.ConnectionClosed):  # refused already
                await socket.send(json.dumps(START))
            return json.loads(await socket.recv())

    with served(live, tokens=[token], origins=[home]) as found:
        with pytest.raises(websockets.InvalidStatus, match="403"):
            asyncio.run(first(f"{found.ws}?token={token}", origin="https://evil.example"))
        assert asyncio.run(first(found.ws))["code"] == "unauthorised"
        assert asyncio.run(first(f"{found.ws}?token=wrong"))["code"] == "unauthorised"
        assert asyncio.run(first(f"{found.ws}?token={token}", origin=home))["type"] == "ready"
        assert asyncio.run(first(found.ws, additional_headers={"Authorization": f"Bearer {token}"}))["type"] == "ready"
        with httpx.Client(base_url=found.http) as client:
            assert client.get("/healthz").status_code == 200
            for path in ("/metrics", "/v1/words", f"/v1/words?token={token}"):
                refused = client.get(path)
                assert refused.status_code == 401 and refused.json()["error"]["code"] == "unauthorised"
            mine = {"Authorization": f"bearer {token}"}
            answer = client.get("/v1/words", headers={**mine, "Origin": home})
            assert answer.json() == {"words": []} and answer.headers["access-control-allow-origin"] == home
            foreign = client.post("/v1/words", headers={**mine, "Origin": "http://evil.example"}, json={"words": ["x"]})
            assert foreign.status_code == 403 and "access-control-allow-origin" not in foreign.headers
            assert client.get("/healthz", headers={"Host": "evil.example"}).json()["error"]["code"] == "foreign_host"
            assert client.get("/nothing", headers=mine).json()["error"]["code"] == "not_found"
            assert client.put("/v1/words", headers=mine).json()["error"]["code"] == "method_not_allowed"


def test_a_token_file_is_refused_where_others_may_read_it_or_a_token_may_be_guessed(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# ours\n\nlong-enough-to-be-safe\n")
    with pytest.raises(UserError, match="chmod 600"):
        read_tokens(path)
    path.chmod(0o600)
    assert read_tokens(path) == ["long-enough-to-be-safe"]
    for content, why in (("# none\n", "has no token"), ("short\n", "fewer than 16"), ("with a blank in the middle\n", "blanks")):
        path.write_text(content)
        with pytest.raises(UserError, match=why):
            read_tokens(path)


@pytest.fixture
def client(server):
    with openai.OpenAI(api_key="none", base_url=f"{server.http}/v1", max_retries=0) as made:
        yield made


@pytest.mark.slow
def test_openai_s_client_gets_files_in_every_form(client, yesno, spoken, tmp_path):
    name = NAMES[0]
    create, file, text = client.audio.transcriptions.create, yesno.source / f"{name}.wav", " ".join(words_of(name))
    assert create(model="any", file=file).text == text
    assert create(model="any", file=file, language="he", response_format="text") == text + "\n"
    srt, vtt = (create(model="any", file=file, response_format=form) for form in ("srt", "vtt"))
    assert srt.startswith("1\n00:00:0") and vtt.startswith("WEBVTT\n") and text in srt.replace("\n", " ") and " --> " in vtt
    long = tmp_path / "long.flac"
    soundfile.write(str(long), np.concatenate(list(spoken.values()) * 2), 8000)
    found = create(model="any", file=long, response_format="verbose_json", timestamp_granularities=["word", "segment"])
    assert found.language == "he" and abs(found.duration - len(soundfile.read(str(long))[0]) / 8000) < 0.1
    assert [word.word for word in found.words] == found.text.split() and len(found.segments) > 1
    said_in = [word for one in NAMES * 2 for word in words_of(one)]
    assert sum(a != b for a, b in zip(found.text.split(), said_in)) <= 2 and len(found.words) == len(said_in)
    times = [time for word in found.words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] < found.duration
    assert " ".join(segment.text for segment in found.segments) == found.text
    assert all(-2 < segment.avg_logprob <= 0 and segment.compression_ratio > 0 for segment in found.segments)
    only = create(model="any", file=file, response_format="verbose_json")
    assert only.words is None and len(only.segments) == 1
    video = tmp_path / "phone.m4a"
    encode(video, "aac", 48000, [resample_poly(spoken[name], 6, 1)])
    assert create(model="any", file=video).text == text


@pytest.mark.slow
def test_openai_s_client_gets_errors_of_its_kinds(live, client, yesno, tmp_path):
    create, file = client.audio.transcriptions.create, yesno.source / f"{NAMES[0]}.wav"
    letter = tmp_path / "letter.wav"
    letter.write_text("Dear Sir or Madam,\n" * 20)
    for wrong, param in (
        ({"file": letter}, "file"),
        ({"file": ("empty.wav", b"")}, "file"),
        ({"response_format": "docx"}, "response_format"),
        ({"language": "en"}, "language"),
        ({"prompt": "a hint"}, "prompt"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities"),
        ({"extra_body": {"steam": "true"}}, "steam"),
    ):
        with pytest.raises(openai.BadRequestError) as error:
            create(**{"model": "any", "file": file, **wrong})
        assert error.value.body["param"] == param and "/tmp" not in error.value.body["message"], error.value.body
        assert error.value.body["type"] == "invalid_request_error"
    with served(live, Limits(transcriptions=1, file_bytes=200_000, file_seconds=20.0), tokens=["a-token-of-16-chars"]) as found:
        small = openai.OpenAI(api_key="wrong", base_url=f"{found.http}/v1", max_retries=0)
        with pytest.raises(openai.AuthenticationError):
            small.audio.transcriptions.create(model="any", file=file)
        small.api_key = "a-token-of-16-chars"
        with pytest.raises(openai.APIStatusError, match="200000 bytes"):
            small.audio.transcriptions.create(model="any", file=("long.wav", bytes(3_000_000)))
        flac = tmp_path / "long.flac"
        soundfile.write(str(flac), np.zeros(8000 * 60), 8000)
        with pytest.raises(openai.BadRequestError, match="long.flac lasts more than 20 s"):
            small.audio.transcriptions.create(model="any", file=flac)

        async def together():
            async with openai.AsyncOpenAI(api_key=small.api_key, base_url=f"{found.http}/v1", max_retries=0) as one:
                calls = [one.audio.transcriptions.create(model="any", file=file) for _ in range(4)]
                return await asyncio.gather(*calls, return_exceptions=True)

        answers = asyncio.run(together())
        assert sum(isinstance(one, openai.RateLimitError) for one in answers) == 3
        assert [one.text for one in answers if not isinstance(one, Exception)] == [" ".join(words_of(NAMES[0]))]
        assert not found.shared.files


@pytest.mark.slow
def test_words_go_live_in_running_sessions_and_come_out_again(live, server, spoken, tmp_path):
    name, url = NAMES[0], f"{server.http}/v1/words"
    before = asyncio.run(said(server.ws, pcm(spoken[name])))
    word = tmp_path / "word.wav"
    soundfile.write(str(word), spoken[name][4000:14_000], 8000)

    async def all_of_them():
        socket = await started(server.ws)
        reading = asyncio.create_task(rest(socket))
        audio = pcm(spoken[name])
        await socket.send(audio[:40_000])
        async with httpx.AsyncClient() as client:
            tried = await client.post(url, json={"words": ["noyes", "yes"], "dry_run": True})
            assert tried.json()["added"] == [] and "yes" in " ".join(tried.json()["remarks"]), tried.json()
            assert (await client.get(url)).json() == {"words": []}
            added = await client.post(url, json={"words": ["noyes"], "weight": -2})
            assert added.json()["added"] == ["noyes"] and (await client.get(url)).json() == {"words": ["noyes"]}
            with open(word, "rb") as stream:
                aloud = await client.post(url, data={"word": "nosy"}, files={"audio": ("me.wav", stream)})
            assert aloud.json()["added"] == ["nosy"], aloud.json()
            for bad, status in (
                ({"words": ["123"]}, 422),
                ({"words": []}, 422),
                ({"words": ["x y"], "weight": "much"}, 422),
                ({"words": ["noses"], "wait": 1}, 422),
                ([], 400),
            ):
                refused = await client.post(url, json=bad)
                assert refused.status_code == status and refused.json()["error"]["message"], (bad, refused.json())
            broken = await client.post(url, data={"word": "sony"}, files={"audio": ("me.wav", b"no sound")})
            assert broken.status_code == 422 and "me.wav" in broken.json()["error"]["message"], broken.json()
            await socket.send(audio[40_000:])
            await socket.send('{"type":"finish"}')
            messages = await reading
            for one in ("noyes", "nosy"):
                assert (await client.delete(f"{url}/{one}")).json() == {"removed": [one]}
            assert (await client.delete(f"{url}/noyes")).status_code == 404
        return messages

    messages = asyncio.run(all_of_them())
    assert [m["added"] for m in messages if m["type"] == "words"] == [["noyes"], ["nosy"]] and live.words() == []
    assert messages[-2] == before[-2] and messages[-1]["code"] == 1000
    after = asyncio.run(said(server.ws, pcm(spoken[name])))
    assert [m for m in after if m["type"] == "final"] == [m for m in before if m["type"] == "final"]


@pytest.mark.slow
def test_prometheus_reads_the_counters(server, spoken):
    asyncio.run(said(server.ws, pcm(spoken[NAMES[0]])))
    page = httpx.get(f"{server.http}/metrics").text
    found = {s.name: s.value for family in text_string_to_metric_families(page) for s in family.samples if not s.labels}
    assert found["nuptse_sessions_started_total"] >= 1 and found["nuptse_sessions"] == 0
    assert found["process_resident_memory_bytes"] > 1e8 and 0 < found["nuptse_real_time_factor"] < 50
    assert (
        re.search(r'nuptse_delay_seconds_count\{type="final"\} [1-9]', page)
        and 'nuptse_audio_seconds_total{source="stream"}' in page
    )


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(server, yesno, spoken, tmp_path):
    page = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("serving.md", "protocol.md"))
    page = page.replace("127.0.0.1:8080", server.http.partition("//")[2])
    page = page.replace("zermatt", "noyes").replace(',"nuptse N AH P T S IY"', "")
    shutil.copy(yesno.source / f"{NAMES[0]}.wav", tmp_path / "prompt.wav")
    soundfile.write(str(tmp_path / "recording.wav"), spoken[NAMES[0]][4000:14_000], 8000)
    said_here, text = [], " ".join(words_of(NAMES[0]))
    for code in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)[:2]:  # that of keywords: tests/test_watching.py
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said_here.append(done.stdout.splitlines())
    files, stream = said_here
    (program,) = [code for code in re.findall(r"^```javascript\n(.*?)^```$", page, re.M | re.S) if code.startswith("import")]
    (tmp_path / "program.mjs").write_text(program)
    if shutil.which("node"):
        known = subprocess.run(["node", "--experimental-websocket", "-e", "WebSocket"], capture_output=True).returncode == 0
        call = ["node", "--experimental-websocket", "program.mjs", "prompt.wav"]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True) if known else None
        assert not done or (done.returncode, done.stdout.splitlines()[-1], done.stdout[:4]) == (0, stream[-1], "... "), done
    assert files[0] == text and [line.split()[-1] for line in files[1:]] == text.split()
    assert " ".join(line for line in stream if not line.startswith("...")) == text and stream[0].startswith("... ")
    answers = []
    for command in re.findall(r"^curl .*$", page, re.M):
        done = subprocess.run(
            ["bash", "-c", f"{command.replace('curl', 'curl -sS', 1)}"], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == (28 if "--max-time" in command else 0), done.stderr  # 28: its time is over
        answers.append(done.stdout)
    health, upgrade = answers[-2:]
    assert json.loads(health) and upgrade.startswith("HTTP/1.1 101 ") and answers.pop() and answers.pop()
    assert json.loads(answers[0]) == {"text": text} and answers[1].startswith("1\n00:00:0")
    dry, heavy, aloud, listed, gone = map(json.loads, answers[2:])
    assert (dry["added"], heavy["added"]) == ([], ["noyes"]) and "remarks" in aloud
    assert listed == {"words": ["noyes"]} and gone == {"removed": ["noyes"]}


@contextmanager
def started_server(*arguments, **how):
    """`python -m steps.serve`, as users start it, and its address."""
    words = [sys.executable, "-m", "steps.serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how) as process:
        line = process.stdout.readline()
        assert line.startswith("serving http"), process.stderr.read()
        try:
            yield process, line.split()[1]
        finally:
            process.kill()


@pytest.mark.slow
def test_a_server_whose_bundle_is_replaced_goes_on_and_ends_with_the_finals_of_what_runs(yesno, spoken, tmp_path):
    bundle, name = shutil.copytree(yesno.bundle, tmp_path / "bundle"), NAMES[2]

    async def all_of_them(process, address):
        url = address.replace("http", "ws", 1) + "/v1/stream"
        running = await started(url)
        audio, reading = pcm(spoken[name]), asyncio.create_task(rest(running))
        await running.send(audio)
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            added = await client.post("/v1/words", json={"words": ["noyes"]})
            assert added.json()["added"] == ["noyes"], added.json()
            assert texts(await said(url, audio)) == words_of(name)
            assert (await client.delete("/v1/words/noyes")).status_code == 200
        process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(reading, 30)

    with started_server("--bundle", bundle) as (process, address):
        shutil.rmtree(bundle)
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "manifest.json").write_text("{}")
        messages = asyncio.run(all_of_them(process, address))
        assert process.wait(20) == 0 and "Traceback" not in process.stderr.read()
    assert texts(messages) == words_of(name)
    kinds = [message["type"] for message in messages]
    assert kinds[-3:] == ["ended", "error", "closed"] and errors(messages) == ["shutting_down"] and messages[-1]["code"] == 1012


@pytest.mark.slow
def test_a_server_with_tls_and_tokens_says_where_it_is_and_a_second_signal_ends_it_at_once(yesno, spoken, tmp_path):
    certificate, key, tokens = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "tokens"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *name],
        check=True,
        capture_output=True,
    )
    tokens.write_text("a-token-of-16-chars\n")
    tokens.chmod(0o600)
    secure = ["--certificate", certificate, "--certificate-key", key, "--token-file", tokens]
    trusted = ssl.create_default_context(cafile=certificate)

    async def one_more(url):
        socket = await websockets.connect(url, proxy=None, ssl=trusted)
        await socket.send(json.dumps(START))
        await socket.send(pcm(np.concatenate([spoken[NAMES[0]]] * 8)))
        return json.loads(await socket.recv()), socket

    with started_server("--bundle", yesno.bundle, "--message-bytes", "2000000", *secure) as (process, address):
        assert address.startswith("https://127.0.0.1:")
        found = httpx.get(f"{address}/v1/words", headers={"Authorization": "Bearer a-token-of-16-chars"}, verify=trusted)
        assert found.json() == {"words": []}
        url = address.replace("http", "ws", 1) + "/v1/stream?token=a-token-of-16-chars"
        ready, socket = asyncio.run(one_more(url))
        assert ready["type"] == "ready" and ready["limits"]["message_bytes"] == 2_000_000
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(10) in (0, 128 + signal.SIGTERM) and time.monotonic() - began < 2


@pytest.mark.slow
def test_what_can_not_be_served_is_said_in_one_sentence(yesno, tmp_path, caplog, capsys):
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-16-chars\n")
    for words, why in (
        (["--bundle", tmp_path], "bundle"),
        (["--bundle", yesno.bundle, "--token-file", tokens], "chmod 600"),
        (["--bundle", yesno.bundle, "--certificate", tokens], "no certificate and its key"),
        (["--bundle", yesno.bundle, "--host", "192.0.2.1"], "can't listen on 192.0.2.1"),
        (["--bundle", yesno.bundle, "--allow-origin", "home.example"], "expected an origin"),
    ):
        assert why in refusal(serve.main, ["--port", "0", *words], caplog, capsys)
