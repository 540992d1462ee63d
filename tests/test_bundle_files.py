"""The files of a bundle: checked when it is opened and when one is read; what a transcript prints."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from utils.bundle.files import open_files
from utils.bundle.manifest import FORMAT, NAME, FrontEndModel, Manifest, read_manifest, write_manifest
from utils.bundle.recogniser import Recogniser
from utils.bundle.transcript import Transcript, Word
from utils.core.errors import UserError
from utils.core.files import ROOT


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "un paquet d'été"
    (folder / "packs").mkdir(parents=True)
    (folder / "words.txt").write_text("<eps> 0\nsí 1\n", encoding="utf-8")
    (folder / "packs" / "names.safetensors").write_bytes(bytes(range(256)))
    write_manifest(folder, Manifest("c", "r", "es", FrontEndModel("fbank"), {"torch": "x"}))
    return folder


def test_a_moved_bundle_reads_the_same_bytes(bundle, tmp_path):
    moved = shutil.copytree(bundle, tmp_path / "-moved")
    shutil.rmtree(bundle)
    files = open_files(moved)
    assert files.names == ("packs/names.safetensors", "words.txt")
    assert files.read("packs/names.safetensors") == bytes(range(256)) and files.manifest.language == "es"
    with pytest.raises(UserError, match="has no file ../words.txt"):
        files.read("../words.txt")


def damage(bundle, how):
    words = bundle / "words.txt"
    if how == "flipped":
        content = words.read_bytes()
        words.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif how == "cut off":
        words.write_bytes(words.read_bytes()[:-1])
    elif how == "missing":
        words.unlink()
    elif how == "additional":
        (bundle / "more.txt").write_text("more")
    elif how == "swapped":
        other = bundle / "packs" / "names.safetensors"
        first, second = words.read_bytes(), other.read_bytes()
        words.write_bytes(second)
        other.write_bytes(first)
    elif how == "a link":
        content = words.read_bytes()
        words.unlink()
        (bundle / "packs" / "names.safetensors").write_bytes(content)
        words.symlink_to(bundle / "packs" / "names.safetensors")


@pytest.mark.parametrize(
    "how, said",
    [
        ("flipped", "SHA-256"),
        ("cut off", "13 bytes"),
        ("missing", "lacks words.txt"),
        ("additional", "more.txt"),
        ("swapped", "bytes"),
        ("a link", "bytes"),
    ],
)
def test_a_changed_file_is_refused_by_name(bundle, how, said):
    damage(bundle, how)
    with pytest.raises(UserError, match=said) as refused:
        files = open_files(bundle)
        for name in files.names:
            files.read(name)
    assert str(bundle) in str(refused.value) and "copy the bundle again" in str(refused.value)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"format": FORMAT + 1}, "update this program"),
        ({"format": "1"}, "no number 'format'"),
        ({"files": {"../x": {"sha256": "0" * 64, "bytes": 1}}}, "leads out"),
        ({"files": {"/etc/x": {"sha256": "0" * 64, "bytes": 1}}}, "leads out"),
        ({"files": {"a\\..\\x": {"sha256": "0" * 64, "bytes": 1}}}, "leads out"),
        ({"files": {"x": {"sha256": "0", "bytes": 1}}}, "no SHA-256"),
        ({"files": [1]}, "'files' is missing or has the wrong form"),
        ({"front_end": {"kind": 3}}, "'kind' is missing"),
    ],
)
def test_a_manifest_of_another_form_is_refused(bundle, change, said):
    value = json.loads((bundle / NAME).read_text(encoding="utf-8"))
    with pytest.raises(UserError, match=said):
        read_manifest(json.dumps({**value, **change}).encode(), "m")
    with pytest.raises(UserError, match="no JSON"):
        read_manifest(b"\xff\xfe{", "m")


def test_what_is_no_bundle_is_said(bundle, tmp_path):
    for path, said in (
        (tmp_path / "none", "there is no bundle"),
        (bundle / "words.txt", "is a file"),
        (tmp_path, "Did you mean"),
    ):
        with pytest.raises(UserError, match=said):
            open_files(path)
    with pytest.raises(UserError, match="no engine 'onxx' .did you mean 'onnx'"):
        Recogniser.open(bundle, engine="onxx")


def test_words_are_joined_as_their_script_is_written():
    def text(line):
        return Transcript([Word(word, 0.0, 0.0) for word in line.split()]).text

    assert text("打 开 wifi 吧") == "打开 wifi 吧" and text("c'est l'été") == "c'est l'été" and text("") == ""


@pytest.mark.parametrize(
    "samples, rate, said",
    [
        (np.zeros((2, 9), np.float32), 8000, "one channel"),
        (np.zeros(9, np.int16), 8000, "int16"),
        (np.full(9, np.nan, np.float32), 8000, "not numbers"),
        (np.zeros(9, np.float32), 0, "rate"),
    ],
)
def test_samples_of_another_form_are_refused(samples, rate, said):
    with pytest.raises(UserError, match=said):
        Recogniser(None, None).transcribe(samples, rate)


def test_the_door_needs_no_torch():
    code = "import sys; import utils.bundle.recogniser; print({'torch', 'k2', 'lhotse', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr
