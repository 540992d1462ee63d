"""What stage 9 takes from finished stages into a bundle."""

import platform
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import yaml
from safetensors.torch import load, save

from utils.bundle.manifest import GRAPHS, WORD_VECTORS, graph_file
from utils.core.errors import UserError
from utils.core.files import read_json, write_bytes, write_json, write_lines, write_text
from utils.core.languages import family
from utils.core.versions import tool_version
from utils.core.yaml_files import read_mapping
from utils.decode.pieces import read_word_table
from utils.decode.recognised import script
from utils.engine.chain import SAMPLE
from utils.engine.contents import PACKS, TABLE, WORD_LM_VECTORS
from utils.engine.graph_arrays import fsa_arrays
from utils.lang.graphs import load_fsa
from utils.lang.vocabulary import used_lang
from utils.nn.word_lm import LEARNED
from utils.pipeline.config import PATHS, leaves, made_with
from utils.pipeline.outside import pack_path
from utils.rescore.lm_rescorers import WordLMRescorer
from utils.rescore.vocabulary import Vocabulary
from utils.text.sentences import SENTENCES, some_transcripts
from utils.vectors.composer import ABSENT

OF_DATA = ("normaliser", "language", "conventions", "segmentation", "sampling_rate")  # keys below `data` that recognising needs
TOOLS = ("torch", "k2", "lhotse", "lilcom", "sentencepiece", "ctranslate2", "faster-whisper")
FROM_ELSEWHERE = ("file", "llm", "fasttext")  # sources of meaning that read more than a bundle has


def refuse(inputs: Mapping[str, Path]) -> None:
    """Raise UserError for what no bundle can recognise with, in one sentence that says what works."""
    features, rescore = made_with(inputs["features"]).features, made_with(inputs["rescore"]).rescore
    source, mode = (getattr(made_with(inputs["vectors"]).vectors.meaning, key) for key in ("source", "mode"))
    stop = "stages 0 to 8 are finished and stay (--stop-stage score)"
    if features.normalise == "speaker":
        raise UserError(f"a bundle knows no speakers: it needs features.normalise=global or none, not speaker; {stop}")
    if rescore.attention.beam and rescore.word_lm.source != "none":
        raise UserError(
            f"a bundle has either rescore.attention.beam or rescore.word_lm.source, not both: set one to none; {stop}"
        )
    if rescore.attention.beam and (source == "fasttext" or source == "llm" and mode == "context"):
        raise UserError(
            f"rescore.attention.beam proposes words whose meaning by vectors.meaning.source={source} needs the training text, "
            f"which a bundle has not; use source file or llm with mode table, or rescore.attention.beam=0; {stop}"
        )


def copy_stages(inputs: Mapping[str, Path], bundle: Path) -> None:
    """Copy the files of `TABLE`; configurations without what belongs to this machine, graphs as arrays."""
    for stage, names in TABLE.items():
        for name, inside in names.items():
            source = inputs[stage] / name
            if not source.exists():
                continue
            if name == "config.yaml":
                write_text(bundle / inside, yaml.safe_dump(portable(stage, read_mapping(source)), sort_keys=False))
            elif inside in ("data.json", "vectors.json"):
                kept = {key: value for key, value in read_json(source).items() if key in ("segmentation", "dim")}
                beam = made_with(inputs["rescore"]).rescore.attention.beam
                if stage == "data" and beam and family(made_with(inputs["data"]).data.language) == "zh":
                    kept["script"] = script(inputs["data"])
                write_json(bundle / inside, kept)
            elif inside == "word_forms.safetensors":
                write_bytes(bundle / inside, save(load(source.read_bytes())))  # without its metadata, which name paths
            else:
                write_bytes(bundle / inside, source.read_bytes())
    lang = used_lang(inputs["lang"], inputs["decode"])
    model = made_with(inputs["train"]).model
    there = {"lattice": model.subword_head, "word_lattice": model.word_head != "none", "whole": (lang / "G.pt").exists()}
    for graph, name in GRAPHS.items():
        if there[graph]:
            write_bytes(bundle / graph_file(graph), save(fsa_arrays(load_fsa(lang / f"{name}.pt"))))


def portable(stage: str, config: Dict[str, Any]) -> Dict[str, Any]:
    """A stage's configuration for any machine: paths by their last name, of `data` only what recognising needs."""
    if stage == "data":
        config = {"data": {key: value for key, value in config["data"].items() if key in OF_DATA}}
    for key in set(PATHS) & set(leaves(config)):
        *parents, last = key.split(".")
        group = config
        for parent in parents:
            group = group[parent]
        group[last] = Path(group[last]).name
    if stage == "vectors" and config["vectors"]["meaning"]["source"] in FROM_ELSEWHERE:
        config["vectors"]["meaning"]["source"] = ABSENT
    return config


def copy_words(inputs: Mapping[str, Path], words: Sequence[str], bundle: Path) -> None:
    """Copy the word head's table of the model's own words, as it was decoded with, and the packs of decoding."""
    table = read_word_table(inputs["decode"])
    if table is not None:
        parts = {name: value[: len(words)].contiguous() for name, value in table._asdict().items()}
        write_bytes(bundle / WORD_VECTORS, save(parts, metadata={"words": "\n".join(words)}))
    fingerprint, exp = inputs["train"].name.rpartition("-")[2], inputs["train"].parent
    for n, name in enumerate(made_with(inputs["decode"]).decode.packs):
        path = pack_path(exp, fingerprint, name)
        write_bytes(bundle / PACKS / f"{n:02d}-{name}.safetensors", path.read_bytes())


def copy_rescorers(inputs: Mapping[str, Path], vocabulary: Vocabulary, bundle: Path) -> Dict[str, Any]:
    """Copy what the links of language models need; returns what bundle.json has of them."""
    config, about = made_with(inputs["rescore"]).rescore, {"word_lm_offset": 0.0}
    if config.word_lm.source != "none":
        words, own = vocabulary.lexicon.words, vocabulary.vectors
        made = WordLMRescorer(config.word_lm, words, inputs["lang"], inputs["data"], own, inputs["rescore"])
        made.scorer()
        about["word_lm_offset"] = made.lm.offset
        if config.word_lm.source not in ("trained", LEARNED) and made.lm.vectors is not None:
            write_bytes(bundle / WORD_LM_VECTORS, save({"vectors": made.lm.vectors.contiguous()}))
    read = getattr(config.attention, "context", 0)
    if config.word_lm.source != "none" or config.llm.path or read:
        count = max(SAMPLE, config.llm.context, read)
        write_lines(bundle / SENTENCES, map(" ".join, some_transcripts(inputs["data"], count)))
    return about


def said_of(inputs: Mapping[str, Path], front_end: str) -> Tuple[Dict[str, str], List[str]]:
    """Licences of what a bundle has, and sentences that say what it can't do."""
    config, meaning = made_with(inputs["rescore"]).rescore, made_with(inputs["vectors"]).vectors.meaning
    licences = {
        "the corpus": "its words and n-grams are in this bundle; see the page where the corpus was published",
        "the program": "Apache License 2.0",
    }
    licence = inputs["vectors"] / "licence.txt"
    if licence.exists():
        licences["word vectors"] = licence.read_text(encoding="utf-8").strip()
    if front_end in ("whisper", "ssl"):
        licences["the front end's model"] = "MIT (OpenAI's Whisper)" if front_end == "whisper" else "see where it was published"
    notes = []
    if config.llm.path:
        name = Path(config.llm.path).name
        notes.append(
            f"The language model {name} (rescore.llm) is not in the bundle: open it with llm=PATH, or without that link."
        )
    if meaning.source in FROM_ELSEWHERE:
        notes.append(
            f"The source of meaning {Path(meaning.path).name or meaning.source} is not in the bundle: added words get vectors of "
            "spelling and pronunciation alone, unless it is opened with meaning=PATH."
        )
    if config.word_lm.source != "none" or config.llm.path or getattr(config.attention, "context", 0):
        notes.append(f"{SENTENCES} has sentences of the training text.")
    return licences, notes


def versions(state: Mapping[str, Any]) -> Dict[str, str]:
    """Versions of what made the bundle; state: of git."""
    found = {tool: tool_version(tool) for tool in TOOLS}
    return {"commit": str(state["git_commit"]), "python": platform.python_version(), **found}
