"""Streams of real speech through a small bundle: segments, partials, finals, words, and what a stream keeps."""

import random
import re
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from utils.bundle.recogniser import Recogniser
from utils.bundle.transcript import Word
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.live.chunks import Chunked
from utils.live.events import Ended, Failed, Final, Partial
from utils.live.first_pass import Open
from utils.live.live import Live
from utils.live.prefix import Prefix
from utils.live.segments import SECONDS
from utils.live.settings import Rule, Settings

pytest.importorskip("k2")
RATE = 8000
RULES = (Rule(0.6), Rule(1.0, words=False), Rule(0.0, words=False, length=20.0))


@pytest.fixture(scope="module")
def recogniser(yesno):
    return Recogniser.open(yesno.bundle)


@pytest.fixture(scope="module")
def causal(causal_yesno):
    return Recogniser.open(causal_yesno.bundle)


@pytest.fixture(scope="module", params=["recogniser", "causal"])
def either(request):
    """A model that sees whole segments, and one that sees chunks."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def spoken(yesno):
    """Three recordings of the test set with silence between them, (T,) float32 at RATE, and their words."""
    files = sorted(yesno.source.glob("1_*.wav"))[-3:]
    silence = np.random.default_rng(3).normal(0, 1e-4, RATE).astype(np.float32)
    parts = [part for file in files for part in (soundfile.read(str(file), dtype="float32")[0], silence)]
    return np.concatenate(parts), [["yes" if digit == "1" else "no" for digit in file.stem.split("_")] for file in files]


def heard(recogniser, samples, rng, lengths=(1, 37, 160, 800, 4000, 30000)):
    """The events of a stream that gets the samples in chunks of random lengths."""
    stream, events, start = recogniser.stream(RATE, Settings(rules=RULES)), [], 0
    while start < len(samples):
        chunk = rng.choice(lengths)
        events += stream.accept(samples[start : start + chunk])
        start += chunk
    return events + stream.finish()


def finals(events):
    return [event for event in events if isinstance(event, Final)]


def plain(found):
    """Words and times of finals, without scores, whose last digits depend on what shares their batch."""
    return [(one.segment, one.start, one.end, [(w.text, w.start, w.end) for w in one.transcript.words]) for one in found]


@pytest.mark.slow
def test_chunks_of_any_length_give_the_same_finals_and_they_are_those_of_the_segments(either, spoken):
    recogniser = either
    samples, words = spoken
    runs = [heard(recogniser, samples, random.Random(seed)) for seed in range(3)]
    assert [finals(run) for run in runs[1:]] == [finals(runs[0])] * 2
    found = finals(runs[0])
    assert [[word.text for word in final.transcript.words] for final in found] == words
    for final in found:
        part = samples[round(final.start * RATE) : round(final.end * RATE)]
        alone = recogniser.transcribe(part, RATE)
        moved = [replace(w, start=round(final.start + w.start, 3), end=round(final.start + w.end, 3)) for w in alone.words]
        assert final.transcript == replace(alone, words=moved)


@pytest.mark.slow
def test_partials_come_before_their_final_in_order_and_what_is_stable_stays(either, spoken):
    events = heard(either, spoken[0], random.Random(5), (160, 999))
    assert isinstance(events[-1], Ended) and events[-1].heard == len(spoken[0]) / RATE
    assert [event.segment for event in events[:-1]] == sorted(event.segment for event in events[:-1])
    for number in range(3):
        *partials, final = [event for event in events[:-1] if event.segment == number]
        assert isinstance(final, Final) and len(partials) >= 3 and all(isinstance(one, Partial) for one in partials)
        stable = []
        for one in partials:
            assert one.words[: len(stable)] == stable and one.stable >= len(stable)
            stable = one.words[: one.stable]
            assert all(one.start <= word.start < word.end <= one.heard for word in one.words)
        assert len(stable) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("partials", [True, False])
def test_events_come_as_soon_as_what_they_are_of_was_heard(causal, spoken, partials, monkeypatch):
    live, piece, found, lengths = Live(causal, settings=Settings(rules=RULES)), 0.02, [], []
    real = causal.transcribe
    monkeypatch.setattr(causal, "transcribe", lambda *given: lengths.append(len(given[0])) or real(*given))
    if not partials:  # whether a segment has words is not for the first pass to say
        monkeypatch.setattr(live.first_pass, "due", lambda heard, until: False)
    stream = live.stream(RATE, lambda event: found.append((event, at)))
    for start in range(0, len(spoken[0]), int(piece * RATE)):
        at = start / RATE + piece
        stream.accept(spoken[0][start : start + int(piece * RATE)])
        while live.step():
            pass
        assert stream.backlog <= 2 * SECONDS
    late = [at - (event.end - live.settings.after) for event, at in found if isinstance(event, Final)]
    assert len(late) == 3 and all(0.6 <= one < 0.6 + SECONDS + piece for one in late)
    late = [at - event.heard for event, at in found if isinstance(event, Partial)]
    assert bool(late) == partials and all(0 < one < 0.02 + SECONDS + piece for one in late)
    assert len(set(lengths)) == len(lengths)  # nothing is recognised twice


@pytest.mark.slow
def test_a_rule_may_ask_for_words_before_a_final_is_made_ahead(causal, spoken):
    rules, events = (Rule(0.25), Rule(0.0, words=False, length=20.0)), []
    stream = causal.stream(RATE, Settings(rules=rules))
    for start in range(0, len(spoken[0]), RATE * 8 // 100):
        events += stream.accept(spoken[0][start : start + RATE * 8 // 100])
        assert stream._stream.backlog <= 2 * SECONDS
    events += stream.finish()
    found = [word.text for final in finals(events) for word in final.transcript.words]
    assert len(finals(events)) > 6 and len(found) >= 20 and isinstance(events[-1], Ended)


@pytest.mark.slow
def test_finals_of_a_process_of_their_own_are_the_same_and_its_end_is_told(causal_yesno, causal, spoken):
    want, events = finals(heard(causal, spoken[0], random.Random(1))), []
    live = Live.open(causal_yesno.bundle, settings=Settings(rules=RULES), apart=True)
    live.start()
    stream = live.stream(RATE, events.append)

    def finals_until(edge, end, count):
        stream.accept(spoken[0][edge:end])
        for _ in range(1200):
            if len([one for one in events if isinstance(one, (Final, Failed))]) >= count:
                return finals(events)
            time.sleep(0.05)
        pytest.fail("no final came")

    edges = [round((one.end + 0.7) * RATE) for one in want]
    assert finals_until(0, edges[0], 1) == want[:1]
    with pytest.raises(UserError, match="can't be"):
        live.add_words(["maybe ZZ QQ"])
    word, units = next((word, units) for word, units in causal._engine.trained.base.entries if word == "yes")
    live.add_words([f"{word}{word} {' '.join(units)}"], weight=30.0)
    assert word + word in [one.text for one in finals_until(edges[0], edges[1], 2)[1].transcript.words]
    live.remove_words(live.words())
    assert live.alive and live.words() == live.finals.added == []
    live.finals._workers[0].process.kill()
    finals_until(edges[1], len(spoken[0]), 3)
    stream.finish()
    live.close()
    (failed,) = [one for one in events if isinstance(one, Failed)]
    assert "start the server again" in failed.message and not live.alive and isinstance(events[-1], Ended)
    with pytest.raises(UserError, match="not a bundle|no bundle|manifest"):
        Live.open(causal_yesno.source, apart=True)


@pytest.mark.slow
def test_two_processes_make_the_finals_of_each_stream_in_order(causal_yesno, causal, spoken):
    want = finals(heard(causal, spoken[0], random.Random(1)))
    live = Live.open(causal_yesno.bundle, settings=Settings(rules=RULES), apart=2)
    live.start()
    live.add_words(["yes"], weight=1.0)
    assert [one.words("added") for one in live.finals._workers] == [["yes"]] * 2 == [live.words()] * 2
    live.remove_words(["yes"])
    told = [[] for _ in range(5)]
    for events in told:
        stream = live.stream(RATE, events.append)
        stream.accept(spoken[0])  # all at once: several segments of each stream wait
        stream.finish()
        if events is told[-2]:  # the last one gets along without one of the processes
            while not all(one and isinstance(one[-1], Ended) for one in told[:-1]):
                time.sleep(0.05)
            live.finals._workers[0].process.kill()
            live.finals._workers[0].process.join()
    live.close()
    assert [plain(finals(events)) for events in told] == [plain(want)] * 5 and not live.alive


@pytest.mark.slow
def test_a_short_segment_does_not_wait_for_a_long_one_of_another_stream(causal, spoken):
    live, told = Live(causal, settings=Settings(rules=RULES)), []
    streams = [live.stream(RATE, lambda event, name=name: told.append((name, event))) for name in ("long", "short")]
    for stream, begin in zip(streams, (0, len(spoken[0]) - 3 * RATE)):  # all of it, and the end of its last sentence
        stream.accept(spoken[0][begin:])
        stream.finish()
    while live.step():
        pass
    names = [name for name, event in told if isinstance(event, Final)]
    assert names == ["short", "long", "long", "long"]


def test_a_stable_word_stays_when_later_passes_find_another():
    def words(text):
        return [Word(word, float(n), n + 0.8) for n, word in enumerate(text.split())]

    prefix = Prefix()
    assert prefix.update(words("no yes"))[1] == 0
    assert prefix.update(words("no yes no"))[1] == 2
    shown, stable = prefix.update(words("no no no yes"))
    assert [word.text for word in shown] == "no yes no yes".split() and stable == 3


@pytest.mark.slow
def test_the_search_of_a_causal_model_grows_to_what_it_finds_at_once(causal, spoken):
    streaming, samples = causal.streaming(), spoken[0][: 5 * RATE]
    rng, chunked = np.random.default_rng(4), Chunked(streaming, 0.16)
    segment, end = Open(RATE, samples[:0]), 0
    while end < len(samples):
        end += int(rng.integers(1, 3000))
        segment.samples = samples[:end]
        (words,) = chunked([segment])
    state = segment.state
    together = np.concatenate(state.log_probs)
    graph = streaming.graph()
    search = graph.search()
    graph.advance(search, together)
    assert len(words) >= 4 and graph.words(search.so_far(), together) == words
    features = streaming.features.stream().accept(samples)
    frames = chunked.frames
    assert len(state.outputs) == len(features) // frames and len(state.waiting) == len(features) % frames
    causal._engine.trained.model.encoder.chunk = frames // streaming.network.stride
    with torch.no_grad():
        x = torch.from_numpy(features[: len(state.outputs) * frames])[None]
        want = causal._engine.trained.model(x, torch.tensor([x.shape[1]])).subword[0].numpy()
    causal._engine.trained.model.encoder.chunk = 0
    assert np.abs(together - want).max() < 1e-4


@pytest.mark.slow
def test_many_streams_in_threads_say_what_each_says_alone(either, spoken):
    recogniser = either
    live = Live(recogniser, settings=Settings(rules=RULES))
    live.start()
    events = [[] for _ in range(5)]
    streams = [live.stream(RATE, one.append) for one in events]
    for start in range(0, len(spoken[0]), 2000):
        for stream in streams:
            stream.accept(spoken[0][start : start + 2000])
    gone = live.stream(RATE, lambda event: pytest.fail("nobody listens"))
    gone.accept(spoken[0][:RATE])
    gone.cancel()
    live.close()
    want = plain(finals(heard(recogniser, spoken[0], random.Random(1))))
    assert [plain(finals(one)) for one in events] == [want] * 5 and all(isinstance(one[-1], Ended) for one in events)
    with pytest.raises(UserError, match="about to end"):
        live.stream(RATE, print)


@pytest.mark.slow
def test_a_listener_that_fails_and_a_segment_that_fails_cost_no_other(recogniser, spoken, monkeypatch):
    live, good, bad = Live(recogniser, settings=Settings(rules=RULES)), [], []
    real = recogniser.transcribe_many

    def failing(recordings):
        if any(rate == RATE // 2 for _, rate in recordings):
            raise RuntimeError("out of luck")
        return real(recordings)

    monkeypatch.setattr(recogniser, "transcribe_many", failing)
    streams = [live.stream(RATE, good.append), live.stream(RATE // 2, bad.append), live.stream(RATE, lambda event: 1 / 0)]
    for stream, samples in zip(streams, (spoken[0], spoken[0][::2], spoken[0])):
        stream.accept(samples)
        stream.finish()
    live.close()
    assert len(finals(good)) == 3 and not finals(bad) and isinstance(bad[-1], Ended)
    assert [event.segment for event in bad if isinstance(event, Failed)] == [0, 1, 2]


@pytest.mark.slow
def test_ten_minutes_of_silence_say_nothing_and_are_not_kept(recogniser):
    rng = np.random.default_rng(1)
    stream = recogniser.stream(RATE)
    for _ in range(60):
        assert stream.accept(rng.normal(0, 3e-4, 10 * RATE).astype(np.float32)) == []
        segments = stream._stream.segments
        assert sum(map(len, segments._held)) < 12 * RATE and len(segments._found) < 400
    assert stream.finish() == [Ended(600.0)]


def test_samples_that_are_none_are_refused_and_the_stream_goes_on(recogniser):
    stream = recogniser.stream(RATE)
    for wrong in (np.zeros(10, np.int16), np.zeros((2, 10), np.float32), np.full(3, np.nan, np.float32)):
        with pytest.raises(UserError):
            stream.accept(wrong)
    assert stream.accept(np.zeros(RATE, np.float32)) == [] and stream.finish() == [Ended(1.0)]
    with pytest.raises(UserError, match="takes no more"):
        stream.accept(np.zeros(3, np.float32))
    with pytest.raises(UserError, match="whole number"):
        recogniser.stream(0)
    with pytest.raises(UserError, match="every segment ends"):
        Settings(rules=(Rule(0.5),))
    with pytest.raises(UserError, match="more than the silence"):
        Settings(after=0.4)


@pytest.mark.slow
def test_a_word_added_in_midstream_is_found_in_the_next_sentence_and_removed_bit_for_bit(either, spoken):
    before = finals(heard(either, spoken[0], random.Random(2)))
    live, events = Live(either, settings=Settings(rules=RULES)), []
    stream = live.stream(RATE, events.append)
    entries = either._engine.trained.base.entries
    word, units = next((word, units) for word, units in entries if word == "yes")
    edges = [round((one.end + 0.7) * RATE) for one in before]

    def go_on(start, end):
        stream.accept(spoken[0][start:end])
        while live.step():
            pass
        return finals(events)[-1]

    assert go_on(0, edges[0]) == before[0]
    live.add_words([f"{word}{word} {' '.join(units)}"], weight=30.0)
    assert live.words() == [word + word]
    found = go_on(edges[0], edges[1])
    assert word + word in [one.text for one in found.transcript.words]
    assert any(one.text == word + word for event in events if isinstance(event, Partial) for one in event.words)
    live.remove_words(live.words())
    with pytest.raises(UserError, match="not among the added words: maybe"):
        live.remove_words(["maybe"])
    assert go_on(edges[1], len(spoken[0])) == before[2] and live.words() == []
    live.close()


@pytest.mark.slow
def test_the_examples_of_the_page_run(yesno, spoken, tmp_path, monkeypatch, capsys):
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/streams.md").read_text("utf-8"), re.M | re.S))
    (tmp_path / "bundle").symlink_to(yesno.bundle)
    soundfile.write(tmp_path / "prompt.wav", spoken[0], RATE, subtype="FLOAT")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/streams.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    finals_of = [line.partition(": ")[2].split() for line in lines if " s: " in line]
    assert finals_of == spoken[1] and lines[0].startswith("... ") and "'Ended'" in lines[-1]


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [True, False])
def test_the_engine_without_k2_streams_too(causal_yesno, spoken, chunked, monkeypatch):
    onnx = Recogniser.open(causal_yesno.bundle, engine="onnx")
    if not chunked:
        monkeypatch.setattr(onnx, "streaming", lambda: None)  # as models that see whole segments
    events = heard(onnx, spoken[0], random.Random(3), (800, 1111))
    partials = [event for event in events if isinstance(event, Partial)]
    for final in finals(events):
        part = spoken[0][round(final.start * RATE) : round(final.end * RATE)]
        assert final.transcript.text == onnx.transcribe(part, RATE).text
    assert sum(len(one.transcript.words) for one in finals(events)) >= 20 and len(partials) >= 9
    with pytest.raises(UserError, match="can't add words"):
        onnx.add_words(["another"])


@pytest.mark.slow
def test_an_hour_of_silence_music_and_speech_keeps_nothing(causal, spoken):
    rng, music = (
        np.random.default_rng(8),
        0.1 * np.sin(np.cumsum(np.repeat(2 * np.pi * np.array([262, 330, 392, 523]) / RATE, 4000))),
    )
    stream, found = causal.stream(RATE, Settings(rules=(Rule(0.5), Rule(0.0, words=False, length=4.0)))), 0
    segments = stream._stream.segments
    for minute in range(60):
        for part in (
            (rng.normal(0, 3e-4, 30 * RATE), np.tile(music, 5), spoken[0])
            if minute % 4 == 0
            else (rng.normal(0, 3e-4, 60 * RATE),)
        ):
            for start in range(0, len(part), 5 * RATE):
                found += len(finals(stream.accept(part[start : start + 5 * RATE].astype(np.float32))))
                assert sum(map(len, segments._held)) < 12 * RATE and len(segments._found) < 350
    assert found >= 30 and stream._stream.open is None and not stream._live._waiting
