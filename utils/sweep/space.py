"""The space of a search: keys of the configuration, each with a range of numbers or a list of choices."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from utils.core.allowed import Key, accepted, like, nearest
from utils.core.errors import UserError
from utils.core.yaml_files import read_mapping
from utils.pipeline.config import OPEN, check_known, leaves, override
from utils.pipeline.stages import PROPOSE, SYNTHESISE, SYSTEMS, Plan, Stage, stages_of
from utils.settings.old_keys import RENAMED, current_key
from utils.settings.schema import SCHEMA

WORDS = ("low", "high", "log", "step")  # of a range
DIGITS = 4  # significant digits of a number that is drawn from a range without steps


@dataclass(frozen=True)
class Dimension:
    """One key: its choices, or its range with both ends."""

    key: str
    choices: Tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False  # whether numbers are drawn evenly on a logarithmic scale
    step: Optional[float] = None  # None for every number of the range
    whole: bool = False

    @property
    def size(self) -> Optional[int]:
        """The number of its values; None where every number of a range may come."""
        if self.choices:
            return len(self.choices)
        return None if self.step is None else round((self.high - self.low) / self.step) + 1

    def values(self) -> List[Any]:
        """Its values as Optuna has them, where `size` is not None."""
        if self.choices:
            return [_label(choice) for choice in self.choices]
        numbers = [self.low + n * (self.step or 1) for n in range(self.size or 0)]
        return [int(x) for x in numbers] if self.whole else [round(x, 10) for x in numbers]

    def distribution(self) -> Any:
        """Its optuna.distributions."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution([_label(choice) for choice in self.choices])
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), self.log, int(self.step or 1))
        return FloatDistribution(self.low, self.high, self.log, self.step)

    def setting(self, drawn: Any) -> Any:
        """The value of the key for what Optuna drew."""
        return next(choice for choice in self.choices if _label(choice) == drawn) if self.choices else drawn

    def drawn(self, value: Any) -> Optional[Any]:
        """What Optuna would draw for a value of the key; None where it is not in the space."""
        if self.choices:
            return _label(value) if value in self.choices else None
        inside = type(value) in (int, float) and self.low <= value <= self.high
        if inside and self.step and abs((value - self.low) / self.step - round((value - self.low) / self.step)) > 1e-9:
            return None
        return value if inside else None

    def rounded(self, drawn: Any) -> Any:
        """A drawn number with DIGITS significant digits, still in the range."""
        if self.choices or self.whole:
            return drawn
        return round(drawn, 10) if self.step else min(max(float(f"{drawn:.{DIGITS}g}"), self.low), self.high)

    def about(self) -> Any:
        """As it is written in a file."""
        if self.choices:
            return list(self.choices)
        found: Dict[str, Any] = {"low": self.low, "high": self.high}
        return {**found, **({"log": True} if self.log else {}), **({"step": self.step} if self.step not in (None, 1) else {})}


@dataclass(frozen=True)
class Space:
    """What is searched."""

    dimensions: Tuple[Dimension, ...]

    def size(self, keys: Iterable[str]) -> Optional[int]:
        """The number of settings of these keys, those that are not in the space left out; None where it is endless."""
        keys, product = set(keys), 1
        for dimension in self.dimensions:
            if dimension.key in keys:
                if dimension.size is None:
                    return None
                product *= dimension.size
        return product

    def keys_of(self, stage: Stage) -> List[str]:
        """The keys of the space that a stage reads itself."""
        return [d.key for d in self.dimensions if _reads(stage, d.key)]

    def behind(self, plans: Mapping[str, Plan]) -> Dict[str, List[str]]:
        """Stage name -> the keys of the space that its output depends on, also through earlier stages."""
        found: Dict[str, List[str]] = {}
        for name, planned in plans.items():
            earlier = [key for read in planned.stage.reads for key in found[read]]
            found[name] = list(dict.fromkeys([*earlier, *self.keys_of(planned.stage)]))
        return found

    def overrides(self, params: Mapping[str, Any]) -> List[str]:
        """Drawn settings as `KEY=VALUE`."""
        return [override(key, value) for key, value in self.settings(params).items()]

    def settings(self, params: Mapping[str, Any]) -> Dict[str, Any]:
        """Key -> value of drawn settings."""
        return {d.key: d.setting(params[d.key]) for d in self.dimensions}

    def distributions(self) -> Dict[str, Any]:
        """Key -> optuna.distributions."""
        return {d.key: d.distribution() for d in self.dimensions}

    def drawn(self, config: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """The settings of a configuration as Optuna would draw them; None where they are not in the space."""
        values = leaves(config)
        found = {d.key: d.drawn(values[d.key]) for d in self.dimensions}
        return None if None in found.values() else found

    def lowest(self) -> Dict[str, Any]:
        """The first choices and lowest numbers, as Optuna would draw them."""
        return {d.key: d.drawn(d.choices[0] if d.choices else d.low) for d in self.dimensions}

    def about(self) -> Dict[str, Any]:
        """Key -> range or choices, as a file has them."""
        return {d.key: d.about() for d in self.dimensions}


def read_space(path: Path, config: Dict[str, Any]) -> Space:
    """The space of a file: keys, dotted or in groups, with a list of choices or {low:, high:} and perhaps log: or step:.

    Args:
      config: the configuration that trials change.
    Raises:
      UserError: an unknown key (names the nearest), one that the error on dev does not depend on, a range that is none,
        or one that leaves what the key may be.
    """
    known = leaves(config)
    found = [
        _dimension(key, spec, SCHEMA.get(key) or like(known[key]), path) for key, spec in _specs(read_mapping(path), known, path)
    ]
    if not found:
        raise UserError(f"{path} has no key to search over; write KEY: [CHOICES], or KEY: {{low: NUMBER, high: NUMBER}}")
    keys = [d.key for d in found]
    for key in keys:
        if keys.count(key) > 1:
            raise UserError(f"{path}: {key} occurs twice")
        if not key.startswith(f"{OPEN}.") and not any(_reads(stage, key) for stage in _stages(config, keys)):
            raise UserError(f"{path}: {key} changes nothing that the error on dev depends on; take it out")
    return Space(tuple(found))


def _specs(mapping: Mapping[Any, Any], known: Mapping[str, Any], path: Path, prefix: str = "") -> Iterator[Tuple[str, Any]]:
    for name, spec in mapping.items():
        key = f"{prefix}{name}"
        if key in RENAMED:
            key = current_key(key, None, str(path)) or key
        if key in known:
            yield key, spec
        elif isinstance(spec, dict) and not set(spec) & set(WORDS) and any(k.startswith(f"{key}.") for k in known):
            yield from _specs(spec, known, path, f"{key}.")
        else:
            check_known(key, known, str(path))


def _dimension(key: str, spec: Any, known: Key, path: Path) -> Dimension:
    where = f"{path}: {key}"
    if isinstance(spec, list):
        choices = [accepted(key, known, choice, str(path)) for choice in spec]
        if not choices or len({_label(choice) for choice in choices}) < len(choices):
            raise UserError(f"{where} {'has no choice' if not choices else 'has a choice twice'}: {spec}")
        return Dimension(key, tuple(choices))
    if not isinstance(spec, dict):
        raise UserError(
            f"{where}: {spec} is one value; write a list of choices or {{low: NUMBER, high: NUMBER}}, or give it with --set"
        )
    wrong = [word for word in spec if word not in WORDS]
    if wrong:
        raise UserError(
            f"{where}: a range has {', '.join(WORDS)}, not '{wrong[0]}'{nearest(str(wrong[0]), WORDS)}; choices are a list"
        )
    if known.kind not in (int, float) or known.choices:
        raise UserError(f"{where} must be {known.allowed()}, which has no range; list the values to try")
    missing = [word for word in ("low", "high") if word not in spec]
    if missing:
        raise UserError(f"{where}: the range lacks {' and '.join(missing)}")
    low, high = (accepted(key, known, spec[word], f"{path}, {word}") for word in ("low", "high"))
    if isinstance(low, str) or isinstance(high, str):
        raise UserError(f"{where}: the ends of a range are numbers; to try {known.word} too, list the values")
    if low >= high:
        raise UserError(f"{where}: low={low:g} is not below high={high:g}")
    log, step = spec.get("log", False), spec.get("step", (2 if known.odd else 1) if known.kind is int else None)
    if type(log) is not bool:
        raise UserError(f"{where}: log must be true or false, not {log!r}")
    if log and (low <= 0 or "step" in spec or known.odd):
        why = f"low={low:g} is not above 0" if low <= 0 else "it has steps"
        raise UserError(f"{where}: a logarithmic range is impossible because {why}; set log: false")
    return Dimension(key, (), low, high, log, _step(step, low, high, known, where), known.kind is int)


def _step(step: Any, low: float, high: float, known: Key, where: str) -> Optional[float]:
    if step is None:
        return None
    if type(step) not in ((int,) if known.kind is int else (int, float)) or step <= 0:
        raise UserError(f"{where}: step must be {'a whole number' if known.kind is int else 'a number'} above 0, not {step!r}")
    if known.odd and step % 2:
        raise UserError(f"{where} must be odd, so step must be even, not {step}")
    steps = (high - low) / step
    if abs(steps - round(steps)) > 1e-9:
        raise UserError(
            f"{where}: from {low:g} in steps of {step:g} high={high:g} is never met; set high: {low + int(steps) * step:g}"
        )
    return step


def _stages(config: Dict[str, Any], keys: Sequence[str]) -> Iterator[Stage]:
    """The stages before the error on dev that a configuration has, and those that keys of the space may add."""
    more = [SYNTHESISE] * ("synthesis.utterances" in keys) + [PROPOSE] * ("rescore.attention.beam" in keys)
    systems = [stage for system in SYSTEMS.values() for stage in system.values()] if "system" in keys else []
    for stage in (*stages_of(config).values(), *more, *systems):
        if stage.name not in ("score", "export"):
            yield stage


def _reads(stage: Stage, key: str) -> bool:
    return key == "system" or any(key == declared or key.startswith(f"{declared}.") for declared in stage.keys)


def _label(choice: Any) -> Any:
    """A choice as Optuna stores it: lists are text there."""
    return json.dumps(choice) if isinstance(choice, list) else choice
