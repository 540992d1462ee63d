"""A trained model, adapted to the sentences of a grammar: a few minutes of training on frames of its frozen front end."""

import math
import random
from dataclasses import dataclass, replace
from logging import Logger
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from utils.bundle.evidence import Rows
from utils.bundle.files import FolderFiles
from utils.bundle.manifest import write_manifest
from utils.core.errors import UserError
from utils.core.files import digest
from utils.engine.k2 import K2Engine
from utils.nn.ctc import ctc
from utils.nn.model import save
from utils.train.dataset import Augment
from utils.train.optimiser import learning_rate, parameter_groups
from utils.vectors.wordvec import word_scores

TOGETHER = 12  # recordings in a batch, of similar length
RATE, EPOCHS = 5e-4, 5  # peak of the learning rate; passes over the recordings
NETWORKS = (".onnx", ".npz")  # suffixes of a bundle's files that repeat the weights for another engine
Example = Tuple[List[str], np.ndarray]  # words as transcripts have them; samples (T,) float32


@dataclass(frozen=True)
class _Item:
    x: Tensor  # (T, C), normalised features
    units: List[int]
    words: List[int]  # columns of the word head's table, from 1


def adapt(engine: K2Engine, examples: Sequence[Example], rate: int, log: Logger, epochs: int = EPOCHS, seed: int = 0) -> None:
    """Train the encoder and both heads of an engine's model on more speech; the word vectors stay as they are.

    Each head has its CTC loss, weighted as the model's recipe says, with the recipe's masks. The word head's softmax runs over
    the bundle's words and those of the examples.

    Args:
      rate: Hz, of the samples.
    Raises:
      UserError: words without a pronunciation or a vector; no example that is long enough.
    """
    trained = engine.trained
    model, config = trained.model, trained.settings["train"]
    known = engine.rows()
    there = set(known.words)
    new = engine.rows([word for word in dict.fromkeys(w for words, _ in examples for w in words) if word not in there])
    table = Rows(
        [*known.words, *new.words],
        np.concatenate((known.vectors, new.vectors)),
        np.concatenate((known.bias, new.bias)),
        [*known.spoken, *new.spoken],
    )
    items = _items(engine, examples, rate, table)
    if not items:
        raise UserError("no example is long enough for its words; give longer recordings")
    vectors, bias = torch.from_numpy(table.vectors), torch.from_numpy(table.bias)
    for parameter in model.word.words.parameters() if model.word is not None else ():
        parameter.requires_grad_(False)
    settings = _changed(config.train, learning_rate=RATE)
    groups = parameter_groups(model, settings)
    groups = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    optimiser, augment, draw = torch.optim.AdamW(groups, lr=RATE), Augment(config.train), random.Random(seed)
    torch.manual_seed(seed)
    steps, done = epochs * math.ceil(len(items) / TOGETHER), 0
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for batch in _batches(items, draw):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, done / steps)
            lengths = torch.tensor([len(item.x) for item in batch])
            masked = [augment.masked(item.x) for item in batch]
            output = model(torch.nn.utils.rnn.pad_sequence(masked, batch_first=True), lengths)
            loss = torch.zeros(())
            if output.subword is not None:
                found = ctc(output.subword, output.subword_lengths, [item.units for item in batch], "torch")
                loss = loss + config.loss.subword * found.sum() / sum(len(item.units) for item in batch)
            if output.frames is not None:
                scores = word_scores(output.frames, output.blank, vectors, bias).log_softmax(-1)
                found = ctc(scores, output.word_lengths, [item.words for item in batch], "torch")
                loss = loss + config.loss.word * found.sum() / sum(len(item.words) for item in batch)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            optimiser.step()
            total, done = total + float(loss.detach()), done + 1
        log.info("epoch %d of %d: loss %.3f", epoch, epochs, total / math.ceil(len(items) / TOGETHER))
    model.eval()


def _changed(settings: Any, **changed: Any) -> Any:
    """A copy of a group of settings with others."""
    return type(settings)(**{**vars(settings), **changed})


def land(engine: K2Engine, source: FolderFiles, out: Path, note: str) -> None:
    """Write a bundle with the engine's model in place of that of `source`, whole or not at all.

    Args:
      note: a sentence of the manifest.
    Raises:
      UserError: `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists; name another folder, or remove it")
    partial = out.with_name(f"{out.name}.partial")
    rmtree(partial, ignore_errors=True)
    copytree(source.path, partial)
    for path in partial.rglob("*"):
        if path.suffix in NETWORKS:
            path.unlink()
    save(engine.trained.model, partial / "model.safetensors")
    manifest = replace(
        source.manifest, model=digest(partial / "model.safetensors")[:8], notes=[*source.manifest.notes, note], files={}
    )
    write_manifest(partial, manifest)
    partial.rename(out)


def _items(engine: K2Engine, examples: Sequence[Example], rate: int, table: Rows) -> List[_Item]:
    """Features and targets of the examples that CTC can align, on the frames of both heads."""
    place = {word: n for n, word in enumerate(table.words)}
    features = engine.trained.features
    strides = [
        engine.trained.settings["train"].model.subword_subsampling,
        engine.trained.settings["train"].model.word_subsampling,
    ]
    items: List[_Item] = []
    for first in range(0, len(examples), TOGETHER):
        some = examples[first : first + TOGETHER]
        for cut in engine.cuts([(samples, rate) for _, samples in some]):
            words = [place[word] for word in some[int(cut.id)][0]]
            units = [unit for word in words for unit in table.spoken[word][0]]
            x = features.normalise(torch.from_numpy(cut.load_features()).float(), "")
            own = _Item(x, units, [word + 1 for word in words])
            if all(len(x) // stride > _frames(seq) for stride, seq in zip(strides, (own.units, own.words))):
                items.append(own)
    return items


def _frames(symbols: Sequence[int]) -> int:
    """Frames that CTC needs at least."""
    return len(symbols) + sum(a == b for a, b in zip(symbols, symbols[1:]))


def _batches(items: Sequence[_Item], draw: random.Random) -> List[List[_Item]]:
    """Items of similar length together, in a random order."""
    lengths: Dict[int, float] = {n: len(item.x) * draw.uniform(0.85, 1.15) for n, item in enumerate(items)}
    order = sorted(lengths, key=lambda n: lengths[n])
    batches = [[items[n] for n in order[first : first + TOGETHER]] for first in range(0, len(order), TOGETHER)]
    draw.shuffle(batches)
    return batches
