"""Recordings as streams: every form that a phone, a browser or a studio writes, and what is odd, damaged, or no audio at all."""

import os
import struct

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from support.sounds import encode, voice
from utils.audio.recordings import recording
from utils.audio.speech import PAUSES, WHOLE, Windows
from utils.core.errors import UserError


def written(path, rate=16000, coding="PCM_16", samples=None):
    soundfile.write(str(path), voice(rate) if samples is None else samples, rate, subtype=coding)
    return path


def with_length(path, length):
    """A WAV file whose header says that so many bytes of samples follow."""
    content = bytearray(written(path).read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", length)
    path.write_bytes(content)


def with_cover(path):
    """An MP3 file with a picture in its ID3 tag, as shops sell them."""
    picture = b"\0image/jpeg\0\3\0" + b"\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(5000)
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\0\0" + picture
    size = bytes(len(frame) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\3\0\0" + size + frame + written(path, 44100, "MPEG_LAYER_III").read_bytes())


def shortened(path, share, **how):
    """A file of which the end is missing."""
    if path.suffix == ".webm":
        encode(path, "libopus", 48000, [voice(48000)])
    else:
        written(path, **how)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def read(path):
    """Samples (T, channels), rate, and remarks."""
    with recording(path) as audio:
        samples = np.concatenate(list(audio.blocks))
    return samples, audio.rate, audio.remarks


WHOLE_FILES = {
    "ulaw.wav": lambda path: written(path, 8000, "ULAW"),
    "alaw.wav": lambda path: written(path, 8000, "ALAW"),
    "24 bits.wav": lambda path: written(path, 44100, "PCM_24"),
    "float.wav": lambda path: written(path, 96000, "FLOAT"),
    "a.flac": lambda path: written(path, 11025),
    "a.mp3": lambda path: written(path, 44100, "MPEG_LAYER_III"),
    "piped.wav": lambda path: with_length(path, 0xFFFFFFFF),
    "unfinished.wav": lambda path: with_length(path, 0),
    "a.m4a": lambda path: encode(path, "aac", 44100, [voice(44100)]),
    "a.webm": lambda path: encode(path, "libopus", 48000, [voice(48000)]),
    "cover.mp3": lambda path: with_cover(path),
    "film.mp4": lambda path: encode(path, "aac", 48000, [voice(48000)], picture=True),
    '-it\'s "mine", Zoë: part 1.m4a': lambda path: encode(path, "aac", 44100, [voice(44100)], form="mp4"),
    "no suffix": lambda path: path.write_bytes(written(path.with_suffix(".wav")).read_bytes()),
}


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_the_whole_sound_comes_out_of_every_form(name, tmp_path):
    WHOLE_FILES[name](tmp_path / name)
    samples, rate, _ = read(tmp_path / name)
    assert len(samples) / rate == pytest.approx(2.0, abs=0.05) and samples.dtype == np.float32
    heard, meant = (np.abs(x[: 30 * (rate // 20)]).reshape(30, -1).mean(1) for x in (samples[:, 0], voice(rate)))  # in 50 ms
    assert np.corrcoef(heard, meant)[0, 1] > 0.95 and heard.sum() == pytest.approx(meant.sum(), rel=0.1)


def overwritten(path, begin, end):
    """An AAC file of a phone with zeros instead of a part of its packets; its index is whole."""
    encode(path, "aac", 44100, [voice(44100)])
    content = bytearray(path.read_bytes())
    begin, end = round(begin * len(content)), round(end * len(content))
    content[begin:end] = bytes(end - begin)
    path.write_bytes(content)


DAMAGED = {
    "damaged at its start.m4a": (lambda path: overwritten(path, 0.1, 0.3), 2.0, "of its packets are damaged"),
    "damaged for most of it.m4a": (lambda path: overwritten(path, 0.3, 0.9), 2.0, "of its packets are damaged"),
    "promises too much.wav": (lambda path: with_length(path, 128000), 2.0, "cut short: its header promises 64000 more bytes"),
    "promises too little.wav": (lambda path: with_length(path, 16000), 2.0, "promises less than there is"),
    "cut.wav": (lambda path: shortened(path, 0.5), 1.0, "cut short"),
    "cut.flac": (lambda path: shortened(path, 0.5), 1.0, "promises other samples than there are"),
    "cut.mp3": (lambda path: shortened(path, 0.5, rate=44100, coding="MPEG_LAYER_III"), 1.0, "2.00 s"),
    "cut.webm": (lambda path: shortened(path, 0.5), 1.0, "its header says"),
    "silent.wav": (lambda path: written(path, samples=np.zeros(8000)), 0.5, "silent"),
    "hum.wav": (lambda path: written(path, samples=np.full(8000, 0.3)), 0.5, "silent"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_there_of_an_odd_file_is_read_and_what_is_odd_is_said(name, tmp_path):
    make, seconds, remark = DAMAGED[name]
    make(tmp_path / name)
    samples, rate, remarks = read(tmp_path / name)
    assert len(samples) / rate == pytest.approx(seconds, abs=0.3)
    assert remark in "; ".join(remarks)


USELESS = {
    "empty.wav": (lambda path: path.write_bytes(b""), "empty audio file"),
    "header alone.wav": (lambda path: written(path, samples=np.zeros(0)), "no samples"),
    "a letter.wav": (lambda path: path.write_text("Dear Sir or Madam,\n" * 50), "can't decode .*Format not recognised"),
    "a page.mp3": (lambda path: path.write_text("<html><body>404 not found</body></html>"), "can't decode"),
    "integers.wav": (lambda path: written(path, coding="FLOAT", samples=voice(16000) * 32768), "another scale.*volume=1/32768"),
    "no numbers.wav": (lambda path: written(path, coding="FLOAT", samples=np.full(900, np.nan)), "not numbers"),
    "two languages.mkv": (lambda path: encode(path, "aac", 44100, [voice(44100)] * 2), "2 audio streams .*-map 0:a:0"),
    "a folder.wav": (lambda path: path.mkdir(), "Is a directory"),
    "missing.wav": (lambda path: None, "No such file"),
    "broken link.wav": (lambda path: path.symlink_to("nowhere"), "No such file"),
}


@pytest.mark.parametrize("name", USELESS)
def test_what_is_no_audio_is_refused_in_one_sentence_with_its_name(name, tmp_path):
    make, reason = USELESS[name]
    make(tmp_path / name)
    with pytest.raises(UserError, match=reason) as refused:
        read(tmp_path / name)
    assert name in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = written(tmp_path / "secret.wav")
    path.chmod(0)
    with pytest.raises(UserError, match="secret.wav: Permission denied"):
        read(path)


def windows(samples, rate, block=60000):
    """(start, end) in samples of the windows of a recording that comes in blocks."""
    cutter, found = Windows(rate), []
    for start in range(0, len(samples), block):
        found += cutter.push(samples[start : start + block])
    found += cutter.finish()
    assert all((samples[round(w.start * rate) :][: len(w.samples)] == w.samples).all() for w in found)
    return [(round(w.start * rate), round(w.start * rate) + len(w.samples)) for w in found]


@pytest.fixture(scope="module")
def prompts(speech):
    """Real sentences of several seconds, (T,) float32 at 16 kHz."""
    found = [soundfile.read(str(u.audio), dtype="float32")[0] for _, u in sorted(speech.items())]
    return [x for x in found if len(x) > 32000][:20]


def test_a_short_recording_is_one_window_sample_for_sample(prompts):
    joined = np.concatenate(prompts)[: int(WHOLE * 16000)]
    assert windows(joined, 16000) == [(0, len(joined))]


@pytest.mark.parametrize("rate", [16000, 8000, 44100])
def test_a_long_recording_is_cut_at_its_pauses_and_no_speech_is_lost(prompts, rate):
    rng = np.random.default_rng(0)
    sounds = [resample_poly(x, rate, 16000) for x in prompts]
    pause = (rng.normal(0, 1e-4, 2 * rate)).astype(np.float32)
    pieces, spans, at = [], [], 0
    for x in sounds:
        pieces += [pause, x.astype(np.float32)]
        spans.append((at + len(pause), at + len(pause) + len(x)))
        at = spans[-1][1]
    joined = np.concatenate(pieces)
    found = windows(joined, rate)
    assert max(end - start for start, end in found) <= (PAUSES.longest + 1) * rate
    assert all(end <= start for (_, end), (start, _) in zip(found, found[1:]))
    kept = np.zeros(len(joined), bool)
    for start, end in found:
        kept[start:end] = True
    assert np.square(joined[~kept]).sum() < 2e-3 * np.square(joined).sum()
    middles = [(end + start) // 2 for (_, end), (start, _) in zip(spans, spans[1:])]
    assert not kept[middles].any()
    assert windows(joined, rate, 12345) == found  # however it comes in


def test_speech_without_a_pause_is_cut_all_the_same(prompts):
    loud = [x[np.abs(x) > 0.001] for x in prompts * 2]
    joined = np.concatenate(loud)
    found = windows(joined, 16000)
    assert len(found) >= len(joined) / 16000 / (PAUSES.longest + 1) > 2
    assert sum(end - start for start, end in found) > 0.95 * len(joined)


def test_a_network_that_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    from utils.audio import speech

    monkeypatch.setattr(speech, "find_spec", lambda name: None)
    speech._network.cache_clear()
    with pytest.raises(UserError, match="pip install .*faster-whisper"):
        Windows(8000).push(np.zeros(31 * 8000, np.float32))
