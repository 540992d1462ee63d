"""Type and allowed values of every key of recipes/base.yaml, which has the defaults and says what each key means.

What one key may be is declared here; what keys may be together is in utils/pipeline/rules.py.
"""

from typing import Any, Dict, Iterator, Tuple

from utils.core.allowed import NAMES, Key, items, number, number_or, one_of, positive, whole

TEXT, SWITCH, SHARE, BELOW_1 = Key(str), Key(bool), number(0, 1), number(0, 1, open_high=True)
SEED = whole(0, 2**31 - 1)
COMPUTE_TYPE = one_of(
    "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"
)  # of CTranslate2

SCHEMA: Dict[str, Key] = {
    "system": one_of("network", "gmm", "whisper", "pocketsphinx"),
    "seed": SEED,
    "data.module": TEXT,
    "data.source": TEXT,
    "data.language": one_of("de", "en", "es", "fr", "he", "it", "nl", "pt", "ru", "zh"),  # those of utils/text/normalise.py
    "data.normaliser": one_of("basic"),
    "data.conventions": items(TEXT),
    "data.segmentation": one_of("auto", "given", "jieba", "char"),
    "data.sampling_rate": whole(4000, 192_000),
    "data.min_duration": number(0),
    "data.max_duration": positive(),
    "data.max_left_out": SHARE,
    "features.front_end": one_of("fbank", "mfcc", "whisper", "ssl"),
    "features.model": TEXT,
    "features.compute_type": COMPUTE_TYPE,
    "features.layers": items(whole(-100, 100)),
    "features.denoise": one_of("none", "noisereduce"),
    "features.num_mel_bins": whole(4, 1000),  # Lhotse makes no fewer
    "features.frame_length": number(0.001, 1),
    "features.frame_shift": number(0.001, 1),
    "features.low_freq": number(0),
    "features.high_freq": number(None),
    "features.preemphasis": SHARE,
    "features.window": one_of("povey", "hanning", "hamming", "rectangular", "blackman"),
    "features.speed_perturb": items(number(0.1, 10)),
    "features.normalise": one_of("global", "speaker", "none"),
    "lang.units": one_of("unigram", "bpe", "char", "phone"),
    "lang.size": whole(2),
    "lang.lm_order": whole(1, 10),
    "lang.g_order": whole(1, 10),
    "lang.text": TEXT,
    "lang.min_count": whole(1),
    "synthesis.utterances": whole(0),
    "synthesis.words": whole(1),
    "synthesis.new": SHARE,
    "synthesis.seed": SEED,
    "vectors.dim": whole(1),
    "vectors.spelling": SWITCH,
    "vectors.pronunciation": SWITCH,
    "vectors.meaning.source": one_of("none", "random", "fasttext", "file", "llm"),
    "vectors.meaning.path": TEXT,
    "vectors.meaning.mode": one_of("table", "context"),
    "vectors.meaning.layer": whole(-1000, 1000),
    "vectors.meaning.pooling": one_of("mean", "first", "frequency"),
    "vectors.meaning.remove": whole(0),
    "vectors.meaning.width": whole(0),
    "vectors.meaning.dim": whole(1),
    "vectors.meaning.seed": SEED,
    "vectors.meaning.workers": whole(1),
    "audit.close": number(-1, 1),
    "audit.max_infeasible": SHARE,
    "model.dim": whole(2),
    "model.fine_layers": whole(0),
    "model.coarse_layers": whole(0),
    "model.heads": whole(1),
    "model.kernel": whole(1, odd=True),
    "model.dropout": BELOW_1,
    "model.subword_subsampling": one_of(2, 4, 8, 16),
    "model.word_subsampling": whole(2),
    "model.subword_head": SWITCH,
    "model.finetune": SWITCH,
    "model.word_head": one_of("vectors", "softmax", "none"),
    "loss.backend": one_of("k2", "torch"),
    "loss.subword": number(0),
    "loss.word": number(0),
    "loss.negatives": whole(-1),
    "loss.grounding.weight": number(0),
    "loss.grounding.begin": BELOW_1,
    "loss.grounding.joined": number(0),
    "loss.dropout.spelling": BELOW_1,
    "loss.dropout.pronunciation": BELOW_1,
    "loss.dropout.meaning": BELOW_1,
    "train.epochs": whole(1),
    "train.batch_seconds": positive(),
    "train.learning_rate": positive(1),
    "train.layer_decay": positive(1),
    "train.warmup": BELOW_1,
    "train.weight_decay": SHARE,
    "train.clip": positive(),
    "train.average": whole(1),
    "train.valid_every": whole(1),
    "train.checkpoint_every": whole(1),
    "train.freq_masks": whole(0),
    "train.freq_width": whole(1),
    "train.time_masks": whole(1),  # Lhotse divides by their number
    "train.time_width": whole(1),
    "train.mask_fraction": positive(1),
    "train.time_warp": whole(0),
    "train.cache_gb": number(0),
    "train.precision": one_of("fp32", "bf16", "fp16"),
    "decode.beam": positive(),
    "decode.output_beam": positive(),
    "decode.max_active": whole(30),  # k2's search keeps at least 30
    "decode.blank_penalty.subword": number_or("auto"),
    "decode.blank_penalty.word": number_or("auto"),
    "decode.first_lm_scale.subword": number_or("auto"),
    "decode.first_lm_scale.word": number_or("auto"),
    "decode.first_pass_lm_order": whole(0, 9),
    "decode.packs": items(TEXT),
    "gmm.mono_passes": whole(1),
    "gmm.mono_gaussians": whole(3),  # a phone has three states
    "gmm.leaves": whole(3),
    "gmm.tri_passes": whole(1),
    "gmm.tri_gaussians": whole(3),
    "gmm.align_beam": number(1),
    "gmm.lm_weights": items(number(0), filled=True),
    "ready.model": TEXT,
    "ready.compute_type": COMPUTE_TYPE,
    "ready.beam": whole(1),
    "ready.tokens": number(0),
    "rescore.candidates": one_of("subword", "both"),
    "rescore.paths": whole(1),
    "rescore.lattice_scale": positive(),
    "rescore.word_score": one_of("span", "sequence"),
    "rescore.whole_lattice": SWITCH,
    "rescore.word_lm.source": one_of("none", "trained", "llm", "file", "learned"),
    "rescore.word_lm.path": TEXT,
    "rescore.word_lm.width": whole(0),
    "rescore.word_lm.epochs": whole(1),
    "rescore.word_lm.seed": SEED,
    "rescore.word_lm.paths": whole(1),
    "rescore.word_lm.margin": number(0),
    "rescore.attention.paths": whole(0),
    "rescore.attention.margin": number(0),
    "rescore.attention.beam": whole(0),
    "rescore.attention.context": whole(0),
    "rescore.llm.path": TEXT,
    "rescore.llm.paths": whole(1),
    "rescore.llm.margin": number(0),
    "rescore.llm.context": whole(0),
    "score.bootstrap": whole(1),
    "export.onnx": SWITCH,
    "export.int8": SWITCH,
    "export.front_end": SWITCH,
    "export.recipients": items(TEXT),
    "export.sign": TEXT,
}


def rows(defaults: Dict[str, Any]) -> Iterator[Tuple[str, Any, str, str]]:
    """Key, default, type and allowed values of every key, in words, for the page of settings; what a key means is in base.yaml.

    Args:
      defaults: dotted key -> default.
    """
    for key, known in SCHEMA.items():
        yield key, defaults[key], NAMES[known.kind], known.allowed()
