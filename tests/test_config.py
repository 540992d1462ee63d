"""What a configuration is resolved from, and what is refused."""

import pytest

from utils.core.allowed import NAMES, accepted
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.yaml_files import read_mapping
from utils.pipeline import config
from utils.settings import rules
from utils.settings.old_keys import DROPPED, RENAMED, as_fingerprinted
from utils.settings.schema import SCHEMA, rows
from utils.text import normalise

YESNO = ROOT / "egs" / "yesno"
BASE = config.leaves(read_mapping(ROOT / "recipes" / "base.yaml"))


@pytest.fixture
def corpus(tmp_path):
    """Write a corpus.yaml and return its folder."""

    def write(text, encoding="utf-8"):
        (tmp_path / "corpus.yaml").write_bytes(text.encode(encoding))
        return tmp_path

    return write


def test_later_layers_win(corpus):
    folder = corpus("data: {module: yesno, options: {a: 1}}\ntrain: {epochs: 7, average: 2}\nlang: {size: 55}\n")
    resolved = config.load("wordvec_hybrid", folder, ["train.epochs=3", "train.epochs=4", "data.options.a=2"])
    assert (resolved["train"]["epochs"], resolved["lang"]["size"], resolved["data"]["options"]) == (4, 55, {"a": 2})
    assert resolved["model"]["word_head"] == "vectors"


def test_a_corpus_may_say_something_of_one_recipe(corpus):
    folder = corpus("data: {module: yesno}\ntrain: {epochs: 7, average: 2}\nrecipes: {bpe_ctc: {train: {epochs: 9}}}\n")
    assert config.load("bpe_ctc", folder)["train"]["epochs"] == 9 and config.load("word_ctc", folder)["train"]["epochs"] == 7
    assert config.load("bpe_ctc", folder, ["train.epochs=2"])["train"]["epochs"] == 2
    for wrong in ("recipes: {bpe_ct: {train: {epochs: 9}}}", "recipes: {bpe_ctc: 5}", "recipes: [bpe_ctc]"):
        with pytest.raises(UserError, match=r"corpus.yaml: recipes must map recipes \(bpe_ctc, .*\) to settings"):
            config.load("word_ctc", corpus(f"data: {{module: yesno}}\n{wrong}\n"))
    with pytest.raises(UserError, match=r"recipes.bpe_ctc: unknown key 'train.epoch'"):
        config.load("bpe_ctc", corpus("recipes: {bpe_ctc: {train: {epoch: 9}}}"))


def of_its_kind(key, value):
    """Whether a value has the type of its key, or is the word that a number's key allows, and lies in its range."""
    known = SCHEMA[key]
    return (type(value) is known.kind or (known.word and value == known.word)) and known.fits(value)


@pytest.mark.parametrize("recipe", config.recipe_names())
@pytest.mark.parametrize("folder", sorted(p.parent for p in (ROOT / "egs").glob("*/corpus.yaml")), ids=lambda p: p.name)
def test_every_recipe_resolves_with_every_corpus_to_allowed_values(recipe, folder):
    resolved = config.leaves(config.load(recipe, folder))
    assert resolved.keys() >= BASE.keys()
    for key in SCHEMA:
        assert of_its_kind(key, resolved[key]), key


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
        ("train.learning_rate=.nan", "train.learning_rate must be a number, greater than 0 and at most 1, not nan"),
        ("train.learning_rate=inf", "train.learning_rate must be a number, .* not inf"),
        (
            "features.speed_perturb=[0.9, fast]",
            r"features.speed_perturb must be a list, each item a number.* not \[0.9, 'fast'\]",
        ),
        ("features.speed_perturb=0.9", "features.speed_perturb must be a list"),
        (
            "lang.units=unigrams",
            "it must be one of unigram, bpe, char, phone, ipa; the nearest allowed value is lang.units=unigram",
        ),
        ("data.language=nx", r"data.language=nx: there is no language nx \(did you mean "),
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
    resolved = config.load("wordvec_hybrid", YESNO, ["train.learning_rate=2e-3", "train.clip=3", "features.speed_perturb=[2]"])
    assert resolved["train"]["learning_rate"] == 0.002 and resolved["train"]["clip"] == 3.0
    assert resolved["features"]["speed_perturb"] == [2.0] and type(resolved["features"]["speed_perturb"][0]) is float


def test_text_given_by_set_needs_no_quotes():
    resolved = config.load("wordvec_hybrid", YESNO, ["data.source=", "vectors.meaning.path=123"])
    assert (resolved["data"]["source"], resolved["vectors"]["meaning"]["path"]) == ("", "123")


@pytest.mark.parametrize(
    "text, said",
    [
        ("data: {modul: x}", r"unknown key 'data.modul' \(did you mean 'data.module'\?\)"),
        ("daat: {}", r"unknown key 'daat'"),
        ("data: 5", "'data' is a group of keys"),
        ("data: {options: 5}", "data.options must hold a mapping"),
        ("data: {language: no}", "data.language must be text, not False; put it in quotes"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "key 'train' occurs twice"),
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
        ("wordvec_ctc", ["decode.first_pass_lm_order=2"], "set decode.first_pass_lm_order=0"),
        ("wordvec_hybrid", ["model.heads=5"], "model.heads=5 must divide model.dim=144 .* set model.heads=4 or model.dim=140"),
        ("wordvec_hybrid", ["model.dim=20", "model.heads=4"], "set model.heads=5 or model.dim=16"),
        (
            "wordvec_hybrid",
            ["model.word_subsampling=6"],
            "a multiple of model.subword_subsampling=4; set model.word_subsampling=8",
        ),
        ("wordvec_hybrid", ["model.word_head=none", "model.subword_head=false"], "no output; set model.subword_head=true"),
        ("bpe_ctc", ["model.subword_head=false"], "no output; set model.subword_head=true"),
        ("wordvec_hybrid", ["loss.subword=0"], "loss.subword=0 leaves the sub-word head untrained; set loss.subword=0.5"),
        ("wordvec_hybrid", ["loss.word=0"], "loss.word=0 leaves the word head untrained; set loss.word=0.5"),
        ("bpe_ctc", ["loss.grounding.weight=0.3"], "needs word vectors .* set loss.grounding.weight=0"),
        ("wordvec_hybrid", ["loss.grounding.joined=1"], "relative to loss.grounding.weight=0"),
        ("wordvec_hybrid", ["vectors.spelling=false"], "needs a part that word vectors are made of: set vectors.spelling=true"),
        ("wordvec_hybrid", ["vectors.meaning.source=llm"], "needs --set vectors.meaning.path=PATH"),
        ("wordvec_hybrid", ["vectors.meaning.source=file"], "needs --set vectors.meaning.path=FILE"),
        ("wordvec_hybrid", ["vectors.meaning.mode=context"], "needs vectors.meaning.source=llm and a folder"),
        ("wordvec_hybrid", ["vectors.meaning.source=random", "vectors.meaning.width=65"], "set vectors.meaning.dim=65"),
        (
            "wordvec_hybrid",
            ["features.low_freq=7601"],
            "from 7601 to 7600 Hz; at data.sampling_rate=16000 .* Nyquist frequency, 8000",
        ),
        (
            "wordvec_hybrid",
            ["features.high_freq=8001"],
            "from 20 to 8001 Hz.* set features.low_freq=20 and features.high_freq=-400",
        ),
        ("wordvec_hybrid", ["features.frame_shift=0.03"], "set features.frame_shift=0.025 or less"),
        ("wordvec_hybrid", ["features.layers=[6]"], r"features.front_end=fbank has no hidden states; set features.layers=\[-1\]"),
        (
            "wordvec_hybrid",
            ["train.freq_width=81"],
            "81 is more than the 80 columns of features.front_end=fbank; set train.freq_width=20",
        ),
        ("gmm_hmm", ["features.num_mel_bins=12"], "set features.num_mel_bins=13"),
        ("wordvec_hybrid", ["features.speed_perturb=[0.9, 1.0]"], r"other than 1.* set features.speed_perturb=\[0.9\]"),
        ("whisper_wordvec", ["features.frame_shift=0.01"], "set features.frame_shift=0.02, not 0.01"),
        ("whisper_wordvec", ["features.model="], r"features.model=\(empty\) is neither a folder with a Whisper model"),
        ("ssl_wordvec", ["features.model=/no/such"], "features.model=/no/such is neither a folder of transformers"),
        ("whisper_zero", ["ready.model=/no/such"], "ready.model=/no/such is neither a folder"),
        ("ssl_finetune", ["features.layers=[-1]"], r"set features.layers=\[N\] instead of \[-1\]"),
        ("wordvec_hybrid", ["data.min_duration=35"], "must be less than data.max_duration=35"),
        ("wordvec_hybrid", ["data.module=asterix"], r"local/ has .*asterisk, .*did you mean 'asterisk'"),
        ("wordvec_hybrid", ["decode.chunk=0.32"], "decode.chunk=0.32 needs model.causal=true; set decode.chunk=0"),
        ("stream_wordvec", ["decode.chunk=0.3"], "0.3 s is no whole number of .* frames, of 0.08 s; set 0.32"),
        ("stream_wordvec", ["model.chunks=[0.01]"], "set 0.08"),
        ("stream_wordvec", ["features.normalise=speaker"], "set features.normalise=global"),
        ("stream_wordvec", ["features.denoise=noisereduce"], "set features.denoise=none"),
        (
            "whisper_wordvec",
            ["model.causal=true"],
            "features.front_end=whisper needs more speech .* set features.front_end=fbank",
        ),
        ("bpe_ctc", ["rescore.word_lm.source=trained"], "no word vectors .*set llm, file or learned"),
        ("bpe_ctc", ["rescore.word_lm.source=file"], "needs --set rescore.word_lm.path=PATH"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_the_work(recipe, settings, said):
    with pytest.raises(UserError, match=said):
        config.load(recipe, ROOT / "egs" / "asterisk", settings)


@pytest.mark.parametrize("old, value", [("model.subword_stride", 2), ("model.word_stride", 16), ("decode.first_order", 1)])
def test_an_old_name_of_a_key_loads_under_the_new_one_with_one_log_line(old, value, corpus, caplog):
    caplog.set_level("INFO", "nuptse")
    group, _, name = old.rpartition(".")
    folder = corpus(f"data: {{module: yesno}}\n{group}: {{{name}: {value}}}\n")
    for resolved in (config.load("wordvec_hybrid", ROOT / "egs/kaldi_dir", [f"{old}={value}"]), config.load("bpe_ctc", folder)):
        found = config.leaves(resolved)
        assert found[RENAMED[old]] == value and old not in found
    assert [r.getMessage() for r in caplog.records] == [
        f"{where}: '{old}' is called '{RENAMED[old]}' now" for where in ("--set", folder / "corpus.yaml")
    ]


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


def test_weights_of_the_first_pass_are_numbers_or_auto_and_one_old_number_is_for_both_heads():
    settings = ["decode.first_lm_scale=0.5"]
    decode = config.load("wordvec_hybrid", YESNO, settings)["decode"]
    assert decode["first_lm_scale"] == {"subword": 0.5, "word": 0.5}
    assert decode["blank_penalty"] == {"subword": "auto", "word": "auto"}
    both = config.load("wordvec_hybrid", YESNO, ["decode.blank_penalty=0", "decode.first_lm_scale.word=0.5"])["decode"]
    assert both["blank_penalty"] == {"subword": 0.0, "word": 0.0} and both["first_lm_scale"] == {"subword": "auto", "word": 0.5}
    for wrong in ("autp", "-1", "[1]"):
        with pytest.raises(UserError, match=r"decode\.blank_penalty\.word.* a number, at least 0, or auto"):
            config.load("wordvec_hybrid", YESNO, [f"decode.blank_penalty.word={wrong}"])


def test_weights_that_change_nothing_leave_the_fingerprint_of_decoding_as_it_was():
    both = {"blank_penalty": {"subword": 0.0, "word": 0.0}, "first_lm_scale": {"subword": 0.5, "word": 0.5}}
    assert as_fingerprinted({"decode": both}, ("decode",)) == {"decode": {"first_lm_scale": 0.5, "unknown": False}}
    both["first_lm_scale"]["word"], both["blank_penalty"]["word"] = 1.0, 2.0
    assert as_fingerprinted({"decode": both}, ("decode",)) == {"decode": {**both, "unknown": False}}


@pytest.mark.parametrize("name", ["take #2", "123", "a: b", "null", "[one]", "~", "yes"])
def test_text_is_taken_as_it_is_typed(name):
    assert config.load("wordvec_hybrid", YESNO, [f"data.source={name}"])["data"]["source"] == name
    assert config.load("wordvec_hybrid", YESNO, ['data.source=""'])["data"]["source"] == ""


@pytest.mark.parametrize("item, base", [("train.epochs=010", 8), ("seed=007", 8), ("train.batch_seconds=1:30", 60)])
def test_a_number_that_yaml_reads_to_another_base_is_refused(item, base):
    with pytest.raises(UserError, match=f"is to base {base}; write a plain number"):
        config.load("wordvec_hybrid", YESNO, [item])


def test_a_home_folder_is_written_with_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/zoë")
    loaded = config.load("wordvec_hybrid", YESNO, ["data.source=~/my corpus", "lang.text=texts/~/a"])
    assert loaded["data"]["source"] == "/home/zoë/my corpus" and loaded["lang"]["text"] == "texts/~/a"


def test_names_of_today_leave_fingerprints_as_they_were():
    declared = {"model": {"subword_subsampling": 4}, "loss": {"word": 0.5}, "decode": {"beam": 8.0}}
    assert as_fingerprinted(declared, ("model", "loss", "decode")) == {
        "model": {"subword_stride": 4},
        "loss": {"word": 0.5, "consistency": 0.0, "outside": 0},
        "decode": {"beam": 8.0, "unknown": False},
    }
    assert as_fingerprinted({"decode": {"beam": 8.0}}, ("decode.beam",)) == {"decode": {"beam": 8.0}}


def test_fewer_checkpoints_than_are_averaged_are_no_contradiction():
    assert config.load("wordvec_hybrid", ROOT / "egs" / "asterisk", ["train.epochs=1"])["train"]["average"] == 3


def test_contradictions_of_the_network_do_not_stop_other_systems():
    for recipe in ("gmm_hmm", "pocketsphinx"):
        config.load(recipe, ROOT / "egs" / "asterisk", ["model.heads=5", "loss.subword=0"])


def test_every_rule_is_asked():
    written = {
        name for name, value in vars(rules).items() if callable(value) and getattr(value, "__module__", "") == rules.__name__
    }
    asked = {rule.__name__ for rule in (*rules.EVERY_SYSTEM, *rules.FEATURES, *rules.NETWORK)}
    assert asked == {name for name in written if not name.startswith("_")} - {"check"}


def test_the_schema_has_the_keys_of_base_yaml_and_allows_every_default():
    assert list(SCHEMA) == [key for key in BASE if key not in DROPPED]
    for key in SCHEMA:
        assert of_its_kind(key, BASE[key]), key
    assert SCHEMA["data.normaliser"].choices == normalise.NAMES
    page = {key: (default, kind, allowed) for key, default, kind, allowed in rows(BASE)}
    assert page["model.kernel"] == (15, "a whole number", "an odd whole number, at least 1") and page.keys() == SCHEMA.keys()
    assert page["train.precision"] == ("fp32", NAMES[str], "one of fp32, bf16, fp16")


def ends_of_ranges():
    """Key, a value just outside an end of its range, and one just inside, for every numeric key and both ends that it has."""
    for key, known in SCHEMA.items():
        number = known.item if known.kind is list else known
        if number is None or number.kind not in (int, float) or number.choices:
            continue
        step = {int: 2 if number.odd else 1, float: 1e-6}[number.kind]
        for end, is_open, sign in ((number.low, number.open_low, 1), (number.high, number.open_high, -1)):
            if end is not None:
                outside, inside = (end, end + sign * step) if is_open else (end - sign * step, end)
                yield pytest.param(key, number.kind(outside), number.kind(inside), id=f"{key}-{'low' if sign == 1 else 'high'}")


@pytest.mark.parametrize("key, outside, inside", list(ends_of_ranges()))
def test_a_number_just_outside_its_range_is_refused_and_one_just_inside_is_accepted(key, outside, inside):
    known = SCHEMA[key]
    wrong, right = ([outside], [inside]) if known.kind is list else (outside, inside)
    with pytest.raises(
        UserError, match=rf"^here: {key}=.* is not allowed: it must be .*; the nearest allowed value is {key}="
    ) as error:
        accepted(key, known, wrong, "here")
    assert accepted(key, known, right, "here") == right and known.fits(known.nearest(wrong))
    assert f"{key}={known.nearest(wrong)}" in str(error.value)


def test_every_numeric_key_has_a_lower_end_or_a_reason():
    numeric = {key for key, known in SCHEMA.items() if known.kind in (int, float) and not known.choices and known.low is None}
    assert numeric == {"features.high_freq"}  # relative to the Nyquist frequency where it is not positive


@pytest.mark.parametrize(
    "setting, near",
    [
        ("train.epochs=-1", "0"),
        ("train.average=0", "1"),
        ("model.kernel=4", "5"),
        ("model.dropout=7.5", "0.99"),
        ("decode.beam=-3", "0.01"),
        ("rescore.attention.beam=-1", "0"),
        ("model.subword_subsampling=5", "4"),
        ("train.time_masks=0", "1"),
        ("decode.packs=[a, b, a]", "['a', 'b']"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_nearest_right_one(setting, near):
    key = setting.partition("=")[0]
    with pytest.raises(UserError) as error:
        config.load("wordvec_hybrid", YESNO, [setting])
    assert f"--set: {key}=" in str(error.value) and str(error.value).endswith(f"the nearest allowed value is {key}={near}")


def test_integers_need_a_network_in_onnx():
    assert config.load("bpe_ctc", YESNO, ["export.int8=true"])["export"]["int8"]
    with pytest.raises(UserError, match="export.int8=true is for model.onnx; set export.onnx=true"):
        config.load("bpe_ctc", YESNO, ["export.int8=true", "export.onnx=false"])
