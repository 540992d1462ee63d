"""Students of another encoder: what they learn, resumption to the same bytes, and training that begins from them.

The teacher is the filter bank of the same speech: the student must give back what it hears.
"""

import logging
from types import SimpleNamespace

import pytest
import torch

from steps.distil import main
from support.training import options
from utils.nn.model import make_encoder
from utils.train import distillation
from utils.train.distillation import Distillation, Pairs, Student

CAUSAL = {"causal": True, "chunks": [0.16, 0], "left_context": 0.32}


def made(prepared, out, epochs=6):
    folder, model = prepared.inputs["features"], SimpleNamespace(**{**vars(prepared.config.model), **CAUSAL})
    train = SimpleNamespace(**{**vars(prepared.config.train), "epochs": epochs, "learning_rate": 0.01})
    torch.manual_seed(0)
    student = Student(make_encoder(model, 80), 80, 4)
    pairs = [Pairs.of_folders(folder, folder, 0.1)]
    return Distillation(student, pairs, SimpleNamespace(train=train, seed=0), out, logging.getLogger("test"))


@pytest.mark.slow
def test_a_student_learns_and_a_stopped_run_ends_with_the_same_bytes(prepared, tmp_path, monkeypatch):
    whole = made(prepared, tmp_path / "whole")
    before = whole.explained()
    assert whole.run(tmp_path / "whole.safetensors", {"teacher": "fbank"}) > 0.3 > before + 0.2

    save = distillation.checkpoints.save

    def stop_after_second(folder, step, state):
        save(folder, step, state)
        if step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(distillation.checkpoints, "save", stop_after_second)
    with pytest.raises(KeyboardInterrupt):
        made(prepared, tmp_path / "stopped").run(tmp_path / "stopped.safetensors", {"teacher": "fbank"})
    monkeypatch.undo()
    made(prepared, tmp_path / "stopped").run(tmp_path / "stopped.safetensors", {"teacher": "fbank"})
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "stopped.safetensors").read_bytes()


def test_folders_that_are_no_pair_are_refused(prepared, tmp_path, caplog):
    out = str(tmp_path / "student.safetensors")
    pair = ["--pair", str(prepared.inputs["features"]), str(prepared.inputs["lang"])]
    corpus = ["--recipe", "stream_wordvec", *options(prepared.source)[:2], "--set", f"data.source={prepared.source}"]
    assert main([*corpus, "--out", out, *pair]) == 2
    assert "is no folder of stage 1 (features)" in caplog.text and not (tmp_path / "student.safetensors").exists()
