"""Published corpora on mini trees in their official layouts: those that Lhotse's recipes read, and Common Voice."""

import functools
import http.server
import logging
import shutil
import tarfile
import threading
import zipfile
from importlib import import_module

import pytest

from local import combine, lhotse_recipe
from local.lhotse_corpora import archives
from support import published
from support.corpora import data_config
from support.published import TREES, Speech
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.results.store import read_all

LOG = logging.getLogger("test")
# utterances of train, dev and test that a mini tree has; how many are left out by design; a word of its lexicon
EXPECTED = {
    "librispeech": ((12, 3, 3), 0, "conference"),
    "mini_librispeech": ((33, 3, 6), 0, "conference"),
    "thchs_30": ((9, 3, 3), 0, "客厅"),
    "aidatatang_200zh": ((9, 3, 3), 0, "客厅"),
    "tedlium3": ((16, 4, 4), 0, "conference"),
    "mls": ((12, 3, 3), 0, "chemin"),
    "fleurs": ((12, 3, 3), 0, "estación"),
    "voxpopuli": ((12, 3, 3), 0, "größe"),
    "common_voice": ((12, 3, 3), 0, "station"),
    "vctk": ((18, 4, 2), 1, "conference"),
    "ljspeech": ((24, 3, 3), 0, "circa"),
    "timit": ((12, 6, 6), 8, "conference"),
    "speechcommands": ((12, 6, 6), 2, "marvin"),
    "ami": ((12, 4, 4), 167, "conference"),  # the other meetings
    "gigaspeech": ((12, 3, 2), 1, "conference"),
    "wenetspeech": ((11, 3, 3), 0, "客"),
}
LANGUAGES = {"mls": "fr", "fleurs": "es", "voxpopuli": "de", "common_voice": "nl"}


def of(corpus, source="", **changes):
    """The keys below `data` for a corpus."""
    changes.setdefault("language", LANGUAGES.get(corpus, "zh" if "客" in EXPECTED[corpus][2] else "en"))
    own, module = ({}, corpus) if corpus == "common_voice" else ({"recipe": corpus}, "lhotse_recipe")
    return data_config(module, source=str(source), options={**own, **changes.pop("options", {})}, **changes)


def read(config, tmp_path):
    return import_module(f"local.{config.module}").prepare(config, tmp_path / "download", tmp_path / "out", 1, LOG)


@pytest.fixture(scope="module")
def made(speech, tmp_path_factory):
    """Mini trees that tests don't change: `made("mls")` is a folder."""
    folder, trees = tmp_path_factory.mktemp("trees"), {}

    def make(corpus):
        if corpus not in trees:
            trees[corpus] = TREES[corpus](folder / corpus, Speech(speech))
        return trees[corpus]

    return make


@pytest.fixture
def tree(made, tmp_path):
    """Copies of mini trees, which a test may change: `tree("mls")` is a folder."""

    def copy(corpus):
        return shutil.copytree(made(corpus), tmp_path / "corpus", symlinks=True, dirs_exist_ok=True)

    return copy


def counted(utterances):
    return tuple(sum(u.split == split for u in utterances) for split in ("train", "dev", "test"))


@pytest.mark.parametrize("corpus", EXPECTED)
def test_a_mini_tree_is_read(corpus, tree, tmp_path):
    config = of(corpus, tree(corpus))
    found = read(config, tmp_path)
    counts, by_design, _ = EXPECTED[corpus]
    assert counted(found.utterances) == counts
    assert [item.by_design for item in found.left_out] == [True] * by_design
    assert all(u.audio.is_file() and tmp_path / "corpus" in u.audio.parents for u in found.utterances)
    assert import_module(f"local.{config.module}").name(config) == (
        f"{corpus}-{config.language}" if corpus in LANGUAGES else corpus
    )


@pytest.mark.slow
@pytest.mark.parametrize("corpus", EXPECTED)
def test_a_mini_tree_runs_from_data_to_the_graphs(corpus, made, run_stages, exp):
    source = made(corpus)
    words = ["--corpus", corpus, "--stop-stage", "lang", "--set", f"data.source={source}", "--set", "features.speed_perturb=[]"]
    if corpus in LANGUAGES:
        words += ["--set", f"data.language={LANGUAGES[corpus]}"]
    assert run_stages(*words) == 0
    (data,), (lang,) = exp.glob(f"{corpus}/data-????????"), exp.glob(f"{corpus}/lang-????????")
    summary = read_json(data / "summary.json")
    counts, by_design, word = EXPECTED[corpus]
    assert tuple(summary["splits"][split]["utterances"] for split in ("train", "dev", "test")) == counts
    assert summary["left_out"] == 0 and summary["left_out_by_design"] == by_design
    assert summary["name"].startswith(corpus)
    words = (lang / "words.txt").read_text(encoding="utf-8").split()
    assert word in words and not {"comma", "unk", "noise"} & set(words)


@pytest.mark.slow
def test_one_runs_to_the_end(made, tmp_path, run_stages, exp):
    source = made("mini_librispeech")
    folder = tmp_path / "mini_librispeech"
    folder.mkdir()
    shutil.copy(ROOT / "egs" / "mini_librispeech" / "corpus.yaml", folder)
    tiny = ["train.epochs=2", "train.average=1", "model.dim=64", "model.heads=2", "model.fine_layers=1", "model.coarse_layers=1"]
    settings = [f"data.source={source}", "features.speed_perturb=[]", *tiny]
    assert run_stages("--corpus", str(folder), "--nj", "1", "--threads", "1", *(w for s in settings for w in ("--set", s))) == 0
    records = {r["decoding"]: r for r in read_all([folder]) if r["split"] == "test"}
    assert {"greedy", "lattice", "wordvec"} <= set(records) and records["wordvec"]["utterances"] == 6
    assert records["wordvec"]["corpus"].startswith("mini_librispeech") and list(exp.glob("mini_librispeech/export-*/bundle"))


@pytest.mark.slow
def test_what_a_recipe_passes_over_is_listed(tree, run_stages, exp):
    source = tree("librispeech")
    train = sorted((source / "LibriSpeech" / "train-clean-100").rglob("*.flac"))
    train[0].unlink()  # a transcript without audio
    shutil.copy(train[1], train[1].with_name("999-1-0000.flac"))  # audio without a transcript
    train[2].write_bytes(b"")
    train[3].write_bytes(train[3].read_bytes()[:3000])
    shares = next((source / "LibriSpeech" / "test-clean").rglob("*.flac"))
    shutil.copy(train[4], shares)
    words = ["--corpus", "librispeech", "--set", f"data.source={source}", "--stop-stage", "data"]
    assert run_stages(*words) == 1 and not list(exp.glob("librispeech/data-????????"))  # more than 1%
    assert run_stages(*words, "--set", "data.max_left_out=0.5") == 0
    (data,) = exp.glob("librispeech/data-????????")
    lines = dict(line.split("\t", 1) for line in (data / "left_out.tsv").read_text().splitlines())
    assert set(lines) == {train[0].stem, "999-1-0000", train[2].stem, train[3].stem}
    assert lines[train[0].stem] == "train\ta transcript, but no audio file" and "no transcript of" in lines["999-1-0000"]
    assert "empty audio file" in lines[train[2].stem] and str(train[3]) in lines[train[3].stem]
    log = (data / "log.txt").read_text()
    assert "test: 1 of 3 utterances have audio that train has too" in log
    assert "train-clean-100 has 12 utterances in this copy, 28539 as published" in log  # one without a transcript is in no split
    trans = next((source / "LibriSpeech" / "dev-clean").rglob("*.trans.txt"))
    trans.write_text(
        trans.read_text().replace("CONFERENCE", "MEETING").replace("PLEASE", "NOW")
    )  # another transcript: made again
    assert run_stages(*words, "--set", "data.max_left_out=0.5") == 0
    assert len(list(exp.glob("librispeech/data-????????"))) == 2


def test_clips_that_were_cut_short_are_left_out(tree, tmp_path):
    source = tree("common_voice")
    clips = sorted((source / "nl" / "clips").iterdir())
    clips[4].write_bytes(clips[4].read_bytes()[: clips[4].stat().st_size // 2])
    clips[5].write_bytes(b"no MP3")
    found = read(of("common_voice", source), tmp_path)
    assert [item.id for item in found.left_out] == [clips[4].stem, clips[5].stem] and "cut short" in found.left_out[0].reason
    table = source / "nl" / "clip_durations.tsv"
    table.write_text(table.read_text() + "broken\n")
    with pytest.raises(UserError, match="clip_durations.tsv, line 20: no clip and milliseconds"):
        read(of("common_voice", source), tmp_path)


def test_corpora_of_lhotse_are_parts_of_a_joined_one(made, tmp_path):
    for corpus in ("timit", "mini_librispeech"):
        (tmp_path / corpus).symlink_to(made(corpus))
    parts = ["mini_librispeech", "timit sa=true"]
    config = data_config("combine", source=str(tmp_path), options={"parts": parts, "name": "both"})
    found = combine.prepare(config, tmp_path, tmp_path / "out", 1, LOG)
    assert counted(found.utterances) == (33 + 16, 3 + 8, 6 + 8) and combine.name(config) == "both"


def pack(tree, archive, *names):
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in names:
            tar.add(tree / name, name)


def lose(*names):
    """A change of a tree: files or folders are gone."""

    def change(folder):
        for name in names:
            path = next(folder.rglob(name))
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def cut(name, length):
    """A change of a tree: a file is cut short."""

    def change(folder):
        path = next(folder.rglob(name))
        path.write_bytes(path.read_bytes()[:length])

    return change


def rename(name, other):
    """A change of a tree: a file or folder has another name."""

    def change(folder):
        path = next(folder.rglob(name))
        path.rename(path.with_name(other))

    return change


def append(name, text):
    """A change of a tree: a file has more text at its end."""

    def change(folder):
        with open(next(folder.rglob(name)), "a", encoding="utf-8") as file:
            file.write(text)

    return change


def unlink_links(folder):
    for link in [path for path in folder.rglob("*.wav") if path.is_symlink()]:
        link.unlink()


@pytest.mark.parametrize(
    "corpus, change, settings, said",
    [
        ("librispeech", lose("dev-clean"), {}, "dev-clean is missing; .*LibriSpeech has test-clean, train-clean-100"),
        ("librispeech", None, {"language": "fr"}, "LibriSpeech has no language 'fr'; data.language is one of en"),
        ("librispeech", None, {"options": {"train": ["train-clean-360"]}}, "train-clean-360 is missing"),
        ("librispeech", lose("*.trans.txt"), {}, r"has no SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt; unpack .*.tar.gz again"),
        (
            "librispeech",
            None,
            {"options": {"recipe": "libraspeech"}},
            "no such corpus",
        ),
        ("librispeech", append("*.trans.txt", "\n"), {}, "trans.txt has a blank line; delete it"),
        ("thchs_30", unlink_links, {}, "train has no .wav file; as published it has links"),
        ("thchs_30", lose("data"), {}, "data is missing"),
        ("aidatatang_200zh", lose("G0013"), {}, "dev has no .wav file; unpack the speakers' archives"),
        ("tedlium3", rename("legacy", "train"), {}, "legacy/train/sph is missing; .*releases 1 and 2 have none"),
        ("tedlium3", lose("SpeakerTrain2_2010.sph"), {}, "sph/SpeakerTrain2_2010.sph is missing, and 0 other talks"),
        ("tedlium3", cut("SpeakerDev0_2010.stm", 45), {}, "SpeakerDev0_2010.stm, line 1: 5 fields instead of 6"),
        ("mls", lose("200_210_000001.opus"), {}, "1 transcripts without a .opus file .* the first of 200_210_000001"),
        ("mls", cut("metainfo.txt", 40), {}, "metainfo.txt lacks the speaker .*transcripts.txt has; unpack the archive again"),
        ("mls", None, {"language": "de"}, "mls_german_opus is missing; .* has mls_french_opus"),
        ("mls", None, {"language": "ru"}, "Multilingual LibriSpeech has no language 'ru'"),
        ("fleurs", cut("train.tsv", 400), {}, r"train.tsv, line \d: \d fields instead of 7"),
        ("fleurs", None, {"language": "fr"}, "fr_fr/train.tsv is missing; .*data has es_419"),
        ("voxpopuli", None, {"language": "fr"}, "asr_fr.tsv.gz is missing; .* has asr_de.tsv.gz, raw_audios"),
        ("voxpopuli", cut("asr_de.tsv.gz", 90), {}, "asr_de.tsv.gz is damaged"),
        ("vctk", lose("p230_002_mic2.flac"), {}, "p230_002.txt has no recording p230_002_mic2"),
        ("vctk", None, {"options": {"mic": "mic3"}}, "data.options.mic=mic3: one of mic1, mic2"),
        ("vctk", lose("speaker-info.txt"), {}, "speaker-info.txt is missing"),
        ("ljspeech", cut("metadata.csv", 30), {}, "metadata.csv, line 1: 2 fields instead of 3"),
        ("timit", lose("TEST"), {}, "TEST is missing"),
        ("speechcommands", None, {"options": {"version": 1}}, "speech_commands_v0.01/testing_list.txt is missing"),
        ("speechcommands", None, {"options": {"version": 3}}, "version=3, test=archive: version is 1 or 2"),
        ("speechcommands", lose("speech_commands_test_set_v0.02"), {}, "data.options.test=list takes testing_list.txt instead"),
        (
            "ami",
            rename("ami_public_manual_1.6.2.zip", "ami_public_manual_1.6.1.zip"),
            {},
            "1.6.2.zip is missing; .* has .*1.6.1.zip",
        ),
        ("ami", cut("ami_public_manual_1.6.2.zip", 500), {}, "ami_public_manual_1.6.2.zip is damaged"),
        ("ami", lose("ES2011a.Headset-0.wav"), {}, "ES2011a.Headset-0.wav is missing below .*, where Headset-1 "),
        ("ami", None, {"options": {"mic": "sdm"}}, r"has no \*Array1-01.wav .data.options.mic=sdm"),
        ("ami", None, {"options": {"mic": "table"}}, "mic is one of ihm, ihm-mix, sdm, mdm8-bf"),
        ("gigaspeech", cut("GigaSpeech.json", 2000), {}, "GigaSpeech.json is cut short or damaged"),
        ("gigaspeech", None, {"options": {"subset": "XXL"}}, "there are XS, S, M, L, XL"),
        ("wenetspeech", cut("WenetSpeech.json", 20), {}, 'WenetSpeech.json has no list "audios"'),
        ("wenetspeech", None, {"options": {"test": "TEST"}}, "there are TEST_NET, TEST_MEETING"),
    ],
)
def test_bad_input_ends_with_what_is_needed(corpus, change, settings, said, tree, tmp_path):
    source = tree(corpus)
    if change:
        change(source)
    config = of(corpus, source, **settings)
    with pytest.raises(UserError, match=said):
        read(config, tmp_path)


def test_a_language_of_fleurs_is_not_read_as_another(tree, tmp_path):
    folder = next(tree("fleurs").rglob("train.tsv")).parent
    assert read(of("fleurs", folder), tmp_path).utterances
    with pytest.raises(UserError, match="is of the language es_419, not fr_fr: set data.language"):
        read(of("fleurs", folder, language="fr"), tmp_path)
    other = folder.rename(folder.with_name("my_copy"))  # the name of no language
    assert read(of("fleurs", other), tmp_path).utterances


def test_a_talk_without_a_line_is_listed(tree, tmp_path):
    source = tree("tedlium3")
    next(source.rglob("SpeakerTrain2_2010.stm")).write_text("")
    (left,) = [one for one in read(of("tedlium3", source), tmp_path).left_out if one.id == "SpeakerTrain2_2010"]
    assert left.split == "train" and left.reason.startswith("no transcript in ")


@pytest.mark.parametrize("corpus, page", [("timit", "LDC93S1"), ("gigaspeech", "SpeechColab"), ("wenetspeech", "WenetSpeech")])
def test_a_corpus_that_is_not_for_everyone_names_the_page_to_ask_at(corpus, page, tmp_path):
    with pytest.raises(UserError, match=f"can't be downloaded by everyone: ask for it at https://.*{page}"):
        read(of(corpus), tmp_path)


def test_timit_may_have_small_letters_as_on_its_disc(speech, made, tmp_path):
    small = read(of("timit", published.timit(tmp_path / "small", Speech(speech), capitals=False)), tmp_path)
    capitals = read(of("timit", made("timit")), tmp_path)
    assert [(u.id, u.text, u.split) for u in small.utterances] == [(u.id, u.text, u.split) for u in capitals.utterances]
    assert counted(read(of("timit", tmp_path / "small", options={"sa": True}), tmp_path).utterances) == (16, 8, 8)


def test_a_copy_may_be_laid_out_in_other_ways(speech, tree, tmp_path):
    found = read(of("voxpopuli", published.voxpopuli_cut(tmp_path / "cut", Speech(speech)), language="deu"), tmp_path)
    assert counted(found.utterances) == (4, 1, 1) and found.utterances[0].raw.endswith(".") and found.utterances[0].end is None

    source = tree("tedlium3")
    next(source.rglob("SpeakerTrain1_2010.sph")).write_bytes(b"")  # is listed by stage 0, utterance by utterance
    assert counted(read(of("tedlium3", source), tmp_path).utterances) == EXPECTED["tedlium3"][0]

    source = tree("ami")
    next(source.rglob("ES2002a.Headset-1.wav")).unlink()
    found = read(of("ami", source), tmp_path)
    assert counted(found.utterances) == (6, 4, 4) and found.left_out[0].reason == "this copy has no ES2002a.Headset-1.wav"

    # its annotations unpacked, one microphone
    with zipfile.ZipFile(source / "ami_public_manual_1.6.2.zip") as archive:
        archive.extractall(source / "ami_public_manual_1.6.2")
    (source / "ami_public_manual_1.6.2.zip").unlink()
    for path in sorted(source.rglob("*.Headset-0.wav")):
        path.rename(path.with_name(path.name.replace("Headset-0", "Array1-01")))
    found = read(of("ami", source, options={"mic": "sdm"}), tmp_path)
    assert counted(found.utterances) == (12, 4, 4) and all(u.audio.name.endswith("Array1-01.wav") for u in found.utterances)

    source = tree("voxpopuli")  # a part of the sessions
    next(source.rglob("20090110-0900-PLENARY-3_original.ogg")).unlink()
    found = read(of("voxpopuli", source), tmp_path)
    assert counted(found.utterances) == (4, 3, 3)
    assert [item.reason for item in found.left_out] == ["this copy has no recording of the session: 8 utterances"]

    source = tree("speechcommands")
    next((source / "speech_commands_v0.02" / "bed").glob("*2a51b2e*")).unlink()  # which validation_list.txt names
    found = read(of("speechcommands", source), tmp_path)
    assert counted(found.utterances) == (12, 5, 6) and "which validation_list.txt names" in found.left_out[-1].reason
    shutil.rmtree(source / "speech_commands_test_set_v0.02")
    found = read(of("speechcommands", source / "speech_commands_v0.02", options={"test": "list"}), tmp_path)
    assert counted(found.utterances) == (12, 5, 6) and {u.text for u in found.utterances if u.split == "test"} >= {
        "yes",
        "marvin",
    }

    audio = tree("fleurs") / "data" / "es_419" / "audio"  # packed, as published
    for folder in sorted(audio.iterdir()):
        pack(audio, audio / f"{folder.name}.tar.gz", folder.name)
        shutil.rmtree(folder)
    found = read(of("fleurs", tmp_path / "corpus", language="es-419"), tmp_path)
    assert counted(found.utterances) == (12, 3, 3) and all(u.audio.is_file() for u in found.utterances)


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A server of archives: the folder that it serves; the addresses of OpenSLR and Edinburgh lead to it."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{httpd.server_port}"
        monkeypatch.setattr(archives, "OPENSLR", address)
        monkeypatch.setattr(archives, "EDINBURGH_VCTK_URL", f"{address}/VCTK-Corpus-0.92.zip")
        yield folder
        httpd.shutdown()


def test_downloads_are_unpacked_with_links_and_archives_in_archives(tree, publisher, tmp_path):
    for corpus in ("mini_librispeech", "thchs_30", "aidatatang_200zh", "vctk"):
        home = tree(corpus)
    for part in ("train-clean-5", "dev-clean-2"):
        pack(home, publisher / "31" / f"{part}.tar.gz", f"LibriSpeech/{part}")
    pack(home, publisher / "18" / "data_thchs30.tgz", "data_thchs30")
    for speaker in sorted((home / "aidatatang_200zh" / "corpus").glob("*/*")):  # as published: an archive a speaker
        pack(speaker.parent, speaker.with_name(f"{speaker.name}.tar.gz"), speaker.name)
        shutil.rmtree(speaker)
    pack(home, publisher / "62" / "aidatatang_200zh.tgz", "aidatatang_200zh")
    shutil.make_archive(str(publisher / "VCTK-Corpus-0.92"), "zip", home / "VCTK-Corpus-0.92")
    for corpus in ("mini_librispeech", "thchs_30", "aidatatang_200zh", "vctk"):
        downloads = tmp_path / "download" / corpus
        found = lhotse_recipe.prepare(of(corpus), downloads, tmp_path, 1, LOG)
        assert counted(found.utterances) == EXPECTED[corpus][0] and lhotse_recipe.place(of(corpus)) == ""
        copy = lhotse_recipe.prepare(of(corpus, downloads), None, tmp_path, 1, LOG)
        assert sorted(copy.utterances, key=str) == sorted(found.utterances, key=str)


def test_a_damaged_download_leaves_nothing_half_unpacked(made, publisher, tmp_path):
    archive = publisher / "18" / "data_thchs30.tgz"
    pack(made("thchs_30"), archive, "data_thchs30")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="data_thchs30.tgz is damaged .* delete it and run the same command again"):
        read(of("thchs_30"), tmp_path)
    assert [path.name for path in (tmp_path / "download").iterdir() if path.is_dir()] == []
    (tmp_path / "download" / "data_thchs30.tgz").unlink()
    archive.write_bytes(whole)
    assert counted(read(of("thchs_30"), tmp_path).utterances) == (9, 3, 3)
    with pytest.raises(UserError, match="can't download .*train-clean-5.tar.gz: .*404"):
        read(of("mini_librispeech"), tmp_path)
