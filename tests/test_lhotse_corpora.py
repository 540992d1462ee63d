"""Published corpora through Lhotse's recipes, on mini trees in their official layouts."""

import logging

import pytest

from local import lhotse_recipe
from support.corpora import data_config
from support.published import TREES, Speech
from utils.core.files import read_json

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
    "vctk": ((20, 2, 2), 1, "conference"),
    "ljspeech": ((24, 3, 3), 0, "circa"),
    "timit": ((12, 6, 6), 8, "conference"),
    "speechcommands": ((12, 6, 6), 2, "marvin"),
    "ami": ((12, 4, 4), 0, "conference"),
    "gigaspeech": ((12, 3, 2), 1, "conference"),
    "wenetspeech": ((11, 3, 3), 0, "客"),
}
LANGUAGES = {"mls": "fr", "fleurs": "es", "voxpopuli": "de"}


def of(corpus, source="", **changes):
    """The keys below `data` for a corpus."""
    changes.setdefault("language", LANGUAGES.get(corpus, "zh" if "客" in EXPECTED[corpus][2] else "en"))
    options = {"recipe": corpus, **changes.pop("options", {})}
    return data_config("lhotse_recipe", source=str(source), options=options, **changes)


def read(config, tmp_path):
    return lhotse_recipe.prepare(config, tmp_path / "download", tmp_path / "out", 1, LOG)


@pytest.fixture
def speaking(speech):
    return Speech(speech)


def counted(utterances):
    return tuple(sum(u.split == split for u in utterances) for split in ("train", "dev", "test"))


@pytest.mark.parametrize("corpus", EXPECTED)
def test_a_mini_tree_is_read(corpus, speaking, tmp_path):
    config = of(corpus, TREES[corpus](tmp_path / "corpus", speaking))
    found = read(config, tmp_path)
    counts, by_design, _ = EXPECTED[corpus]
    assert counted(found.utterances) == counts
    assert [item.by_design for item in found.left_out] == [True] * by_design
    assert all(u.audio.is_file() and tmp_path / "corpus" in u.audio.parents for u in found.utterances)
    assert lhotse_recipe.name(config) == (f"{corpus}-{config.language}" if corpus in LANGUAGES else corpus)


@pytest.mark.slow
@pytest.mark.parametrize("corpus", EXPECTED)
def test_a_mini_tree_runs_from_data_to_the_graphs(corpus, speaking, tmp_path, run_stages, exp):
    source = TREES[corpus](tmp_path / "corpus", speaking)
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
    assert word in (lang / "words.txt").read_text(encoding="utf-8").split()
