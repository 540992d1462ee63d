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
LIBRISPEECH = {
    **{"train-clean-100": 28539, "train-clean-360": 104014, "train-other-500": 148688, "dev-clean": 2703, "dev-other": 2864},
    **{"test-clean": 2620, "test-other": 2939, "train-clean-5": 1519, "dev-clean-2": 1089},
}
# data.language -> FLEURS's name of it: cs -> cs_cz; three that ISO 639-1 calls otherwise
FLEURS = {**{code.split("_")[0]: code for code in DEFAULT_LANGUAGES}, "zh": "cmn_hans_cn", "no": "nb_no", "tl": "fil_ph"}

RECIPES: Dict[str, Recipe] = {
    "librispeech": Recipe(
        "LibriSpeech",
        page="https://www.openslr.org/12",
        layout="the folder LibriSpeech",
        languages=ENGLISH,
        read=read_utterances.librispeech,
        options={"train": ["train-clean-100"], "dev": ["dev-clean"], "test": ["test-clean"]},
        published=LIBRISPEECH,
        archives=archives.librispeech,
    ),
    "mini_librispeech": Recipe(
        "Mini LibriSpeech",
        page="https://www.openslr.org/31",
        layout="the folder LibriSpeech",
        languages=ENGLISH,
        read=read_utterances.librispeech,
        options={"train": ["train-clean-5"], "dev": [], "test": ["dev-clean-2"], "held_out": 0.1},
        published=LIBRISPEECH,
        archives=archives.librispeech,
    ),
    "thchs_30": Recipe(
        "THCHS-30",
        page="https://www.openslr.org/18",
        layout="the folder data_thchs30",
        languages=MANDARIN,
        read=read_utterances.thchs_30,
        published={"train": 10000, "dev": 893, "test": 2495},
        archives=archives.thchs_30,
    ),
    "aidatatang_200zh": Recipe(
        "aidatatang_200zh",
        page="https://www.openslr.org/62",
        layout="the folder aidatatang_200zh",
        languages=MANDARIN,
        read=read_utterances.aidatatang_200zh,
        published={"train": 164905, "dev": 24216, "test": 48144},
        archives=archives.aidatatang_200zh,
    ),
    "tedlium3": Recipe(
        "TED-LIUM 3",
        page="https://www.openslr.org/51",
        layout="the folder TEDLIUM_release-3",
        languages=ENGLISH,
        read=read_recordings.tedlium,
        published={"dev": 507, "test": 1155},
        archives=archives.tedlium,
    ),
    "mls": Recipe(
        "Multilingual LibriSpeech",
        page="https://www.openslr.org/94",
        layout="the folder with mls_LANGUAGE_opus or mls_LANGUAGE in it",
        languages=MLS,
        read=read_utterances.mls,
        archives=archives.mls,
    ),
    "fleurs": Recipe(
        "FLEURS",
        page="https://huggingface.co/datasets/google/fleurs",
        layout="the folder with data/LANGUAGE/ in it",
        languages=FLEURS,
        read=read_utterances.fleurs,
        archives=archives.fleurs,
    ),
    "voxpopuli": Recipe(
        "VoxPopuli",
        page="https://github.com/facebookresearch/voxpopuli",
        layout="the folder with raw_audios/original/ and asr_LANGUAGE.tsv.gz",
        languages={code: code for code in ASR_LANGUAGES},
        read=read_recordings.voxpopuli,
        archives=archives.voxpopuli,
    ),
    "vctk": Recipe(
        "VCTK",
        page="https://datashare.ed.ac.uk/handle/10283/3443",
        layout="the folder VCTK-Corpus-0.92",
        languages=ENGLISH,
        read=read_utterances.vctk,
        options={"mic": "mic2", "held_out": 0.1},
        archives=archives.vctk,
    ),
    "ljspeech": Recipe(
        "LJ Speech",
        page="https://keithito.com/LJ-Speech-Dataset",
        layout="the folder LJSpeech-1.1",
        languages=ENGLISH,
        read=read_utterances.ljspeech,
        options={"held_out": 0.1},
        published={"train": 13100},
        archives=archives.ljspeech,
    ),
    "timit": Recipe(
        "TIMIT",
        page="https://catalog.ldc.upenn.edu/LDC93S1",
        layout="the folder with TRAIN/ and TEST/",
        languages=ENGLISH,
        read=read_utterances.timit,
        options={"sa": False},
        published={"train": 4620, "dev": 500, "test": 240},
    ),
    "speechcommands": Recipe(
        "Speech Commands",
        page="https://arxiv.org/abs/1804.03209",
        layout="the folder with speech_commands_v0.02 and speech_commands_test_set_v0.02",
        languages=ENGLISH,
        read=read_utterances.speechcommands,
        options={"version": 2, "test": "archive"},
        archives=archives.speechcommands,
    ),
    "ami": Recipe(
        "AMI",
        page="https://groups.inf.ed.ac.uk/ami/corpus/",
        layout="the folder with the meetings and ami_public_manual_1.6.2.zip",
        languages=ENGLISH,
        read=read_recordings.ami,
        options={"mic": "ihm", "partition": "full-corpus-asr"},
        archives=archives.ami,
    ),
    "gigaspeech": Recipe(
        "GigaSpeech",
        page="https://github.com/SpeechColab/GigaSpeech",
        layout="the folder with GigaSpeech.json and audio/",
        languages=ENGLISH,
        read=read_recordings.gigaspeech,
        options={"subset": "XS"},
    ),
    "wenetspeech": Recipe(
        "WenetSpeech",
        page="https://wenet.org.cn/WenetSpeech/",
        layout="the folder with WenetSpeech.json and audio/",
        languages=MANDARIN,
        read=read_recordings.wenetspeech,
        options={"subset": "S", "test": "TEST_NET"},
    ),
}
