"""Audio in many formats, and audio to be questioned: what stage 0 says of it, and that stage 1 reads the same samples."""

import hashlib
import logging
import re

import numpy as np
import pytest
import soundfile
from lhotse import MonoCut, Recording
from lhotse.audio import AudioSource
from lhotse.utils import compute_num_samples

from support.corpora import data_config
from support.sounds import encode, voice
from utils.audio.decoding import Copies
from utils.corpus import audio, manifests
from utils.corpus.manifests import Corpus, Utterance
from utils.features import extraction

LOG = logging.getLogger("nuptse.data")
LIBSNDFILE = {  # name of the file: format, coding, rate
    "a.sph": ("NIST", "PCM_16", 16000),
    "law.sph": ("NIST", "ALAW", 8000),
    "a.WV1": ("NIST", "PCM_16", 16000),
    "gsm.wav": ("WAV", "GSM610", 8000),
    "g721.au": ("AU", "G721_32", 8000),
    "vox.wav": ("WAV", "NMS_ADPCM_32", 8000),
    "adpcm.wav": ("WAV", "MS_ADPCM", 11025),
    "law.wav": ("WAV", "ALAW", 8000),
    "a.rf64": ("RF64", "PCM_24", 16000),
    "a.w64": ("W64", "PCM_16", 16000),
    "a.aifc": ("AIFF", "ULAW", 8000),
    "a.caf": ("CAF", "ALAC_16", 22050),
    "named.raw": ("WAV", "PCM_16", 16000),
    "named.mp4": ("FLAC", "PCM_16", 16000),
    "vorbis.wav": ("OGG", "VORBIS", 16000),
    "opus.mp3": ("OGG", "OPUS", 16000),
    "mp3.wav": ("MP3", "MPEG_LAYER_III", 16000),
}
FFMPEG = {  # name of the file: codec, rate, container, with video
    "a.m4a": ("aac", 44100, "", False),
    "apple.m4a": ("alac", 16000, "", False),
    "a.webm": ("libopus", 48000, "", False),
    "voice.3gp": ("libopencore_amrnb", 8000, "", False),
    "a.amr": ("libopencore_amrnb", 8000, "", False),
    "video.mp4": ("aac", 48000, "", True),
    "video.mkv": ("libmp3lame", 44100, "", True),
    "g722.wav": ("g722", 16000, "", False),
    "mp3inside.wav": ("libmp3lame", 16000, "wav", False),
    "m4a.wav": ("aac", 16000, "mp4", False),
}


def write(path, sound_rate=None):
    """Write a file of LIBSNDFILE or FFMPEG by its name; returns its samples and rate."""
    if path.name in FFMPEG:
        codec, rate, form, picture = FFMPEG[path.name]
        encode(path, codec, rate, [voice(rate)], form, picture)
    else:
        form, coding, rate = LIBSNDFILE[path.name]
        with open(path, "wb") as stream:
            soundfile.write(stream, voice(rate), rate, format=form, subtype=coding)
    return voice(rate), rate


def look(path, *spans, channel=None):
    return audio.check(path, spans or [(0.0, None)], Copies(path.parent / "copies"), channel)


def loaded(found, start, end):
    """Samples of a cut, read as stage 1 reads them."""
    recording = Recording(
        "r",
        [AudioSource("file", list(range(found.channels)), str(found.path))],
        found.rate,
        found.samples,
        found.samples / found.rate,
    )
    return audio.load(MonoCut("c", start, (recording.duration if end is None else end) - start, 0, [], recording=recording))[0]


def likeness(heard, heard_rate, meant, rate):
    """Correlation of two sounds' loudness in steps of 5 ms, over half a second; encoders may make `heard` up to 80 ms late."""
    one, other = (
        np.abs(x[: len(x) // step * step]).reshape(-1, step).mean(1)
        for x, step in ((heard, heard_rate // 200), (meant, rate // 200))
    )
    return max(np.corrcoef(one[lag : lag + 100], other[:100])[0, 1] for lag in range(16))


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_stage_1_reads_what_stage_0_looked_at_in_every_format_from_any_place(name, tmp_path):
    sound, rate = write(tmp_path / name)
    found = look(tmp_path / name, (0.5, 1.25), (1.6, None), (0.0, None))
    assert found.problems == [None] * 3
    assert [hashlib.sha1(loaded(found, *span).tobytes()).hexdigest() for span in ((0.5, 1.25), (1.6, None), (0.0, None))] == [
        span.digest for span in found.spans
    ]
    whole = loaded(found, 0.0, None)
    assert len(whole) / found.rate == pytest.approx(2.0, abs=0.1)  # encoders pad their last frame
    first = compute_num_samples(0.5, found.rate)
    assert (whole[first : first + compute_num_samples(0.75, found.rate)] == loaded(found, 0.5, 1.25)).all()
    assert likeness(whole, found.rate, sound, rate) > 0.95


def test_one_whole_file_is_read_in_place_and_copied_only_for_parts_of_it(tmp_path):
    write(tmp_path / "vorbis.wav")
    assert look(tmp_path / "vorbis.wav").path == tmp_path / "vorbis.wav"
    assert look(tmp_path / "vorbis.wav", (0.5, 1.0)).path.suffix == ".flac"


def headerless(path):
    path.write_bytes((voice(16000) * 32767).astype("<i2").tobytes())


def shortened(path):
    soundfile.write(str(path), voice(16000), 16000, format="NIST")
    path.write_bytes(path.read_bytes().replace(b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00").replace(b"\0" * 24, b"", 1))


def two_languages(path):
    encode(path, "aac", 16000, [voice(16000), voice(16000, seed=1)])


def no_sound(path):
    encode(path, "aac", 16000, [], picture=True)


@pytest.mark.parametrize(
    "make,name,remedy",
    [
        (headerless, "a.raw", "sox -t raw -r 16000 .*a.raw"),
        (headerless, "a.mp3", "sox -t raw"),
        (headerless, "a.sln", "sox -t raw"),
        (shortened, "a.sph", "sph2pipe -f wav .*a.sph"),
        (two_languages, "a.mkv", "2 audio streams .*ffmpeg -i .*a.mkv -map 0:a:0"),
        (no_sound, "a.mp4", "no audio in .*a.mp4"),
    ],
)
def test_what_no_stage_can_read_is_refused_with_the_command_that_helps(make, name, remedy, tmp_path):
    make(tmp_path / name)
    assert re.search(remedy, look(tmp_path / name).problems[0])


def written(path, seconds=2.0, **how):
    soundfile.write(str(path), voice(16000, seconds), 16000, **how)
    return path.read_bytes()


JOINED = {"a.wav": {}, "a.aiff": {}, "a.au": {}, "a.w64": {}, "a.caf": {}, "a.flac": {}, "a.sph": {"format": "NIST"}}


@pytest.mark.parametrize("name", JOINED)
def test_a_header_that_counts_more_or_fewer_samples_than_there_are_is_found(name, tmp_path):
    whole = written(tmp_path / name, **JOINED[name])
    (tmp_path / name).write_bytes(whole + whole)
    assert "promises less than there is" in look(tmp_path / name).problems[0]
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert re.search("truncated|can't decode", look(tmp_path / name).problems[0])
    (tmp_path / name).write_bytes(whole + b"TAG" + b"title" * 25)
    assert look(tmp_path / name).problems == [None]


@pytest.mark.parametrize("name,form", [("a.mp3", "MP3"), ("a.ogg", "OGG")])
def test_compressed_files_joined_or_cut_last_as_long_as_what_can_be_decoded(name, form, tmp_path):
    whole = written(tmp_path / name, 8.0, format=form)
    for content, seconds in ((whole + whole, 16.0), (whole[: len(whole) // 2], 4.0)):
        (tmp_path / name).write_bytes(content)
        found = look(tmp_path / name)
        assert found.samples / found.rate == pytest.approx(seconds, abs=1.2) and found.spans[0].doubts[0].kind == "odd file"
        assert len(loaded(found, 0.0, None)) == found.samples


def test_a_segment_keeps_its_time_where_a_container_has_gaps(tmp_path):
    sound = voice(16000)
    encode(tmp_path / "a.mkv", "libopus", 16000, [sound], gap=1.0)
    found = look(tmp_path / "a.mkv", (2.2, 2.8), (0.0, None))
    assert found.samples / found.rate == pytest.approx(3.0, abs=0.05)
    assert re.search(r"(0.9\d|1.0\d) s for which it has no audio", found.spans[0].doubts[0].detail)
    assert likeness(loaded(found, 2.2, 2.8), found.rate, sound[round(1.2 * 16000) :], 16000) > 0.95


SPOILT = {
    "floats on the scale of integers": (lambda x: x * 32768, "FLOAT", r"samples up to \d+ .*full scale is 1.*volume=1/32768"),
    "a constant": (lambda x: 0 * x - 0.25, "PCM_16", "silent: nothing but a direct current .* of -0.25"),
    "silence of 8 bits": (lambda x: np.where(x > 0, 1, 0) / 128, "PCM_U8", "silent"),
    "silence in A-law": (lambda x: 1e-9 * x, "ALAW", "silent"),
    "infinite": (lambda x: np.where(x > 0.4, np.inf, x), "FLOAT", "not numbers"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_useless_audio_is_refused(kind, tmp_path):
    change, coding, said = SPOILT[kind]
    soundfile.write(str(tmp_path / "a.wav"), change(voice(16000)), 16000, subtype=coding)
    assert re.search(said, look(tmp_path / "a.wav").problems[0])


def test_the_dead_one_of_two_channels_is_silent_and_the_other_good(tmp_path):
    soundfile.write(str(tmp_path / "a.wav"), np.stack([voice(16000), np.zeros(32000)], 1), 16000)
    assert look(tmp_path / "a.wav", channel=0).problems == [None]
    assert "silent" in look(tmp_path / "a.wav", channel=1).problems[0]
    assert "nothing in channel 1" in look(tmp_path / "a.wav").problems[0]


def test_a_mono_recording_stored_as_stereo_needs_no_channel_named(tmp_path):
    for name, coding in (("a.wav", "PCM_16"), ("a.mp3", "MPEG_LAYER_III")):
        soundfile.write(str(tmp_path / name), np.stack([voice(44100)] * 2, 1), 44100, subtype=coding)
        assert look(tmp_path / name).problems == [None]
    soundfile.write(str(tmp_path / "b.wav"), np.stack([voice(44100), voice(44100, seed=1)], 1), 44100)
    assert "2 channels" in look(tmp_path / "b.wav").problems[0]


def test_odd_audio_is_used_listed_and_said_with_its_share(tmp_path, caplog):
    sounds = {f"good{n:02d}": voice(16000, seed=n) for n in range(20)}
    sounds["clip"] = np.clip(20 * voice(16000, seed=31), -1, 1)
    sounds["clip-and-softer"] = 0.3 * np.clip(20 * voice(16000, seed=32), -1, 1)
    sounds["faint"] = 2e-3 * voice(16000, seed=33)
    sounds["twin"] = sounds["good03"]
    sounds["lost"] = np.concatenate([voice(16000, 0.15, seed=34), np.zeros(30000)])
    sounds["drift"] = voice(16000, seed=35) + 0.3
    sounds["fast"] = voice(16000, seed=36)
    rates = {"fast": 44100}
    for name, sound in sounds.items():
        soundfile.write(str(tmp_path / f"{name}.wav"), sound, rates.get(name, 16000))
    soundfile.write(str(tmp_path / "coarse.wav"), voice(16000, seed=37), 16000, subtype="PCM_U8")
    encode(tmp_path / "late.mkv", "libopus", 16000, [voice(16000, seed=38)], gap=0.5)
    files = sorted(p for p in tmp_path.iterdir())
    corpus = Corpus(
        [
            Utterance(p.stem, "test" if p.stem == "twin" else "train", "seven small words of a sentence", "s", "en", p)
            for p in files
        ],
        [],
    )
    corpus.utterances.append(Utterance("dev", "dev", "seven small words of a sentence", "s", "en", tmp_path / "good00.wav", 0.1))
    with caplog.at_level(logging.WARNING):
        manifests.write(corpus, "x", data_config("kaldi_dir"), tmp_path / "out", tmp_path / "out", 2, LOG)
    rows = [line.split("\t") for line in (tmp_path / "out" / "doubtful.tsv").read_text(encoding="utf-8").splitlines()]
    assert {(row[0], row[2]) for row in rows} == {
        *(
            ("clip", "clipped"),
            ("clip-and-softer", "clipped"),
            ("faint", "quiet"),
            ("twin", "same audio"),
            ("good03", "same audio"),
        ),
        *(("lost", "digital silence"), ("drift", "offset"), ("fast", "speech rate"), ("coarse", "8 bits"), ("late", "odd file")),
    }
    assert ["twin", "test", "same audio", "as good03 of train"] in rows
    assert re.search(r"2 of 30 utterances \(6.7%\) are clipped.* clip, clip-and-softer, all in .*doubtful.tsv", caplog.text)
    assert not (tmp_path / "out" / "left_out.tsv").read_text()


def test_a_phone_recording_goes_through_stage_0_and_1_with_the_same_samples(tmp_path):
    write(tmp_path / "a.m4a")
    spans = {"train": (0.2, 1.0), "dev": (1.0, 1.5), "test": (0.0, None)}
    spoken = [
        Utterance(split, split, "word", "s", "en", tmp_path / "a.m4a", *span, recording="phone") for split, span in spans.items()
    ]
    manifests.write(Corpus(spoken, []), "x", data_config("kaldi_dir"), tmp_path / "out", tmp_path / "out", 2, LOG)
    (cut,) = manifests.CutSet.from_file(tmp_path / "out" / "cuts_train.jsonl.gz")
    (tmp_path / "a.m4a").unlink()  # the copy is used
    assert extraction.audio(cut, 16000, "none").shape == (1, 12800)
