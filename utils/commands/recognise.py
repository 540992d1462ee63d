"""The door: a grammar and a bundle, opened for recognising commands."""

from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from utils.bundle.evidence import Evidence, Rows
from utils.bundle.recogniser import Recogniser, Sound
from utils.commands.accepting import alike, features, least, letters, own_text, probability
from utils.commands.graph import compile_graphs
from utils.commands.scoring import Scored, read, search
from utils.commands.weights import DEFAULT, Weights, weights_of
from utils.core.errors import UserError
from utils.core.languages import family
from utils.grammars.grammar import Command, Grammar, read_grammar

ALTERNATIVES, LEAST = 5, 0.01  # most other commands of an answer, and the least probability of one


@dataclass(frozen=True)
class Answer:
    """What was said."""

    command: Optional[Command]  # None: not a command
    confidence: float  # probability that this is right
    text: str  # the sentence of the grammar that fits best; empty where none does
    alternatives: List[Tuple[Command, float]] = field(default_factory=list)  # other commands, with their probabilities

    def as_dict(self) -> Dict[str, Any]:
        """For JSON."""
        own = {"intent": None, "slots": {}} if self.command is None else _dict(self.command)
        others = [{**_dict(command), "confidence": round(p, 4)} for command, p in self.alternatives]
        return {**own, "confidence": round(self.confidence, 4), "text": self.text, "alternatives": others}


class Commands:
    """A recogniser of commands. Threads may share it; calls wait for each other only where the engine does."""

    def __init__(self, grammar: Grammar, recogniser: Recogniser, weights: Weights = DEFAULT) -> None:
        """Make the graphs. Raises UserError: words that the bundle can't pronounce; a bundle without a sub-word head."""
        self.grammar, self.recogniser, self.weights = grammar, recogniser, weights
        second = np.zeros(recogniser.rate, np.float32)
        if not recogniser.evidence([(second, recogniser.rate)])[0].subword.size:
            raise UserError(
                "the bundle has no sub-word head, on which commands are searched; train one (model.subword_head=true)"
            )
        self.rows: Rows = recogniser.rows(grammar.words)
        self.table: Rows = recogniser.rows()
        self.graphs = compile_graphs(grammar.acceptor, self.rows, recogniser.units)

    @classmethod
    def open(
        cls,
        grammar: Union[str, Path],
        bundle: Union[str, Path, Recogniser],
        slots: Mapping[str, Sequence[str]] = {},
        ambiguous: str = "refuse",
        weights: Optional[Weights] = None,
        **options: Any,
    ) -> "Commands":
        """Open a grammar and a bundle.

        Args:
          grammar: a YAML file, see `read_grammar`.
          bundle: its folder, or an opened one (engine k2).
          slots: slot (or list) -> values, in place of those of the file.
          ambiguous: refuse, or first: what happens to sentences with two readings.
          weights: None for those of the bundle, which `steps.commands train` puts there, or else the usual ones.
          options: of `Recogniser.open`.
        Raises:
          UserError: as `read_grammar`, `Grammar` and `Recogniser.open` do; a grammar of another language than the bundle's.
        """
        recogniser = bundle if isinstance(bundle, Recogniser) else Recogniser.open(bundle, **options)
        written = read_grammar(Path(grammar), slots)
        if written.language and family(written.language) != family(recogniser.language):
            raise UserError(
                f"{written.name} is in the language '{written.language}', and the bundle recognises '{recogniser.language}'; "
                "take a bundle of the grammar's language"
            )
        made = Grammar(written, recogniser.normalise, recogniser.language, ambiguous)
        return cls(made, recogniser, weights_of(recogniser, made.name) if weights is None else weights)

    def weighed(self, weights: Weights) -> "Commands":
        """The same with other weights."""
        made = copy(self)
        made.weights = weights
        return made

    def recognise(self, samples: np.ndarray, rate: int) -> Answer:
        """The command of a recording.

        Args:
          samples: (T,) float32 in [-1, 1], one channel.
          rate: Hz.
        Raises:
          UserError: as `Recogniser.transcribe` does.
        """
        return self.recognise_many([(samples, rate)])[0]

    def recognise_many(self, recordings: Sequence[Sound]) -> List[Answer]:
        """As `recognise` for each recording; short ones share batches, which is faster."""
        return [self.answer(one) for one in self.recogniser.evidence(recordings, features=bool(self.weights.decoder))]

    def answer(self, evidence: Evidence, reject: bool = True) -> Answer:
        """The command of a recording of which the network has been asked; `reject`: whether it may be none."""
        return self.chosen(search(evidence, self.graphs, self.rows, self.table, self.weights), evidence, reject)

    def chosen(self, scored: Scored, evidence: Evidence, reject: bool = True) -> Answer:
        """The answer, among the sentences that `search` found."""
        if not scored.sentences:
            return Answer(None, 1.0, "")
        totals, by_decoder = read(scored, evidence, self.recogniser, self.rows, self.weights)
        best = int(np.argmax(totals))
        posterior = np.exp(self.weights.scale * (totals - totals[best]))
        posterior /= posterior.sum()
        shares: Dict[str, float] = {}
        commands: Dict[str, Command] = {}
        for sentence, p in zip(scored.sentences, posterior.tolist()):
            if p > 0:
                command = self.grammar.meaning(self.words(sentence))
                assert command is not None  # the graph accepts what the grammar does
                key = repr((command.intent, sorted(command.slots.items())))
                commands[key], shares[key] = command, shares.get(key, 0.0) + p
        said = self.words(scored.sentences[best])
        chosen = self.grammar.meaning(said)
        assert chosen is not None
        own = repr((chosen.intent, sorted(chosen.slots.items())))
        both, penalty = scored.heads, self.weights.blank_penalty
        of_decoder: List[float] = []
        if not np.isnan(by_decoder[best]) and reject:
            own_words = own_text(evidence, self.recogniser) or []
            of_decoder = [float(by_decoder[best]), alike(letters(said), letters(own_words))]
        behind, vectors = float(scored.units[best] - scored.free), float(scored.words[best])
        sounds = alike(both.units_of(scored.sentences[best]), both.free_units(penalty))
        found = features(behind, len(both.units), vectors, len(said), sounds, *of_decoder)
        is_command = probability(found, self.weights)
        others = sorted(((commands[key], p * is_command) for key, p in shares.items() if key != own), key=lambda pair: -pair[1])
        alternatives = [pair for pair in others if pair[1] >= LEAST][:ALTERNATIVES]
        text = " ".join(said)
        if reject and is_command < least(found, self.weights):
            return Answer(None, 1 - is_command, text, [(chosen, shares[own] * is_command), *alternatives][:ALTERNATIVES])
        return Answer(chosen, shares[own] * is_command, text, alternatives)

    def words(self, sentence: Sequence[int]) -> List[str]:
        """A sentence of `search`."""
        return [self.rows.words[word - 1] for word in sentence]


def _dict(command: Command) -> Dict[str, Any]:
    return {"intent": command.intent, "slots": dict(command.slots)}
