"""asterisk: voice prompts of the Asterisk telephone exchange, one studio speaker a language (en, es, fr, it, ru), transcribed.

From the Debian packages asterisk-core-sounds-<language> (`apt-get download`, no root), or, where there is no apt, the official
tarballs. data.source: a folder with such packages extracted (one or many), or with the tarballs, packed or unpacked.
Licence: CC BY-SA 3.0 (en, es, fr), CC BY 3.0 (it, ru), as the packages state it.

The split is a hash of the prompt's key, so a prompt is in the same split in every language and recipe. To measure new words, it
can be a hash of the words instead, which keeps some words out of training altogether. Tones and silence are left out by design,
and so are prompts that were published incomplete (text without audio, audio without text).
"""

import gzip
import hashlib
import logging
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, List, Tuple

import numpy as np

from utils.core import download
from utils.core.errors import UserError
from utils.core.parallel import threaded
from utils.corpus.audio import write_wav
from utils.corpus.manifests import Corpus, LeftOut, Utterance, options
from utils.corpus.naming import named
from utils.text.normalise import normaliser

URL = "https://downloads.asterisk.org/pub/telephony/sounds/releases/"
VERSION = "1.6.1"  # Debian's too
# SHA-256 of the tarballs, from Debian's source package asterisk-core-sounds, which is made of them.
SHA256 = {
    "en-g722": "59891033e764d9dffc5ccdd78e845a1c8ea6bed0b434128bb0199c63ef591770",
    "en-wav": "07ad543764567ea235d3a96dcd15ecce4521855efc295de6f5443299c331ec0b",
    "es-g722": "3c474f73cc4f65478b3cf05ab0c5da19c8ce408699f61491f6aafba450cb540a",
    "es-wav": "4486234639392254da452f03d835e89c37416367b11cc8c76bc8492151ac4ebe",
    "fr-g722": "7ff3ca96bbb295a6458e6eb1ff92690d9a5d0db0b4ddfa2c488237e4d251efbe",
    "fr-wav": "43a5d591dc3e70c2e2c0b4c41b21980efb4de4c949172ffddb03a7ae5819f8ed",
    "it-g722": "44a7fd7b067ff7f71df7fec31f9a8c960e13d35ca30c31878913c4020bfc00b6",
    "it-wav": "5dd007716a64f9599e47a9ce51ec6decb93221846d2d5b694120ae85f891ed13",
    "ru-g722": "fde2a071b811a081219138693d6813d122d91c2c3423936274b110b97645b61b",
    "ru-wav": "db52d0a1828f6ee0c211f5c30fa5b8e35753e3bcff3d9ec6fa3e1cdc833954bf",
}
VOICES = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
PROMPTS = {"en": 551, "es": 482, "fr": 511, "it": 580, "ru": 554}  # with speech, audio and text, in VERSION
OPTIONS = {"languages": [], "format": "g722", "check_counts": True, "split": "prompts"}
RARE = 3  # prompts that a word may be in to be held out
HELD_OUT = {"test": 0.1, "dev": 0.05}  # share of the rare words

TONES = re.compile(r"(silence/.*|beep|beeperr|(a|de)scending-2tone|confbridge-(join|leave)|tt-monkeys)")
BRACKETS = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")
# Transcript keys that differ from the file's; "digits/0 (2)" is the second line with that key.
RENAMED = {
    "es": {"digits/0 (2)": "digits/10", "digits/21-and": "digits/20-and", "confbridge-lock-out-0": "confbridge-lock-out"},
    "fr": {"dollars": "digits/dollars", "confbridge-lock-out-0": "confbridge-lock-out"},
}
# Transcripts that say something else than the recording, by ear.
MENDED = {
    "es": {"digits/hundred": "cien"},
    "fr": {"digits/h-80": "quatre-vingtième"},
    "it": {
        "confbridge-mute-in": "Per disattivare o riattivare la propria voce",
        "vm-then-pound": "poi premere cancelletto",
        "confbridge-mute-out": "per disattivare o riattivare la propria voce",
    },
}
# Slips of the published transcripts: what is replaced, by what is said.
SLIPS: Dict[str, List[Tuple[str, str]]] = {
    "en": [(r"\*", " star "), ("#", " pound "), (r"www\.asterisk\.org", "w w w dot asterisk dot org")],
    "es": [
        ("á", "a"),
        ("é", "e"),
        ("í", "i"),
        ("ó", "o"),
        ("ú", "u"),  # most of the file has no accents
        (r"www\.asterisk\.org", "www punto asterisk punto org"),
    ],
    "fr": [(r"\*", " étoile "), ("#", " dièse "), (r"\((ne m'appelez plus, jamais)\)", r"\1")],
    "it": [
        (r"\b(sar)\?", r"\1à"),
        (r"\b(pu)\?", r"\1ò"),
        (r"\b(cos)\?", r"\1ì"),
        (r"\b(pi)\?", r"\1ù"),
        (r"(?<=\w) \? (?=\w)", " è "),
        (r"\bE' ", "È "),
        (r"www\.asterisk\.org", "www punto asterisk punto org"),
    ],
    "ru": [(r"\((статус)\)", r"\1")],
}


def name(config: SimpleNamespace) -> str:
    """The name of the corpus in results: asterisk-en, asterisk-en+es+fr+it+ru, asterisk-en-wav, asterisk-en-words (held out)."""
    chosen = options(config, OPTIONS)
    parts = ["asterisk", "+".join(_languages(config))]
    parts += [chosen[key] for key in ("format", "split") if chosen[key] != OPTIONS[key]]
    return named("-".join(parts), config, OPTIONS, said=("languages", "format", "split"))


def tables(source: Path) -> List[Path]:
    """The files that identify a local copy: transcripts and tarballs."""
    return sorted({*source.rglob("core-sounds-??.txt*"), *source.glob("asterisk-core-sounds-*.tar.gz")})


def prepare(config: SimpleNamespace, downloads: Path, out: Path, nj: int, log: logging.Logger) -> Corpus:
    """Get the packages, pair transcripts with recordings, decode G.722 into `out`/wav."""
    chosen = options(config, OPTIONS)
    if chosen["format"] not in ("g722", "wav"):
        raise UserError(f"data.options.format={chosen['format']}: there are g722 (16 kHz) and wav (8 kHz)")
    if chosen["split"] not in ("prompts", "words"):
        raise UserError(f"data.options.split={chosen['split']}: there are prompts and words (held out of training)")
    languages = _languages(config)
    folders = _folders(config, languages, chosen["format"], downloads)
    utterances: List[Utterance] = []
    left_out: List[LeftOut] = []
    for language in languages:
        transcript, sounds = _find(folders, language, chosen["format"])
        found, missing = _pair(language, transcript, sounds, chosen["format"])
        if chosen["check_counts"] and len(found) != PROMPTS[language]:
            raise UserError(
                f"{sounds} has {len(found)} prompts with speech and text instead of {PROMPTS[language]}; get the "
                f"whole release {VERSION}, or for another one --set data.options.check_counts=false"
            )
        if chosen["split"] == "words":
            found = _hold_out(found, normaliser(config.normaliser, language))
        utterances += found
        left_out += missing
    read = [u.audio for u in utterances]
    if chosen["format"] == "g722":
        utterances = _decode(utterances, out, nj)
    return Corpus(utterances, left_out, read, first_version=1)


def _languages(config: SimpleNamespace) -> List[str]:
    languages = options(config, OPTIONS)["languages"] or [config.language]
    unknown = [language for language in languages if language not in VOICES]
    if unknown:
        raise UserError(f"asterisk has no '{unknown[0]}'; data.language and data.options.languages take {', '.join(VOICES)}")
    return sorted(set(languages))


def _folders(config: SimpleNamespace, languages: List[str], form: str, downloads: Path) -> List[Path]:
    """The folders with sounds and transcripts, downloaded and unpacked where needed."""
    sounds = {f"asterisk-core-sounds-{language}-{form}": SHA256[f"{language}-{form}"] for language in languages}
    if config.source:
        source = Path(config.source)
        archives = [archive for name in sounds for archive in sorted(source.glob(f"{name}-*.tar.gz"))]
        folders = [source, *(p for p in sorted(source.iterdir()) if p.is_dir())]
    elif download.has_apt():
        return download.debian_packages([*(f"asterisk-core-sounds-{language}" for language in languages), *sounds], downloads)
    else:
        archives, folders = [], []
        for name, sha256 in sounds.items():
            archives.append(downloads / f"{name}-{VERSION}.tar.gz")
            if not (downloads / f"{name}-{VERSION}").is_dir():
                download.fetch(URL + archives[-1].name, archives[-1], sha256)
    for archive in archives:
        folders.append(downloads / archive.name[: -len(".tar.gz")])
        if not folders[-1].is_dir():
            download.unpack(archive, folders[-1])
    return folders


def _find(folders: List[Path], language: str, form: str) -> Tuple[Path, Path]:
    """The transcript file and the folder of sounds of one language: laid out as Debian's packages, or as the official tarball."""
    text = f"core-sounds-{language}.txt"
    documents = f"usr/share/doc/asterisk-core-sounds-{language}"
    texts = [p for f in folders for p in (f / documents / f"{text}.gz", f / text) if p.is_file()]
    sounds = [
        p
        for f in folders
        for p in (f / "usr/share/asterisk/sounds" / VOICES[language], f)
        if (p / "digits" / f"1.{form}").is_file() and (p != f or (f / text).is_file())
    ]
    if not texts or not sounds:
        raise UserError(
            f"{folders[0]}: found {f'no {form} sounds' if texts else f'no {text}'} of {VOICES[language]}; give the "
            f"extracted Debian packages asterisk-core-sounds-{language} and asterisk-core-sounds-{language}-{form}, "
            f"or the official tarball asterisk-core-sounds-{language}-{form}-{VERSION}.tar.gz"
        )
    return texts[0], sounds[0]


def _pair(language: str, transcript: Path, sounds: Path, form: str) -> Tuple[List[Utterance], List[LeftOut]]:
    """Utterances of one language, and prompts with only a text or only a recording, or without speech."""
    texts = _read(transcript, language)
    files = {str(p.relative_to(sounds).with_suffix("")): p for p in sorted(sounds.rglob(f"*.{form}"))}
    by_lower = {key.lower(): key for key in files}
    said = {key if key in files else by_lower.get(key.lower(), key): text for key, text in texts.items()}
    utterances, left_out = [], []
    for key in sorted({*said, *files}):
        identity, split = f"{language}-{key.replace('/', '_')}", _split(key)
        reason = None
        if TONES.fullmatch(key):
            reason = "a tone or silence, no speech"
        elif key not in files:
            reason = "published without a recording"
        elif not said.get(key):
            reason = "published without a transcript"
        if reason:
            left_out.append(LeftOut(identity, "-", reason, by_design=True))
        else:
            utterances.append(
                Utterance(identity, split, _said(key, said[key], language), VOICES[language], language, files[key], raw=said[key])
            )
    return utterances, left_out


def _read(transcript: Path, language: str) -> Dict[str, str]:
    """Key -> text, from lines `key: text`; ';' opens a comment."""
    data = transcript.read_bytes()
    lines = (gzip.decompress(data) if transcript.suffix == ".gz" else data).decode("utf-8-sig").splitlines()
    parted = [line.partition(":") for line in lines if not line.startswith(";")]
    pairs = [(key.strip(), text.strip()) for key, colon, text in parted if colon]
    another = re.compile("(?<![\\w-])(" + "|".join(re.escape(key) for key, _ in pairs if "-" in key) + "):")
    out: Dict[str, str] = {}
    for key, text in pairs:
        if key in out:
            key += " (2)"
        if text.startswith(f"{key}:"):
            text = text[len(key) + 1 :]
        text = another.split(text)[0]  # two lines run together
        out[RENAMED.get(language, {}).get(key, key)] = text.strip()
    return out


def _said(key: str, text: str, language: str) -> str:
    """A published transcript without remarks in brackets and with its mistakes corrected."""
    text = MENDED.get(language, {}).get(key, text)
    for slip, right in SLIPS[language]:
        text = re.sub(slip, right, text)
    return BRACKETS.sub(" ", text)


def _place(key: str) -> float:
    """SHA-1, from 0 to 1."""
    return int(hashlib.sha1(key.encode()).hexdigest(), 16) / 2**160


def _hold_out(utterances: List[Utterance], normalise: Callable[[str], str]) -> List[Utterance]:
    """The utterances of one language in another split: a share of the words that few prompts have is held out of training, by the
    SHA-1 of the word, and prompts that have one of them are test, or dev.
    """
    words = [set(normalise(u.text).split()) for u in utterances]
    rare = [word for word, prompts in Counter(word for found in words for word in found).items() if prompts <= RARE]
    test = {word for word in rare if _place(word) < HELD_OUT["test"]}
    dev = {word for word in rare if HELD_OUT["test"] <= _place(word) < HELD_OUT["test"] + HELD_OUT["dev"]}
    return [replace(u, split="test" if w & test else "dev" if w & dev else "train") for u, w in zip(utterances, words)]


def _split(key: str) -> str:
    """80% train, 10% dev, 10% test by the SHA-1 of the prompt's key."""
    place = _place(key.lower())
    return "train" if place < 0.8 else "dev" if place < 0.9 else "test"


def _decode(utterances: List[Utterance], out: Path, nj: int) -> List[Utterance]:
    """The same utterances with WAV files below `out`; existing ones are kept."""

    def convert(u: Utterance) -> Utterance:
        wav = out / "wav" / u.language / f"{u.id}.wav"
        if not wav.exists():
            write_wav(wav, decode_g722(u.audio), 16000)
        return replace(u, audio=wav)

    return list(threaded(convert, utterances, nj, "decoding"))


def decode_g722(path: Path) -> np.ndarray:
    """Samples of a raw 64 kbit/s G.722 file: (T,) int16 at 16 kHz."""
    import av

    data = path.read_bytes()
    if not data:
        return np.zeros(0, dtype=np.int16)
    decoder = av.CodecContext.create("g722", "r")
    frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16, copy=False)
