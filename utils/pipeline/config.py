"""Configuration: base <- recipe <- corpus <- settings of the corpus for this recipe <- --config <- --set.

Types and allowed values of keys are in utils/settings/schema.py, combinations that are refused in utils/settings/rules.py, old
keys in utils/settings/old_keys.py.
"""

import copy
import json
import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterable, List, Mapping, Sequence

from utils.core.allowed import accepted, like, nearest
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.settings import rules
from utils.settings.old_keys import DROPPED, RENAMED, SPLIT, current_key, current_names, current_value
from utils.settings.schema import SCHEMA

RECIPES = "recipes"  # in corpus.yaml: recipe -> settings of the corpus for this recipe alone
# Keys that may name files outside the repository.
PATHS = ["data.source", "lang.text", "features.model", "ready.model", "vectors.meaning.path"]
PATHS += ["rescore.llm.path", "rescore.word_lm.path", "train.init", "export.sign", "augment.noise", "augment.impulse_responses"]
PATHS += ["features.shards"]
YAML_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}  # which YAML reads as something else than text
OPEN = "data.options"  # the one mapping whose keys are defined by corpus.yaml


def load(recipe: str, corpus_dir: Path, overrides: Sequence[str] = ()) -> Dict[str, Any]:
    """Resolve the configuration of one run.

    Args:
      recipe: name of a file in recipes/, without `.yaml`.
      corpus_dir: folder with `corpus.yaml`.
      overrides: `KEY=VALUE` strings, the value in YAML, applied in order.
    Raises:
      UserError: unknown recipe or key (names the nearest one), wrong type, a value that is not allowed, settings that contradict
        each other (both name what to set), unreadable file.
    """
    from utils.core.yaml_files import parse, read_mapping

    path = recipe_file(recipe)
    config = read_mapping(ROOT / "recipes" / "base.yaml")
    _merge(config, read_mapping(path), f"recipes/{recipe}.yaml")
    where = str(Path(corpus_dir) / "corpus.yaml")
    corpus = read_mapping(Path(where))
    if isinstance(corpus.get("data"), dict):
        options = corpus["data"].pop("options", None) or {}
        if not isinstance(options, dict):
            raise UserError(f"{where}: {OPEN} must hold a mapping of keys to values")
        config["data"]["options"] = copy.deepcopy(options)
    own = corpus.pop(RECIPES, None) or {}
    for name in own:
        if not isinstance(own, dict) or not (isinstance(own[name], dict) and name in recipe_names()):
            raise UserError(f"{where}: {RECIPES} must map recipes ({', '.join(recipe_names())}) to settings")
    _merge(config, corpus, where)
    _merge(config, own.get(recipe, {}), f"{where}: {RECIPES}.{recipe}")
    for item in overrides:
        key, value = split_override(item)
        words = SCHEMA[key].kind is str if key in SCHEMA else isinstance(leaves(config).get(key), str)
        text = value.strip()
        plain = words and not (len(text) > 1 and text[0] == text[-1] and text[0] in "'\"")
        # Text needs no quotes here: a folder may be called "123" or "take #2", which YAML reads as something else.
        _set(config, key, text if plain else parse(value, f"--set {item}"), "--set")
    rules.check(view(config))
    return config


def split_override(item: str) -> List[str]:
    """Key and value of a `KEY=VALUE`; raises UserError where it is none."""
    key, equals, value = item.partition("=")
    if not equals:
        raise UserError(f"--set {item}: write KEY=VALUE, for example --set train.epochs=10")
    return [key.strip(), value]


def override(key: str, value: Any) -> str:
    """`KEY=VALUE` for a value of a key, as --set takes it."""
    if isinstance(value, str):
        odd = value != value.strip() or value[:1] in ("'", '"')
        return f"{key}={json.dumps(value, ensure_ascii=False) if odd else value}"
    flow = json.dumps(value) if not isinstance(value, list) else f"[{', '.join(map(_item, value))}]"
    return f"{key}={flow}"


def settings_of(path: Path) -> List[str]:
    """The settings of a YAML file, keys in groups or dotted, as `KEY=VALUE`.

    Raises:
      UserError: no readable file, an unknown key (names the nearest one), a value that is not allowed.
    """
    from utils.core.yaml_files import read_mapping

    found: Dict[str, Any] = {}
    for key, value in leaves(read_mapping(path)).items():
        key = RENAMED.get(key, key)
        if key in found:
            raise UserError(f"{path}: {key} occurs twice")
        if not (key in DROPPED or key in SPLIT or key.startswith(f"{OPEN}.")):
            check_known(key, SCHEMA, str(path))
            value = accepted(key, SCHEMA[key], current_value(key, value), str(path))
        if value is None or isinstance(value, dict):
            raise UserError(f"{path}: {key} has no value")
        found[key] = value
    return [override(key, value) for key, value in found.items()]


def check_overrides(items: Sequence[str]) -> None:
    """Raise UserError for an unknown key, or a number out of its range, in `KEY=VALUE` items; reads no file.

    The rest is left to `load`: it reads corpus.yaml, which defines options of corpora, and values in YAML.
    """
    for item in items:
        key, text = split_override(item)
        key = RENAMED.get(key, key)
        if key in DROPPED or key in SPLIT or key.startswith(f"{OPEN}."):
            continue
        check_known(key, SCHEMA, "--set")
        with suppress(ValueError):
            value = json.loads(text)
            if SCHEMA[key].kind in (int, float) and type(value) in (int, float):
                accepted(key, SCHEMA[key], value, "--set")


def recipe_names() -> List[str]:
    """All recipes, sorted."""
    return sorted(p.stem for p in (ROOT / "recipes").glob("*.yaml") if p.stem != "base")


def recipe_file(recipe: str) -> Path:
    """The recipe's YAML file; raises UserError where there is none of that name."""
    if recipe not in recipe_names():
        raise UserError(f"no recipe '{recipe}'{nearest(recipe, recipe_names())}; there are {', '.join(recipe_names())}")
    return ROOT / "recipes" / f"{recipe}.yaml"


def subset(config: Dict[str, Any], keys: Iterable[str]) -> Dict[str, Any]:
    """The part of `config` below the dotted `keys`; a stage that declares them may read nothing else."""
    out: Dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, out
        for name in parents:
            source, target = source[name], target.setdefault(name, {})
        target[last] = copy.deepcopy(source[last])
    return out


def view(config: Dict[str, Any]) -> SimpleNamespace:
    """`config` with attribute access (`config.train.epochs`); `data.options` stays a dict."""
    return _view(config, "")


def without(config: Dict[str, Any], values: Mapping[str, Any], prefix: str = "") -> Dict[str, Any]:
    """A configuration without the keys that have the values given, and groups of such keys; `values` maps dotted keys."""
    out: Dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rest = without(value, values, f"{name}.")
            if rest or not value:
                out[key] = rest
        elif name not in values or values[name] != value:
            out[key] = value
    return out


def made_with(folder: Path) -> SimpleNamespace:
    """The configuration that the folder of a finished stage was made with."""
    from utils.core.yaml_files import read_mapping

    return view(current_names(read_mapping(folder / "config.yaml")))


def current_overrides(items: Sequence[str]) -> List[str]:
    """`KEY=VALUE` items under the names that keys have today, which records use; without dropped keys."""
    split = [(key.strip(), value) for key, _, value in (item.partition("=") for item in items)]
    return [f"{RENAMED.get(key, key)}={current_value(key, value)}" for key, value in split if key not in DROPPED]


def leaves(config: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Dotted key -> value for everything that is not a mapping."""
    out: Dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out.update(leaves(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = value
    return out


def _item(value: Any) -> str:
    """An item of a list in YAML, without quotes where none are needed."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./+-]*", value) and value.lower() not in YAML_WORDS
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _view(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key == OPEN:
        return value
    return SimpleNamespace(**{k: _view(v, f"{key}.{k}" if key else k) for k, v in value.items()})


def _merge(config: Dict[str, Any], changes: Dict[str, Any], where: str, prefix: str = "") -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and value:
            _merge(config, value, where, f"{prefix}{key}.")
        else:
            _set(config, f"{prefix}{key}", value, where)


def _set(config: Dict[str, Any], key: str, value: Any, where: str) -> None:
    known = leaves(config)
    for part in SPLIT.get(key, ()):
        _set(config, part, value, where)
    if key in SPLIT:
        return
    if key not in known:
        current = current_key(key, value, where)
        if current is None:
            return
        key = current
    check_known(key, known, where)
    *parents, last = key.split(".")
    target = config
    for name in parents:
        target = target[name]
    value = current_value(key, value)
    value = accepted(key, SCHEMA.get(key) or like(known[key]), value, where)
    target[last] = str(Path(value).expanduser()) if key in PATHS and value[:2] == "~/" else value  # a shell leaves it after =


def check_known(key: str, known: Iterable[str], where: str) -> None:
    """Raise UserError where a key is not known, with the nearest one, or where it is a group of keys."""
    known = list(known)
    if key in known:
        return
    inside = [k for k in known if k.startswith(key + ".")]
    if inside:
        raise UserError(f"{where}: '{key}' is a group of keys: {', '.join(inside)}")
    raise UserError(f"{where}: unknown key '{key}'{nearest(key, known)}")
