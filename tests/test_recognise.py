"""Files recognised with a bundle of yesno: odd files, broken ones, outputs that are there, formats, interruptions."""

import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from support.sounds import encode
from utils.audio.given import given
from utils.bundle import manifest
from utils.bundle.transcript import Transcript, Word
from utils.core.files import ROOT, files_in, read_jsonl
from utils.recognition import outputs
from utils.recognition.outcomes import Outcome, Segment
from utils.recognition.writers import FORMATS

SAID = "yes no no yes no yes yes no".split()
WORDS = [Word(w, 0.5 * i, 0.5 * i + 0.4, 0.3 + 0.1 * i, [("maybe", 0.2)]) for i, w in enumerate(SAID)]


def run(bundle, *arguments, **how):
    """The command, in a process of its own, as users start it."""
    words = [sys.executable, "-m", "steps.recognise", "--bundle", str(bundle), "--nj", "1", *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, **{"capture_output": True, "text": True, **how})


def texts(folder):
    """Name -> content of the outputs in a folder."""
    return {p.relative_to(folder).as_posix(): p.read_text("utf-8") for p in files_in(folder)}


def sound(yesno, name):
    """Samples at 8 kHz of the recording of a test utterance."""
    return soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32")[0]


def words_of(name):
    return " ".join("yes" if digit == "1" else "no" for digit in name.split("_"))


@pytest.mark.slow
def test_a_folder_has_the_words_of_stage_7_and_the_driver_prints_the_command(yesno, tmp_path):
    command = re.findall(r"recognise files: (.*) FILES_OR_FOLDERS\n", yesno.said)
    rows = read_jsonl(next(yesno.exp.glob("yesno/rescore-*/hyps-wordvec-test.jsonl")))
    for row in rows:
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(yesno.source / f"{row['id']}.wav", tmp_path / "in")
    words = [*command[-1].split(), "--nj", "2", str(tmp_path / "in")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("\t") for line in done.stdout.splitlines())
    assert found == {str(tmp_path / "in" / f"{row['id']}.wav"): " ".join(row["hyp"]) for row in rows}
    assert re.search(rf"{len(rows)} files recognised, .* of audio in .*: real-time factor 0\.\d+ of one core", done.stderr)


def odd_files(folder, x):
    """A recording at 8 kHz in many forms."""
    up = resample_poly(x, 6, 1)
    for name, rate, samples, coding in (
        ("mu-law.wav", 8000, x, "ULAW"),
        ("a-law.wav", 8000, x, "ALAW"),
        ("24 bits.wav", 48000, up, "PCM_24"),
        ('it\'s "float".wav', 8000, x, "FLOAT"),
        ("-dash.flac", 8000, x, "PCM_16"),
        ("Zoë/說話.wav", 8000, x, "PCM_16"),
        ("a/same.wav", 8000, x, "PCM_16"),
        ("b/same.wav", 8000, x, "PCM_16"),
        ("b/same.flac", 8000, x, "PCM_16"),
        ("piped.wav", 8000, x, "PCM_16"),
        ("promises little.wav", 8000, x, "PCM_16"),
        ("promises much.wav", 8000, x, "PCM_16"),
        ("stereo.wav", 8000, np.stack([x, x], 1), "PCM_16"),
    ):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        soundfile.write(str(folder / name), samples, rate, subtype=coding)
    for name, length in (("piped.wav", 0xFFFFFFFF), ("promises little.wav", 8000), ("promises much.wav", 10**6)):
        content = bytearray((folder / name).read_bytes())
        at = content.index(b"data") + 4
        content[at : at + 4] = struct.pack("<I", length)
        (folder / name).write_bytes(content)
    encode(folder / "phone.m4a", "aac", 48000, [up])
    encode(folder / "browser.webm", "libopus", 48000, [up])
    encode(folder / "film.mp4", "aac", 48000, [up], picture=True)
    encode(folder / "radio.mp3", "libmp3lame", 48000, [up])


@pytest.mark.slow
def test_every_form_of_a_recording_has_its_words_and_broken_files_cost_no_other(yesno, tmp_path):
    name = "0_0_1_1_0_1_1_0"
    x, folder = sound(yesno, name), tmp_path / "in"
    odd_files(folder, x)
    good = {str(p.relative_to(folder)) for p in folder.rglob("*.*")}
    soundfile.write(str(folder / "silent.wav"), np.zeros(16000), 8000)
    soundfile.write(str(folder / "short.wav"), x[4000:4400], 8000)
    (folder / "empty.wav").touch()
    (folder / "letter.wav").write_text("Dear Sir or Madam,\n" * 20)
    (folder / "notes.txt").write_text("no audio\n")
    soundfile.write(str(folder / "integers.wav"), x * 32768, 8000, subtype="FLOAT")
    done = run(yesno.bundle, "--output", tmp_path / "out", folder, folder / "a" / "same.wav", "missing.wav")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    found = texts(tmp_path / "out")
    assert found.pop("silent.txt") == found.pop("short.txt") == "\n"
    names = {"b/same.wav": "b/same.wav.txt", "b/same.flac": "b/same.flac.txt"}
    assert found.keys() == {names.get(file, re.sub(r"\.\w+$", ".txt", file)) for file in good}
    assert set(found.values()) == {words_of(name) + "\n"}
    broken = re.findall(r"^broken: .*$", done.stderr, re.M)
    assert len(broken) == 4 and "4 broken" in done.stderr and "1 file of the folders left out" in done.stderr
    for file, why in (
        ("empty.wav", "empty audio"),
        ("letter.wav", "can't decode"),
        ("integers.wav", "another scale"),
        ("missing.wav", "No such file"),
    ):
        assert any(file in line and why in line for line in broken)
    remarks = re.findall(r"^remark: .*/([^/:\n]*): ", done.stderr, re.M)
    assert set(remarks) == {"promises little.wav", "promises much.wav", "silent.wav", "short.wav"}


@pytest.mark.slow
def test_a_long_recording_with_a_damaged_end_keeps_its_words(yesno, tmp_path):
    names = sorted(p.stem for p in yesno.source.glob("*.wav"))[:8]
    joined = np.concatenate([sound(yesno, name) for name in names])
    end = np.full(8000, np.nan)
    for name, samples in (("whole", joined), ("damaged", np.concatenate([joined, end])), ("no words", end)):
        soundfile.write(str(tmp_path / f"{name}.wav"), samples, 8000, subtype="FLOAT")
    done = run(yesno.bundle, "--output", tmp_path / "out", tmp_path)
    found = texts(tmp_path / "out")
    assert found.keys() == {"whole.txt", "damaged.txt"} and done.returncode == 1, done.stderr
    words = [found[f"{name}.txt"].split() for name in ("whole", "damaged")]
    assert len(words[1]) > 50 and words[1] == words[0][: len(words[1])]  # the block with the damage is not read
    assert re.search(
        "remark: .*damaged.wav: it can't be read after [0-9.]+ s, and what follows is missing: samples that", done.stderr
    )
    assert re.findall("^broken: (.*)$", done.stderr, re.M) == [f"samples that are not numbers in {tmp_path / 'no words.wav'}"]


@pytest.mark.slow
def test_a_second_run_does_what_is_missing_changed_or_asked_for_otherwise(yesno, tmp_path):
    names = ["0_0_1_1_0_1_1_0", "0_1_0_1_1_1_0_0", "0_0_0_1_0_0_0_1"]
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in names:
        shutil.copy(yesno.source / f"{name}.wav", folder)

    def again(*arguments):
        done = run(yesno.bundle, "--output", out, folder, *arguments)
        counts = re.search(r"(\d+) files? recognised(?:.*?; (\d+) were there already)?", done.stderr)
        return int(counts[1]), int(counts[2] or 0), done

    assert again()[:2] == (3, 0) and again()[:2] == (0, 3)
    first = texts(out)
    (out / f"{names[0]}.txt").unlink()
    (out / f".tmp-999999999-{names[1]}.txt").write_text("what a killed run had begun")
    with open(out / outputs.JOURNAL, "a") as journal:
        journal.write('\n{"output": "a line cut sh')
    os.utime(folder / f"{names[1]}.wav")  # another time, the same content
    assert again()[:2] == (1, 2) and texts(out) == first and not list(out.glob(".tmp*"))
    shutil.copy(folder / f"{names[0]}.wav", folder / f"{names[2]}.wav")
    assert again()[:2] == (1, 2)
    assert texts(out)[f"{names[2]}.txt"] == first[f"{names[0]}.txt"]
    assert again("--confidence", "1")[:2] == (3, 0)
    assert texts(out)[f"{names[0]}.txt"] == " ".join(f"[{w}?]" for w in first[f"{names[0]}.txt"].split()) + "\n"
    edited = out / f"{names[1]}.txt"
    edited.write_text("what I heard\n")
    made, there, done = again()
    assert (made, there, done.returncode) == (2, 0, 1) and edited.read_text() == "what I heard\n"
    assert "was not written by this command, or was edited since" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_whole_files_and_is_continued(number, yesno, tmp_path):
    whole, out = run(yesno.bundle, "--output", tmp_path / "whole", yesno.source), tmp_path / "out"
    assert whole.returncode == 0, whole.stderr
    words = [sys.executable, "-m", "steps.recognise", "--bundle", str(yesno.bundle), "--nj", "1", "--output", str(out)]
    started = subprocess.Popen([*words, str(yesno.source)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 600
    while not list(out.glob("*.txt")) and time.monotonic() < until:
        time.sleep(0.005)
    started.send_signal(number)
    said = started.communicate()[1]
    expected = texts(tmp_path / "whole")
    assert texts(out).items() <= expected.items()
    if number != signal.SIGKILL:
        assert started.returncode == 128 + number and "interrupted; finished files are kept" in said and "Trace" not in said
        assert not list(out.glob(".tmp*"))
    done = run(yesno.bundle, "--output", out, yesno.source)
    assert done.returncode == 0 and texts(out) == expected and not list(out.glob(".tmp*"))


@pytest.mark.slow
def test_a_call_has_a_speaker_a_channel_and_standard_input_is_read(yesno, tmp_path):
    names = ["0_0_1_1_0_1_1_0", "0_1_0_1_1_1_0_0"]
    sounds = [sound(yesno, name) for name in names]
    length = min(map(len, sounds))
    soundfile.write(str(tmp_path / "call.wav"), np.stack([x[:length] for x in sounds], 1), 8000)
    both = run(yesno.bundle, "--channel", "each", "--format", "json", tmp_path / "call.wav")
    found = json.loads(both.stdout)
    segments = {s["channel"]: [w["text"] for w in s["words"]] for s in found["segments"]}
    assert segments[0][:7] == words_of(names[0]).split()[:7] and segments[1][:7] == words_of(names[1]).split()[:7]
    assert found["language"] == "he" and all(0 <= w["confidence"] <= 1 for s in found["segments"] for w in s["words"])
    with open(yesno.source / f"{names[0]}.wav", "rb") as stream:
        one = run(yesno.bundle, "--format", "ctm", "-", stdin=stream)
    assert [line.split()[4] for line in one.stdout.splitlines()] == words_of(names[0]).split()
    none = run(yesno.bundle, "--channel", "2", tmp_path / "call.wav")
    assert none.returncode == 1 and "no channel 2 in" in none.stderr and "has 2 (counted from 0)" in none.stderr


@pytest.mark.slow
def test_a_long_recording_has_the_words_of_its_parts_in_order(yesno, tmp_path):
    names = sorted(p.stem for p in yesno.source.glob("*.wav"))[:20]
    pieces = [sound(yesno, name) for name in names]
    soundfile.write(str(tmp_path / "long.flac"), np.concatenate(pieces), 8000)
    done = run(yesno.bundle, "--format", "tsv", tmp_path / "long.flac")
    rows = [line.split("\t") for line in done.stdout.splitlines()[1:]]
    starts = [float(row[2]) for row in rows]
    assert starts == sorted(starts) and sum(map(len, pieces)) / 8000 > 100
    edges, at = [], 0.0
    for x in pieces:
        edges.append((at, at + len(x) / 8000))
        at = edges[-1][1]
    heard = [[row[4] for row in rows if start <= (float(row[2]) + float(row[3])) / 2 < end] for start, end in edges]
    wrong = sum(words != words_of(name).split() for words, name in zip(heard, names))
    assert wrong <= 2, list(zip(names, heard))


@pytest.mark.slow
def test_the_engine_onnx_needs_neither_torch_nor_k2_nor_lhotse_and_names_what_other_files_need(yesno, tmp_path):
    missing = ("torch", "k2", "lhotse", "scipy", "tqdm", "av", "faster_whisper")
    code = f"import sys; sys.modules.update(dict.fromkeys({missing})); import steps.recognise as r"
    names = ["0_0_1_1_0_1_1_0", "0_1_0_1_1_1_0_0"]
    encode(tmp_path / "phone.m4a", "aac", 48000, [resample_poly(sound(yesno, names[0]), 6, 1)])
    soundfile.write(str(tmp_path / "long.flac"), np.tile(sound(yesno, names[0]), 8), 8000)
    files = [*(yesno.source / f"{name}.wav" for name in names), tmp_path / "phone.m4a", tmp_path / "long.flac"]
    words = ["--bundle", yesno.bundle, "--engine", "onnx", *files]
    start = [sys.executable, "-c", f"{code}; sys.exit(r.main(sys.argv[1:]))"]
    done = subprocess.run([*start, *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == [words_of(name) for name in names], done.stderr
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for file, package in (("phone.m4a", "av"), ("long.flac", "faster-whisper")):
        assert re.search(rf"^broken: .*{file}: .*need.* {package}\b.*pip install", done.stderr, re.M), done.stderr


@pytest.mark.slow
def test_added_words_and_context_are_for_one_call(yesno, tmp_path):
    (tmp_path / "list").write_text("nose\nyes\n")
    path = yesno.source / "0_0_1_1_0_1_1_0.wav"
    done = run(yesno.bundle, "--words", tmp_path / "list", "--context", "no no yes yes", "--confidence", "0.1", path)
    assert done.returncode == 0 and set(re.findall(r"\w+", done.stdout)) <= {"yes", "no", "nose"}, done.stderr


@pytest.mark.slow
def test_what_can_not_be_done_is_said_in_one_sentence(yesno, tmp_path):
    path = yesno.source / "0_0_1_1_0_1_1_0.wav"
    (tmp_path / "folder").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "file").touch()
    half = shutil.copytree(yesno.bundle, tmp_path / "half")
    (half / "model.safetensors").unlink()
    newer = shutil.copytree(yesno.bundle, tmp_path / "newer")
    about = json.loads((newer / manifest.NAME).read_text())
    (newer / manifest.NAME).write_text(json.dumps({**about, "format": 99}))
    for bundle, arguments, status, why in (
        (tmp_path / "photos", [path], 2, "is not a bundle"),
        (tmp_path / "nowhere", [path], 2, "there is no bundle"),
        (half, [path], 2, "lacks model.safetensors"),
        (newer, [path], 2, "format 99.*update"),
        (yesno.bundle, [tmp_path / "folder"], 2, "no audio in the folder .*it is empty"),
        (yesno.bundle, [tmp_path / "photos"], 2, r"no audio in the folder .*1 \.jpg"),
        (yesno.bundle, ["--language", "fr", path], 2, "--language fr: this bundle recognises 'he' alone"),
        (yesno.bundle, ["--output", tmp_path / "file", path], 2, "can't write .*file"),
        (yesno.bundle, ["--output", tmp_path / "file" / "x", path], 2, "can't write .*Not a directory"),
        (yesno.bundle, ["--format", "srt", path, yesno.source], 2, "--format srt of several files needs --output"),
        (yesno.bundle, ["--words", tmp_path / "none", path], 2, "--words .*none can't be read"),
        (yesno.bundle, ["--context", "none.txt", path], 2, "--context none.txt: neither a file nor a text"),
        (yesno.bundle, ["--channel", "left", path], 2, "left is not mix, each, or the number of a channel"),
    ):
        done = run(bundle, *arguments)
        said = [line for line in done.stderr.splitlines() if not line.startswith("options:")]
        assert done.returncode == status and not done.stdout, done.stderr
        assert len(said) == 1 and said[0].startswith("error: ") and re.search(why, said[0]), done.stderr


@pytest.mark.slow
def test_a_full_disk_costs_no_finished_file(yesno, tmp_path):
    """The system refuses to let files grow, as a full disk does."""
    out = tmp_path / "out"
    assert run(yesno.bundle, "--output", out, yesno.source / "0_0_1_1_0_1_1_0.wav").returncode == 0
    before, size = texts(out), (out / outputs.JOURNAL).stat().st_size
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))}
    done = run(yesno.bundle, "--output", out, yesno.source, **limit)
    assert done.returncode == 2 and re.search("error: can't write .*: File too large; finished files are kept", done.stderr)
    assert "Traceback" not in done.stderr and texts(out) == before
    with open("/dev/full", "w") as full:
        done = run(yesno.bundle, yesno.source / "0_0_1_1_0_1_1_0.wav", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2 and done.stderr == "error: can't write to standard output: No space left on device\n"
    assert run(yesno.bundle, "--output", out, yesno.source).returncode == 0 and len(texts(out)) > 50


@pytest.mark.slow
def test_the_commands_of_the_page_run(yesno, tmp_path):
    page = (ROOT / "docs" / "recognising.md").read_text(encoding="utf-8").partition("## Recognise files")[2]
    commands = re.search(r"^```bash\n(.*?)^```$", page, re.M | re.S)[1]
    names = ["0_0_1_1_0_1_1_0", "0_1_0_1_1_1_0_0"]
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    for folder in ("recordings", "calls"):
        (tmp_path / folder).mkdir()
        shutil.copy(yesno.source / f"{names[0]}.wav", tmp_path / folder / f"{folder[0]}.wav")
    encode(tmp_path / "talk.mp4", "aac", 48000, [resample_poly(sound(yesno, names[1]), 6, 1)], picture=True)
    if shutil.which("ffmpeg") is None:
        commands = commands.replace("ffmpeg -i talk.mp4 -f wav -", "cat talk.mp4")
    commands = re.sub("BUNDLE=.*", f"BUNDLE='{yesno.bundle}'", commands)
    how = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", commands], **how)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"recordings/r.wav\t{words_of(names[0])}" and lines[1] == f"talk.mp4\t{words_of(names[1])}"
    assert lines[2:5] == ["1", "00:00:" + lines[3][6:], words_of(names[1])] and lines[-1] == words_of(names[1])
    assert sorted(p.name for p in files_in(tmp_path / "words")) == ["c.txt", "r.json"]


def test_a_file_that_looks_like_an_option_is_explained(tmp_path):
    (tmp_path / "-a.wav").touch()
    words = [sys.executable, "-m", "steps.recognise", "--bundle", "b", "-a.wav"]
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "error: -a.wav is a file with the name of an option; write ./-a.wav\n"


def test_outputs_have_names_of_their_own(tmp_path):
    for name in ("a/x.wav", "a/x.mp3", "b/x.wav", "b/X.wav", "b/y.wav", "c/" + "long" * 55 + ".wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with ExitStack() as stack:
        found, others = given([str(tmp_path / name) for name in ("a", "b", "b/y.wav", "c")], stack)
    names = outputs.output_names(found)
    assert others == 0 and len({name.casefold() for name in names}) == len(found) == 6
    assert {"x.mp3", "a/x.wav", "y"} <= set(names) and max(map(len, names)) < 200


def outcome(**changes):
    first, second = (Transcript(words, [], 3.0) for words in (WORDS[:5], WORDS[5:]))
    segments = [Segment(0.0, first, changes.pop("channel", None)), Segment(10.0, second, changes.pop("other", None))]
    return Outcome(**{"name": "calls/a b.wav", "id": "a b", "language": "en", "seconds": 14.0, "segments": segments, **changes})


def test_formats_say_the_same_words_at_the_same_times():
    plain, marked = outcome(), outcome(uncertain=0.55, channel=0, other=1)
    assert FORMATS["txt"].write(plain) == "yes no no yes no\nyes yes no\n"
    assert FORMATS["txt"].write(marked) == "0: [yes?] [no?] [no?] yes no\n1: yes yes no\n"
    assert FORMATS["txt"].line(plain) == f"calls/a b.wav\t{' '.join(SAID)}\n"
    ctm = [line.split() for line in FORMATS["ctm"].write(marked).splitlines()]
    assert [row[4] for row in ctm] == SAID and ctm[5][:4] == ["a_b", "2", "12.500", "0.400"] and ctm[0][5] == "0.300"
    rows = [line.split("\t") for line in FORMATS["tsv"].write(marked).splitlines()]
    assert rows[1] == ["calls/a b.wav", "0", "0.000", "0.400", "yes", "0.300", "1"] and len(rows) == 9
    value = json.loads(FORMATS["json"].write(plain))
    assert value["text"] == " ".join(SAID) and value["segments"][1]["words"][0]["start"] == 12.5
    assert value["segments"][0]["words"][0]["alternatives"] == [{"text": "maybe", "confidence": 0.2}]
    assert FORMATS["srt"].write(plain).startswith("1\n00:00:00,000 --> 00:00:02,400\nyes no no yes no\n\n2\n00:00:12,500 -->")
    assert "\n00:00:12.500 --> 00:00:13.900\n<v 1>yes yes no\n" in FORMATS["vtt"].write(marked)


def test_subtitles_are_short_and_tiers_have_no_gap():
    words = [Word(f"word{i}", 0.4 * i, 0.4 * i + 0.5, 0.9) for i in range(200)]  # each overlaps the next
    long = outcome(segments=[Segment(0.0, Transcript(words, [], 80.5))], seconds=80.0)
    cues = FORMATS["srt"].write(long).split("\n\n")
    assert len(cues) >= 80 / 7 and all(len(line) <= 42 for cue in cues for line in cue.splitlines())
    assert all(len(cue.splitlines()) <= 4 for cue in cues)
    grid = FORMATS["textgrid"].write(long)
    spans = re.findall(r"xmin = ([\d.]+)\n +xmax = ([\d.]+)\n +text = \"(.*)\"", grid)
    assert [label for _, _, label in spans if label] == [w.text for w in words]
    assert all(end == start for (_, end, _), (start, _, _) in zip(spans, spans[1:]))
    assert all(float(start) < float(end) for start, end, _ in spans) and spans[0][0] == "0.000"
    empty = outcome(segments=[])
    assert [FORMATS[name].write(empty) for name in ("txt", "ctm", "srt", "vtt")] == ["\n", "", "", "WEBVTT\n"]
