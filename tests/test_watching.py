"""Keywords, commands and the searched past of streams: by real clients of the server, and by steps.listen."""

import asyncio
import json
import re
import subprocess
import sys
from functools import partial

import httpx2 as httpx
import numpy as np
import pytest
import soundfile

from steps import serve
from support.clients import pcm, rest, said, served, started, texts
from support.driving import refusal
from utils.core.files import ROOT
from utils.live.live import Live
from utils.server.limits import Limits
from utils.watching.doors import Doors, Grammars, Past
from utils.watching.finals import Finals
from utils.watching.watch import Asked, Means, StreamWatch
from utils.watching.watching import Usual, Watching

NAME = "0_0_1_1_0_1_1_0"
WORDS = ["yes" if digit == "1" else "no" for digit in NAME.split("_")]


@pytest.fixture(scope="module", params=["yesno", "causal_yesno"])
def live(request, votes):
    """Streams of a model that sees whole segments, and of a causal one."""
    made = Live.open(
        request.getfixturevalue(request.param).bundle, doors=partial(Doors.open, grammars=Grammars({"votes": votes}))
    )
    made.start()
    yield made
    made.close(finish=False)


@pytest.fixture(scope="module")
def server(live):
    with served(live, Limits(keywords=5), watching=Watching(live, ["votes"], Usual(threshold=-8.0))) as found:
        yield found


@pytest.fixture(scope="module")
def spoken(yesno):
    samples = soundfile.read(str(yesno.source / f"{NAME}.wav"), dtype="float32")[0]
    return np.concatenate((samples, np.zeros(6000, np.float32)))


def of(messages, kind):
    return [message for message in messages if message["type"] == kind]


@pytest.mark.slow
def test_a_session_hears_keywords_and_orders_and_finds_what_was_said(server, spoken):
    async def session():
        socket = await started(server.ws, keywords=["yes"], grammar="votes", find=True)
        reading = asyncio.create_task(rest(socket))
        await socket.send(json.dumps({"type": "find", "query": "no", "id": "too soon"}))
        audio = pcm(spoken)
        for n in range(0, len(audio), 3200):
            await socket.send(audio[n : n + 3200])
            await asyncio.sleep(0.05)
        while not server.shared.metrics.commands.labels("vote")._value.get():
            await asyncio.sleep(0.05)
        for query in ("yes", "no no", "maybe", "?"):
            await socket.send(json.dumps({"type": "find", "query": query, "id": query}))
        while (
            not server.shared.metrics.finding._sum.get() or server.shared.sessions and next(iter(server.shared.sessions))._tasks
        ):
            await asyncio.sleep(0.05)
        await socket.send(json.dumps({"type": "finish"}))
        return await asyncio.wait_for(reading, 60)

    server.shared.metrics.commands.clear()
    messages = asyncio.run(session())
    ready = messages[0]
    assert (ready["keywords"], ready["grammar"], ready["find"], ready["grammars"]) == (["yes"], "votes", True, ["votes"])
    (final,) = of(messages, "final")
    places = [(word["start"] + word["end"]) / 2 for word in final["words"] if word["text"] == "yes"]
    alarms = of(messages, "keyword")
    heard = [hit for hit in alarms if hit["score"] > -3]  # without calibration there may be a false alarm
    assert len(alarms) <= 5 and [hit["text"] for hit in heard] == ["yes"] * 4 and texts(messages) == WORDS, (heard, places)
    assert all(hit["start"] - 0.2 < place < hit["end"] + 0.2 for hit, place in zip(heard, places))
    assert all(0.05 < hit["probability"] <= 1 for hit in heard)
    (order,) = of(messages, "command")
    assert (order["intent"], order["slots"]) == ("vote", {"first": "no", "second": "no", "last": "no"}) and order["segment"] == 0
    assert order["confidence"] > 0.5 and messages.index(order) > messages.index(final)
    refused = {one["id"]: one["code"] for one in of(messages, "refused")}
    assert refused == {"too soon": "nothing_said", "maybe": "bad_query", "?": "bad_query"}
    hits = {one["id"]: one["hits"] for one in of(messages, "found")}
    middles = sorted((hit["start"] + hit["end"]) / 2 for hit in hits["yes"] if hit["probability"] > 0.5)
    assert np.allclose(middles, places, atol=0.25) and all(hit["segment"] == 0 for hit in hits["yes"])
    assert hits["no no"][0]["start"] < places[0]
    page = httpx.get(f"{server.http}/metrics").text
    assert f"nuptse_keywords_total {len(alarms)}.0" in page and 'nuptse_commands_total{intent="vote"} 1.0' in page
    assert f'nuptse_delay_seconds_count{{type="keyword"}} {len(alarms)}.0' in page and "nuptse_find_seconds_count 2.0" in page


@pytest.mark.slow
def test_commands_that_need_a_wake_word_follow_it_within_a_few_seconds(server, spoken):
    silence = np.random.default_rng(0).normal(0, 1e-4, 8 * 8000).astype(np.float32)
    first = spoken[: int(0.1 * 8000)]  # nothing is said yet
    alone = asyncio.run(said(server.ws, pcm(np.concatenate((first, spoken))), grammar="votes", wake="yes = ▁ z z z z z z"))
    assert of(alone, "command") == []
    # The last "yes" wakes, and what follows it in the segment is looked at; in a later segment all of it.
    both = np.concatenate((spoken, spoken, silence, spoken))
    messages = asyncio.run(said(server.ws, pcm(both), grammar="votes", wake="yes", speed=8.0))
    finals = of(messages, "final")
    assert len(finals) == 3
    orders = [(one["segment"], one["wake"]["text"], one["start"] >= one["wake"]["end"]) for one in of(messages, "command")]
    assert orders and all(text == "yes" and after for _, text, after in orders)


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(server, spoken, tmp_path):
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8").replace("127.0.0.1:8080", server.http.partition("//")[2])
    for name, other in (("jarvis", "no"), ("smart mirror", "yes"), ("coffee", "votes"), ('"wake": "no"', '"wake": None')):
        page = page.replace(name, other)
    soundfile.write(str(tmp_path / "prompt.wav"), np.concatenate((spoken, np.zeros(24_000, np.float32))), 8000)
    code = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("heard ")] == WORDS
    assert lines[-2].startswith("do vote {") and lines[-1].startswith("found yes [(")


@pytest.mark.slow
def test_keywords_may_change_while_somebody_speaks(server, spoken):
    async def session():
        socket = await started(server.ws)
        reading = asyncio.create_task(rest(socket))
        wishes = [["no"], [], ["yes", "yes"], ["a" * 101], [f"word{n}" for n in range(6)], ["?"], 7, ["no"]]
        for n, one in enumerate(wishes):
            await socket.send(json.dumps({"type": "keywords", "keywords": one, "id": n}))
            await asyncio.sleep(0.3)
        audio = pcm(spoken)
        for n in range(0, len(audio), 3200):
            await socket.send(audio[n : n + 3200])
        await socket.send(json.dumps({"type": "finish"}))
        return await asyncio.wait_for(reading, 60)

    async def late():
        socket = await started(server.ws)
        reading = asyncio.create_task(rest(socket))
        audio = pcm(spoken)
        half = len(audio) // 4 * 2
        for n in range(0, half, 3200):
            await socket.send(audio[n : min(half, n + 3200)])
        await asyncio.sleep(1.0)
        await socket.send(json.dumps({"type": "keywords", "keywords": ["no"]}))
        await asyncio.sleep(1.0)
        await socket.send(audio[half:])
        await socket.send(json.dumps({"type": "finish"}))
        return await asyncio.wait_for(reading, 60)

    messages = asyncio.run(late())
    (final,) = of(messages, "final")
    places = [word["end"] for word in final["words"] if word["text"] == "no"]
    hit = of(messages, "keyword")[-1]  # those of the open segment before may come, too
    assert abs(hit["end"] - places[-1]) < 0.3, (hit, places)
    messages = asyncio.run(session())
    assert messages[0]["keywords"] == [] and not messages[0]["find"]
    assert [one["keywords"] for one in of(messages, "keywords")] == [["no"], ["no"]]
    refused = [(one["id"], one["code"]) for one in of(messages, "refused")]
    bad = "bad_keywords"
    assert refused == [(1, bad), (2, bad), (3, bad), (4, "too_many_keywords"), (5, bad), (6, bad)]
    assert [hit["text"] for hit in of(messages, "keyword")] == ["no"] * 4
    assert texts(messages) == WORDS


BAD = {
    "an empty list": ({"keywords": []}, "bad_keywords"),
    "no letters": ({"keywords": ["yes", "?!"]}, "bad_keywords"),
    "other letters": ({"keywords": ["рыба"]}, "bad_keywords"),
    "unknown units": ({"keywords": ["yes = Q Q"]}, "bad_keywords"),
    "twice": ({"keywords": ["yes", "yes"]}, "bad_keywords"),
    "too many": ({"keywords": [f"word{n}" for n in range(5000)]}, "too_many_keywords"),
    "not calibrated": ({"keywords": ["yes"], "false_alarms": 1}, "bad_keywords"),
    "a rate below 0": ({"keywords": ["yes"], "false_alarms": -1}, "bad_message"),
    "an unknown grammar": ({"grammar": "vote"}, "unknown_grammar"),
    "a path as grammar": ({"grammar": "/etc/passwd"}, "unknown_grammar"),
    "wake without grammar": ({"wake": "yes"}, "bad_keywords"),
    "find in words": ({"find": "yes"}, "bad_message"),
}


@pytest.mark.slow
def test_bad_wishes_get_one_named_error(server):
    async def all_of_them():
        return await asyncio.gather(*(said(server.ws, b"", **case[0]) for case in BAD.values()))

    for (name, (_, code)), messages in zip(BAD.items(), asyncio.run(all_of_them())):
        assert [one["type"] for one in messages] == ["error", "closed"], (name, messages)
        assert messages[0]["code"] == messages[1]["reason"] == code and messages[1]["code"] == 1008, (name, messages)
        assert 15 < len(messages[0]["message"]) < 400 and "\n" not in messages[0]["message"], messages


def test_what_nobody_asked_for_is_not_done_and_the_past_is_bounded():
    class Live:
        first_pass, recogniser, settings = None, None, None

        def stream(self, rate, on_event, watch=None):
            return watch

    assert Watching(Live()).stream(8000, print, Asked()) is None  # no watch, so that nothing is computed or kept
    watch = StreamWatch(None, Asked(minutes=1.0), Means(Finals(Live()), False, None, lambda: None))
    for n in range(1000):
        watch._keep(Past(n, 3.0 * n, 2.0, None))
    kept = watch.past()
    assert kept[-1].segment == 999 and 58 <= kept[-1].start + 2 - kept[0].start <= 60


@pytest.mark.slow
def test_listen_prints_keywords_and_commands_and_serve_names_what_is_wrong(yesno, votes, spoken, tmp_path, caplog, capsys):
    file, listed = tmp_path / "vote.wav", tmp_path / "list"
    soundfile.write(str(file), spoken, 8000)
    listed.write_text("yes\n\nno\n")
    given = ["--bundle", yesno.bundle, "--file", file, "--speed", "inf", "--keywords", listed, "--grammar", votes]
    done = subprocess.run(
        [sys.executable, "-m", "steps.listen", *map(str, given)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in lines if line.startswith("* ")] == WORDS
    assert [line for line in lines if line.startswith("> vote(first=no, last=no, second=no)")] and " ".join(WORDS) in lines
    listed.write_text("\n")
    other = tmp_path / "french.yaml"
    other.write_text(votes.read_text().replace("language: he", "language: fr"))
    for more, words in (
        (["--keywords", listed], "has no keyword"),
        (["--keyword", "?!"], "has no word"),
        (["--grammar", tmp_path / "none.yaml"], "none.yaml: there is no such file"),
        (["--grammar", other], "is in the language 'fr'"),
        (["--wake", "yes"], "add --grammar"),
        (["--keyword", "yes", "--rate", "1"], "--calibrated"),
    ):
        assert words in refusal(serve.main, ["--bundle", yesno.bundle, "--port", "0", *more], caplog, capsys)
