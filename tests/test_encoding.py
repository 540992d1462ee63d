"""Files are UTF-8 whatever the locale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List

import numpy as np
import pytest
import soundfile
from lhotse import CutSet

from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.core.splits import cuts_path
from utils.corpus import kaldi


def _corpus(folder: Path) -> Path:
    """Kaldi data directories of noise; the words, a speaker and a file's name are not ASCII."""
    rng = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        (folder / split).mkdir(parents=True)
        tables: Dict[str, List[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        for i in range(3):
            wave = folder / f"{split}-{i}-š.wav"
            soundfile.write(wave, rng.normal(0, 0.1, 16000), 16000)
            for name, value in (("wav.scp", wave.name), ("text", "Crème brûlée, œuf"), ("utt2spk", "Zoë")):
                tables[name].append(f"{split}{i} {value}\n")
        for name, rows in tables.items():
            (folder / split / name).write_text("".join(rows), encoding="utf-8")
    return folder


@pytest.fixture
def locales(tmp_path: Path) -> Callable[[str, str], Dict[str, str]]:
    """The environment of a locale in a single-byte encoding, made here; of ASCII where it can't be made."""

    def make(name: str, encoding: str) -> Dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
        made = shutil.which("localedef") and subprocess.run(
            ["localedef", "-i", name, "-f", encoding, str(tmp_path / f"{name}.{encoding}")], capture_output=True
        )
        if made and (tmp_path / f"{name}.{encoding}").is_dir():
            return {**env, "LOCPATH": str(tmp_path), "LC_ALL": f"{name}.{encoding}"}
        return {**env, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    return make


@pytest.mark.slow
def test_stages_in_another_locale_read_and_write_utf8(tmp_path, locales):
    settings = ["--set", f"data.source={_corpus(tmp_path / 'corpus')}", "--set", "lang.units=char", "--set", "data.language=fr"]
    common = ["--corpus", "kaldi_dir", "--nj", "2", *settings]
    greek = {**locales("el_GR", "ISO-8859-7"), "NUPTSE_EXP": str(tmp_path / "exp")}
    ascii_only = {**greek, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    for env, *command in (
        (ascii_only, sys.executable, "-m", "steps.data"),
        (greek, "utils/run.sh", "--stage", "1", "--stop-stage", "lang"),
    ):
        done = subprocess.run([*command, *common], cwd=ROOT, env=env, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    (data,) = (tmp_path / "exp" / "kaldi_dir").glob("data-????????")
    (lang,) = (tmp_path / "exp" / "kaldi_dir").glob("lang-????????")
    supervision = next(iter(CutSet.from_file(cuts_path(data, "train")))).supervisions[0]
    assert (supervision.text, supervision.speaker) == ("crème brûlée œuf", "Zoë")
    assert set(read_json(lang / "word_counts.json")) == {"brûlée", "crème", "œuf"}
    assert "crème 2\n" in (lang / "words.txt").read_text(encoding="utf-8")


def test_a_path_that_is_not_utf8_is_refused():
    command = [
        os.fsencode(sys.executable),
        b"-m",
        b"steps.data",
        b"--corpus",
        b"kaldi_dir",
        b"--set",
        b"data.source=/tmp/na\xefve",
    ]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True)
    assert (
        done.returncode == 2
        and done.stderr == b"error: 'data.source=/tmp/na\\udcefve' is not UTF-8; rename the files and folders that it names\n"
    )


@pytest.mark.parametrize(
    "encoding,said",
    [
        ("gb18030", "GB18030 (GBK is a part of it): convert it with: iconv -f GB18030 "),
        ("utf-16", "UTF-16: convert it with: iconv -f UTF-16 "),
        ("utf-16-be", "UTF-16BE: convert it with: iconv -f UTF-16BE "),
        ("cp932", "CP932 (Shift_JIS)"),
        ("euc_kr", "CP949 (EUC-KR)"),
        ("big5", "BIG5"),
        ("koi8_r", "KOI8-R"),
        ("cp1251", "WINDOWS-1251"),
        ("latin_1", "ISO-8859-1"),
        ("cp850", "IBM850"),
    ],
)
def test_the_remedy_names_the_encoding_that_a_table_has_and_its_command_converts_it(tmp_path, encoding, said):
    texts = {"gb18030": "打开客厅的灯", "big5": "臺灣的天氣", "cp932": "電気をつけて", "euc_kr": "불을 켜 주세요"}
    texts.update(dict.fromkeys(("koi8_r", "cp1251"), "включи свет на кухне"))
    path = tmp_path / "the text"
    rows = {f"utt{i}": f"{texts.get(encoding, 'déjà été à Genève')} {i}" for i in range(3)}
    path.write_bytes("".join(f"{key} {value}\n" for key, value in rows.items()).encode(encoding))
    with pytest.raises(UserError) as error:
        kaldi.table(path)
    assert said in str(error.value)
    subprocess.run(["bash", "-c", str(error.value).partition("convert it with: ")[2]], check=True)
    assert kaldi.table(path) == rows


def test_a_single_line_in_another_encoding_is_named_and_no_conversion_advised(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("u1 déjà\nu2 été\nu3 là\n".encode() + "u4 forêt\n".encode("latin_1"))
    with pytest.raises(UserError, match=r"text, line 4: not UTF-8 \(byte 7\); correct it there"):
        kaldi.table(path)


@pytest.mark.parametrize(
    "content,said",
    [
        (b"u1 a\nu\x002 b\n", r"line 2: the control character NUL \(U\+0000\) in the id 'u\\x002'"),
        (b"u1 a\ru2 b\r", r"line 1: a carriage return inside the line.*tr '\\r' '\\n' < "),
        (b"\x00" * 4096, r"line 1: the control character NUL"),
    ],
)
def test_damaged_tables_are_named_and_escaped(tmp_path, content, said):
    (tmp_path / "text").write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        kaldi.table(tmp_path / "text")
    assert str(error.value).isprintable()
