"""Self-supervised encoders: the same numbers as the libraries, long recordings, refusals, fine-tuning on real speech.

Their weights are random, in folders as transformers writes them: nothing here shows how well a real encoder works.
"""

import json
import logging
import math
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from lhotse import CutSet
from lhotse.utils import compute_num_frames
from safetensors.torch import load_file, save_file

from support.corpora import write_kaldi
from support.driving import drive
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.corpus.cuts import read_cuts
from utils.features import extraction, front_ends
from utils.features.ssl_model import _renamed, bundles
from utils.lang.lexicon import read_lexicon
from utils.nn.wav2vec2 import Architecture, Wav2Vec2
from utils.pipeline import config, stages
from utils.pipeline.contract import Job
from utils.train.dataset import Features
from utils.train.pretrained_layers import LayerMix, UpperLayers
from utils.train.trainer import Trainer

TINY = Architecture(
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=24,
    conv_dim=(8,) * 7,
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    num_buckets=32,
    max_bucket_distance=60,
    do_normalize=False,
)
STABLE = replace(TINY, do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True, do_normalize=True)
WAVLM = replace(TINY, model_type="wavlm")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def weights(architecture, prefix=""):
    """Numbers for all weights, by the names that transformers gives them."""
    shapes = {k: v.shape for k, v in Wav2Vec2(architecture, architecture.num_hidden_layers).state_dict().items()}
    conv = "encoder.pos_conv_embed.conv.weight"
    shapes.update({f"{conv}_g": (1, 1, architecture.num_conv_pos_embeddings), f"{conv}_v": shapes.pop(conv)})
    if architecture.model_type == "wavlm":
        shapes["encoder.layers.0.attention.rel_attn_embed.weight"] = shapes.pop("encoder.rel_attn_embed.weight")
    out = {}
    for n, (name, shape) in enumerate(sorted(shapes.items())):
        value = torch.sin(torch.arange(math.prod(shape)).double() * 0.7 + n).view(shape).float() * (
            0.3 if len(shape) > 1 else 0.1
        )
        out[prefix + name] = value + (1.0 if name.endswith(("norm.weight", "weight_g")) else 0.0)
    return out


def write(folder, architecture, prefix="", pickled=False):
    """A folder of transformers; `prefix` is that of a model with a head."""
    folder.mkdir(exist_ok=True)
    settings = {**asdict(architecture), "hidden_act": "gelu", "feat_extract_activation": "gelu", "architectures": ["A"]}
    preparation = {"do_normalize": settings.pop("do_normalize"), "sampling_rate": 16000, "feature_size": 1}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "preprocessor_config.json").write_text(json.dumps(preparation))
    values = {**weights(architecture, prefix), "lm_head.bias": torch.zeros(32)}
    if pickled:
        torch.save(values, folder / "pytorch_model.bin")
    else:
        save_file(values, str(folder / "model.safetensors"))
    return folder


def settings(model, **changes):
    return SimpleNamespace(**{"front_end": "ssl", "model": str(model), "layers": [], "frame_shift": 0.02, **changes})


def extract(model, samples, **changes):
    return front_ends.make(settings(model, **changes), 16000).extract([samples])[0]


def chirp(frames):
    t = torch.arange(frames).double() / 16000
    beat = 0.3 * torch.sin(2 * math.pi * 200 * t) * torch.sin(2 * math.pi * 3 * t)
    return (beat + 0.2 * torch.sin(2 * math.pi * 700 * t * t)).float().numpy()[None]


def torchaudio_model(a):
    """torchaudio's own network with the same weights, named as its import from transformers has them."""
    model = torchaudio.models.wav2vec2_model(**parameters(a))
    given = {name.replace("encoder.", "encoder.transformer."): value for name, value in weights(a).items()}
    model.load_state_dict({("encoder." if k.startswith("feature_projection") else "") + k: v for k, v in given.items()})
    return model.eval()


def parameters(a):
    return {
        "extractor_mode": f"{a.feat_extract_norm}_norm",
        "extractor_conv_layer_config": list(zip(a.conv_dim, a.conv_kernel, a.conv_stride)),
        "extractor_conv_bias": a.conv_bias,
        "encoder_embed_dim": a.hidden_size,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": a.num_conv_pos_embeddings,
        "encoder_pos_conv_groups": a.num_conv_pos_embedding_groups,
        "encoder_num_layers": a.num_hidden_layers,
        "encoder_num_heads": a.num_attention_heads,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": a.intermediate_size,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": a.do_stable_layer_norm,
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }


@torch.no_grad()
def by_torchaudio(a, samples):
    """Hidden states 1 to the last, side by side; the last after the final norm."""
    x = torch.from_numpy(samples)
    x = (x - x.mean()) / (x.var(unbiased=False) + 1e-7).sqrt() if a.do_normalize else x
    model = torchaudio_model(a)
    return torch.cat([*model.extract_features(x)[0][:-1], model(x)[0]], -1)[0].numpy()


@pytest.mark.parametrize(
    "architecture, prefix, pickled",
    [
        (TINY, "", False),
        (STABLE, "wav2vec2.", True),
        (replace(TINY, model_type="hubert", do_normalize=True), "hubert.", False),
    ],
)
def test_hidden_states_are_those_of_torchaudio(architecture, prefix, pickled, speech, tmp_path):
    model = write(tmp_path / "model", architecture, prefix, pickled)
    for samples in (chirp(40000), soundfile.read(sorted(speech.items())[0][1].audio, dtype="float32")[0][None]):
        got, expected = extract(model, samples, layers=[1, 2, 3]), by_torchaudio(architecture, samples)
        assert len(got) == compute_num_frames(samples.shape[1] / 16000, 0.02, 16000) and len(got) - len(expected) in (0, 1)
        np.testing.assert_allclose(got[: len(expected)], expected, atol=3e-3)  # norms over 8 channels blow rounding up
        assert (got[len(expected) :] == got[len(expected) - 1]).all()


@pytest.mark.parametrize(
    "stable, expected",
    [  # by WavLMModel of transformers 4.46.3: every 31st frame, column 5
        (
            False,
            [
                [-0.9737, 1.0693, 1.0578, 1.0521],
                [0.2285, 0.5964, 0.6212, 0.6401],
                [0.9001, 0.5573, 0.5742, 0.5634],
                [0.811, 0.1188, 0.1377, 0.1493],
            ],
        ),
        (
            True,
            [
                [-0.4932, 0.7439, 0.6795, 0.765],
                [0.7833, 0.5078, 0.5788, 0.6223],
                [1.157, -0.0634, 0.1739, 0.0717],
                [0.6887, -0.2692, -0.1376, -0.213],
            ],
        ),
    ],
)
def test_hidden_states_of_wavlm_are_those_of_transformers(stable, expected, tmp_path):
    a = replace(WAVLM, do_stable_layer_norm=stable, feat_extract_norm="layer" if stable else "group")
    states = extract(write(tmp_path / "model", a), chirp(40000)).reshape(125, 4, 16)
    np.testing.assert_allclose(states[:124:31, :, 5].T, expected, atol=2e-4)


def test_layers_by_number_from_either_end(tmp_path):
    model = write(tmp_path / "model", STABLE)
    every = extract(model, chirp(20000))
    assert every.shape[1] == 4 * 16
    for layers, columns in (([2], [2]), ([-1], [3]), ([0, -2], [0, 2])):
        wanted = np.concatenate([every[:, 16 * n : 16 * n + 16] for n in columns], 1)
        np.testing.assert_allclose(extract(model, chirp(20000), layers=layers), wanted, atol=1e-5)
    for layers in ([4], [-5], [1, -3]):
        with pytest.raises(UserError, match=r"features.layers=.*hidden states 0 to 3"):
            extract(model, chirp(20000), layers=layers)


def test_frames_do_not_depend_on_the_batch_and_short_audio_has_some(tmp_path):
    made = front_ends.make(settings(write(tmp_path / "model", STABLE)), 16000)
    several = [chirp(n)[:, ::step] for n, step in ((32000, 1), (32000, -1), (20000, 1), (160, 1), (399, 1), (400, 1), (16001, 1))]
    for one, together in zip(several, made.extract(several)):
        assert together.shape == (compute_num_frames(one.shape[1] / 16000, 0.02, 16000), 64) and np.isfinite(together).all()
        np.testing.assert_allclose(made.extract([one])[0], together, atol=1e-4)


def test_a_recording_longer_than_the_window_is_encoded_in_windows_that_overlap(tmp_path):
    model = write(tmp_path / "model", replace(TINY, num_hidden_layers=1))
    whole = chirp(16000 * 70)
    joined = extract(model, whole)
    assert joined.shape == (3500, 32)
    for start, used in ((0, slice(0, 1450)), (1400, slice(1450, 2850)), (2800, slice(2850, 3499))):
        window = extract(model, whole[:, 320 * start : 320 * (start + 1500) + 80])
        np.testing.assert_allclose(joined[used], window[used.start - start : used.stop - start], atol=1e-4)


def test_what_it_refuses(tmp_path):
    def refused(said, **changes):
        with pytest.raises(UserError, match=said):
            front_ends.make(settings(changes.pop("model", model), **changes), 16000, changes.pop("device", "cpu"))

    model = tmp_path / "model"
    refused(r"model is neither a folder of transformers .* nor a bundle of torchaudio .*HUBERT_BASE, ")
    refused(r"\(empty\) is neither", model="")
    model.mkdir()
    refused(r"has no config.json and no preprocessor_config.json and no model.safetensors or pytorch_model.bin")
    write(model, TINY)
    refused(r"set features.frame_shift=0.02, not 0.01", frame_shift=0.01)
    good = json.loads((model / "config.json").read_text())
    for change, said in (
        ({"model_type": "data2vec-audio"}, r"is of the type data2vec-audio; there are wav2vec2, hubert, wavlm"),
        ({"conv_pos_batch_norm": True}, r"conv_pos_batch_norm=True in config.json is not supported"),
        ({"conv_stride": [5, 2, 2, 2, 2, 2, 1]}, r"makes a frame of 160 samples; it must be 320"),
    ):
        (model / "config.json").write_text(json.dumps({**good, **change}))
        refused(said)
    (model / "config.json").write_text(json.dumps({**good, "hidden_size": 32}))
    with pytest.raises(UserError, match=r"51 of 65 weights are missing or not of the shape"):
        extract(model, chirp(16000))
    (model / "config.json").write_text("{")
    refused(r"config.json is not JSON")
    write(model, TINY)
    (model / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    refused(r"is for audio at 8000 Hz")
    write(model, TINY)
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:999])
    refused(r"model.safetensors can't be read")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"--device cuda: torch .* finds no GPU"):
            front_ends.make(settings(model), 16000, "cuda")


def test_a_bundle_of_torchaudio(monkeypatch, tmp_path):
    monkeypatch.setenv("NUPTSE_DOWNLOAD", str(tmp_path))
    assert "WAV2VEC2_BASE" in bundles() and "HUBERT_LARGE" in bundles()
    tiny = replace(torchaudio.pipelines.WAV2VEC2_BASE, _params=parameters(STABLE))
    monkeypatch.setattr(torchaudio.pipelines, "WAV2VEC2_BASE", tiny)
    asked = []

    def state(self, options):
        asked.append(options)
        return torchaudio_model(STABLE).state_dict()

    monkeypatch.setattr(type(tiny), "_get_state_dict", state)
    got, expected = extract("WAV2VEC2_BASE", chirp(40000), layers=[1, 2, 3]), by_torchaudio(STABLE, chirp(40000))
    np.testing.assert_allclose(got[: len(expected)], expected, atol=1e-4)
    assert asked == [{"model_dir": str(tmp_path / "torchaudio")}]

    def offline(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(tiny), "_get_state_dict", offline)
    with pytest.raises(
        UserError, match=r"WAV2VEC2_BASE can't be downloaded to .*ConnectionError: no route.*features.model=FOLDER"
    ):
        extract("WAV2VEC2_BASE", chirp(16000))


def test_a_wavlm_of_torchaudio_2_has_the_same_weights_by_other_names():
    given, expected = {}, _renamed(weights(WAVLM))
    for name, value in weights(WAVLM).items():
        name = name.replace("encoder.", "encoder.transformer.").replace(".attention.out_proj", ".attention.attention.out_proj")
        given[("encoder." if name.startswith("feature_projection") else "") + name] = value
    for n in range(3):
        parts = [f"encoder.transformer.layers.{n}.attention.{part}_proj" for part in "qkv"]
        for kind in ("weight", "bias"):
            stacked = torch.cat([given.pop(f"{part}.{kind}") for part in parts])
            given[f"encoder.transformer.layers.{n}.attention.attention.in_proj_{kind}"] = stacked
    renamed = _renamed(given)
    assert renamed.keys() == expected.keys() and all(torch.equal(renamed[name], expected[name]) for name in expected)


# Stages, on 37 words of one woman.

SMALL = [
    "data.module=kaldi_dir",
    "lang.units=char",
    "lang.lm_order=2",
    "model.dim=32",
    "model.heads=2",
    "model.kernel=7",
    "vectors.dim=16",
    "train.batch_seconds=12",
    "train.epochs=4",
    "train.average=1",
    "train.valid_every=4",
    "train.learning_rate=0.003",
    "train.freq_width=4",
    "audit.max_infeasible=1.0",
    "data.max_left_out=0.1",
]


@pytest.fixture(scope="module")
def corpus(speech, tmp_path_factory):
    """Digits and spelling words as a corpus, a WavLM, and how to plan and run stages on them."""
    folder = tmp_path_factory.mktemp("ssl")
    prompts = [u for key, u in sorted(speech.items()) if key.startswith(("phonetic/", "digits/"))]
    for split in ("train", "dev", "test"):
        write_kaldi(folder / "source" / split, prompts[:: 1 if split == "train" else 6], 1)
    shared = [*SMALL, f"data.source={folder / 'source'}", f"features.model={write(folder / 'wavlm', WAVLM)}"]

    def run(recipe, sets, *stage):
        words = ["--corpus", "kaldi_dir", "--recipe", recipe, "--nj", "1", "--threads", "1", *stage]
        return drive(*words, *(w for s in (*shared, *sets) for w in ("--set", s)))

    def plan(recipe, sets):
        resolved = config.load(recipe, ROOT / "egs" / "kaldi_dir", [*shared, *sets])
        return SimpleNamespace(config=config.view(resolved), plans=stages.plan(resolved, folder / "exp" / "kaldi_dir"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUPTSE_EXP", str(folder / "exp"))
        yield SimpleNamespace(run=run, plan=plan)


FINETUNE = ["features.layers=[1]"]


@pytest.fixture(scope="module")
def tuned(corpus):
    """All stages of ssl_finetune but the rescoring, layers 2 and 3 of 3 being trained."""
    assert corpus.run("ssl_finetune", FINETUNE, "--stop-stage", "6") == 0
    found = corpus.plan("ssl_finetune", FINETUNE)
    return SimpleNamespace(config=found.config, plans=found.plans, inputs={name: p.out for name, p in found.plans.items()})


def trainer(tuned, out, **train):
    from utils.train.models import make_model
    from utils.train.pretrained_layers import load_pretrained

    torch.manual_seed(0)
    changed = SimpleNamespace(**{**vars(tuned.config), "train": SimpleNamespace(**{**vars(tuned.config.train), **train})})
    lexicon = read_lexicon(tuned.inputs["lang"])
    model = make_model(changed.model, lexicon, tuned.inputs, 16)
    load_pretrained(model.front, tuned.inputs["features"])
    cuts = [read_cuts(tuned.inputs["features"], split) for split in ("train", "dev")]
    loaded = Features(tuned.inputs["features"], 1.0)
    return Trainer(model, lexicon, loaded, *cuts, changed, out, "cpu", logging.getLogger("test"))


@pytest.mark.slow
def test_stage_1_stores_the_frozen_layer_as_it_is_and_goes_on_after_an_error(tuned, corpus, monkeypatch, tmp_path):
    from steps.features import run

    finished = tuned.inputs["features"]
    cuts = list(CutSet.from_file(finished / "cuts_train.jsonl.gz"))
    assert len(cuts) == 37 and {(c.num_features, c.frame_shift) for c in cuts} == {(16, 0.02)}
    samples = soundfile.read(cuts[0].recording.sources[0].source, dtype="float32")[0][None]
    expected = extract(tuned.config.features.model, samples, layers=[1])
    lower = sum(p.numel() for p in Wav2Vec2(WAVLM, 1).parameters())
    assert json.loads((finished / "front_end.json").read_text())["model_bytes"] == 4 * lower
    np.testing.assert_allclose(cuts[0].load_features(), expected, atol=2**-9 + 1e-6)  # lilcom's ticks
    plan = tuned.plans["features"]
    job = Job(config.view(plan.config), tmp_path, plan.inputs, "c", ROOT, "r", (), 1, 1, "cpu", plan)
    compute, made = extraction.compute, []

    def failing(chunk, *rest):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(chunk.name)
        compute(chunk, *rest)

    monkeypatch.setattr(extraction, "compute", failing)
    with pytest.raises(KeyboardInterrupt):
        run(job)
    assert not (tmp_path / "cmvn.safetensors").exists()
    monkeypatch.setattr(extraction, "compute", compute)
    run(job)
    for path in [p for p in finished.rglob("*") if p.suffix in (".lca", ".safetensors") or p.name == "front_end.json"]:
        assert (tmp_path / path.relative_to(finished)).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_the_whole_encoder_is_what_the_layers_make_that_are_joined_again(tuned, tmp_path):
    model, samples = tuned.config.features.model, chirp(30000)
    front = trainer(tuned, tmp_path).model.front.eval()
    assert isinstance(front, UpperLayers) and sorted(front.encoder.layers) == ["1", "2"]
    x = torch.from_numpy(extract(model, samples, layers=[1]))[None, :93]  # without the last frame, a copy
    with torch.no_grad():
        whole, padded = front(x, torch.tensor([93])), front(torch.nn.functional.pad(x, (0, 0, 0, 40)), torch.tensor([93]))
    np.testing.assert_allclose(whole[0], extract(model, samples, layers=[-1])[:93], atol=1e-4)
    torch.testing.assert_close(padded[:, :93], whole, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_upper_layers_learn_slower_the_lower_they_are(tuned, tmp_path):
    made = trainer(tuned, tmp_path, layer_decay=0.5)
    names = {p: name for name, p in made.model.named_parameters()}
    scales = {names[p]: group["scale"] for group in made.optimizer.param_groups for p in group["params"]}
    assert scales.keys() == set(names.values())
    assert scales["front.encoder.layers.2.attention.q_proj.weight"] == 0.5 and scales["subword.weight"] == 1
    assert scales["front.encoder.layers.1.layer_norm.bias"] == scales["front.encoder.rel_attn_embed.weight"] == 0.25


@pytest.mark.slow
def test_fine_tuning_changes_the_upper_layers_and_loss_falls(tuned, tmp_path):
    made = trainer(tuned, tmp_path / "run", epochs=12, valid_every=12)
    before = {k: v.clone() for k, v in made.model.state_dict().items()}
    encoder = (tuned.inputs["features"] / "config.yaml").read_bytes()
    made.run()
    after = load_file(str(tmp_path / "run/model.safetensors"))
    upper = [name for name in after if name.startswith("front.") and "k_proj.bias" not in name]  # softmax cancels a key's bias
    assert len(upper) > 30 and not any(torch.equal(before[name], after[name]) for name in upper)
    assert not any("layers.0." in name or "feature_" in name for name in after)  # frozen: not in the model at all
    assert encoder == (tuned.inputs["features"] / "config.yaml").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "run/curves.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


@pytest.mark.slow
def test_stopped_fine_tuning_resumes_to_the_same_weights(tuned, tmp_path):
    trainer(tuned, tmp_path / "whole", checkpoint_every=1, epochs=2).run()
    stopped = trainer(tuned, tmp_path / "stopped", checkpoint_every=1, epochs=2)
    losses, seen = stopped.losses, []

    def failing(batch, whole):
        seen.append(batch)
        if len(seen) == 4:  # the dry run is the first
            raise KeyboardInterrupt
        return losses(batch, whole)

    stopped.losses = failing
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    trainer(tuned, tmp_path / "stopped", checkpoint_every=1, epochs=2).run()
    whole, resumed = (load_file(str(tmp_path / name / "model.safetensors")) for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


@pytest.mark.slow
def test_a_fine_tuned_model_decodes_and_its_bundle_says_the_same(tuned, corpus):
    rows = (tuned.inputs["decode"] / "hyps-lattice-test.jsonl").read_text().splitlines()
    assert len(rows) == 7 and "hyp" in json.loads(rows[0])
    for stage in ("7", "9"):  # the bundle has the weights of stage 7
        assert corpus.run("ssl_finetune", FINETUNE, "--stage", stage, "--stop-stage", stage) == 0
    bundle = tuned.inputs["export"] / "bundle"
    assert json.loads((bundle / "bundle.json").read_text())["onnx_difference"] < 1e-3
    assert json.loads((bundle / "front_end.json").read_text())["layers"] == [1]


@pytest.mark.slow
def test_a_mix_of_all_layers_is_learned(corpus):
    sets = ["train.epochs=2", "train.valid_every=2"]
    assert corpus.run("ssl_wordvec", sets, "--stop-stage", "6") == 0
    found = corpus.plan("ssl_wordvec", sets)
    learned = load_file(str(found.plans["train"].out / "model.safetensors"))["front.weights"]
    assert learned.shape == (4,) and (learned != 0).all() and (found.plans["decode"].out / "hyps-greedy-test.jsonl").exists()


def test_a_mix_is_a_weighted_sum_of_layers():
    mix = LayerMix(3)
    mix.weights.data = torch.tensor([0.0, 1.0, -1.0])
    x = torch.randn(2, 7, 12)
    share = torch.tensor([0.0, 1.0, -1.0]).exp() / torch.tensor([0.0, 1.0, -1.0]).exp().sum()
    expected = share[0] * x[..., :4] + share[1] * x[..., 4:8] + share[2] * x[..., 8:]
    torch.testing.assert_close(mix(x, torch.tensor([7, 7])), expected)


@pytest.mark.parametrize(
    "recipe, sets, said",
    [
        ("whisper_wordvec", [], r"set features.layers=\[N\].*features.normalise=none"),
        ("bpe_ctc", [], r"needs features.front_end=ssl or whisper, not fbank"),
        ("ssl_finetune", ["features.layers=[]"], r"set features.layers=\[N\]"),
        ("ssl_finetune", ["features.normalise=global"], r"features.normalise=none"),
    ],
)
def test_fine_tuning_that_cannot_be_is_refused_before_any_work(recipe, sets, said):
    with pytest.raises(UserError, match=said):
        config.load(recipe, ROOT / "egs" / "kaldi_dir", ["model.finetune=true", *sets])


@pytest.mark.slow
@pytest.mark.parametrize("layer", [-1, 0])
def test_fine_tuning_needs_a_layer_above(tuned, tmp_path, layer):
    from utils.train.models import make_model

    said = json.loads((tuned.inputs["features"] / "front_end.json").read_text())
    (tmp_path / "front_end.json").write_text(json.dumps({**said, "layers": [layer % 4]}))
    with pytest.raises(UserError, match=r"give one of 1 to 2"):
        make_model(tuned.config.model, read_lexicon(tuned.inputs["lang"]), {**tuned.inputs, "features": tmp_path}, 16)
