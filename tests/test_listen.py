"""steps.listen on real speech: lines, a terminal, JSON, Ctrl-C, a damaged file, and a microphone where there is none."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from utils.bundle.transcript import Word
from utils.core.files import ROOT
from utils.live.terminal import partial_line, width

NAMES = ("0_0_1_1_0_1_1_0", "1_1_1_0_0_1_0_1")
# What the package sounddevice offers, as far as the microphone uses it: it hears the file $HEARD, then silence.
SOUNDDEVICE = """
import os, threading, time
import numpy as np, soundfile
class PortAudioError(Exception): pass
def query_devices(device=None, kind=None):
    if kind is None: return [{"name": "Desk", "max_input_channels": 1}, {"name": "Speakers", "max_input_channels": 0}]
    if device not in (None, "Desk"): raise ValueError(f"No input device matching {device!r}")
    return {"name": "Desk", "default_samplerate": 8000.0}
class InputStream:
    def __init__(self, samplerate, blocksize, device, channels, dtype, callback):
        assert (samplerate, channels, dtype) == (8000, 1, "float32")
        self.size, self.callback = blocksize, callback
    def __enter__(self): threading.Thread(target=self.run, daemon=True).start()
    def __exit__(self, *_): pass
    def close(self): pass
    def run(self):
        x = soundfile.read(os.environ["HEARD"], dtype="float32")[0]
        x = np.concatenate((x, np.zeros(80000, np.float32)))[:, None]
        for n in range(0, len(x) - self.size, self.size):
            time.sleep(self.size / 32000)
            self.callback(x[n:n + self.size], self.size, None, 4 if n == 0 else 0)
"""


@pytest.fixture(scope="module")
def recorded(yesno, tmp_path_factory):
    """Two recordings of yesno with a pause between them, 8 kHz, and the words of each."""
    silence = np.random.default_rng(1).normal(0, 1e-4, 8000).astype(np.float32)
    parts = [x for name in NAMES for x in (soundfile.read(str(yesno.source / f"{name}.wav"), dtype="float32")[0], silence)]
    file = tmp_path_factory.mktemp("listen") / "two sentences.wav"
    soundfile.write(str(file), np.concatenate(parts), 8000)
    return file, [" ".join("yes" if digit == "1" else "no" for digit in name.split("_")) for name in NAMES]


def command(yesno, *arguments):
    return [sys.executable, "-m", "steps.listen", "--bundle", str(yesno.bundle), *map(str, arguments)]


def run(yesno, *arguments, **how):
    return subprocess.run(command(yesno, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=120, **how)


@pytest.mark.slow
def test_a_file_at_its_own_speed_is_lines_and_the_same_messages_as_the_servers(yesno, recorded, tmp_path):
    file, words = recorded
    began = time.monotonic()
    done = run(yesno, "--file", file, "--speed", "4")
    assert (done.returncode, done.stdout.splitlines()) == (0, words), done.stderr
    assert time.monotonic() - began > soundfile.info(str(file)).duration / 4
    (tmp_path / "list").write_text("ken ▁ n o\n")
    told = run(yesno, "--file", file, "--speed", "inf", "--json", "--words", tmp_path / "list")
    messages = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["text"].replace("ken", "no") for one in messages if one["type"] == "final"] == words, told.stderr
    assert messages[-1]["type"] == "ended" and "ken" in told.stderr
    partial = next(one for one in messages if one["type"] == "partial")
    assert {"segment", "start", "keep", "words", "stable", "heard"} <= partial.keys()


@pytest.mark.slow
def test_a_terminal_shows_words_that_grow_in_place(yesno, recorded):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command(yesno, "--file", recorded[0], "--speed", "3"),
        cwd=ROOT,
        stdout=child,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(child)
    content = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:  # the other side is closed
            break
        content += part
    assert process.wait(30) == 0
    os.close(parent)
    *lines, last = content.decode().split("\r\n")
    assert [line.split("\r")[-1].replace("\x1b[K", "") for line in lines] == recorded[1] and not last.strip("\r\x1b[K")
    grown = [re.sub(r"\x1b\[\d*[mK]", "", one).split() for one in lines[0].split("\r")[1:]]
    assert len(grown) >= 3 and len(grown[0]) < len(grown[-1]) == 8


@pytest.mark.slow
def test_ctrl_c_gives_what_was_said_until_then(yesno, recorded):
    file, words = recorded
    process = subprocess.Popen(
        command(yesno, "--file", file), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while "listening to" not in (line := process.stderr.readline()):
        assert line, "it ended before it listened"
    time.sleep(3.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    said = out.split()
    assert process.returncode == 130 and "Traceback" not in err
    assert 1 <= len(said) < 8 and said[:-1] == words[0].split()[: len(said) - 1]  # the last one may be cut


@pytest.mark.slow
def test_a_microphone_is_heard_until_ctrl_c_and_its_absence_is_one_sentence(yesno, recorded, tmp_path):
    (tmp_path / "sounddevice.py").write_text(SOUNDDEVICE)
    how = {"env": {**os.environ, "HEARD": str(recorded[0]), "PYTHONPATH": f"{tmp_path}:{ROOT}"}}
    process = subprocess.Popen(command(yesno), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how)
    lines = [process.stdout.readline().strip() for _ in recorded[1]]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (lines, process.returncode) == (recorded[1], 0) and "listening to Desk" in err and "some sound was lost" in err
    other = run(yesno, "--device", "Attic", **how)
    assert other.returncode == 2 and "No input device matching 'Attic'; microphones here: Desk" in other.stderr
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    none = run(yesno, **how)
    assert none.returncode == 2 and none.stderr.count("\n") == 1
    assert "PortAudio library not found" in none.stderr and "pip install sounddevice" in none.stderr


@pytest.mark.slow
def test_what_can_not_be_played_is_named(yesno, recorded, tmp_path):
    (tmp_path / "letter.wav").write_text("Dear Sir or Madam,\n" * 30)
    for arguments, said in (
        (["--file", tmp_path / "none.wav"], "can't read"),
        (["--file", tmp_path / "letter.wav"], "can't decode"),
        (["--speed", "2"], "--speed is that of a file"),
        (["--file", recorded[0], "--device", "1"], "leave one of the two out"),
        (["--file", recorded[0], "--speed", "0"], "0 is not a number above 0"),
    ):
        done = run(yesno, *arguments)
        assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_line_of_a_terminal_shows_the_end_of_what_was_said():
    words = [Word(text, 0.0, 0.1) for text in "tell me about the weather in zermatt".split()]
    assert partial_line(words, 2, 80) == "tell me\x1b[2m about the weather in zermatt\x1b[0m"
    line = partial_line(words, 5, 24)
    assert line == "… the weather\x1b[2m in zermatt\x1b[0m" and width(re.sub(r"\x1b\[\d*m", "", line)) <= 24
    chinese = [Word(text, 0.0, 0.1) for text in ("打开", "厨房", "的", "灯")]
    assert partial_line(chinese, 1, 80) == "打开\x1b[2m厨房的灯\x1b[0m" and width("打开 a") == 6
    assert partial_line(chinese, 4, 5) == "… 灯\x1b[2m\x1b[0m"
    assert "\x1b]" not in partial_line([Word("a\x1b]0;title\x07", 0.0, 0.1)], 1, 80)
