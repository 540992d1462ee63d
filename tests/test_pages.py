"""The commands and programs of docs/: each runs here in the order of its page, on a model of yesno, or has a reason why not."""

import http.server
import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest
import soundfile
import tokenizers
import wordfreq
from safetensors.numpy import save_file

from utils.bundle import manifest, onnx_engine, streaming_onnx
from utils.commands import weights
from utils.core.arrays import read_arrays
from utils.core.files import ROOT
from utils.corpus import kaldi
from utils.engine import contents
from utils.server import protocol

ENGLISH = [path for path in sorted((ROOT / "docs").glob("*.md")) if not path.name.endswith(".zh.md")]
HERE = (
    "recognising",
    "searching",
    "keywords",
    "spotting",
    "commands",
    "sealing",
    "home-assistant",
    "mandarin",
)  # pages whose commands run here
# Programs of pages: the test that runs all of them, or why none does.
PROGRAMS = {
    "recognising": "tests/test_bundle.py",
    "sealing": "tests/test_bundle.py",
    "serving": "tests/test_server.py",
    "protocol": "tests/test_server.py",
    "streams": "tests/test_live.py",
    "searching": "tests/test_pages.py",
    "spotting": "tests/test_pages.py",
    "commands": "tests/test_pages.py",
    "home-assistant": "tests/test_pages.py",
    "records": "tests/test_pages.py",
    "own-corpus": "tests/test_pages.py",
    "chatglm": "tests/test_pages.py",
    "live": "a fragment: the text before it says what it is given; tests/test_streaming.py has its calls",
}
# Pages that also show what a model of theirs printed for recordings that are not here.
ELSEWHERE = {
    "home-assistant": "orders of a coffee machine, by the general English model",
    "mandarin": "utterances of AISHELL, by a model of them",
}
# What other commands begin with, and why they do not run here. tests/test_docs.py reads their options and settings.
REASONS = {
    r"(\./)?egs/\w+/run\.sh": "minutes to hours; tests/test_end_to_end.py runs recipes to their end",
    r"\./tests/run\.sh": "these are the tests",
    r"NUPTSE_\w+=.* (\./egs/\w+/run\.sh|utils/setup\.sh)": "as without the variables",
    r"utils/setup\.sh": "makes environments, from the network; tests/test_setup.py",
    r"(\.venv/bin/)?python -m pip": "installs, from the network",
    r"\.venv/bin/python (-m tests\.bench\.|tests/bench/)": "minutes to hours of measuring, on whole corpora",
    r"\.venv/bin/python -m steps\.serve": "runs until Ctrl-C; tests/test_server.py and others talk to it",
    r"curl |openssl ": "need that server; tests/test_server.py runs those of Serving",
    r"\.venv/bin/python -m steps\.listen": "microphones and hours; tests/test_listen.py",
    r"\.venv/bin/python -m steps\.(doctor|compare|document|translations)": "tests/test_docs.py runs them",
    r"\.venv/bin/python -m steps\.add_words --corpus": "needs a trained corpus; tests/test_add_words.py",
    r"\.venv/bin/python -m steps\.distil": "half an hour; tests/test_distillation.py",
    r"\.venv/bin/python -m steps\.noises": "downloads gigabytes; tests/test_noise_sets.py",
    r"\.venv/bin/python -m steps\.sweep": "hours; tests/test_sweep.py",
    r"\.venv/bin/python -m steps\.ngrams": "large text; tests/test_large_text.py",
    r"(srun .*)?(\.venv/bin/)?torchrun |#SBATCH|#!/bin/bash|host=": "several GPUs or machines; tests/test_distributed.py",
    r"PYTHONPATH=\. \.venv/bin/dask ": "several machines; tests/test_executors.py",
    r"\.venv/bin/python -m steps\.commands train": "minutes, and flite; tests/test_tuning.py",
    r"\.venv/bin/python -m steps\.find .*--meaning": "needs a bundle with meanings; tests/test_search.py",
    r"git clone ": "a download",
    r"\.venv/bin/python (mycorpus/tables|near)\.py": "programs of a page: see PROGRAMS",
    r"\.venv/bin/python -m http\.server": "runs until Ctrl-C",
    r"\.venv/bin/python -m steps\.recognise .*(mycorpus|BAC009)": "that page's recordings; Recognising has such commands",
    r"ffmpeg ": "a program of the system, which need not be there",
    r"(cp|sed|rsync|ssh|scp) |BUNDLE=": "tools of the system",
}
# Names of the pages -> those of the folder in which they run here; yesno knows two words.
NAMES = {
    "exp/asterisk/export-0123abcd/bundle": "bundle",
    "BUNDLE": "bundle",
    "talk.mp4:12.3-12.9": "talk.mp4:0.5-3.5",
    "zermatt": "noyes",
    " 'nuptse N AH P T S IY'": "",
    "heating": "yes",
    "ice cream": "no yes",
    "smart mirror": "no",
    "jarvis": "yes",
    "--language fr": "--language en",
    "folder/of/recordings": "examples",
    "please hold the line": "yes yes yes yes yes no no no",
}


def fences(page: Path, language: str) -> List[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


def blocks(page: Path) -> List[Tuple[List[str], str]]:
    """The blocks of commands of a page in order: the commands, without comments, and what the page shows right below as printed.

    A command that continues on the next line is one.
    """
    found = re.findall(r"^```bash\n(.*?)^```$(?:\n+(?:It prints:\n+)?```text\n(.*?)^```$)?", page.read_text("utf-8"), re.M | re.S)
    out = []
    for block, printed in found:
        lines = block.replace("\\\n", " ").splitlines()
        out.append(([line for line in (re.sub(r"\s+# .*", "", line).strip() for line in lines) if line], printed))
    return out


def commands(page: Path) -> List[str]:
    """The commands of a page in order."""
    return [command for block, _ in blocks(page) for command in block]


def shown(text: str, folder: Path, exact: bool) -> str:
    """Printed text without what differs between two runs: blanks, keys, the folder; numbers too unless `exact`."""
    text = re.sub(r"age1[0-9a-z]{20,}", "age1...", re.sub(r"AAAA[\w+/=]{20,}", "AAAA...", text.replace(f"{folder}/", "")))
    text = text if exact else re.sub(r"[+−-]?\b\d+(?:[.,]\d+)*", "#", text)
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines())


def missing(expected: str, folder: Path) -> List[str]:
    """The recordings that a page's output names and the folder lacks."""
    return [name for name in re.findall(r"^\S+\.(?:wav|flac|opus)(?=\t)", expected, re.M) if not (folder / name).exists()]


def is_printed(expected: str, printed: str, folder: Path) -> bool:
    """Whether a run printed what a page shows, where a line `...` stands for any lines; words are those of `NAMES`.

    Numbers must be the same where no model made them.
    """
    for name, here in NAMES.items():
        expected = expected.replace(name, here)
    exact = "bundle" not in expected and ".wav" not in expected
    lines = shown(expected, folder, exact).splitlines()
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in lines)
    return bool(re.fullmatch(pattern, shown(printed, folder, exact)))


def reason(command: str) -> str:
    """Why a command does not run here; "" where nothing is known."""
    return next((why for start, why in REASONS.items() if re.match(start, command)), "")


@pytest.mark.parametrize("page", ENGLISH, ids=lambda page: page.name)
def test_every_command_and_program_runs_or_has_a_reason(page):
    unknown = [c for c in commands(page) if not reason(c) and not (page.stem in HERE and " -m steps." in c)]
    assert unknown == [], "let it run in tests/test_pages.py, or say there why not"
    if fences(page, "python"):
        where = PROGRAMS[page.stem]
        assert ":" in where or page.name.partition(".")[0] in (ROOT / where).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(yesno: Any, votes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: a bundle, recordings, texts, keys."""
    made = tmp_path_factory.mktemp("pages")
    shutil.copytree(yesno.bundle, made / "bundle")
    files = sorted(yesno.source.glob("*.wav"))[-3:]
    speech = [soundfile.read(str(path), dtype="float32")[0] for path in files]
    rate = soundfile.info(str(files[0])).samplerate
    for name in ("recordings", "calls", "examples", "speech", "noise", "words", "home/keys"):
        (made / name).mkdir(parents=True)
    noise = np.random.default_rng(0).standard_normal(8 * rate).astype(np.float32) / 100
    sounds: Dict[str, np.ndarray] = {
        "recordings/first.wav": speech[0],
        "order.wav": speech[0],
        "calls/call.wav": np.stack([speech[0][: 3 * rate], speech[1][: 3 * rate]], 1),
        "talk.mp4": np.concatenate(speech),  # a format is known by the content
        "one.wav": speech[0][rate // 2 : 7 * rate // 4],
        "speech/other.wav": speech[1],
        "noise/fan.wav": noise,
        **{f"examples/{n}.wav": one[rate // 2 : 7 * rate // 4] for n, one in enumerate(speech)},
    }
    for name, samples in sounds.items():
        soundfile.write(str(made / name), samples, rate, format="WAV")
    (made / "notes.txt").write_text("The tidal bore meets the river. A tidal bore is a wave, and the wave is a bore.\n")
    (made / "article.txt").write_text((made / "notes.txt").read_text())
    rows = [f"{word} {n % 3} {n % 5} 1\n" for n, word in enumerate(["yes", "no", *wordfreq.top_n_list("he", 50)])]
    (made / "glove.txt").write_text("".join(rows), encoding="utf-8")
    (made / "coffee.yaml").write_text(fences(ROOT / "docs" / "commands.md", "yaml")[0])
    for name, grammar in zip(("home", "home_zh"), fences(ROOT / "docs" / "home-assistant.md", "yaml")):
        (made / f"{name}.yaml").write_text(grammar, encoding="utf-8")
    (made / "votes.yaml").write_bytes(votes.read_bytes())
    return made


def arguments(command: str, home: Path) -> Tuple[str, List[str]]:
    """The module of a command and its arguments, with names of `folder` and the home folder in place."""
    command = command.replace('"$BUNDLE', '"BUNDLE').replace("~/", f"{home}/")
    for name, here in NAMES.items():
        command = command.replace(name, here)
    words = shlex.split(command)
    assert words[:2] == [".venv/bin/python", "-m"]
    return words[2], words[3:]


def run(module: str, words: List[str], folder: Path) -> int:
    """Run a command: here, where it forks nothing (a fork of this process, which has k2's threads, may wait forever)."""
    if module in ("steps.index", "steps.keywords", "steps.recognise"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run([sys.executable, "-m", module, "--nj", "1", *words], cwd=folder, env=environment).returncode
    status: int = importlib.import_module(module).main(words)
    return status


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_commands_of_a_page_run_in_order(folder, monkeypatch, capfd, caplog, name):
    for block, expected in blocks(ROOT / "docs" / f"{name}.md"):
        monkeypatch.chdir(folder)
        printed = "".join(output_of(name, command, folder, monkeypatch, capfd, caplog) for command in block)
        ran = any(not reason(command) for command in block)
        if expected and ran and not (name in ELSEWHERE and missing(expected, folder)):
            assert is_printed(expected, printed, folder), f"{block}\nprinted:\n{printed}\nthe page has:\n{expected}"


def output_of(name, command, folder, monkeypatch, capfd, caplog):
    """Run a command of a page, where it can run here, and return what it printed."""
    monkeypatch.chdir(folder)  # some commands leave it
    if name == "sealing" and command.startswith("cp "):
        subprocess.run(command.replace("~", str(folder / "home")), shell=True, check=True)
        shutil.copy(folder / "home" / "keys" / "mine.key.pub", folder / "home" / "keys" / "team.pub")
    if reason(command):
        return ""
    if name == "keywords" and "words/talk.json" in command:
        words = ["--bundle", "bundle", "--format", "json", "--output", "words", "talk.mp4"]
        assert run("steps.recognise", words, folder) == 0
    module, words = arguments(command, folder / "home")
    if module == "steps.commands" and words[0] == "recognise":
        words[1] = "votes.yaml"  # of yesno's language and words
    caplog.clear()
    status = run(module, words, folder)
    said = capfd.readouterr()
    assert status == 0, f"{command}\n{said.out}\n{said.err}"
    assert said.out + said.err + caplog.text or module == "steps.index", command  # what it made, the next commands read
    return said.out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["searching", "spotting", "commands"])
def test_programs_of_a_page_run(folder, monkeypatch, capsys, name):
    (code,) = fences(ROOT / "docs" / f"{name}.md", "python")
    monkeypatch.chdir(folder)
    for old, new in {**NAMES, "coffee.yaml": "votes.yaml"}.items():
        code = code.replace(old, new)
    if name == "searching":
        call = ["--bundle", "bundle", "--index", "calls.index", "--nj", "1", "recordings"]
        assert run("steps.index", call, folder) == 0
    samples, rate = soundfile.read("order.wav", dtype="float32")
    names: Dict[str, Any] = {"bundle": "bundle", "samples": samples, "rate": rate}
    exec(compile(code, f"docs/{name}.md", "exec"), names)
    if name == "spotting":
        assert names["stream"].finish() is not None
    else:
        assert ("hit" in names) if name == "searching" else names["answer"] and "vote" in capsys.readouterr().out


def rows_of_bundles() -> Dict[str, str]:
    """File of a bundle -> which bundles have it, as docs/bundle.md says."""
    table = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8").partition("## Files")[2].partition("## Manifest")[0]
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", table, re.M)
    return {name: which for names, which in rows for name in re.findall(r"`([^`]+)`", names)}


def test_every_file_that_a_bundle_may_have_is_described():
    known = {inside for table in contents.TABLE.values() for inside in table.values()}
    known |= {contents.ABOUT, contents.PACKS, contents.WORD_LM_VECTORS, manifest.NAME, manifest.WORD_VECTORS, "front_end/"}
    known |= {manifest.graph_file(graph) for graph in manifest.GRAPHS} | {onnx_engine.SETTINGS, onnx_engine.ADDED, "model.onnx"}
    assert set(rows_of_bundles()) == known | {streaming_onnx.FILE, weights.FILE}


@pytest.mark.slow
def test_a_bundle_has_the_files_and_keys_that_its_page_describes(yesno):
    rows, files = rows_of_bundles(), {path.relative_to(yesno.bundle).as_posix() for path in yesno.bundle.rglob("*.*")}
    always = {name for name, which in rows.items() if which in ("always", "a word head", "a sub-word head", "word vectors")}
    assert always <= files <= set(rows)
    keys = re.findall(r"^\| (`.*?`) \| ", (ROOT / "docs" / "bundle.md").read_text("utf-8").partition("## Manifest")[2], re.M)
    made = json.loads((yesno.bundle / "manifest.json").read_text())
    assert {key for row in keys for key in re.findall(r"`(\w+)`", row)} == set(made) and made["format"] == manifest.FORMAT
    word = read_arrays((yesno.bundle / "word_vectors.safetensors").read_bytes(), "word_vectors.safetensors")
    assert np.allclose(np.linalg.norm(word["vectors"], axis=1), 1, atol=1e-5) and len(word["bias"]) == len(word["vectors"])
    listed = [line.split() for line in (yesno.bundle / "words.txt").read_text("utf-8").splitlines()]
    assert (listed[0], listed[-1][0], len(listed) - 2) == (["<eps>", "0"], "#0", len(word["bias"]))
    arcs = read_arrays((yesno.bundle / "HLG.safetensors").read_bytes(), "HLG.safetensors")["arcs"]
    assert arcs.shape[1] == 4 and (np.diff(arcs[:, 0]) >= 0).all()
    assert (arcs[arcs[:, 2] == -1][:, 1] == arcs[:, 1].max()).all() and (arcs[:, 2] == -1).any()


def test_every_code_message_and_wish_of_the_protocol_is_described():
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (\d{4}) \| ", page, re.M)
    assert {code: int(n) for codes, n in rows for code in re.findall(r"\w+", codes)} == protocol.CLOSES
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "utils" / "server").glob("*.py"))
    types = set(re.findall(r'"type": "([a-z]+)"', code)) | {"ready", "words"}
    assert types - set(re.findall(r'"type":"([a-z]+)"', page)) == set()
    assert set(protocol.WISHES) <= set(re.findall(r'`"(\w+)":', page))


def test_the_program_of_records_prints_error_rates(capsys, monkeypatch):
    (code,) = fences(ROOT / "docs" / "records.md", "python")
    monkeypatch.chdir(ROOT)
    exec(compile(code, "docs/records.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(r"whisper_wordvec 0 wordvec \d+\.\d+", line) for line in lines)


def test_names_of_the_page_of_python_exist_and_are_explained():
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.M)
    assert len(names) > 20
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, name


def test_the_program_of_own_corpus_writes_tables_that_are_read(yesno_source, tmp_path, monkeypatch):
    (code,) = fences(ROOT / "docs" / "own-corpus.md", "python")
    monkeypatch.chdir(tmp_path)
    Path("mycorpus/fsdd/recordings").mkdir(parents=True)
    for name in ("7_anna_0", "0_anna_12", "7_bert_3"):
        shutil.copy(next(iter(yesno_source.glob("*.wav"))), f"mycorpus/fsdd/recordings/{name}.wav")
    exec(compile(code, "docs/own-corpus.md", "exec"), {})
    corpus = kaldi.read(tmp_path / "mycorpus" / "train", tmp_path / "mycorpus", "train", "en")
    assert corpus.left_out == [] and all(one.audio.is_file() for one in corpus.utterances)
    found = [(one.id, one.speaker, one.text) for one in corpus.utterances]
    assert found == [("anna-0-12", "anna", "zero"), ("anna-7-0", "anna", "seven"), ("bert-7-3", "bert", "seven")]


def test_the_program_of_chatglm_lists_the_nearest_words(tmp_path, monkeypatch, capsys):
    (code,) = fences(ROOT / "docs" / "chatglm.md", "python")
    words = code.partition('words = "')[2].partition('"')[0].split()
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"the": 0, **{w: n for n, w in enumerate(words, 1)}}, unk_token="the")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    table = np.random.default_rng(0).standard_normal((len(words) + 1, 8)).astype(np.float32)
    table[1 + words.index("phone")] = table[1 + words.index("telephone")] + 0.01
    save_file({"model.embed_tokens.weight": table}, str(tmp_path / "model.safetensors"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": 8}))
    monkeypatch.setattr(sys, "argv", ["near.py", str(tmp_path)])
    exec(compile(code, "docs/chatglm.md", "exec"), {})
    lines = dict(line.split("\t", 1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == words and lines["phone"].startswith("telephone 1.00") and lines["telephone"].startswith("phone 1.00")


def test_the_program_of_home_assistant_hands_commands_on(monkeypatch):
    (code,) = fences(ROOT / "docs" / "home-assistant.md", "python")
    got = []

    class Webhook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    lines = [
        {"type": "final", "text": "turn on the light"},
        {"type": "command", "intent": None, "slots": {}},
        {"type": "command", "intent": "HassTurnOn", "slots": {"area": "attic"}},
    ]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(line) + "\n" for line in lines)))
    monkeypatch.setattr(sys, "argv", ["forward.py", f"http://127.0.0.1:{server.server_port}/api/webhook/jarvis"])
    exec(compile(code, "docs/home-assistant.md", "exec"), {})
    server.shutdown()
    server.server_close()
    assert got == [{"intent": "HassTurnOn", "slots": {"area": "attic"}}]
