"""What training begins with: a student's encoder, or all that fits of a bundle, symbol by symbol."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.training import trainer
from utils.core.errors import UserError
from utils.core.files import ROOT, read_jsonl, write_lines
from utils.lang.lexicon import Lexicon, read_lexicon, read_symbols, write_symbols
from utils.nn import model as networks
from utils.pipeline.config import load
from utils.results.pictures import training_curves
from utils.train import distillation
from utils.train.initial import begin_from
from utils.train.models import make_model


def fresh(prepared, **changes):
    config = SimpleNamespace(**{**vars(prepared.config.model), **changes})
    return make_model(config, read_lexicon(prepared.inputs["lang"]), prepared.inputs, 80)


def begin(prepared, model, path):
    return begin_from(model, path, read_lexicon(prepared.inputs["lang"]), prepared.inputs["vectors"])


@pytest.fixture
def bundle(prepared, tmp_path):
    """A bundle's files of weights and symbols, whose model does not know the first two units and letters, and has others."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    networks.save(fresh(prepared), folder / "model.safetensors")
    units = read_symbols(prepared.inputs["lang"] / "tokens.txt")
    write_symbols(folder / "tokens.txt", [units[0], "ж", "щ", *units[3:]])
    letters = (prepared.inputs["vectors"] / "letters.txt").read_text().split()
    write_lines(folder / "letters.txt", [*reversed(letters[2:]), "ж", "щ"])
    return folder


def test_all_that_fits_is_taken_by_symbol_and_the_rest_stays_fresh(prepared, bundle):
    model = fresh(prepared)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = begin(prepared, model, bundle)
    stored, after = load_file(str(bundle / "model.safetensors")), model.state_dict()
    for name, value in after.items():
        if name.startswith("subword."):
            assert torch.equal(value[0], stored[name][0]) and torch.equal(value[3:], stored[name][3:])
            assert torch.equal(value[1:3], before[name][1:3])
        elif name.endswith("letter.weight"):
            n = len(value) - 1
            assert torch.equal(value[:3], before[name][:3]) and torch.equal(value[3:], stored[name][1 : n - 1].flip(0))
        else:
            assert torch.equal(value, stored[name]), name
    units, letters = len(after["subword.bias"]) - 1, len(after["word.words.spelling.letter.weight"]) - 1
    assert said == f"the encoder, {units - 2} of {units} sub-word units, {letters - 2} of {letters} letters, the word head"


def test_phones_that_the_other_model_lacks_begin_as_their_neighbours(prepared, bundle):
    lang, tokens = prepared.inputs["lang"], read_symbols(bundle / "tokens.txt")
    count = len(read_lexicon(lang).tokens)
    theirs = [*"tsaeiuɡ", *(f"x{n}" for n in range(7, count))]
    write_symbols(bundle / "tokens.txt", [tokens[0], *theirs])
    ours = ["tʲ", "s", "ø", "5", *theirs[4:]]  # "5" is no phone
    model, folder = fresh(prepared), bundle.parent / "lang"
    folder.mkdir()
    (folder / "config.yaml").write_text("data: {language: fr}\nlang: {units: ipa}\n")
    before = model.subword.weight.clone()
    said = begin_from(model, bundle, Lexicon([], ours, [], folder), prepared.inputs["vectors"])
    stored = load_file(str(bundle / "model.safetensors"))["subword.weight"]
    rows = [0, 1 + theirs.index("t"), 1 + theirs.index("s"), 1 + theirs.index("e"), None, *range(5, count + 1)]
    for row, source in enumerate(rows):
        assert torch.equal(model.subword.weight[row], before[row] if source is None else stored[source])
    assert f"{count - 3} of {count} sub-word units, 2 as their neighbours (tʲ as t, ø as e)" in said


def test_without_epochs_the_weights_stay_as_they_begin(prepared, tmp_path):
    untrained = trainer(prepared, tmp_path / "train", epochs=0)
    before = {name: value.clone() for name, value in untrained.model.state_dict().items()}
    untrained.run()
    assert "<svg" in training_curves(read_jsonl(tmp_path / "train" / "curves.jsonl"))  # of stage 5, with a row of dev alone
    after = load_file(str(tmp_path / "train" / "model.safetensors"))
    assert after.keys() == before.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    with pytest.raises(UserError, match="train.epochs=0 leaves the weights .* set train.init=BUNDLE"):
        load("bpe_ctc", ROOT / "egs" / "yesno", ["train.epochs=0"])


def test_a_student_gives_its_encoder_alone(prepared, tmp_path):
    student, path, model = fresh(prepared), tmp_path / "student.safetensors", fresh(prepared)
    distillation.save(student.encoder, path, {})
    head = model.subword.weight.clone()
    assert begin(prepared, model, path) == "the encoder"
    assert all(torch.equal(value, student.encoder.state_dict()[name]) for name, value in model.encoder.state_dict().items())
    assert torch.equal(model.subword.weight, head)


def test_a_model_with_another_word_head_takes_no_rows_of_other_words(prepared, bundle):
    control = fresh(prepared, word_head="softmax")
    table = control.word.words.weight.clone()
    stored = {**load_file(str(bundle / "model.safetensors")), "word.words.weight": torch.ones_like(table)}
    save_file(stored, str(bundle / "model.safetensors"))
    begin(prepared, control, bundle)
    assert torch.equal(control.word.words.weight, table)


def test_weights_that_do_not_fit_are_refused(prepared, bundle, tmp_path):
    with pytest.raises(UserError, match=r"another encoder \(the first that differ: coarse\.1\..*groups model and features"):
        begin(prepared, fresh(prepared, coarse_layers=prepared.config.model.coarse_layers + 1), bundle)
    path = tmp_path / "noise.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match="can't be read as safetensors"):
        begin(prepared, fresh(prepared), path)
    shutil.rmtree(bundle)
    bundle.mkdir()
    with pytest.raises(UserError, match="has no model.safetensors; name an unencrypted bundle"):
        begin(prepared, fresh(prepared), bundle)


def test_a_model_that_is_none_is_refused_before_any_stage(run_stages, exp, tmp_path, caplog, capfd):
    (tmp_path / "folder").mkdir()
    for named in (tmp_path / "folder", Path(__file__)):
        assert run_stages("--corpus", "yesno", "--stop-stage", "train", "--set", f"train.init={named}") == 2
        said = caplog.text + capfd.readouterr().err  # the driver runs in this process or in a new one
        assert f"{named.name} has no model.safetensors; name an unencrypted" in said and not list(exp.glob("yesno/data-*"))
        caplog.clear()
