"""The network of a bundle, adapted to recordings of commands as far as held-out recordings gain from it.

A general network moves a little towards the sentences of the recordings, by CTC of both heads, while it is held to what it said
before of other sounds (Yu et al. 2013: KL-divergence regularisation). Then its weights are interpolated with those from before
(Wortsman et al. 2022: WiSE-FT). How far, recordings decide that this network has not seen: the recordings are split into folds,
and a network is trained without each.
"""

import logging
import random
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from utils.bundle.evidence import Evidence
from utils.commands.recognise import Commands
from utils.commands.scoring import best_way, search
from utils.engine.chain import Trained
from utils.grammars.grammar import Command
from utils.nn.ctc import ctc
from utils.nn.model import AcousticModel, Output
from utils.vectors.wordvec import word_scores

log = logging.getLogger("nuptse")
FOLDS = 3
HEARD = 2  # versions of each that are tried
SHARES = (0.0, 0.5, 1.0)  # of the adapted weights in the interpolation that are tried
EPOCHS, BATCH = 4, 16
OTHERS, LONGEST = 4, 250  # other sounds beside a batch, and how many of their frames
LEARNING_RATE, WARMUP, CLIP = 3e-4, 0.1, 5.0
HELD = 1.0  # weight of the divergence from what the network said before, beside that of both heads
FIXED = ("word.words.", "front.")  # beginnings of the names of weights that stay: the table of word vectors is made from them
State = Dict[str, Tensor]


@dataclass(frozen=True)
class Recorded:
    """A recording of a command, as it is and as it may be heard elsewhere."""

    meant: Command
    versions: List[Evidence]  # with features; the first is the recording as it is


@dataclass(frozen=True)
class Lesson:
    """What the network shall say of a recording."""

    x: Tensor  # (T, C), normalised features
    units: List[int]  # of the sub-word head
    words: List[int]  # places among the grammar's words, from 1
    number: int  # of the recording


@dataclass(frozen=True)
class Adapted:
    """What came of it."""

    share: float  # of the adapted weights; 0: the network stays as it is
    state: State  # weights of the new network
    recorded: List[Recorded]  # HEARD versions of the recordings, as networks hear them that did not see them in training
    right: Mapping[float, int]  # share -> held-out versions that are understood by the two heads
    of: int

    def __str__(self) -> str:
        shares = ", ".join(f"{100 * n / max(self.of, 1):.1f}% with {part:g}" for part, n in self.right.items())
        end = f"{self.share:g} is taken" if self.share else "it stays as it is, since adapting it brought nothing"
        return f"of {self.of} held-out recordings are understood, by the share of adapted weights: {shares}; {end}"


class Network:
    """The network of an opened bundle, with which weights can be tried."""

    def __init__(self, commands: Commands) -> None:
        self.trained: Trained = commands.recogniser.trained
        self.model: AcousticModel = self.trained.model
        self.before: State = {name: value.clone() for name, value in self.model.state_dict().items()}
        rows, table = commands.rows, commands.table
        both = [np.concatenate(pair) for pair in ((rows.vectors, table.vectors), (rows.bias, table.bias))]
        self.vectors, self.bias = (torch.from_numpy(part) for part in both)

    def normalised(self, evidence: Evidence) -> Tensor:
        """(T, C): the features as the network gets them."""
        assert evidence.features is not None
        return self.trained.features.normalise(torch.from_numpy(evidence.features).float(), "")

    @torch.no_grad()
    def heard(self, state: State, evidence: Evidence) -> Evidence:
        """What the network says with other weights."""
        self.model.load_state_dict(state)
        x = self.normalised(evidence)
        output = self.model.eval()(x[None], torch.tensor([len(x)]))
        found = {"subword": output.subword, "frames": output.frames, "blank": output.blank}
        return replace(evidence, **{name: value[0].numpy() for name, value in found.items() if value is not None})

    def mixed(self, state: State, part: float) -> State:
        """Weights between those from before (0) and others (1)."""
        return {name: old + part * (state[name] - old) for name, old in self.before.items()}

    def word_log_probs(self, output: Output) -> Tensor:
        """(N, T2, 1 + W): the blank, the grammar's words and the bundle's vocabulary."""
        assert output.frames is not None and output.blank is not None
        return word_scores(output.frames, output.blank, self.vectors, self.bias).log_softmax(-1)


def adapt(commands: Commands, recorded: Sequence[Recorded], others: Sequence[Evidence], seed: int = 0) -> Adapted:
    """Adapt the network; `commands` and its bundle stay as they are.

    Args:
      others: other sounds, with features, of which the network shall say what it said before.
    """
    network = Network(commands)
    lessons = [one for n, each in enumerate(recorded) for one in _lessons(commands, network, each, n)]
    kept = [network.normalised(one) for one in others if len(one.subword)]
    right = dict.fromkeys(SHARES, 0)
    found: Dict[float, List[Tuple[int, Recorded]]] = {part: [] for part in SHARES}
    for fold in range(FOLDS):
        rest = [(n, one) for n, one in enumerate(recorded) if n % FOLDS == fold]
        new = _train(network, [one for one in lessons if one.number % FOLDS != fold], kept, seed)
        for part in SHARES:
            state = network.mixed(new, part)
            for n, one in rest:
                again = replace(one, versions=[network.heard(state, version) for version in one.versions[:HEARD]])
                right[part] += sum(_understood(commands, version, one.meant) for version in again.versions)
                found[part].append((n, again))
    best = max(SHARES, key=lambda part: (right[part], -part))
    state = network.mixed(_train(network, lessons, kept, seed), best) if best else network.before
    network.model.load_state_dict(network.before)
    return Adapted(
        best,
        state,
        [one for _, one in sorted(found[best], key=lambda pair: pair[0])],
        right,
        sum(len(one.versions[:HEARD]) for one in recorded),
    )


def _lessons(commands: Commands, network: Network, one: Recorded, number: int) -> Iterator[Lesson]:
    """A lesson for each version, with the likeliest sentence that means what was said; none where none was found."""
    scored = search(one.versions[0], commands.graphs, commands.rows, commands.table, commands.weights)
    totals = scored.units + commands.weights.word * scored.words
    for n in np.argsort(-totals, kind="stable"):
        sentence = scored.sentences[n]
        if commands.grammar.meaning(commands.words(sentence)) == one.meant:
            units = best_way(scored.heads.units, [commands.rows.spoken[word - 1] for word in sentence])
            for version in one.versions:
                yield Lesson(network.normalised(version), units, list(sentence), number)
            return


def _understood(commands: Commands, evidence: Evidence, meant: Command) -> bool:
    """Whether the two heads alone choose a sentence with this meaning."""
    scored = search(evidence, commands.graphs, commands.rows, commands.table, commands.weights)
    if not scored.sentences:
        return False
    best = int(np.argmax(scored.units + commands.weights.word * scored.words))
    return commands.grammar.meaning(commands.words(scored.sentences[best])) == meant


def _train(network: Network, lessons: Sequence[Lesson], kept: Sequence[Tensor], seed: int) -> State:
    """New weights, from those from before."""
    torch.manual_seed(seed)
    draw, model, before = random.Random(seed), network.model, deepcopy(network.model).eval()
    model.load_state_dict(network.before)
    before.load_state_dict(network.before)
    moving = [value for name, value in model.named_parameters() if not name.startswith(FIXED)]
    optimiser = torch.optim.AdamW(moving, LEARNING_RATE, weight_decay=0.0)
    steps = EPOCHS * -(-len(lessons) // BATCH)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps + 1, pct_start=WARMUP)
    model.train()
    for _ in range(EPOCHS):
        order = draw.sample(lessons, len(lessons))
        for first in range(0, len(order), BATCH):
            loss = _command_loss(network, order[first : first + BATCH])
            if kept:
                loss = loss + HELD * _divergence(
                    network, before, [x[:LONGEST] for x in draw.sample(kept, min(OTHERS, len(kept)))]
                )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(moving, CLIP)
            optimiser.step()
            rates.step()
    return {name: value.detach().clone() for name, value in model.eval().state_dict().items()}


def _command_loss(network: Network, lessons: Sequence[Lesson]) -> Tensor:
    """CTC of both heads, in nats a token."""
    output = _output(network.model, [one.x for one in lessons])
    assert output.subword is not None  # commands are searched on it
    heads = [(output.subword, output.subword_lengths, [one.units for one in lessons])]
    if output.frames is not None:
        heads.append((network.word_log_probs(output), output.word_lengths, [one.words for one in lessons]))
    total = 0.0 * output.subword.sum()  # which has a gradient, also where nothing fits
    for log_probs, lengths, targets in heads:
        # Others have no path, and gradients of NaN.
        there = [n for n, target in enumerate(targets) if _fits(target, int(lengths[n]))]
        if there:
            losses = ctc(log_probs[there], lengths[there], [targets[n] for n in there], "torch")
            total = total + losses.sum() / sum(len(targets[n]) for n in there)
    return total


def _fits(target: Sequence[int], frames: int) -> bool:
    """Whether CTC has a path: a frame for each symbol, and a blank between equal ones."""
    return len(target) + sum(one == other for one, other in zip(target, target[1:])) <= frames


def _divergence(network: Network, before: AcousticModel, sounds: Sequence[Tensor]) -> Tensor:
    """Kullback-Leibler divergence of what both heads say from what they said before, in nats a frame."""
    now = _output(network.model, sounds)
    with torch.no_grad():
        then = _output(before, sounds)
    assert now.subword is not None and then.subword is not None
    pairs = [(now.subword, then.subword, now.subword_lengths)]
    if now.frames is not None:
        pairs.append((network.word_log_probs(now), network.word_log_probs(then), now.word_lengths))
    total = torch.zeros(())
    for new, old, lengths in pairs:
        there = torch.arange(new.shape[1])[None] < lengths[:, None]
        total = total + F.kl_div(new[there], old[there], reduction="batchmean", log_target=True)
    return total


def _output(model: AcousticModel, sounds: Sequence[Tensor]) -> Output:
    return model(pad_sequence(list(sounds), batch_first=True), torch.tensor([len(x) for x in sounds]))
