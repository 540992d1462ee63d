"""Files from outside: archives stay in their folder, downloads are the published ones, nothing that is read can run code."""

import ast
import functools
import http.server
import io
import os
import re
import tarfile
import threading

import pytest
import torch
from huggingface_hub._local_folder import write_download_metadata

from local import asterisk, yesno
from utils.core import download, torch_files
from utils.core.errors import UserError
from utils.core.files import ROOT, digest, write_bytes
from utils.features import ssl_model, whisper_model

# Calls that run code which the file names, or write where the file says, and the functions that may use them all the same.
DANGEROUS = {
    r"(pickle|marshal|dill|joblib|shelve|cloudpickle)\.(load|loads|open|Unpickler)|read_pickle": {
        "utils/executors/reopened.py": 1,  # what processes of a run send each other
        "utils/executors/worker.py": 2,  # the same
        "utils/train/dataset.py": 1,  # what a process of ours made
    },
    r"torch\.load": {"utils/core/torch_files.py": 1},
    r"(.*\.)?(load_state_dict_from_url|_get_state_dict|hub\.load)": {
        "utils/features/ssl_model.py": 1,  # within torch_files.weights_only
    },
    r"yaml\.(load|load_all|unsafe_load|full_load|unsafe_load_all|full_load_all|Loader|UnsafeLoader|FullLoader)": {
        "utils/core/yaml_files.py": 2,  # with a loader of its own, made of yaml.SafeLoader
    },
    r"(tarfile|zipfile)\.\w+": {
        "local/lhotse_corpora/archives.py": 2,
        "local/lhotse_corpora/read_recordings.py": 1,
        "utils/core/download.py": 1,
        "utils/core/torch_files.py": 1,
        "utils/features/shards.py": 3,  # members are read, and none is extracted
        "utils/vectors/checkpoint_files.py": 1,
    },
    r".*\.extractall|(.*\.)?(tar|archive|zip)\w*\.extract|(.*\.)?safe_extract|(shutil\.)?unpack_archive": {
        # ZipFile.extractall, which keeps all names inside the folder
        "local/lhotse_corpora/archives.py": 1,
        "local/lhotse_corpora/read_recordings.py": 1,
    },
    r"eval|exec|compile|__import__": {},
}
FORBIDDEN_ARGUMENTS = {"allow_pickle": True, "trust_remote_code": True}


def calls(path):
    """(called name, call) of a file; `from torch import load` counts as torch.load."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            names.update({alias.asname: alias.name for alias in node.names if alias.asname})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, _, rest = ast.unparse(node.func).partition(".")
            yield ".".join(filter(None, (names.get(first, first), rest))), node


def dangers(path):
    """What of `DANGEROUS` or `FORBIDDEN_ARGUMENTS` a file calls."""
    for name, call in calls(path):
        yield from (pattern for pattern in DANGEROUS if re.fullmatch(pattern, name))
        for argument in call.keywords:
            if argument.arg in FORBIDDEN_ARGUMENTS and getattr(argument.value, "value", True):
                yield argument.arg


def test_no_code_reads_files_in_a_way_that_could_run_code_or_write_elsewhere():
    found = {}
    for path in (path for folder in ("utils", "steps", "local") for path in (ROOT / folder).rglob("*.py")):
        for danger in dangers(path):
            counts = found.setdefault(danger, {})
            counts[str(path.relative_to(ROOT))] = counts.get(str(path.relative_to(ROOT)), 0) + 1
    assert found == {pattern: allowed for pattern, allowed in DANGEROUS.items() if allowed}


@pytest.mark.parametrize(
    "code",
    [
        "import torch as t; t.load(p)",
        "from torch import load as read; read(p)",
        "import numpy; numpy.load(p, allow_pickle=True)",
        "from yaml import unsafe_load; unsafe_load(p)",
        "from pickle import loads; loads(p)",
        "x.extractall(p)",
        "shutil.unpack_archive(p)",
        "AutoModel.from_pretrained(p, trust_remote_code=wanted)",
    ],
)
def test_the_search_for_such_code_finds_it_under_other_names(code, tmp_path):
    (tmp_path / "code.py").write_text(code)
    assert list(dangers(tmp_path / "code.py"))


# archives


def tar_of(path, *members):
    """A tar archive of (name, what it is, content or target of a link)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid = kind, 0o4777, 12345
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            tar.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return path


@pytest.mark.parametrize("name", ["../x", "a/../../x", "{}/x", "a/../b", "../corpus.partial-x/x"])
def test_an_archive_that_names_a_path_outside_is_refused_whole(name, tmp_path):
    name = name.format(tmp_path)
    archive = tar_of(tmp_path / "a.tar", ("good", tarfile.REGTYPE, b"1"), (name, tarfile.REGTYPE, b"2"))
    with pytest.raises(UserError, match=rf"a.tar is damaged \(Path Traversal: '{re.escape(name)}' leads outside"):
        download.unpack(archive, tmp_path / "folder" / "corpus")
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file() and p.name != ".lock") == ["a.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_link_does_not_redirect_what_follows_it(kind, tmp_path):
    (tmp_path / "victim").mkdir()
    archive = tar_of(
        tmp_path / "a.tar",
        ("out", kind, str(tmp_path / "victim").encode()),
        ("out/file", tarfile.REGTYPE, b"1"),
        ("pipe", tarfile.FIFOTYPE, b""),
        ("device", tarfile.CHRTYPE, b""),
    )
    download.unpack(archive, tmp_path / "corpus")
    assert not list((tmp_path / "victim").iterdir())
    assert [str(p.relative_to(tmp_path / "corpus")) for p in sorted((tmp_path / "corpus").rglob("*"))] == ["out", "out/file"]
    assert (tmp_path / "corpus/out/file").stat().st_mode & 0o7000 == 0
    assert (tmp_path / "corpus/out/file").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("n" * 300,)])
def test_an_archive_with_names_that_cannot_be_is_damaged(names, tmp_path):
    archive = tar_of(tmp_path / "a.tar", *((name, tarfile.REGTYPE, b"1") for name in names))
    with pytest.raises(UserError, match="a.tar is damaged"):
        download.unpack(archive, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists() and not (tmp_path / "corpus.partial").exists()


# downloads


def test_a_download_that_is_not_the_published_file_is_deleted(tmp_path):
    write_bytes(tmp_path / "server" / "corpus.tar.gz", b"x" * 1000)
    right, target = digest(tmp_path / "server" / "corpus.tar.gz"), tmp_path / "got" / "corpus.tar.gz"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "server"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{httpd.server_port}/corpus.tar.gz"
        with pytest.raises(UserError, match="is not the file that was published .its SHA-256 is not 0+.*data.source"):
            download.fetch(url, target, "0" * 64)
        assert not list(target.parent.glob("corpus*"))
        download.fetch(url, target, right)
        httpd.shutdown()
    assert digest(target) == right


def test_corpora_name_the_published_digests():
    assert set(yesno.SHA256) == {yesno.URL} and len(set(asterisk.SHA256.values())) == 2 * len(asterisk.VOICES)
    for value in [*yesno.SHA256.values(), *asterisk.SHA256.values()]:
        assert re.fullmatch("[0-9a-f]{64}", value)


def test_a_whisper_model_that_is_not_the_hubs_is_deleted(tmp_path):
    write_bytes(tmp_path / "model.bin", b"weights")
    write_bytes(tmp_path / "config.json", b"{}")
    write_download_metadata(tmp_path, "model.bin", "c" * 40, digest(tmp_path / "model.bin"))
    write_download_metadata(tmp_path, "config.json", "c" * 40, "d" * 40)
    whisper_model.check_published(tmp_path)
    write_bytes(tmp_path / "model.bin", b"weightz")
    with pytest.raises(UserError, match=r"model.bin is not the file that was published"):
        whisper_model.check_published(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["config.json"]


# files of torch


class Evil:
    def __reduce__(self):
        return (os.mkdir, (self.folder,))


@pytest.mark.parametrize("old", [False, True])
def test_a_file_of_torch_runs_no_code(old, tmp_path):
    evil = Evil()
    evil.folder = str(tmp_path / "made")
    torch.save({"a": torch.zeros(2), "b": evil}, tmp_path / "evil.pt", _use_new_zipfile_serialization=not old)
    with pytest.raises(torch_files.Unreadable) as refused:
        torch_files.load(tmp_path / "evil.pt")
    assert not (tmp_path / "made").exists()
    assert "weights_only" not in str(refused.value) and "\n" not in str(refused.value)
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert (tmp_path / "made").exists()


def test_a_bundle_of_torchaudio_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.setenv("NUPTSE_DOWNLOAD", str(tmp_path))
    evil = Evil()
    evil.folder, path = str(tmp_path / "made"), tmp_path / "torchaudio" / "wav2vec2_fairseq_base_ls960.pth"
    path.parent.mkdir()
    torch.save({"a": torch.zeros(2), "b": evil}, path)
    with pytest.raises(UserError, match=f"{path} can't be read .*posix.mkdir.*: delete it and run again"):
        ssl_model.read("WAV2VEC2_BASE")
    assert not (tmp_path / "made").exists() and torch_files.FORCED not in os.environ


def test_a_damaged_file_of_torch_is_unreadable_or_reads(tmp_path):
    torch_files.save({"a": torch.arange(5), "b": [1.5, None, "text", (2, True)]}, tmp_path / "whole.pt")
    content = bytearray((tmp_path / "whole.pt").read_bytes())
    for position in range(0, len(content), max(1, len(content) // 120)):
        changed = bytearray(content)
        changed[position] ^= 0x55
        (tmp_path / "changed.pt").write_bytes(changed)
        try:
            torch_files.load(tmp_path / "changed.pt")
        except torch_files.Unreadable as error:
            assert str(error)
    for end in (0, 1, 40, len(content) - 5):
        (tmp_path / "changed.pt").write_bytes(content[:end])
        with pytest.raises(torch_files.Unreadable):
            torch_files.load(tmp_path / "changed.pt")
