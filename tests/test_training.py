"""Training on real prompts: exact resumption, damaged checkpoints, losses that are not finite, learning."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lhotse.utils import fastcopy, fix_random_seed
from safetensors.torch import load_file

from support.training import options, trainer
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.corpus.cuts import read_cuts
from utils.lang.lexicon import Lexicon, read_lexicon
from utils.lang.units import with_words_beyond
from utils.train import checkpoints
from utils.train.dataset import Augment, Features, collate


def curve(folder: Path):
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("kill_at, workers", [(2, 0), (5, 0), (5, 2)])
def test_stopped_training_resumes_to_the_same_weights(prepared, tmp_path, kill_at, workers):
    """Also where other processes make the batches ahead."""
    trainer(prepared, tmp_path / "whole").run()
    stopped = trainer(prepared, tmp_path / "stopped", workers=workers)
    losses, seen = stopped.losses, []

    def failing(batch, tokens):
        seen.append(batch.ids)
        if len(seen) == kill_at + 1:  # the dry run is the first
            raise Killed
        return losses(batch, tokens)

    stopped.losses = failing
    with pytest.raises(Killed):
        stopped.run()
    trainer(prepared, tmp_path / "stopped", workers=workers).run()
    whole, resumed = (load_file(str(tmp_path / name / "model.safetensors")) for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert (tmp_path / "whole/curves.jsonl").read_bytes() == (tmp_path / "stopped/curves.jsonl").read_bytes()


def test_errors_of_processes_that_make_batches_are_clear(prepared, tmp_path):
    def refuse(x, speaker):
        raise UserError(f"no normalisation statistics for speaker {speaker}; run stage 1 again")

    def die(x, speaker):
        os.kill(os.getpid(), signal.SIGKILL)

    for act, said in ((refuse, "^no normalisation statistics"), (die, r"^a process that makes batches ended.*lower --nj")):
        made = trainer(prepared, tmp_path / act.__name__, workers=1)
        made.dry_run = lambda: None  # otherwise this process would read the longest batch
        made.features.normalise = act
        with pytest.raises(UserError, match=said):
            made.run()


@pytest.mark.slow
def test_a_truncated_checkpoint_is_skipped(prepared, tmp_path, caplog):
    trainer(prepared, tmp_path / "whole").run()
    folder = tmp_path / "whole" / "checkpoints"
    newest, before = sorted(folder.glob("checkpoint-*.pt"))[::-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    state = checkpoints.load(folder, logging.getLogger("test"))
    assert f"checkpoint-{state['step']:08d}.pt" == before.name and "damaged" in caplog.text
    trained = load_file(str(tmp_path / "whole/model.safetensors"))
    (tmp_path / "whole/model.safetensors").unlink()
    trainer(prepared, tmp_path / "whole").run()
    again = load_file(str(tmp_path / "whole/model.safetensors"))
    assert all(torch.equal(trained[key], again[key]) for key in trained)
    for path in folder.glob("checkpoint-*.pt"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no checkpoint .* can be read"):
        checkpoints.load(folder, logging.getLogger("test"))


@pytest.mark.slow
def test_a_checkpoint_of_another_architecture_is_refused(prepared, tmp_path):
    trainer(prepared, tmp_path / "run", epochs=1).run()
    prepared.config.model.dim = 48
    with pytest.raises(RuntimeError, match="size mismatch"):
        trainer(prepared, tmp_path / "run", epochs=1).run()


def test_a_loss_that_is_not_finite_names_the_utterance_and_saves_the_batch(prepared, tmp_path):
    broken = trainer(prepared, tmp_path / "run")
    name = next(iter(broken.train_cuts)).id
    features = broken.features

    def poisoned(cut):
        return features(cut) * (float("nan") if cut.id == name else 1)

    poisoned.cache = features.cache
    broken.features = poisoned
    with pytest.raises(UserError, match=f"not finite.*{name}"):
        broken.run()
    (saved,) = (tmp_path / "run").glob("failed-step-*.pt")
    assert name in torch.load(saved)["ids"]


def test_words_that_the_lexicon_lacks_count_in_the_error_of_units(prepared):
    lexicon, features = read_lexicon(prepared.inputs["lang"]), Features(prepared.inputs["features"], 0.0)
    cut = next(iter(read_cuts(prepared.inputs["features"], "dev")))
    text = cut.supervisions[0].text
    said = fastcopy(cut, supervisions=[fastcopy(cut.supervisions[0], text=f"{text} tentacle")])
    before, after, known = (
        collate([one], features, lexicon, beyond=beyond) for one, beyond in ((cut, True), (said, True), (said, False))
    )
    assert "tentacle" not in lexicon.word_id and after.words == before.words == known.words
    assert after.subwords[0] == before.subwords[0] + lexicon.spell("tentacle") and len(lexicon.spell("tentacle")) >= 5


def test_words_of_dev_have_the_phones_that_the_lexicon_has(tmp_path):
    lexicon = Lexicon(["no", "so"], ["n", "s", "o", "ʊ"], [("no", ("n", "o", "ʊ")), ("so", ("s", "o", "ʊ"))], tmp_path)
    cuts = [SimpleNamespace(supervisions=[SimpleNamespace(text="so snow no", language="en")])]
    assert lexicon.text_to_token_ids("so snow no".split()) == [2, 3, 4, 1, 3, 4]
    (tmp_path / "config.yaml").write_text("data: {language: en}\nlang: {units: ipa}\n")
    knowing = with_words_beyond(lexicon, cuts)
    assert knowing.text_to_token_ids("so snow no".split()) == [2, 3, 4, 2, 1, 3, 4, 1, 3, 4]
    assert knowing.words == lexicon.words and with_words_beyond(lexicon, []) == lexicon


def learned(prepared, out: Path, precision: str, device: str = "cpu"):
    """The first loss of a training, and the mean of the last three. These must be lower, and weights in single precision."""
    fix_random_seed(0)
    made = trainer(prepared, out, device, precision=precision, epochs=5, learning_rate=1e-2)
    made.run()
    assert {p.device.type for p in made.model.parameters()} == {device}
    losses = [row["loss"] for row in curve(out) if "loss" in row]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    kept = load_file(str(out / "model.safetensors"))
    assert {value.dtype for value in kept.values() if value.is_floating_point()} == {torch.float32}
    return losses[0], sum(losses[-3:]) / 3


@pytest.mark.slow
def test_half_precision_learns_as_single_precision_does(prepared, tmp_path):
    first = {precision: learned(prepared, tmp_path / precision, precision)[0] for precision in ("fp32", "bf16")}
    assert first["bf16"] != first["fp32"] and first["bf16"] == pytest.approx(first["fp32"], rel=0.02)


@pytest.mark.slow
def test_a_killed_training_stage_ends_with_the_same_model(prepared, tmp_path, run_stages):
    arguments = [sys.executable, "-m", "utils.pipeline.driver", *options(prepared.source), "--stage", "5", "--stop-stage", "5"]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    assert subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True).returncode == 0
    whole = prepared.inputs["train"]
    expected = (whole / "model.safetensors").read_bytes()
    whole.rename(tmp_path / "kept")
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    partial = whole.with_name(whole.name + ".partial")
    deadline = time.monotonic() + 600
    while not list(partial.glob("checkpoints/checkpoint-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(partial.glob("checkpoints/checkpoint-*.pt")) and not whole.exists()
    assert run_stages(*options(prepared.source), "--stage", "5", "--stop-stage", "5") == 0
    assert (whole / "model.safetensors").read_bytes() == expected
    log = (whole / "log.txt").read_text()
    assert "resuming after step" in log


# On a GPU, with torch's CTC, because a machine with a GPU may lack k2

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@pytest.fixture
def on_torch(prepared):
    """`prepared`, with losses that do not need k2."""
    prepared.config.loss.backend = "torch"
    return prepared


@on_gpu
def test_every_precision_learns_on_a_gpu_what_a_cpu_learns(on_torch, tmp_path):
    on_torch.config.model.dropout = 0.0  # random numbers differ between devices
    first, last = {}, {}
    for device, precision in (("cpu", "fp32"), ("cuda", "fp32"), ("cuda", "bf16"), ("cuda", "fp16")):
        name = f"{device}-{precision}"
        first[name], last[name] = learned(on_torch, tmp_path / name, precision, device)
    assert first["cuda-fp32"] == pytest.approx(first["cpu-fp32"], rel=1e-3)
    assert first["cuda-bf16"] != first["cuda-fp32"] and first["cuda-bf16"] == pytest.approx(first["cuda-fp32"], rel=0.02)
    assert first["cuda-fp16"] != first["cuda-fp32"] and first["cuda-fp16"] == pytest.approx(first["cuda-fp32"], rel=0.01)
    assert all(last[name] == pytest.approx(last["cpu-fp32"], rel=0.1) for name in last)


@on_gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_training_stopped_on_a_gpu_resumes(on_torch, tmp_path, precision):
    """Losses agree up to rounding: torch's CTC on a GPU adds gradients in no fixed order."""
    settings = dict(device="cuda", precision=precision, epochs=4)
    whole = trainer(on_torch, tmp_path / "whole", **settings)
    whole.run()
    stopped = trainer(on_torch, tmp_path / "stopped", **settings)
    update, steps = stopped.update, []

    def failing(batch, what):
        steps.append(what)
        if len(steps) == 6:
            raise Killed
        return update(batch, what)

    stopped.update = failing
    with pytest.raises(Killed):
        stopped.run()
    scale = stopped.scaler.get_scale()
    resumed = trainer(on_torch, tmp_path / "stopped", **settings)
    load_state, scales = resumed.scaler.load_state_dict, []
    resumed.scaler.load_state_dict = lambda state: (load_state(state), scales.append(resumed.scaler.get_scale()))
    resumed.run()
    assert scales == [scale]
    expected, found = curve(tmp_path / "whole"), curve(tmp_path / "stopped")
    assert [row.keys() - {"gradient_norm"} for row in found] == [row.keys() - {"gradient_norm"} for row in expected]
    for one, other in zip(found, expected):
        for key in one.keys() & {"step", "epoch", "loss", "learning_rate", "subword_loss", "word_loss"}:
            assert one[key] == pytest.approx(other[key], rel=0.01)


@on_gpu
def test_a_step_that_overflows_in_fp16_is_skipped_and_the_scale_lowered(on_torch, tmp_path):
    made = trainer(on_torch, tmp_path / "out", "cuda", precision="fp16")
    batch = collate(list(made.train_cuts)[:4], made.features, made.lexicon)
    made.scaler = type(made.scaler)(init_scale=2.0**40)
    before = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    losses, norm = made.update([batch], "a step")
    assert losses["loss"] < 1000 and not torch.isfinite(torch.tensor(norm)) and made.scaler.get_scale() == 2.0**39
    assert all(torch.equal(p, before[name]) for name, p in made.model.named_parameters())
    made.scaler.update(1024.0)
    made.update([batch], "a step")
    assert not all(torch.equal(p, before[name]) for name, p in made.model.named_parameters())


@on_gpu
def test_the_stage_trains_on_a_gpu_and_notes_its_memory(kaldi_source, run_stages, exp):
    more = [*options(kaldi_source, "loss.backend=torch", "train.precision=bf16"), "--device", "cuda"]
    assert run_stages(*more, "--stop-stage", "5") == 0
    (folder,) = (exp / "kaldi_dir").glob("train-*")
    noted = json.loads((folder / "stage.json").read_text())
    assert noted["device"] == "cuda" and torch.cuda.get_device_name() in noted["machine"]
    assert 0 < noted["peak_gpu_memory_mb"] < 4000 and (folder / "model.safetensors").exists()


def test_utterances_too_short_for_a_time_mask_are_left_as_they_are():
    settings = dict(time_warp=0, freq_masks=2, freq_width=20, mask_fraction=0.15)
    torch.manual_seed(0)
    for masks, width in ((4, 20), (1, 1), (20, 1)):
        augment = Augment(SimpleNamespace(**settings, time_masks=masks, time_width=width))
        for frames in range(1, 60):
            x = torch.randn(frames, 80)
            assert augment.masked(x).shape == x.shape
        assert torch.equal(augment.masked(x[:6]), x[:6])
        assert not all(torch.equal(augment.masked(x), x) for _ in range(20)) or (masks, width) == (20, 1)
