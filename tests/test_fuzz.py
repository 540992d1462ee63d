"""Stage 0 on made-up Kaldi data directories: it ends in manifests that agree with the tables, or in one error of ours."""

import logging
import shutil
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lhotse import CutSet

from local import kaldi_dir
from support.corpora import data_config
from utils.core.errors import UserError
from utils.core.files import read_json
from utils.core.splits import SPLITS, cuts_path
from utils.corpus import manifests
from utils.text.normalise import normaliser
from utils.text.segmentation import CHARACTERS, characters

EXAMPLES = 500
RATE = 8000
LOG = logging.getLogger("fuzz")
LANGUAGES = ("en", "es", "fr", "he", "it", "ru", "zh")
WORDS = (
    """
one two naïve don’t e-mail é א״ב שָׁלוֹם за́мок ﬁn ｗｏｒｄ 你好 我想听Taylor ราคา ¿qué? *word* %uh (( )) &amp; ... —
1,000 3.10 v2.0.1 ½ 1º 007 4th $5.20 -3 10:30 ١٢ ２０ <unk> [noise] {laugh} !SIL #0 <eps> 👍🏽 1️⃣
""".split()
    + ["10 000", "co\u00adop", "a\u2060b", "\ufffd", "\x07", "\u0301", "a\u0301\u0301"]
)
ANY = st.characters(exclude_categories=("Cs",))
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)
ODD_TEXTS = st.one_of(TEXTS, st.text(ANY, max_size=12))
PLAIN = st.text("abcdefgh-_.0123456789", min_size=1, max_size=8)
ODD = st.one_of(PLAIN, st.text(ANY, min_size=1, max_size=6), st.just("x" * 300))
TIMES = st.one_of(
    st.integers(0, 1000).map(lambda n: f"{n / 1000:.3f}"),  # no floats: libraries of other tests switch subnormal ones off
    st.sampled_from("0 0.0 0.25 0.5 1 2 -1 -0.00002 1e-1 nan inf -inf 1,5 0x1 ٣ 1_0 one".split()),
)
GOOD = ("speech.wav",) * 8
BAD = ("stereo.wav", "float.wav", "short.flac", "silent.wav", "cut.wav", "text.wav", "empty.wav", "none.wav")
# What befalls a table: lines lost or repeated, an odd line, other encodings and line ends, or no table.
DAMAGE = ("lost", "twice", "id alone", "latin-1", "bom", "dos", "nul", "gone", "blank")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with audio of several kinds, good and bad."""
    folder, noise = tmp_path_factory.mktemp("audio"), np.random.default_rng(0).normal(0, 0.1, RATE)
    soundfile.write(folder / "speech.wav", noise, RATE)
    soundfile.write(folder / "stereo.wav", np.stack((noise, noise[::-1]), 1), RATE)
    soundfile.write(folder / "float.wav", noise * 32768, RATE, subtype="FLOAT")
    soundfile.write(folder / "short.flac", noise[:400], RATE)
    soundfile.write(folder / "silent.wav", noise * 0, RATE)
    (folder / "cut.wav").write_bytes((folder / "speech.wav").read_bytes()[:5000])
    (folder / "text.wav").write_text("not audio", encoding="utf-8")
    (folder / "empty.wav").touch()
    return folder


@st.composite
def directories(draw):
    """Split -> table -> bytes; language; data.options."""
    splits = {}
    for split in ("train", *draw(st.sets(st.sampled_from(("dev", "test"))))):
        odd, cut = (draw(st.integers(0, most)) == most for most in (7, 2))
        plain = PLAIN.map(lambda name, split=split: f"{split}-{name}")
        ids = draw(st.lists(ODD if odd else plain, min_size=3, max_size=6, unique=True))
        names = [f"{split}{n}" for n in range(draw(st.integers(1, 3)))] if cut else ids
        rows = {
            "wav.scp": [f"{name} {draw(st.sampled_from(GOOD + BAD))}" for name in names],
            "text": [f"{i} {draw(ODD_TEXTS if odd else TEXTS)}" for i in ids],
            "utt2spk": [f"{i} {draw(st.sampled_from(('anna', 'boris', i)))}" for i in ids],
        }
        if cut:
            rows["segments"] = [f"{i} {draw(st.sampled_from(names))} {draw(TIMES)} {draw(TIMES)}" for i in ids]
        splits[split] = {table: "".join(f"{line}\n" for line in lines).encode() for table, lines in rows.items()}
    if draw(st.integers(0, 3)) == 3:
        tables = splits[draw(st.sampled_from(sorted(splits)))]
        table = draw(st.sampled_from(sorted(tables)))
        tables[table] = damaged(tables[table], draw(st.sampled_from(DAMAGE)))
    options = {"channel": draw(st.sampled_from((-1, 0, 1, 5)))} if draw(st.integers(0, 3)) == 0 else {}
    return splits, draw(st.sampled_from(LANGUAGES)), options


def damaged(table, damage):
    """The bytes of a table; None for a table that is missing."""
    first = table.partition(b"\n")[0] + b"\n"
    changed = {
        "lost": table[len(first) :],
        "twice": table + first,
        "id alone": table + b"lonely\n",
        "latin-1": table + "café über\n".encode("latin-1"),
        "bom": b"\xef\xbb\xbf" + table,
        "dos": table.replace(b"\n", b"\r\n"),
        "nul": table + b"\0\0\0",
        "blank": b"\n" + table + b" \n",
    }
    return changed.get(damage)


def rows_of(path):
    """Id -> the rest of its line, of a table that stage 0 accepted; empty where there is none."""
    text = path.read_bytes().decode("utf-8-sig") if path.exists() else ""
    lines = [line.split(maxsplit=1) for line in text.replace("\r\n", "\n").split("\n")]
    return {line[0]: (line + [""])[1].strip() for line in lines if line}


def agrees(folder, tables, out, language):
    """Check the manifests of `out` against the tables of each split."""
    cuts = {cut.id: (split, cut) for split in SPLITS for cut in CutSet.from_file(cuts_path(out, split))}
    words = normaliser("basic", language, ["usual"])
    if read_json(out / "summary.json")["segmentation"] == CHARACTERS:
        words = lambda text, by_blanks=words: characters(by_blanks(text))  # noqa: E731
    listed = {line.split("\t")[0] for line in (out / "left_out.tsv").read_text(encoding="utf-8").splitlines()}
    for split in tables:
        text, waves, speakers, segments = (rows_of(folder / split / name) for name in ("text", "wav.scp", "utt2spk", "segments"))
        for identity in text:
            if identity not in cuts:
                assert identity in listed or not identity.isprintable()
                continue
            where, cut = cuts[identity]
            assert where == split or (split == "train" and where not in tables)  # held out
            recording, start = (segments[identity].split() if segments else [identity, "0"])[:2]
            assert Path(cut.recording.sources[0].source).name == waves[recording]
            assert cut.start == pytest.approx(max(float(start), 0)) and cut.num_samples > 0
            (spoken,) = cut.supervisions
            assert spoken.speaker == speakers[identity] and spoken.text == words(text[identity])
            assert all(any(c.isalnum() for c in word) for word in spoken.text.split())
            assert np.isfinite(cut.load_audio()).all()


@pytest.mark.slow
def test_stage_0_ends_in_manifests_that_agree_with_the_tables_or_in_one_error(recordings):
    accepted = []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(made=directories())
    def check(made):
        splits, language, options = made
        with tempfile.TemporaryDirectory() as name:
            source, out = Path(name) / "corpus", Path(name) / "out"
            shutil.copytree(recordings, source)
            out.mkdir()
            for split, tables in splits.items():
                (source / split).mkdir()
                for table, content in tables.items():
                    if content is not None:
                        (source / split / table).write_bytes(content)
            keys = dict(language=language, options=options, max_left_out=1.0, sampling_rate=RATE)
            config = data_config("kaldi_dir", source=str(source), **keys)
            try:
                manifests.write(kaldi_dir.prepare(config, source, out, 1, LOG), "fuzz", config, out, out, 1, LOG)
            except UserError as error:
                assert not [c for c in str(error) if unicodedata.category(c) == "Cc" and c != "\n"], repr(str(error))
            else:
                accepted.append(made)
                agrees(source, splits, out, language)

    check()
    assert len(accepted) > EXAMPLES / 10
