"""What a configuration is resolved from, and what is refused."""

import pytest

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.pipeline import config
from utils.pipeline.old_keys import DROPPED, RENAMED, as_fingerprinted

YESNO = ROOT / "egs" / "yesno"


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus.yaml and return its folder."""

    def write(text, encoding="utf-8"):
        (tmp_path / "corpus.yaml").write_bytes(text.encode(encoding))
        return tmp_path

    return write


def test_later_layers_win(corpus):
    folder = corpus("data: {module: yesno, options: {a: 1}}\ntrain: {epochs: 7}\nlang: {size: 55}\n")
    resolved = config.load("wordvec_hybrid", folder, ["train.epochs=3", "train.epochs=4", "data.options.a=2"])
    assert (resolved["train"]["epochs"], resolved["lang"]["size"], resolved["data"]["options"]) == (4, 55, {"a": 2})
    assert resolved["model"]["word_head"] == "vectors"


def test_a_corpus_may_say_something_of_one_recipe(corpus):
    folder = corpus("data: {module: yesno}\ntrain: {epochs: 7}\nrecipes: {bpe_ctc: {train: {epochs: 9}}}\n")
    assert config.load("bpe_ctc", folder)["train"]["epochs"] == 9 and config.load("word_ctc", folder)["train"]["epochs"] == 7
    assert config.load("bpe_ctc", folder, ["train.epochs=2"])["train"]["epochs"] == 2
    for wrong in ("recipes: {bpe_ct: {train: {epochs: 9}}}", "recipes: {bpe_ctc: 5}", "recipes: [bpe_ctc]"):
        with pytest.raises(UserError, match=r"corpus.yaml: recipes must map recipes \(bpe_ctc, .*\) to settings"):
            config.load("word_ctc", corpus(f"data: {{module: yesno}}\n{wrong}\n"))
    with pytest.raises(UserError, match=r"recipes.bpe_ctc: unknown key 'train.epoch'"):
        config.load("bpe_ctc", corpus("recipes: {bpe_ctc: {train: {epoch: 9}}}"))


@pytest.mark.parametrize("recipe", config.recipe_names())
@pytest.mark.parametrize("folder", sorted(p.parent for p in (ROOT / "egs").glob("*/corpus.yaml")), ids=lambda p: p.name)
def test_every_recipe_resolves_with_every_corpus_to_the_types_of_the_defaults(recipe, folder):
    base, resolved = (config.leaves(c) for c in (config._read(ROOT / "recipes" / "base.yaml"), config.load(recipe, folder)))
    for key, value in resolved.items():
        if not key.startswith(config.OPEN + "."):
            assert type(value) in (type(base[key]), float), key


@pytest.mark.parametrize(
    "key, near",
    [
        ("train.epoch", "train.epochs"),
        ("epochs", "train.epochs"),
        ("train.learning-rate", "train.learning_rate"),
        ("vector.spelling", "vectors.spelling"),
        ("modle.dim", "model.dim"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(key, near):
    with pytest.raises(UserError, match=rf"--set: unknown key '{key}' \(did you mean '{near}'\?\)"):
        config.load("wordvec_hybrid", YESNO, [f"{key}=1"])


@pytest.mark.parametrize(
    "setting, said",
    [
        ("train.epochs=ten", "train.epochs must be a whole number"),
        ("train.epochs=1.5", "train.epochs must be a whole number"),
        ("train.epochs=true", "train.epochs must be a whole number"),
        ("vectors.spelling=1", "vectors.spelling must be true or false"),
        ("train.learning_rate=.nan", "train.learning_rate must be a finite number"),
        ("train.learning_rate=inf", "train.learning_rate must be a finite number"),
        ("features.speed_perturb=[0.9, fast]", "features.speed_perturb must be a finite number"),
        ("features.speed_perturb=0.9", "features.speed_perturb must be a list"),
        ("lang.units=unigrams", r"did you mean 'unigram'\?\): it takes one of unigram, bpe"),
        ("train=5", "'train' is a group of keys: train.epochs"),
        ("train.epochs", "write KEY=VALUE"),
        ("train.epochs=[1", "the value is not YAML"),
        ("data.options.colour=1", "unknown key 'data.options.colour'"),
    ],
)
def test_a_wrong_value_is_refused_and_says_what_fits(setting, said):
    with pytest.raises(UserError, match=said):
        config.load("wordvec_hybrid", YESNO, [setting])


def test_numbers_are_read_as_people_write_them():
    resolved = config.load("wordvec_hybrid", YESNO, ["train.learning_rate=2e-3", "train.clip=3", "features.speed_perturb=[1]"])
    assert resolved["train"]["learning_rate"] == 0.002 and resolved["train"]["clip"] == 3.0
    assert resolved["features"]["speed_perturb"] == [1.0] and type(resolved["features"]["speed_perturb"][0]) is float


def test_text_given_by_set_needs_no_quotes():
    resolved = config.load("wordvec_hybrid", YESNO, ["data.language=no", "data.source=", "vectors.meaning.path=123"])
    assert (resolved["data"]["language"], resolved["data"]["source"], resolved["vectors"]["meaning"]["path"]) == ("no", "", "123")


@pytest.mark.parametrize(
    "text, said",
    [
        ("data: {modul: x}", r"unknown key 'data.modul' \(did you mean 'data.module'\?\)"),
        ("daat: {}", r"unknown key 'daat'"),
        ("data: 5", "'data' is a group of keys"),
        ("data: {options: 5}", "data.options must hold a mapping"),
        ("data: {language: no}", "data.language must be text .* put it in quotes"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "key 'train' stands twice"),
        ("data: [1, 2", "not valid YAML"),
        ("- 1", "must hold a mapping"),
        ("on: 1", "unknown key 'True'"),
    ],
)
def test_a_wrong_corpus_file_is_refused_by_name(corpus, text, said):
    folder = corpus(text)
    with pytest.raises(UserError, match=said) as error:
        config.load("wordvec_hybrid", folder)
    assert "corpus.yaml" in str(error.value)


def test_a_corpus_file_that_is_missing_or_not_utf8_is_refused_by_name(corpus, tmp_path):
    with pytest.raises(UserError, match="corpus.yaml is missing"):
        config.load("wordvec_hybrid", tmp_path)
    with pytest.raises(UserError, match="not valid YAML"):
        config.load("wordvec_hybrid", corpus("data: {source: è}", "latin-1"))


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"no recipe 'wordvec_hybird' \(did you mean 'wordvec_hybrid'\?\); there are "):
        config.load("wordvec_hybird", YESNO)


def test_a_stage_sees_only_the_keys_it_declares():
    seen = config.view(config.subset(config.load("wordvec_hybrid", YESNO), ("data", "features.frame_shift")))
    assert seen.features.frame_shift == 0.01 and isinstance(seen.data.options, dict)
    with pytest.raises(AttributeError):
        seen.features.frame_length
    with pytest.raises(AttributeError):
        seen.train


@pytest.mark.parametrize(
    "recipe, settings, said",
    [
        ("wordvec_hybrid", ["decode.first_pass_lm_order=3"], "decode.first_pass_lm_order=3 must be below lang.lm_order=3"),
        ("wordvec_hybrid", ["decode.first_pass_lm_order=-1"], "and at least 1"),
        ("wordvec_hybrid", ["decode.first_pass_lm_order=2", "decode.unknown=true"], "needs decode.unknown=false"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_the_work(recipe, settings, said):
    with pytest.raises(UserError, match=said):
        config.load(recipe, ROOT / "egs" / "asterisk", settings)


@pytest.mark.parametrize("old, new", RENAMED.items())
def test_an_old_name_of_a_key_loads_under_the_new_one_with_one_log_line(old, new, corpus, caplog):
    caplog.set_level("INFO", "nuptse")
    value = 2 * config.leaves(config.load("wordvec_hybrid", YESNO))[new] or 2
    settings = [f"{old}={value}", "model.word_subsampling=16", "lang.lm_order=3"]
    resolved = config.leaves(config.load("wordvec_hybrid", YESNO, settings if "word_" not in old else [f"{old}={value}"]))
    assert resolved[new] == value and old not in resolved
    assert [r.getMessage() for r in caplog.records] == [f"--set: '{old}' is called '{new}' now"]
    group, _, name = old.rpartition(".")
    folder = corpus(f"data: {{module: yesno}}\n{group}: {{{name}: {resolved[new]}}}\nlang: {{lm_order: 3}}\n")
    assert config.leaves(config.load("bpe_ctc", folder))[new] == value


def test_stored_configurations_and_overrides_take_the_names_of_today(tmp_path):
    (tmp_path / "config.yaml").write_text("model: {subword_stride: 2, word_stride: 4, heads: 4}\n")
    model = config.made_with(tmp_path).model
    assert (model.subword_subsampling, model.word_subsampling, model.heads) == (2, 4, 4)
    items = ["decode.first_order=2", "train.epochs=3", "rescore.spans=false"]
    assert config.current_overrides(items) == ["decode.first_pass_lm_order=2", "train.epochs=3"]


@pytest.mark.parametrize("key", [key for key in DROPPED if key not in config.leaves(config.load("wordvec_hybrid", YESNO))])
def test_a_dropped_key_loads_at_its_off_value_and_is_refused_at_others(key, caplog):
    caplog.set_level("INFO", "nuptse")
    off = str(DROPPED[key].off).lower()
    assert config.load("wordvec_hybrid", YESNO, [f"{key}={off}"]) == config.load("wordvec_hybrid", YESNO)
    assert [r.getMessage() for r in caplog.records] == [
        f"--set: '{key}' no longer exists; ignored, because its value switches it off"
    ]
    with pytest.raises(UserError, match=rf"--set: {key}=9 is no longer possible: on no corpus .*; remove the key"):
        config.load("wordvec_hybrid", YESNO, [f"{key}=9"])


def test_names_of_today_leave_fingerprints_as_they_were():
    declared = {"model": {"subword_subsampling": 4}, "loss": {"word": 0.5}, "decode": {"beam": 8.0}}
    assert as_fingerprinted(declared, ("model", "loss", "decode")) == {
        "model": {"subword_stride": 4},
        "loss": {"word": 0.5, "consistency": 0.0, "outside": 0},
        "decode": {"beam": 8.0, "unknown": False},
    }
    assert as_fingerprinted({"decode": {"beam": 8.0}}, ("decode.beam",)) == {"decode": {"beam": 8.0}}
