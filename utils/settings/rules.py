"""Settings that contradict each other, found before anything runs; what one key alone may be is in utils/settings/schema.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Callable, List, Optional

from utils.core.allowed import nearest
from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.languages import family
from utils.languages.registry import unknown
from utils.sealing.key_files import unusable

Rule = Callable[[SimpleNamespace], Optional[str]]  # a resolved configuration -> what is wrong with it, and what to set instead

SIZE = "a folder with a Whisper model in CTranslate2's format nor a size such as base"
BUNDLE = "a folder of transformers nor a bundle of torchaudio such as HUBERT_BASE"


def check(config: SimpleNamespace) -> None:
    """Raise UserError for the first contradiction in a resolved configuration; names the keys and what to set."""
    rules = [*EVERY_SYSTEM, *(NETWORK if config.system == "network" else [])]
    if config.system != "whisper" and config.system != "pocketsphinx":
        rules += FEATURES
    for rule in rules:
        problem = rule(config)
        if problem:
            raise UserError(problem)


# Rules of every system


def local_module(c: SimpleNamespace) -> Optional[str]:
    """The corpus is known."""
    known = sorted(p.stem for p in (ROOT / "local").glob("*.py") if p.stem != "__init__")
    if c.data.module in known:
        return None
    return f"data.module={c.data.module}: local/ has {', '.join(known)}{nearest(c.data.module, known)}"


def durations(c: SimpleNamespace) -> Optional[str]:
    """Some utterance is between the shortest and the longest."""
    if c.data.min_duration < c.data.max_duration:
        return None
    return (
        f"data.min_duration={c.data.min_duration:g} must be less than data.max_duration={c.data.max_duration:g}, or every "
        "utterance is left out; set data.min_duration=0.1"
    )


def language(c: SimpleNamespace) -> Optional[str]:
    """The language exists, and jieba cuts Chinese alone."""
    if unknown(c.data.language):
        return f"data.language={c.data.language}: {unknown(c.data.language)}"
    if c.data.segmentation != "jieba" or family(c.data.language) == "zh":
        return None
    return f"data.segmentation=jieba cuts Chinese, and data.language is {c.data.language}; set data.segmentation=auto"


def ready_model(c: SimpleNamespace) -> Optional[str]:
    """The ready-made recogniser is named."""
    return _model("ready", c.ready.model, SIZE) if c.system == "whisper" else None


# Rules of systems that have features


def filter_bank(c: SimpleNamespace) -> Optional[str]:
    """A filter bank can be made of the settings."""
    f, nyquist = c.features, c.data.sampling_rate / 2
    if f.front_end not in ("fbank", "mfcc"):
        return None
    if f.layers != [-1]:
        return f"features.layers={f.layers}: features.front_end={f.front_end} has no hidden states; set features.layers=[-1]"
    if f.frame_shift > f.frame_length:
        return (
            f"features.frame_shift={f.frame_shift:g} is longer than features.frame_length={f.frame_length:g}, so samples between "
            f"frames would be lost; set features.frame_shift={f.frame_length:g} or less"
        )
    high = f.high_freq if f.high_freq > 0 else nyquist + f.high_freq
    if not f.low_freq < high <= nyquist:
        return (
            f"features.low_freq={f.low_freq:g} and features.high_freq={f.high_freq:g} give filters from {f.low_freq:g} to "
            f"{high:g} Hz; at data.sampling_rate={c.data.sampling_rate} they must rise, and end at the Nyquist frequency, "
            f"{nyquist:g} Hz, or below; set features.low_freq=20 and features.high_freq=-400"
        )
    if f.front_end == "mfcc" and f.num_mel_bins < 13:
        return f"features.num_mel_bins={f.num_mel_bins}: 13 MFCC need at least 13 filters; set features.num_mel_bins=13"
    return None


def encoder(c: SimpleNamespace) -> Optional[str]:
    """An encoder as front end is named, and its frames are counted right."""
    f = c.features
    if f.front_end not in ("whisper", "ssl"):
        return None
    if f.frame_shift != 0.02:
        return f"features.front_end={f.front_end} has frames 20 ms apart: set features.frame_shift=0.02, not {f.frame_shift:g}"
    return _model("features", f.model, SIZE if f.front_end == "whisper" else BUNDLE)


def speeds(c: SimpleNamespace) -> Optional[str]:
    """Copies at other speeds differ from the original."""
    if 1.0 not in c.features.speed_perturb:
        return None
    others = [speed for speed in c.features.speed_perturb if speed != 1.0]
    return (
        f"features.speed_perturb={c.features.speed_perturb}: give factors other than 1, because the training set at its own "
        f"speed is there anyway; set features.speed_perturb={others}"
    )


def copies(c: SimpleNamespace) -> Optional[str]:
    """Augmented copies are asked for, and ranges have two ends."""
    for key in ("snr", "volume"):
        ends = getattr(c.augment, key)
        if len(ends) != 2 or ends[0] > ends[1]:
            return f"augment.{key}={ends}: give the lowest and the highest in dB, as [0, 20]"
    if c.augment.noise and not c.augment.copies:
        return f"augment.noise={c.augment.noise} is for augmented copies, and there are none: set augment.copies=1"
    return None


def storage(c: SimpleNamespace) -> Optional[str]:
    """Shards are asked for where something is said of them."""
    f = c.features
    if f.storage == "shar":
        if "?" in f.shards:
            return f"features.shards={f.shards}: give an address without ?, to which the name of a shard can be added"
        return None
    for key, usual in (("shards", ""), ("shar", "features")):
        if getattr(f, key) != usual:
            return (
                f"features.{key}={getattr(f, key)} is for shards, and features.storage is {f.storage}; set features.storage=shar"
            )
    return None


# Rules of the network


def some_head(c: SimpleNamespace) -> Optional[str]:
    """The network has a head, and every head is trained."""
    if not c.model.subword_head and c.model.word_head == "none":
        return "model.subword_head=false and model.word_head=none leave the network no output; set model.subword_head=true"
    if c.model.subword_head and c.loss.subword == 0:
        return "loss.subword=0 leaves the sub-word head untrained; set loss.subword=0.5, or model.subword_head=false"
    if c.model.word_head != "none" and c.loss.word == 0 and c.loss.grounding.weight == 0:
        return "loss.word=0 leaves the word head untrained; set loss.word=0.5, or model.word_head=none"
    return None


def attention_heads(c: SimpleNamespace) -> Optional[str]:
    """Attention heads divide the encoder's width, each into an even number of dimensions (rotary positions rotate pairs)."""
    dim, heads = c.model.dim, c.model.heads
    if dim % (2 * heads) == 0:
        return None
    right = [n for n in range(1, dim // 2 + 1) if dim % (2 * n) == 0]
    near = f"model.heads={min(right, key=lambda n: abs(n - heads))}" if right else ""
    width = f"model.dim={max(round(dim / (2 * heads)), 1) * 2 * heads}"
    either = " or ".join(filter(None, (near, width)))
    return f"model.heads={heads} must divide model.dim={dim} into heads of an even width; set {either}"


def subsampling(c: SimpleNamespace) -> Optional[str]:
    """A frame of the word head is a whole number of frames of the sub-word head."""
    fine, coarse = c.model.subword_subsampling, c.model.word_subsampling
    if coarse % fine == 0:
        return None
    return (
        f"model.word_subsampling={coarse} must be a multiple of model.subword_subsampling={fine}; "
        f"set model.word_subsampling={max(round(coarse / fine), 1) * fine}"
    )


def causal(c: SimpleNamespace) -> Optional[str]:
    """What a causal encoder gets does not look ahead, and its chunks are whole frames."""
    if not c.model.causal:
        return f"decode.chunk={c.decode.chunk:g} needs model.causal=true; set decode.chunk=0" if c.decode.chunk else None
    for key, fit in (("front_end", ("fbank", "mfcc")), ("normalise", ("global", "none")), ("denoise", ("none",))):
        value = getattr(c.features, key)
        if value not in fit:
            why = f"features.{key}={value} needs more speech than was heard so far; set features.{key}={fit[0]}"
            return f"model.causal=true recognises while people speak, and {why}"
    frame = c.features.frame_shift * c.model.word_subsampling
    for key, seconds in (*(("model.chunks", each) for each in c.model.chunks), ("decode.chunk", c.decode.chunk)):
        near = max(1, round(seconds / frame)) * frame
        if seconds and abs(seconds - near) > 1e-6:
            return f"{key}: {seconds:g} s is no whole number of the word head's frames, of {frame:g} s; set {near:g}"
    return None


def masks(c: SimpleNamespace) -> Optional[str]:
    """A frequency mask is not wider than the features."""
    columns = {"fbank": c.features.num_mel_bins, "mfcc": 13}.get(c.features.front_end)
    if not columns or not c.train.freq_masks or c.train.freq_width <= columns:
        return None
    return (
        f"train.freq_width={c.train.freq_width} is more than the {columns} columns of features.front_end={c.features.front_end}; "
        f"set train.freq_width={columns // 4}"
    )


def grounding(c: SimpleNamespace) -> Optional[str]:
    """Grounding has word vectors to pull at."""
    weights = c.loss.grounding
    if weights.weight and c.model.word_head != "vectors":
        return (
            f"loss.grounding.weight={weights.weight:g} needs word vectors (model.word_head=vectors, not {c.model.word_head}); "
            "set loss.grounding.weight=0"
        )
    if weights.joined and not weights.weight:
        return f"loss.grounding.joined={weights.joined:g} is relative to loss.grounding.weight=0; set loss.grounding.weight=0.3"
    return None


def vectors(c: SimpleNamespace) -> Optional[str]:
    """Word vectors are made of something that is there."""
    v, m = c.vectors, c.vectors.meaning
    if c.model.word_head == "vectors" and not v.spelling and not v.pronunciation and m.source == "none":
        return (
            "model.word_head=vectors needs a part that word vectors are made of: set vectors.spelling=true, "
            "vectors.pronunciation=true or a vectors.meaning.source"
        )
    if m.source in ("file", "llm") and not m.path:
        what = "FILE (GloVe, word2vec or fastText)" if m.source == "file" else "PATH (a Hugging Face folder or a GGUF file)"
        return f"vectors.meaning.source={m.source} needs --set vectors.meaning.path={what}"
    if m.mode == "context" and (m.source != "llm" or not Path(m.path).is_dir()):
        return (
            "vectors.meaning.mode=context needs vectors.meaning.source=llm and a folder of transformers as vectors.meaning.path; "
            "set vectors.meaning.mode=table"
        )
    if m.source in ("random", "fasttext") and m.remove + m.width > m.dim:
        return (
            f"vectors.meaning.remove={m.remove} and vectors.meaning.width={m.width} want {m.remove + m.width} components, and "
            f"vectors.meaning.dim={m.dim} has fewer; set vectors.meaning.dim={m.remove + m.width}"
        )
    return None


def finetuning(c: SimpleNamespace) -> Optional[str]:
    """Fine-tuning continues from one hidden state of an encoder."""
    f = c.features
    if not c.model.finetune:
        return None
    if f.front_end not in ("ssl", "whisper"):
        return f"model.finetune=true needs features.front_end=ssl or whisper, not {f.front_end}"
    if len(f.layers) != 1 or f.layers[0] in (-1, 0) or f.normalise != "none":
        return (
            f"model.finetune=true continues from one hidden state as it is: set features.layers=[N] instead of {f.layers} "
            "(layers above N are trained, N and those below are frozen; not 0 or -1) and features.normalise=none"
        )
    return None


def synthesis(c: SimpleNamespace) -> Optional[str]:
    """Synthesised speech is of a language and for a head that can use it."""
    count = c.synthesis.utterances
    if count and c.data.language != "en":
        return f"synthesis.utterances={count}: flite speaks English, and data.language is {c.data.language}; set it to 0"
    if count and c.model.word_head == "softmax":
        return (
            f"synthesis.utterances={count} has words that model.word_head=softmax, a learned table, has no rows for; set it to 0"
        )
    return None


def first_pass(c: SimpleNamespace) -> Optional[str]:
    """A smaller n-gram in the first pass is smaller."""
    order, whole = c.decode.first_pass_lm_order, c.lang.lm_order
    if not order:
        return None
    if order >= whole:
        return (
            f"decode.first_pass_lm_order={order} must be below lang.lm_order={whole}, whose n-grams rescore the lattices; "
            f"set decode.first_pass_lm_order={whole - 1}"
        )
    if not c.model.subword_head:
        return (
            f"decode.first_pass_lm_order={order} needs model.subword_head=true: it is the order of the n-gram in its graph; "
            "set decode.first_pass_lm_order=0"
        )
    return None


def attention(c: SimpleNamespace) -> Optional[str]:
    """Whisper's decoder has its encoder as front end, and proposals can be scored."""
    for key in ("paths", "beam"):
        value = getattr(c.rescore.attention, key)
        if value and (c.features.front_end != "whisper" or c.features.layers != [-1]):
            return (
                f"rescore.attention.{key}={value} needs features.front_end=whisper and features.layers=[-1], because the decoder "
                "continues from the last layer of its encoder; set it to 0"
            )
    if c.rescore.attention.beam and not c.model.subword_head:
        return "rescore.attention.beam needs model.subword_head=true, which scores proposals; set it to 0"
    if c.rescore.attention.beam and c.rescore.word_score == "span" and c.model.word_head != "none":
        return "rescore.attention.beam needs rescore.word_score=sequence, because the times of proposed words are not known"
    return None


def rescoring(c: SimpleNamespace) -> Optional[str]:
    """Rescorers have what they read."""
    r = c.rescore
    if r.whole_lattice and not c.model.subword_head:
        return (
            "rescore.whole_lattice=true needs model.subword_head=true: it puts the scores of the word head on lattices of the "
            "sub-word head; set rescore.whole_lattice=false"
        )
    if r.word_lm.source == "trained" and c.model.word_head == "none":
        return "rescore.word_lm.source=trained: this recipe has no word vectors (model.word_head=none); set llm, file or learned"
    if r.word_lm.source in ("llm", "file") and not r.word_lm.path:
        return f"rescore.word_lm.source={r.word_lm.source} needs --set rescore.word_lm.path=PATH, a file or folder"
    return None


def untrained(c: SimpleNamespace) -> Optional[str]:
    """A model that is not trained comes from somewhere."""
    if c.train.epochs or c.train.init:
        return None
    return "train.epochs=0 leaves the weights as train.init has them, and it is empty; set train.init=BUNDLE, or train.epochs=30"


def integers(c: SimpleNamespace) -> Optional[str]:
    """There is a network in ONNX to make smaller."""
    return "export.int8=true is for model.onnx; set export.onnx=true" if c.export.int8 and not c.export.onnx else None


def sealing(c: SimpleNamespace) -> Optional[str]:
    """Stage 9 has the keys that it needs."""
    return unusable(c.export.recipients, c.export.sign)


EVERY_SYSTEM: List[Rule] = [local_module, durations, language, ready_model]
FEATURES: List[Rule] = [filter_bank, encoder, speeds, copies, storage]
NETWORK: List[Rule] = [some_head, attention_heads, subsampling, causal, masks, grounding, vectors, finetuning, synthesis]
NETWORK += [first_pass, attention, rescoring, untrained, integers, sealing]


def _model(group: str, model: str, kinds: str) -> Optional[str]:
    if not model or ("/" in model and not Path(model).is_dir()):
        return f"{group}.model={model or '(empty)'} is neither {kinds}"
    return None
