"""The published corpora that Lhotse reads, a row each."""

from typing import Dict

from lhotse.recipes.fleurs import DEFAULT_LANGUAGES
from lhotse.recipes.voxpopuli import ASR_LANGUAGES

from local.lhotse_corpora import archives, read_recordings, read_utterances
from local.lhotse_corpora.recipe import Recipe

ENGLISH, MANDARIN = {"en": "english"}, {"zh": "mandarin"}
MLS = {
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fr": "french",
    "it": "italian",
    "nl": "dutch",
    "pl": "polish",
    "pt": "portuguese",
}
# data.language -> FLEURS's name of it: cs -> cs_cz; three that ISO 639-1 calls otherwise
FLEURS = {**{code.split("_")[0]: code for code in DEFAULT_LANGUAGES}, "zh": "cmn_hans_cn", "no": "nb_no", "tl": "fil_ph"}

RECIPES: Dict[str, Recipe] = {
    "librispeech": Recipe(
        "LibriSpeech",
        "https://www.openslr.org/12",
        "the folder LibriSpeech",
        ENGLISH,
        read_utterances.librispeech,
        {"train": ["train-clean-100"], "dev": ["dev-clean"], "test": ["test-clean"]},
        archives.librispeech,
    ),
    "mini_librispeech": Recipe(
        "Mini LibriSpeech",
        "https://www.openslr.org/31",
        "the folder LibriSpeech",
        ENGLISH,
        read_utterances.librispeech,
        {"train": ["train-clean-5"], "dev": [], "test": ["dev-clean-2"], "held_out": 0.1},
        archives.librispeech,
    ),
    "thchs_30": Recipe(
        "THCHS-30",
        "https://www.openslr.org/18",
        "the folder data_thchs30",
        MANDARIN,
        read_utterances.thchs_30,
        {},
        archives.thchs_30,
    ),
    "aidatatang_200zh": Recipe(
        "aidatatang_200zh",
        "https://www.openslr.org/62",
        "the folder aidatatang_200zh",
        MANDARIN,
        read_utterances.aidatatang_200zh,
        {},
        archives.aidatatang_200zh,
    ),
    "tedlium3": Recipe(
        "TED-LIUM 3",
        "https://www.openslr.org/51",
        "the folder TEDLIUM_release-3",
        ENGLISH,
        read_recordings.tedlium,
        {},
        archives.tedlium,
    ),
    "mls": Recipe(
        "Multilingual LibriSpeech",
        "https://www.openslr.org/94",
        "the folder with mls_LANGUAGE_opus or mls_LANGUAGE in it",
        MLS,
        read_utterances.mls,
        {},
        archives.mls,
    ),
    "fleurs": Recipe(
        "FLEURS",
        "https://huggingface.co/datasets/google/fleurs",
        "the folder with data/LANGUAGE/ in it",
        FLEURS,
        read_utterances.fleurs,
        {},
        archives.fleurs,
    ),
    "voxpopuli": Recipe(
        "VoxPopuli",
        "https://github.com/facebookresearch/voxpopuli",
        "the folder with raw_audios/original/ and asr_LANGUAGE.tsv.gz",
        {code: code for code in ASR_LANGUAGES},
        read_recordings.voxpopuli,
        {},
        archives.voxpopuli,
    ),
    "vctk": Recipe(
        "VCTK",
        "https://datashare.ed.ac.uk/handle/10283/3443",
        "the folder VCTK-Corpus-0.92",
        ENGLISH,
        read_utterances.vctk,
        {"mic": "mic2", "held_out": 0.1},
        archives.vctk,
    ),
    "ljspeech": Recipe(
        "LJ Speech",
        "https://keithito.com/LJ-Speech-Dataset",
        "the folder LJSpeech-1.1",
        ENGLISH,
        read_utterances.ljspeech,
        {"held_out": 0.1},
        archives.ljspeech,
    ),
    "timit": Recipe(
        "TIMIT",
        "https://catalog.ldc.upenn.edu/LDC93S1",
        "the folder with TRAIN/ and TEST/",
        ENGLISH,
        read_utterances.timit,
        {"sa": False},
    ),
    "speechcommands": Recipe(
        "Speech Commands",
        "https://arxiv.org/abs/1804.03209",
        "the folder with speech_commands_v0.02 and speech_commands_test_set_v0.02",
        ENGLISH,
        read_utterances.speechcommands,
        {"version": 2, "test": "archive"},
        archives.speechcommands,
    ),
    "ami": Recipe(
        "AMI",
        "https://groups.inf.ed.ac.uk/ami/corpus/",
        "the folder with the meetings and ami_public_manual_1.6.2.zip",
        ENGLISH,
        read_recordings.ami,
        {"mic": "ihm", "partition": "full-corpus-asr"},
        archives.ami,
    ),
    "gigaspeech": Recipe(
        "GigaSpeech",
        "https://github.com/SpeechColab/GigaSpeech",
        "the folder with GigaSpeech.json and audio/",
        ENGLISH,
        read_recordings.gigaspeech,
        {"subset": "XS"},
    ),
    "wenetspeech": Recipe(
        "WenetSpeech",
        "https://wenet.org.cn/WenetSpeech/",
        "the folder with WenetSpeech.json and audio/",
        MANDARIN,
        read_recordings.wenetspeech,
        {"subset": "S", "test": "TEST_NET"},
    ),
}
