"""Does a Kaldi directory in any language run to an error rate? Every stage, with a small model, on speech made for it.

    python -m tests.bench.languages [--languages cs th ...] [--recipe wordvec_hybrid] [--work FOLDER]

Text: numbers as num2words or CLDR spell them, and names of months, days, languages and countries of CLDR (the optional package
babel, see utils/requirements/benches.txt). Nobody who does not know a language wrote a word of it. Speech: espeak-ng in four
voices; for a language without one, a tone a letter, which is marked as such: it shows that the stages run, not that they
recognise. Writes tests/bench/languages.jsonl and languages.md.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np
import soundfile

from utils.commands.espeak import RATE, Said, speak
from utils.core.files import ROOT, read_jsonl, write_jsonl, write_text
from utils.core.languages import script
from utils.core.tables import Table, as_markdown, number
from utils.core.versions import git_state
from utils.languages.ipa import voice
from utils.languages.number_words import digits, spoken
from utils.results.store import read_all

FOLDER = ROOT / "tests" / "bench"
# Languages of every script in use, among them six without a voice of espeak-ng.
LANGUAGES = (
    "en de fr es pt-BR it nl sv pl cs ro hu fi et tr az vi id sw zu yo cy eu ru uk bg sr-Cyrl kk el hy ka he ar fa ur ug hi mr "
    "bn pa gu or ta te kn ml si th lo km my dz am ti ko ja zh-CN zh-TW yue chr mn zgh"
).split()
FINAL = "wordvec"  # the decoding that all links of the chain make
VOICES = ("", "+f2", "+m3", "+f4")
SHORTEST = 0.2  # seconds of a text of two words
SMALL = (
    "features.speed_perturb=[] lang.units=char lang.lm_order=2 vectors.dim=16 model.dim=64 model.fine_layers=1 "
    "model.coarse_layers=1 model.heads=2 train.average=1 train.warmup=0 rescore.paths=8 score.bootstrap=20 "
    "export.onnx=false data.options.held_out=0.15"
).split()


def sentences(language: str, count: int, seed: int = 0) -> List[str]:
    """Different texts of two to four words or numbers of a language."""
    draw, words = random.Random(seed), _words(language)
    out: Dict[str, None] = {}
    while len(out) < count:
        part = [draw.choice(words) for _ in range(draw.randint(2, 4))]
        out.setdefault(" ".join(part))
    return list(out)


def _words(language: str) -> List[str]:
    """Numbers in words, if a library spells them, and names that CLDR has; Latin digits where there is neither."""
    out = [digits(str(n), language) for n in (*range(1, 21), 30, 40, 100, 1000)] if spoken(language) else []
    try:
        from babel import Locale, UnknownLocaleError
    except ImportError:
        return out or [str(n) for n in range(1, 30)]
    try:
        cldr = Locale.parse(language, sep="-")
        names = [name for group in (cldr.months, cldr.days) for name in group["stand-alone"]["wide"].values()]
        out += [*names, *list(cldr.languages.values())[:40], *list(cldr.territories.values())[:40]]
    except (UnknownLocaleError, ValueError):
        pass
    return [name for name in dict.fromkeys(out) if any(map(str.isalpha, name))] or [str(n) for n in range(1, 30)]


def write_corpus(folder: Path, language: str, texts: Sequence[str]) -> str:
    """A data directory train/ with speech of the texts; says what speaks."""
    named = voice(language)
    asked = [Said(text, named + VOICES[n % len(VOICES)], 165 + 10 * (n % 3)) for n, text in enumerate(texts)]
    audio = speak(asked) if named else []
    if any(len(samples) < SHORTEST * RATE for samples in audio):  # the voice does not know the script, as that of Cherokee
        named, audio = "", []
    audio = audio or [_tones(text) for text in texts]
    train = folder / "train"
    (train / "wav").mkdir(parents=True)
    rows: Dict[str, List[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
    draw = np.random.default_rng(0)
    for n, (text, samples) in enumerate(zip(texts, audio)):
        name = f"s{n % len(VOICES)}-{n:03d}"
        path = train / "wav" / f"{name}.wav"
        soundfile.write(str(path), samples + 0.001 * draw.standard_normal(len(samples)).astype(np.float32), RATE)
        for table, value in (("wav.scp", path), ("text", text), ("utt2spk", f"s{n % len(VOICES)}")):
            rows[table].append(f"{name} {value}\n")
    for table, lines in rows.items():
        (train / table).write_text("".join(lines), encoding="utf-8")
    return f"espeak-ng ({named})" if named else "a tone a letter"


def _tones(text: str) -> np.ndarray:
    time = np.arange(RATE // 12) / RATE
    return np.concatenate([0.3 * np.sin(2 * np.pi * (200 + ord(c) % 97 * 30) * time) for c in text]).astype(np.float32)


def run(language: str, work: Path, recipe: str = "wordvec_hybrid", utterances: int = 200, epochs: int = 40) -> Dict[str, Any]:
    """Run every stage on a corpus of a language, below `work`; a row of the benchmark.

    Raises:
      RuntimeError: a stage fails; with the end of what it printed.
    """
    corpus, source = work / language / "corpus", work / language / "source"
    corpus.mkdir(parents=True)
    shutil.copy(ROOT / "egs" / "kaldi_dir" / "corpus.yaml", corpus)
    said_by = write_corpus(source, language, sentences(language, utterances))
    settings = [*SMALL, f"train.epochs={epochs}", f"data.source={source}", f"data.language={language}", "data.options.name=made"]
    command = [sys.executable, "-m", "utils.pipeline.driver", "--corpus", str(corpus), "--recipe", recipe, "--nj", "1"]
    command += ["--threads", "1"]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "NUPTSE_EXP": str(work / "exp" / language)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{language}: {done.stderr[-2000:]}")
    (record,) = [one for one in read_all([corpus]) if (one["split"], one["decoding"]) == ("test", FINAL)]
    return {
        "language": language,
        "script": script(language),
        "speech": said_by,
        "normaliser": record["normaliser"],
        "wer": record["wer"],
        "cer": record.get("cer"),
        "warnings": sum("WARNING" in line for line in done.stderr.splitlines()),
    }


def write_page() -> None:
    """Write languages.md from languages.jsonl."""
    rows = read_jsonl(FOLDER / "languages.jsonl")
    table = Table(
        "Languages",
        f"{len(rows)} languages from a Kaldi directory to an error rate (%), each with a small model that learned for a minute "
        "from 140 utterances made by machines, tested on 30: what counts is that every stage runs, and "
        "that the letters of every script are learned. Made by `python -m tests.bench.languages`.",
        ("language", "script", "speech", "WER", "CER"),
        [(r["language"], r["script"], r["speech"], number(r["wer"]), number(r["cer"])) for r in rows],
        3,
    )
    write_text(FOLDER / "languages.md", as_markdown(table))


def main() -> int:
    """See the head of this file; returns the exit status: 1 where a language fails, after the others have run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--recipe", default="wordvec_hybrid")
    parser.add_argument("--work", type=Path, required=True, help="a folder for corpora and outputs, which are deleted")
    options = parser.parse_args()
    path = FOLDER / "languages.jsonl"
    rows = {row["language"]: row for row in (read_jsonl(path) if path.is_file() else [])}
    failed, state = [], git_state(ROOT)  # before the records change
    for language in options.languages:
        for folder in (options.work / language, options.work / "exp" / language):
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
        try:
            rows[language] = {**run(language, options.work, options.recipe), **state}
        except RuntimeError as error:  # its folders stay
            failed.append(language)
            print(error, flush=True)
            continue
        print(rows[language], flush=True)
        write_jsonl(path, [rows[name] for name in sorted(rows)])
        shutil.rmtree(options.work / language)
        shutil.rmtree(options.work / "exp" / language)
    write_page()
    print(f"{len(options.languages) - len(failed)} languages ran to an error rate; failed: {' '.join(failed) or 'none'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
