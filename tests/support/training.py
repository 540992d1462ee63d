"""A network small enough to train in seconds, its configuration, and a trainer for it."""

import importlib.util
import logging
from pathlib import Path
from types import SimpleNamespace

import torch

from utils.core.files import ROOT
from utils.corpus.cuts import read_cuts
from utils.lang.lexicon import read_lexicon
from utils.pipeline.config import load, view
from utils.pipeline.stages import plan
from utils.train.dataset import Features
from utils.train.trainer import Trainer

SMALL = [
    "data.module=kaldi_dir",
    "lang.units=char",
    "lang.lm_order=2",
    "model.dim=32",
    "model.heads=2",
    "model.fine_layers=1",
    "model.coarse_layers=1",
    "vectors.dim=16",
    "features.speed_perturb=[]",
    "train.batch_seconds=15",
    "train.checkpoint_every=1",
    "train.epochs=3",
    "train.average=3",
    "audit.max_infeasible=1.0",
]
if importlib.util.find_spec("k2") is None:  # training can do without
    SMALL.append("loss.backend=torch")

# Learns 36 utterances by heart in a minute.
MEMORISING = [
    "data.module=kaldi_dir",
    "lang.units=char",
    "lang.lm_order=2",
    "model.dim=64",
    "model.heads=2",
    "model.fine_layers=1",
    "model.coarse_layers=1",
    "model.dropout=0.0",
    "vectors.dim=64",
    "features.speed_perturb=[]",
    "train.batch_seconds=3",
    "train.epochs=48",
    "train.learning_rate=0.004",
    "train.average=2",
    "train.freq_masks=0",
    "train.time_masks=1",
    "train.time_width=5",
    "train.time_warp=0",
    "train.valid_every=16",
    "train.checkpoint_every=1000",
    "audit.max_infeasible=1.0",
]


def options(source: Path, *more: str):
    words = ["--corpus", "kaldi_dir", "--nj", "1", "--threads", "1"]
    for item in (*SMALL, f"data.source={source}", *more):
        words += ["--set", item]
    return words


def planned(source: Path, exp: Path, *more: str) -> SimpleNamespace:
    """The configuration of `options`, and the folder of each stage."""
    config = load("wordvec_hybrid", ROOT / "egs" / "kaldi_dir", [*SMALL, f"data.source={source}", *more])
    return SimpleNamespace(config=view(config), inputs={name: p.out for name, p in plan(config, exp / "kaldi_dir").items()})


def trainer(prepared, out: Path, device: str = "cpu", workers: int = 0, shards: str = "", **train) -> Trainer:
    from utils.train.models import make_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = SimpleNamespace(**{**vars(prepared.config), "train": SimpleNamespace(**{**vars(prepared.config.train), **train})})
    lexicon = read_lexicon(prepared.inputs["lang"])
    return Trainer(
        make_model(config.model, lexicon, prepared.inputs, 80),
        lexicon,
        Features(prepared.inputs["features"], 1.0),
        read_cuts(prepared.inputs["features"], "train", shards=shards),
        read_cuts(prepared.inputs["features"], "dev"),
        config,
        out,
        device,
        logging.getLogger("test"),
        workers,
    )
