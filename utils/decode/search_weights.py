"""What the first pass weighs its scores with: given, or found on dev over the kept output of the network.

CTC's blank swallows words where speech is unlike the training's, so a penalty is subtracted from its log-probability before the
search. Each graph has its own penalty and its own scale of the LM: the word head's blank and LM are not the sub-word head's.

The weights found make the fewest errors of the best path on dev, in words or characters (`edits` of utils/text/scoring.py).
Errors are counted, not expected: expected errors need sampled paths, which favour the weights that they were sampled with. A
small dev set decides little, so weights far from those that other corpora ask for (`USUAL`) must earn it: being one `SPREAD` away
costs `TIE` errors. Among equals the smaller LM scale is taken.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from utils.core.files import read_json, write_json
from utils.pipeline.config import made_with

AUTO = "auto"
FILE = "first_pass.json"
HEADS = {"lattice": "subword", "word_lattice": "word"}  # graph -> key of the head in the configuration


@dataclass(frozen=True)
class SearchWeights:
    """What the scores of one graph are weighed with."""

    blank_penalty: float = 0.0  # natural log, subtracted from the blank's log-probability in each frame
    lm_scale: float = 1.0


# What the dev sets of asterisk and speechocean762 ask for, and how far apart they are.
USUAL = {"lattice": SearchWeights(1.5, 1.0), "word_lattice": SearchWeights(1.0, 0.7)}
SPREAD = SearchWeights(1.5, 0.3)
TIE = 0.5  # errors that it costs to be one spread away
STEPS = ((1.0, 0.25), (0.5, 0.125))  # of penalty and scale, from coarse to fine
TURNS = 4  # most moves with one step


def given(config: SimpleNamespace, graph: str) -> Tuple[Any, Any]:
    """Penalty and scale of a graph in the group `decode`: numbers, or AUTO."""
    return getattr(config.blank_penalty, HEADS[graph]), getattr(config.first_lm_scale, HEADS[graph])


def find(graph: str, config: SimpleNamespace, errors: Callable[[Sequence[SearchWeights]], List[int]]) -> Dict[SearchWeights, int]:
    """Search for the weights of a graph, from the usual ones on: one value at a time, in steps from coarse to fine.

    Args:
      config: the group `decode`; a number there is kept.
      errors: errors of the best paths on dev with each of some weights.
    Returns:
      the errors of all that was tried, the chosen weights first.
    """
    fixed, usual = given(config, graph), USUAL[graph]
    seen: Dict[SearchWeights, int] = {}

    def cost(weights: SearchWeights) -> Tuple[float, float, float]:
        away = ((weights.blank_penalty - usual.blank_penalty) / SPREAD.blank_penalty) ** 2
        away += ((weights.lm_scale - usual.lm_scale) / SPREAD.lm_scale) ** 2
        return seen[weights] + TIE * away, weights.lm_scale, weights.blank_penalty

    def best(wanted: Sequence[SearchWeights]) -> SearchWeights:
        new = [weights for weights in dict.fromkeys(wanted) if weights not in seen]
        seen.update(zip(new, errors(new) if new else []))
        return min(wanted, key=cost)

    start = [usual.blank_penalty, usual.lm_scale]
    now = best([SearchWeights(*(own if value == AUTO else value for value, own in zip(fixed, start)))])
    for step in STEPS:
        for _ in range(TURNS):
            around = [now]
            for place, name in enumerate(("blank_penalty", "lm_scale")):
                values = [round(asdict(now)[name] + sign * step[place], 4) for sign in (-1, 1)] if fixed[place] == AUTO else []
                around += [SearchWeights(**{**asdict(now), name: value}) for value in values if value >= 0]
            moved = best(around)
            if moved == now:
                break
            now = moved
    return {now: seen[now], **seen}


def write_weights(folder: Path, found: Mapping[str, SearchWeights], tried: Mapping[str, Mapping[SearchWeights, int]]) -> None:
    """Write first_pass.json: the weights of each graph, and for those found on dev the errors of all that were tried."""
    about: Dict[str, Any] = {graph: asdict(weights) for graph, weights in found.items()}
    for graph, errors in tried.items():
        about[graph]["dev_errors"] = [[w.blank_penalty, w.lm_scale, n] for w, n in errors.items()]
    write_json(folder / FILE, about)


def read_weights(folder: Path) -> Dict[str, SearchWeights]:
    """The weights that a finished decoding used, by graph."""
    if not (folder / FILE).is_file():  # made before they were written
        config = made_with(folder).decode
        return {graph: SearchWeights(0.0, getattr(config.first_lm_scale, head)) for graph, head in HEADS.items()}
    return {graph: SearchWeights(row["blank_penalty"], row["lm_scale"]) for graph, row in read_json(folder / FILE).items()}
