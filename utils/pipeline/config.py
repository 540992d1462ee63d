"""Configuration: base <- recipe <- corpus <- what the corpus says of that recipe <- --set.

Every key is known, every value of the type of its default.
"""

import copy
import difflib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterable, List, Mapping, Sequence

import yaml

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.pipeline.old_keys import DROPPED, RENAMED, current_key, current_names

RECIPES = "recipes"  # of corpus.yaml: recipe -> settings of the corpus for this recipe alone
# Keys that may name what lies outside the repository.
PATHS = (
    "data.source",
    "features.model",
    "ready.model",
    "vectors.meaning.path",
    "vectors.outside",
    "rescore.llm.path",
    "rescore.word_lm.path",
    "lang.text",
)
OPEN = "data.options"  # the one mapping whose keys corpus.yaml defines

# Keys that take one of a few words.
CHOICES: Dict[str, Sequence] = {
    "system": ("network", "gmm", "whisper", "pocketsphinx"),
    "features.front_end": ("fbank", "mfcc", "whisper", "ssl"),
    "features.denoise": ("none", "noisereduce"),
    "features.window": ("povey", "hanning", "hamming", "rectangular", "blackman"),
    "features.normalise": ("global", "speaker", "none"),
    "lang.units": ("unigram", "bpe", "char", "phone"),
    "vectors.meaning.source": ("none", "random", "fasttext", "file", "llm"),
    "vectors.meaning.mode": ("table", "context"),
    "vectors.meaning.pooling": ("mean", "first", "frequency"),
    "model.subword_subsampling": (2, 4, 8, 16),
    "model.word_head": ("vectors", "softmax", "none"),
    "loss.backend": ("k2", "torch"),
    "train.precision": ("fp32", "bf16", "fp16"),
    "rescore.candidates": ("subword", "both"),
    "rescore.word_score": ("span", "sequence"),
    "rescore.word_lm.source": ("none", "trained", "llm", "file", "learned"),
}


def load(recipe: str, corpus_dir: Path, overrides: Sequence[str] = ()) -> Dict[str, Any]:
    """Resolve the configuration of one run.

    Args:
      recipe: name of a file in recipes/, without `.yaml`.
      corpus_dir: folder with `corpus.yaml`.
      overrides: `KEY=VALUE` strings, the value in YAML, applied in order.
    Raises:
      UserError: unknown recipe, key or choice (the nearest known one is named), wrong type, unreadable file.
    """
    config = _read(ROOT / "recipes" / "base.yaml")
    _merge(config, _read(recipe_file(recipe)), f"recipes/{recipe}.yaml")
    corpus = _read(Path(corpus_dir) / "corpus.yaml")
    where = str(Path(corpus_dir) / "corpus.yaml")
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
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item}: write KEY=VALUE, for example --set train.epochs=10")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {item}: the value is not YAML: {error}") from None
        key = key.strip()
        if isinstance(leaves(config).get(key), str) and not isinstance(parsed, str):
            parsed = value.strip()  # text needs no quotes here: language=no (Norwegian), an empty source=
        _set(config, key, parsed, "--set")
    _check_finetune(config)
    _check_attention(config)
    _check_synthesis(config)
    if config["rescore"]["whole_lattice"] and not config["model"]["subword_head"]:
        raise UserError(
            "rescore.whole_lattice needs model.subword_head=true: it puts the word head's scores on the lattices of the sub-word head"
        )
    order = config["decode"]["first_pass_lm_order"]
    if order and (not 0 < order < config["lang"]["lm_order"] or config["decode"]["unknown"]):
        raise UserError(
            f"decode.first_pass_lm_order={order} must be below lang.lm_order={config['lang']['lm_order']}, whose n-grams rescore the lattices, "
            "and at least 1; and it needs decode.unknown=false"
        )
    return config


def recipe_names() -> List[str]:
    """All recipes, sorted."""
    return sorted(p.stem for p in (ROOT / "recipes").glob("*.yaml") if p.stem != "base")


def recipe_file(recipe: str) -> Path:
    """The recipe's YAML file; raises UserError where there is none of that name."""
    if recipe not in recipe_names():
        raise UserError(f"no recipe '{recipe}'{nearest(recipe, recipe_names())}; there are {', '.join(recipe_names())}")
    return ROOT / "recipes" / f"{recipe}.yaml"


def subset(config: Dict[str, Any], keys: Iterable[str]) -> Dict[str, Any]:
    """The part of `config` below the dotted `keys`: all that a stage that declares them may read."""
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
    """A configuration less those keys that have the values given: `values` maps dotted keys."""
    out: Dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out[key] = without(value, values, f"{name}.")
        elif name not in values or values[name] != value:
            out[key] = value
    return out


def made_with(folder: Path) -> SimpleNamespace:
    """The configuration that a finished stage's folder was made with."""
    return view(current_names(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))))


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean X?)' for the known name closest to `name`, or ''."""
    known = list(known)
    match = difflib.get_close_matches(name, known, 1, 0.5)
    if not match:  # a right last part in a wrong place
        match = [k for k in known if k.split(".")[-1] == name.split(".")[-1]][:1]
    return f" (did you mean '{match[0]}'?)" if match else ""


def current_overrides(items: Sequence[str]) -> List[str]:
    """`KEY=VALUE` items under the names that keys have today, which records use; without dropped keys."""
    split = [item.partition("=") for item in items]
    return [f"{RENAMED.get(key.strip(), key)}{equals}{value}" for key, equals, value in split if key.strip() not in DROPPED]


def leaves(config: Dict[str, Any], prefix: str = "") -> Dict[str, Any]:
    """Dotted key -> value for everything that is not a mapping."""
    out: Dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            out.update(leaves(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = value
    return out


def _view(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key == OPEN:
        return value
    return SimpleNamespace(**{k: _view(v, f"{key}.{k}" if key else k) for k, v in value.items()})


class _NoTwins(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; else the second would hide the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[str, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for i, key in enumerate(keys) if key in keys[:i]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice[0]}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> Dict[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), _NoTwins) or {}
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold a mapping of keys to values")
    return value


def _merge(config: Dict[str, Any], changes: Dict[str, Any], where: str, prefix: str = "") -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and value:
            _merge(config, value, where, f"{prefix}{key}.")
        else:
            _set(config, f"{prefix}{key}", value, where)


def _set(config: Dict[str, Any], key: str, value: Any, where: str) -> None:
    known = leaves(config)
    if key not in known:
        current = current_key(key, value, where)
        if current is None:
            return
        key = current
    if key not in known:
        inside = [k for k in known if k.startswith(key + ".")]
        if inside:
            raise UserError(f"{where}: '{key}' is a group of keys: {', '.join(inside)}")
        raise UserError(f"{where}: unknown key '{key}'{nearest(key, known)}")
    *parents, last = key.split(".")
    target = config
    for name in parents:
        target = target[name]
    target[last] = _typed(key, value, known[key], where)
    if key in CHOICES and value not in CHOICES[key]:
        choices = [str(choice) for choice in CHOICES[key]]
        raise UserError(f"{where}: {key}={value}{nearest(str(value), choices)}: it takes one of {', '.join(choices)}")


def _check_finetune(config: Dict[str, Any]) -> None:
    """What fine-tuning needs of stage 1, said before it runs."""
    features = config["features"]
    if not config["model"]["finetune"]:
        return
    if features["front_end"] not in ("ssl", "whisper"):
        raise UserError(f"model.finetune=true needs features.front_end=ssl or whisper, not {features['front_end']}")
    if len(features["layers"]) != 1 or features["normalise"] != "none":
        raise UserError(
            "model.finetune=true goes on from one hidden state as it is: set features.layers=[N] (the layers above N are trained, "
            "N and those below frozen) and features.normalise=none"
        )


def _check_synthesis(config: Dict[str, Any]) -> None:
    """What synthesised speech needs, said before anything runs."""
    count, language, share = config["synthesis"]["utterances"], config["data"]["language"], config["synthesis"]["new"]
    if count < 0 or not 0 <= share <= 1:
        raise UserError(f"synthesis.utterances={count} must not be below 0, and synthesis.new={share:g} is a share, from 0 to 1")
    if count and language != "en":
        raise UserError(f"synthesis.utterances={count}: flite speaks English, and data.language is {language}; set it to 0")
    if count and config["model"]["word_head"] == "softmax":
        raise UserError(
            f"synthesis.utterances={count} brings words that a learned softmax has no rows for (model.word_head=softmax); set it to 0"
        )


def _check_attention(config: Dict[str, Any]) -> None:
    """What reading with the front end's decoder needs of stage 1, said before it runs."""
    features, rescore = config["features"], config["rescore"]
    for key in ("paths", "beam"):
        value = rescore["attention"][key]
        if value and (features["front_end"] != "whisper" or features["layers"] != [-1]):
            raise UserError(
                f"rescore.attention.{key}={value} needs features.front_end=whisper and features.layers=[-1]: it is the decoder "
                f"behind that layer that reads"
            )
    if rescore["attention"]["beam"] and (not config["model"]["subword_head"] or config["decode"]["unknown"]):
        raise UserError("rescore.attention.beam needs model.subword_head=true, which scores proposals, and decode.unknown=false")
    if rescore["attention"]["beam"] and rescore["word_score"] == "span" and config["model"]["word_head"] != "none":
        raise UserError("rescore.attention.beam needs rescore.word_score=sequence: of what is proposed no word's time is known")


def _typed(key: str, value: Any, default: Any, where: str) -> Any:
    kind = type(default)
    if kind is float and type(value) in (int, str):  # YAML reads 1e-3 as text
        with suppress(ValueError):
            value = float(value)
    if kind is list and isinstance(value, list):
        return [_typed(key, v, default[0], where) for v in value] if default else value
    if type(value) is not kind or value in (float("inf"), -float("inf")) or value != value:
        names = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false", list: "a list"}
        quotes = "; put it in quotes" if kind is str and not isinstance(value, (dict, list)) else ""
        raise UserError(f"{where}: {key} must be {names.get(kind, kind.__name__)} (like {default!r}), not {value!r}{quotes}")
    return value
