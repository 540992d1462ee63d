"""The Wyoming protocol by its own client, on real speech: what Home Assistant sends, and what it should not send."""

import asyncio
import json
import re
import shlex
import signal
import subprocess

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

from support.clients import served
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.server.limits import Limits
from utils.server.run import bound
from utils.watching.watching import Usual, Watching
from utils.wyoming.service import address_of, at

NAMES = ("0_0_1_1_0_1_1_0", "0_1_0_1_1_1_0_0", "1_1_1_0_0_1_0_1")
START = b'{"type": "audio-start", "data": {"rate": 8000, "width": 2, "channels": 1}}\n'


def serving(live, watching=None, **limits):
    """A server with a port for Wyoming: yields the port and what requests share."""
    listening = bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = served(live, Limits(**limits), beside=[at(listening)], watching=watching)
    return port, server


@pytest.fixture(scope="module")
def port(yesno_live):
    found, server = serving(yesno_live)
    with server:
        yield found


@pytest.fixture(scope="module")
def spoken(yesno):
    """Samples at 8 kHz with silence after them, by name."""
    found = {name: soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32")[0] for name in NAMES}
    return {name: np.concatenate((samples, np.zeros(4000, np.float32))) for name, samples in found.items()}


def words_of(name):
    return " ".join("yes" if digit == "1" else "no" for digit in name.split("_"))


def pcm(samples, width=2, channels=1):
    """(T,) float32 as PCM of this width, the same in all channels."""
    scale, kind, zero = {1: (127, "u1", 128), 2: (32767, "<i2", 0), 4: (2**31 - 256, "<i4", 0)}[width]
    return np.repeat((samples.astype(float) * scale + zero).round().astype(kind), channels).tobytes()


async def answers(client, last=("transcript-stop", "error")):
    """The events until one of these types, or the end of the connection."""
    events = []
    while not events or events[-1].type not in last:
        event = await asyncio.wait_for(client.read_event(), 60)
        if event is None:
            break
        events.append(event)
    return events


async def ask(client, audio, rate=8000, width=2, channels=1, size=2048, speed=0.0, language=None):
    """What a pipeline of Home Assistant does; returns the events. speed: seconds of audio a second, 0: at once."""
    await client.write_event(Transcribe(language=language).event())
    await client.write_event(AudioStart(rate, width, channels).event())
    for n in range(0, len(audio), size):
        await client.write_event(AudioChunk(rate, width, channels, audio[n : n + size]).event())
        if speed:
            await asyncio.sleep(size / (rate * width * channels * speed))
    await client.write_event(AudioStop().event())
    return await answers(client)


def text_of(events):
    return [Transcript.from_event(event).text for event in events if event.type == "transcript"]


@pytest.mark.slow
def test_describe_names_the_model_its_language_and_streaming(port):
    async def described():
        async with AsyncTcpClient("127.0.0.1", port) as client:
            await client.write_event(Event("from-another-version", {"a": 1}))
            await client.write_event(Ping("here?").event())
            await client.write_event(Describe().event())
            return await client.read_event(), await client.read_event()

    pong, info = asyncio.run(described())
    assert Pong.from_event(pong).text == "here?"
    (program,) = Info.from_event(info).asr
    (model,) = program.models
    assert program.supports_transcript_streaming and program.installed and model.installed
    assert (program.name, model.name, model.languages) == ("nuptse", "yesno-wordvec_hybrid", ["he"])


@pytest.mark.slow
def test_a_transcript_that_is_a_command_is_the_grammars_sentence(yesno_live, spoken):
    port, server = serving(yesno_live, Watching(yesno_live, ["spelled"], Usual(grammar="spelled", wake="no")))

    async def asked(samples):
        async with AsyncTcpClient("127.0.0.1", port) as client:
            return text_of(await ask(client, pcm(samples)))

    with server:
        whole, part = spoken[NAMES[0]], spoken[NAMES[0]][: 8000 * 2]
        assert asyncio.run(asked(whole)) == [words_of(NAMES[0]).replace("yes", "yess")]
        (said,) = asyncio.run(asked(part))  # two or three words are no command
        assert 1 <= len(said.split()) < 5 and "yess" not in said


@pytest.mark.slow
def test_clients_at_once_get_their_words_while_they_are_said_in_any_format(port, spoken):
    one, two, three = (spoken[name] for name in NAMES)
    two = resample_poly(two, 441, 80).astype(np.float32)

    async def all_of_them():
        async with AsyncTcpClient("127.0.0.1", port) as a, AsyncTcpClient("127.0.0.1", port) as b:
            async with AsyncTcpClient("127.0.0.1", port) as c:
                first = ask(a, pcm(one), speed=3.0, language="he")
                odd = ask(b, pcm(two, 4, 2), 44100, 4, 2, size=4099)
                found = list(await asyncio.gather(first, odd, ask(c, pcm(three), size=1021)))
            return found, await ask(a, pcm(three))  # again on the same connection

    found, again = asyncio.run(all_of_them())
    for name, events in zip((*NAMES, NAMES[2]), (*found, again)):
        assert text_of(events) == [words_of(name)]
        kinds = [event.type for event in events]
        assert kinds[0] == "transcript-start" and kinds[-2:] == ["transcript", "transcript-stop"]
        chunks = [TranscriptChunk.from_event(event).text for event in events[1:-2]]
        assert len("".join(chunks).split()) == 8
    assert [event.type for event in found[0]].count("transcript-chunk") > 1  # words came before the end


@pytest.mark.slow
def test_bad_input_gets_one_sentence_and_the_others_keep_their_words(port, spoken):
    data = json.dumps({"rate": 8000, "width": 2, "channels": 1})
    bad = {
        b"GET / HTTP/1.1\r\n\r\n": "bad_message",
        b"[1, 2]\n": "bad_message",
        b'{"no": "type"}\n': "bad_message",
        b'{"type": "audio-chunk", "payload_length": 99999999999}\n': "too_big",
        b'{"type": "audio-chunk", "payload_length": "many"}\n': "bad_message",
        b'{"type": "describe", "data_length": 4}\n[1]\n': "bad_message",
        b'{"type": "audio-start", "data": {"rate": 8000}}\n': "bad_message",
        b'{"type": "audio-start", "data": {"rate": 7, "width": 2, "channels": 1}}\n': "bad_message",
        b'{"type": "audio-start", "data": {"rate": 8000, "width": 3, "channels": 1}}\n': "bad_message",
        b'{"type": "audio-stop"}\n': "bad_message",
        START + START: "bad_message",
        START + b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}}\n': "bad_message",
        b'{"type": "transcribe", "data": {"language": "fr"}}\n': "bad_message",
        b'{"type": "transcribe", "data": {"name": "another"}}\n': "bad_message",
        b"x" * 100_000: "too_big",
        b'{"type": "audio-start", "data_length": %d}\n%s' % (len(data), data.encode()[:9]): "bad_message",  # and leaves
    }

    async def refused(raw):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        await writer.drain()
        writer.write_eof()
        content = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return content.decode()

    async def leaves():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(START + b'{"type": "audio-chunk", "payload_length": 4000}\n' + bytes(100))
        await writer.drain()
        writer.transport.abort()

    async def all_of_them():
        async with AsyncTcpClient("127.0.0.1", port) as client:
            honest = asyncio.create_task(ask(client, pcm(spoken[NAMES[1]]), speed=3.0))
            contents = [await refused(raw) for raw in bad]
            await leaves()
            return await honest, contents

    honest, contents = asyncio.run(all_of_them())
    assert text_of(honest) == [words_of(NAMES[1])]
    for (raw, code), content in zip(bad.items(), contents):
        assert f'"code": "{code}"' in content and "Traceback" not in content, (raw[:80], content)


@pytest.mark.slow
def test_sessions_share_their_limit_and_end_with_the_server(yesno_live, spoken):
    port, server = serving(yesno_live, sessions=1, idle_seconds=1.0)

    async def two(shared):
        async with AsyncTcpClient("127.0.0.1", port) as first, AsyncTcpClient("127.0.0.1", port) as second:
            await first.write_event(AudioStart(8000, 2, 1).event())
            await first.write_event(AudioChunk(8000, 2, 1, pcm(spoken[NAMES[0]])).event())
            assert (await first.read_event()).type == "transcript-start"
            refused = await ask(second, b"")
            return await answers(first, ("error",)), refused  # the first says nothing more

    with server as found:
        idle, refused = asyncio.run(two(found.shared))
        assert not found.shared.sessions
    assert Error.from_event(refused[-1]).code == "too_many_sessions"
    assert text_of(idle) == [words_of(NAMES[0])] and Error.from_event(idle[-1]).code == "idle"


@pytest.mark.slow
def test_the_command_that_the_driver_prints_serves_wyoming_and_ends_with_the_transcript(yesno, spoken):
    (command,) = re.findall(r"serve it, with a page: (.*)\n", yesno.said)
    words = [*shlex.split(command), "--port", "0", "--wyoming", "tcp://127.0.0.1:0"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (found := re.search(r"serving Wyoming at tcp://127\.0\.0\.1:(\d+)$", line := process.stderr.readline())):
        assert line, "it ended"

    async def half_a_command():
        async with AsyncTcpClient("127.0.0.1", int(found[1])) as client:
            await client.write_event(AudioChunk(8000, 2, 1, pcm(spoken[NAMES[2]])).event())
            await asyncio.sleep(1.0)
            process.send_signal(signal.SIGTERM)
            return await answers(client, ("error",))

    events = asyncio.run(half_a_command())
    assert text_of(events) == [words_of(NAMES[2])] and Error.from_event(events[-1]).code == "shutting_down"
    assert process.wait(20) == 0
    taken = bound("127.0.0.1", 0)
    words[-1] = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    refused = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2 and "--wyoming names another address" in refused.stderr
    taken.close()


def test_an_address_is_that_of_tcp():
    assert address_of("tcp://127.0.0.1:10300") == ("127.0.0.1", 10300)
    assert address_of("tcp://[::1]:1") == ("::1", 1)
    for uri in ("127.0.0.1:10300", "tcp://127.0.0.1", "unix:///run/asr", "tcp://host:port", "tcp://host:99999", "tcp://a:1/b"):
        with pytest.raises(UserError, match="expected tcp://HOST:PORT"):
            address_of(uri)
