"""Ready-made recognisers: their stages on real speech, up to records."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.corpora import write_kaldi
from utils.baselines import ready
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json
from utils.pipeline.config import load, view
from utils.pipeline.stages import SYSTEMS, plan

pytest.importorskip("ctranslate2")
SECOND = np.zeros(16000, np.float32)


@pytest.fixture
def sentences(speech, tmp_path):
    """A corpus folder and its audio: sentences of an exchange's conferences."""
    prompts = [u for key, u in sorted(speech.items()) if key.startswith("conf-")]
    for split, part in (("train", prompts[:8]), ("dev", prompts[8:12]), ("test", prompts[12:20])):
        write_kaldi(tmp_path / "source" / split, part, 1)
    (tmp_path / "sentences").mkdir()
    (tmp_path / "sentences" / "corpus.yaml").write_text((ROOT / "egs/kaldi_dir/corpus.yaml").read_text(), encoding="utf-8")
    return tmp_path / "sentences"


def settings(recipe, *changes):
    return view(load(recipe, ROOT / "egs/kaldi_dir", changes)).ready


@pytest.mark.slow
@pytest.mark.parametrize("recipe, most", [("whisper_zero", 25.0), ("pocketsphinx", 60.0)])
def test_from_data_to_records(recipe, most, sentences, whisper_model, exp, run_stages):
    """Studio speech is recognised and recorded; stages that the system lacks are not run."""
    command = ["--corpus", str(sentences), "--recipe", recipe, "--set", f"data.source={sentences.parent / 'source'}"]
    assert run_stages(*command, "--set", f"ready.model={whisper_model}", "--nj", "2") == 0
    made = {folder.name.rpartition("-")[0] for folder in exp.glob("sentences/[!.]*")}
    assert made == {"data", "lang", "decode", "score"}
    (score,), (decode,) = exp.glob("sentences/score-*"), exp.glob("sentences/decode-*")
    record = read_json(score / "test-beam.json")
    assert record["words"] > 20 and record["wer"] < most
    assert record["parameters"] == 0 and record["oracle_wer"] is None and set(record["seconds"]) == {"data", "lang", "decode"}
    links = {"whisper_zero": {"front_end", "beam"}, "pocketsphinx": {"beam"}}[recipe]
    assert set(record["rtf"]) == links and min(record["rtf"].values()) > 0
    size = read_json(decode / "summary.json")["model_bytes"] / 1e6
    assert record["model_mb"] == pytest.approx(size, abs=0.001) and size > 5


def test_a_system_has_only_its_own_stages():
    for system, stages in SYSTEMS.items():
        assert all(set(stage.reads) <= set(stages) for stage in stages.values()), system
        assert [s.number for s in stages.values()] == sorted(s.number for s in stages.values())
    plans = plan(load("whisper_zero", ROOT / "egs/kaldi_dir"), Path("exp"))
    assert list(plans) == ["data", "lang", "decode", "score"]
    again = plan(load("whisper_zero", ROOT / "egs/kaldi_dir", ["train.epochs=3"]), Path("exp"))
    assert {n: p.fingerprint for n, p in again.items()} == {n: p.fingerprint for n, p in plans.items()}
    larger = plan(load("whisper_zero", ROOT / "egs/kaldi_dir", ["ready.beam=1"]), Path("exp"))
    assert [n for n in plans if larger[n].fingerprint != plans[n].fingerprint] == ["decode", "score"]


@pytest.mark.slow
def test_pocketsphinx_decodes_each_utterance_independently(speech):
    """So the order and the number of processes do not matter."""
    prompts = sorted((u for key, u in speech.items() if key.startswith("conf-")), key=lambda u: u.audio.stat().st_size)[:3]
    waves = [soundfile.read(u.audio, dtype="float32")[0] for u in prompts]
    alone = [ready.PocketSphinx(settings("pocketsphinx"), "cpu", {"en"}).words(w, "en", {}) for w in waves]
    one = ready.PocketSphinx(settings("pocketsphinx"), "cpu", {"en"})
    assert alone == [one.words(w, "en", {}) for w in waves] and all(alone)


@pytest.mark.slow
def test_silence_is_no_error(whisper_model):
    seconds = {}
    whisper = ready.Whisper(settings("whisper_zero", f"ready.model={whisper_model}"), "cpu", {"en"})
    assert isinstance(whisper.words(SECOND, "en", seconds), str)
    assert set(seconds) == {"front_end", "beam"}
    assert isinstance(ready.PocketSphinx(settings("pocketsphinx"), "cpu", {"en"}).words(SECOND, "en", {}), str)


def test_the_length_of_an_utterance_bounds_the_tokens_of_whisper(speech, whisper_model):
    """A loose bound on tokens changes nothing, a tight one cuts, and without a bound nothing is cut."""
    longest = max((u for key, u in speech.items() if key.startswith("conf-")), key=lambda u: len(u.text))
    wave, model = soundfile.read(longest.audio, dtype="float32")[0], f"ready.model={whisper_model}"
    bounds = (settings("whisper_zero", model, f"ready.tokens={n}") for n in (8.0, 0.0, 0.1))
    whole, free, cut = (ready.Whisper(bound, "cpu", {"en"}).words(wave, "en", {}) for bound in bounds)
    assert whole == free and len(cut.split()) < len(whole.split())


def test_what_they_refuse(whisper_model, tmp_path):
    with pytest.raises(UserError, match=r"has only an English model, and the corpus is in en, fr"):
        ready.PocketSphinx(settings("pocketsphinx"), "cpu", {"en", "fr"})
    with pytest.raises(UserError, match=r"doesn't know the language 'fr': use a multilingual model"):
        ready.Whisper(settings("whisper_zero", f"ready.model={whisper_model}"), "cpu", {"fr"}).words(SECOND, "fr", {})
    with pytest.raises(UserError, match=r"ready.model=/no/such is neither a folder"):
        ready.Whisper(settings("whisper_zero", "ready.model=/no/such"), "cpu", {"en"})
    with pytest.raises(UserError, match=r"ready.compute_type=float16: on cpu there are"):
        ready.Whisper(settings("whisper_zero", f"ready.model={whisper_model}", "ready.compute_type=float16"), "cpu", {"en"})
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_bytes((whisper_model / name).read_bytes() if name.endswith("json") else b"nothing")
    with pytest.raises(UserError, match=r"has no tokenizer.json"):
        ready.Whisper(settings("whisper_zero", f"ready.model={tmp_path}"), "cpu", {"en"})
    (tmp_path / "tokenizer.json").write_bytes((whisper_model / "tokenizer.json").read_bytes())
    with pytest.raises(UserError, match=r"is not a Whisper model that CTranslate2 can read"):
        ready.Whisper(settings("whisper_zero", f"ready.model={tmp_path}"), "cpu", {"en"}).words(SECOND, "en", {})
