"""The GMM-HMM system: mixtures, trees, and all stages on real speech."""

import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from kaldialign import edit_distance
from safetensors.numpy import load_file

from utils.baselines import gmm, gmm_tree
from utils.core.files import ROOT, read_json, read_jsonl

# Only the processes of stages import them, because they can't share a process with kaldilm.
if not all(map(find_spec, ("kaldi_hmm_gmm", "kaldifst"))):
    pytest.skip("needs the packages kaldi-hmm-gmm and kaldifst", allow_module_level=True)
SMALL = ("mono_passes=5", "tri_passes=5", "leaves=120", "mono_gaussians=150", "tri_gaussians=300", "lm_weights=[5.0, 20.0]")


@pytest.fixture
def command(kaldi_source):
    """A run of the recipe on the small corpus, whose dev and test sets are in training too."""
    for split in ("dev", "test"):
        for table in ("wav.scp", "text", "utt2spk"):
            lines = (kaldi_source / "train" / table).read_text().splitlines()[:: 4 if split == "dev" else 5]
            lines = [re.sub(r"train(\d)", rf"{split}\1", line) for line in lines]
            (kaldi_source / split / table).write_text("".join(f"{line}\n" for line in lines))
    words = ["--corpus", "kaldi_dir", "--recipe", "gmm_hmm", "--nj", "2", "--threads", "1"]
    for setting in (f"data.source={kaldi_source}", "lang.units=phone", *(f"gmm.{item}" for item in SMALL)):
        words += ["--set", setting]
    return words


@pytest.mark.slow
def test_training_prompts_are_recognised(command, run_stages, exp):
    """Training prompts are recognised; the likelihood of each phase rises; nothing depends on the number of processes."""
    assert run_stages(*command, "--stop-stage", "6") == 0
    (train,), (decode,) = exp.glob("kaldi_dir/train-*"), exp.glob("kaldi_dir/decode-*")
    rows = read_jsonl(train / "curves.jsonl")
    assert [row["phase"] for row in rows] == ["flat", *["mono"] * 5, "tree", *["tri"] * 5]
    for phase in ("mono", "tri"):
        scores = [row["score"] for row in rows if row["phase"] == phase]
        assert scores == sorted(scores) and scores[-1] > scores[0] + 1
    tensors = load_file(train / "model.safetensors")
    assert read_json(train / "summary.json")["parameters"] == len(tensors["pdf"]) * (1 + 2 * 39)
    assert (train / "unaligned.tsv").read_text() == ""
    weights = read_json(decode / "weights.json")
    assert weights["lattice"]["lm"] in (5.0, 20.0) and set(weights["dev_errors"]) == {"5.0", "20.0"}
    rows = read_jsonl(decode / "hyps-lattice-test.jsonl")
    wrong = sum(edit_distance(row["ref"], row["hyp"])["total"] for row in rows)  # "umute", a typing error of the prompts, is one
    assert len(rows) == 8 and wrong <= 0.1 * sum(len(row["ref"]) for row in rows)
    assert read_json(decode / "timing.json")["gmm"]["seconds"] > 0
    shutil.rmtree(train)
    alone = [word if word != "2" else "1" for word in command]
    assert run_stages(*alone, "--stage", "5", "--stop-stage", "5") == 0
    again = load_file(train / "model.safetensors")
    assert all(np.array_equal(again[name], tensors[name]) for name in tensors)


@pytest.mark.slow
def test_killed_training_resumes_to_the_same_model(command, run_stages, exp):
    """Killed between two passes and started again, training ends with the same bytes."""
    assert run_stages(*command, "--stop-stage", "2") == 0
    words = [sys.executable, "-m", "utils.pipeline.driver", *command, "--stage", "5", "--stop-stage", "5"]
    running = subprocess.Popen(words, cwd=ROOT)
    while running.poll() is None and not any("pass 4 of" in p.read_text() for p in exp.glob("kaldi_dir/train-*.partial/log.txt")):
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait() != 0
    assert run_stages(*command, "--stage", "5", "--stop-stage", "5") == 0
    (train,) = exp.glob("kaldi_dir/train-*")
    assert "resuming after pass" in (train / "log.txt").read_text()
    resumed = (train / "model.safetensors").read_bytes()
    shutil.rmtree(train)
    assert run_stages(*command, "--stage", "5", "--stop-stage", "5") == 0
    assert (train / "model.safetensors").read_bytes() == resumed


@pytest.mark.slow
def test_settings_that_no_model_can_have_are_refused(command, run_stages, exp):
    """Fewer tied states than there are states of phones."""
    assert run_stages(*command, "--stop-stage", "5", "--set", "gmm.leaves=10") == 1
    (log,) = exp.glob("kaldi_dir/train-*.partial/log.txt")
    assert "gmm.leaves=10 must be at least" in log.read_text()


@pytest.mark.slow
def test_utterances_that_cannot_be_aligned_stop_the_training(command, kaldi_source, run_stages, exp):
    """A text far longer than its audio."""
    path = kaldi_source / "train" / "text"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([first + " alpha bravo charlie delta echo foxtrot golf hotel india juliet" * 6, *rest]) + "\n")
    assert run_stages(*command, "--stop-stage", "5") == 1
    (partial,) = exp.glob("kaldi_dir/train-*.partial")
    assert "1 of 40 training utterances can't be aligned" in (partial / "log.txt").read_text()
    assert (partial / "unaligned.tsv").read_text().startswith(first.split()[0])


def test_mixtures_grow_and_are_estimated_from_frames():
    """Two clusters of frames become two Gaussians; the likelihood rises with every pass."""
    random = np.random.default_rng(0)
    x = np.concatenate((random.normal(-2, 0.5, (300, 2)), random.normal(1, 0.5, (100, 2))))
    pdfs, scores = np.zeros(len(x), int), []
    mixtures = gmm.Mixtures(np.zeros(1, int), np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    for _ in range(20):
        sums = gmm.statistics(mixtures, x, pdfs)
        scores.append(float(sums.score))
        mixtures = gmm.grow(gmm.estimate(mixtures, sums), [len(x)], 2, random)
    assert all(later > earlier - 0.01 for earlier, later in zip(scores[2:], scores[3:]))
    assert sorted(mixtures.weights.round(2)) == [0.25, 0.75]
    assert sorted(mixtures.means[:, 0].round()) == [-2, 1]


def test_a_tree_asks_for_what_changes_the_sound():
    """Phone 1 sounds different before phone 2 and before 3: its tree separates these two contexts and ties the rest."""
    random, parts = np.random.default_rng(1), []
    for right, mean in ((2, 0.0), (3, 5.0)):
        for left in (0, 2, 3):
            pdfs = np.repeat([3 * (p - 1) + s for p in (left, 1, right) if p for s in range(3)], 40)
            x = random.normal(np.where(pdfs // 3 == 0, mean, 0.0)[:, None], 1.0, (len(pdfs), 2))
            parts.append(gmm_tree.contexts(pdfs, x))
    stats = gmm_tree.merge(parts)
    assert stats.frames.sum() == sum(part.frames.sum() for part in parts)
    tree, sums = gmm_tree.build(stats, silence=4, leaves=15)  # 12 states, and 3 splits
    assert tree.count(b"SE ") == 3 and tree.count(b"SE " + b"\4\2\0\0\0") == 3  # all ask for the phone after
    assert len(sums.frames) == 15 and sums.frames.sum() == stats.frames.sum()
    assert sorted((sums.first[:6, 0] / sums.frames[:6]).round()) == [0, 0, 0, 5, 5, 5]
