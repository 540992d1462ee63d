"""Common Voice in Mozilla's layout, and several corpora as one: mini trees of real recordings."""

import logging
import shutil

import pytest
import soundfile

from local import combine, common_voice
from support.corpora import data_config
from utils.core.errors import UserError
from utils.core.files import read_json
from utils.corpus.cuts import read_cuts
from utils.lang.lexicon import read_lexicon
from utils.lang.units import pronounce
from utils.text.sentences import words_by_language

LOG = logging.getLogger("test")
PARTS = "data.options.parts=[common_voice locale=en, kaldi_dir name=mine]"
HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment\n"


@pytest.fixture
def tree(speech, tmp_path):
    """cv-corpus: English of 30 speakers in validated.tsv alone; German with Mozilla's splits and one clip that is not there."""
    folder = tmp_path / "joined" / "common_voice"
    recordings = sorted(speech.items())
    for locale, tables in {"en": {"validated": 30}, "de": {"train": 6, "dev": 2, "test": 2}}.items():
        (folder / locale / "clips").mkdir(parents=True)
        for table, count in tables.items():
            rows = []
            for n in range(count):
                key, utterance = recordings[n]
                clip = f"common_voice_{locale}_{table}{n}.mp3"
                samples, rate = soundfile.read(utterance.audio)
                if (locale, table, n) != ("de", "train", 5):
                    soundfile.write(folder / locale / "clips" / clip, samples, rate, format="MP3")
                rows.append(f'{n:064x}\t{clip}\t"{utterance.text}\t2\t0\t\t\t\t{locale}\t\n')
            (folder / locale / f"{table}.tsv").write_text(HEADER + "".join(rows), encoding="utf-8")
    return folder


def copy_as(tree, *locales):
    """The German folder under the names of other languages, which its tables name too."""
    for locale in locales:
        shutil.copytree(tree / "de", tree / locale)
        for table in (tree / locale).glob("*.tsv"):
            table.write_text(table.read_text(encoding="utf-8").replace("\tde\t", f"\t{locale}\t"), encoding="utf-8")


def read(module, config):
    return module.prepare(config, None, None, 1, LOG)


def test_common_voice_takes_mozillas_splits_or_holds_speakers_out(tree):
    german = read(common_voice, data_config("common_voice", source=str(tree), language="de"))
    counts = [sum(u.split == split for u in german.utterances) for split in ("train", "dev", "test")]
    assert counts == [5, 2, 2] and "no file" in german.left_out[0].reason and german.left_out[0].split == "train"
    english = read(common_voice, data_config("common_voice", source=str(tree), language="en"))
    assert len(english.utterances) == 30 and {u.split for u in english.utterances} == {"train", "dev", "test"}
    sized = read(common_voice, data_config("common_voice", source=str(tree), language="en", options={"held_out": 0.2}))
    counts = [sum(u.split == split for u in sized.utterances) for split in ("train", "dev", "test")]
    assert counts[1:] == [6, 6] and sum(counts) == 30
    assert english.utterances[0].text.startswith('"') and len(english.utterances[0].speaker) == 32
    again = read(
        common_voice, data_config("common_voice", source=str(tree / "en"), language="en")
    )  # the folder of the language itself
    assert [u.split for u in again.utterances] == [u.split for u in english.utterances]


@pytest.mark.parametrize(
    "change, said",
    [
        ({"language": "ja"}, "no folder ja/ with clips/ in it; it has de, en"),
        ({"source": ""}, "downloaded by hand"),
        ({"language": "zh"}, "several folders.*zh-CN or zh-TW"),
        ({"language": "de", "table": "id\tpath\tsentence\n1\ta.mp3\tb\n"}, "train.tsv has no column client_id"),
        ({"language": "de", "table": HEADER + "1\ta.mp3\n"}, "train.tsv, line 2: fewer columns"),
        ({"language": "de", "table": HEADER}, "train.tsv has no row"),
        ({"language": "en", "gone": "en/validated.tsv"}, "validated.tsv is missing"),
        ({"language": "zh-HK"}, "no folder zh-HK/"),
        ({"options": {"locale": "de"}}, "of the language de, as its tables say, not of en: set data.language=de"),
        ({"options": {"locale": "de+"}}, "a language is missing beside the +"),
        ({"options": {"held_out": 0.9}}, "more than 0 and less than 0.5"),
    ],
)
def test_a_wrong_copy_of_common_voice_is_named(tree, change, said):
    copy_as(tree, "zh-CN", "zh-TW")
    if "table" in change:
        (tree / change["language"] / "train.tsv").write_text(change["table"])
    if "gone" in change:
        (tree / change["gone"]).unlink()
    config = data_config("common_voice", source=change.get("source", str(tree)), language=change.get("language", "en"))
    config.options.update(change.get("options", {}))
    with pytest.raises(UserError, match=said):
        read(common_voice, config)


def test_a_split_that_common_voice_lacks_is_held_out_of_train(tree):
    (tree / "de" / "dev.tsv").write_text(HEADER)
    (tree / "de" / "test.tsv").unlink()
    found = read(common_voice, data_config("common_voice", source=str(tree), language="de"))
    assert len(found.utterances) == 5 and {u.split for u in found.utterances} == {"train", "dev", "test"}


@pytest.mark.parametrize(
    "language, folder", [("sv", "sv-SE"), ("swe", "sv-SE"), ("zh_tw", "zh-TW"), ("zh-TW", "zh-TW"), ("deu", "de")]
)
def test_the_folder_of_common_voice_is_found_by_every_form_of_a_tag(tree, language, folder):
    copy_as(tree, "zh-CN", "zh-TW", "sv-SE")
    found = read(common_voice, data_config("common_voice", source=str(tree), language=language))
    assert {u.audio.parent.parent.name for u in found.utterances} == {folder}


def test_words_of_several_languages_are_said_as_in_each(tree, run_stages, exp):
    changes = [f"data.source={tree}", "data.options.locale=en+de", "data.options.held_out=0.2", "data.max_left_out=0.5"]
    changes = [part for change in (*changes, "lang.units=ipa", "features.speed_perturb=[]") for part in ("--set", change)]
    assert run_stages("--corpus", "common_voice", "--stop-stage", "lang", *changes) == 0
    folders = {name: next(exp.glob(f"common_voice/{name}-????????")) for name in ("data", "lang")}
    assert read_json(folders["data"] / "summary.json")["name"] == "common_voice-en+de"
    said = words_by_language(folders["data"], "en")
    both = set(said["en"]) & set(said["de"])
    assert both and {cut.supervisions[0].speaker[:3] for cut in read_cuts(folders["data"], "train")} == {"en-", "de-"}
    lexicon = read_lexicon(folders["lang"])
    entries = {word: {units for own, units in lexicon.entries if own == word} for word in both}
    each = [pronounce(sorted(both), language)[0] for language in ("en-fonipa", "de-fonipa")]
    assert entries == {word: {units for spoken in each for units in spoken[word]} for word in both}
    assert max(map(len, entries.values())) == 2


def test_corpora_are_joined_with_their_own_splits(tree, kaldi_source, run_stages, exp):
    shutil.move(str(kaldi_source), str(tree.parent / "kaldi_dir"))
    changes = [f"data.source={tree.parent}", "data.options.name=", "data.max_left_out=0.5", PARTS]
    changes = [part for change in changes for part in ("--set", change)]
    assert run_stages("--corpus", "english", "--stop-stage", "data", *changes) == 0
    (data,) = exp.glob("english/data-????????")
    summary = read_json(data / "summary.json")
    assert summary["name"].startswith("common_voice-en+mine")
    assert summary["splits"]["train"]["utterances"] > 5 and summary["splits"]["test"]["utterances"] > 2


@pytest.mark.parametrize(
    "parts, said",
    [
        ([], "combine joins corpora: name them"),
        (["fsd"], "no corpus 'fsd'.*did you mean.*fsdd"),
        (["combine"], "no corpus 'combine'"),
        (["fsdd", "fsdd task=isolated"], "names fsdd twice"),
        (["fsdd isolated"], "has 'isolated', and must be"),
        (["fsdd tasks=1"], "data.options.tasks"),
    ],
)
def test_wrong_parts_are_refused(parts, said):
    with pytest.raises(UserError, match=said):
        combine.name(data_config("combine", options={"parts": parts}))
