"""Finished stage folders and records around real sentences (Asterisk prompts), for tests of what comes after decoding."""

import random
from pathlib import Path
from typing import Any, Dict, List, Sequence

import yaml
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from utils.core.files import ROOT, write_json, write_jsonl
from utils.pipeline.contract import make
from utils.pipeline.stages import Plan, plan
from utils.results.records import links

SENTENCES: Dict[str, str] = {
    "agent-alreadyon": "that agent is already logged on please enter your agent number followed by the pound key",
    "agent-incorrect": "login incorrect please enter your agent number followed by the pound key",
    "agent-pass": "please enter your password followed by the pound key",
    "all-circuits-busy-now": "all circuits are busy now",
    "auth-thankyou": "thank you",
    "call-fwd-no-ans": "call forward on no answer",
    "cannot-complete-as-dialed": "your call cannot be completed as dialed",
    "check-number-dial-again": "please check the number and dial again",
    "conf-extended": "the conference has been extended",
    "conf-getchannel": "please enter the channel number followed by the pound key",
    "conf-getpin": "please enter the conference pin number",
    "conf-hasjoin": "is now in the conference",
    "conf-invalid": "that is not a valid conference number please try again",
    "conf-leaderhasleft": "the leader has left the conference",
    "conf-now-recording": "the conference is now being recorded",
    "conf-onlyperson": "you are currently the only person in this conference",
    "conf-roll-callcomplete": "playback of the list of people attending is complete",
    "conf-waitforleader": "the conference will begin when the leader arrives",
}
TRAINING_COUNTS = {
    w: 3 for k, s in SENTENCES.items() if k not in ("conf-roll-callcomplete", "conf-now-recording") for w in s.split()
}
DECODINGS = {"greedy": 0.35, "lattice": 0.25, "lm": 0.2, "wordvec": 0.15}  # and how often a word is misrecognised


def noisy(words: Sequence[str], rate: float, rng: random.Random) -> List[str]:
    """Words with substitutions, deletions and insertions, each at a third of the rate."""
    vocabulary, out = sorted(TRAINING_COUNTS), []
    for word in words:
        draw = rng.random()
        if draw < rate / 3:
            continue
        out.append(rng.choice(vocabulary) if draw < rate else word)
        if rng.random() < rate / 3:
            out.append(rng.choice(vocabulary))
    return out


def config(**changes: Any) -> Dict[str, Any]:
    """The base configuration."""
    out = yaml.safe_load((ROOT / "recipes" / "base.yaml").read_text())
    out["score"]["bootstrap"] = 200
    out.update(changes)
    return out


def finished(
    exp: Path, seed: int = 0, languages: Sequence[str] = ("en",), rates: Dict[str, float] = DECODINGS
) -> Dict[str, Plan]:
    """Write all that the score stage reads, as the contract has it; returns the plans."""
    plans = plan(config(seed=seed), exp)
    for name, planned in plans.items():
        if name not in ("score", "export"):
            planned.out.mkdir(parents=True)
            write_json(
                planned.out / "stage.json",
                {
                    "stage": name,
                    "stage_version": 1,
                    "fingerprint": planned.fingerprint,
                    "inputs": {k: p.name for k, p in planned.inputs.items()},
                    "seconds": 10.5,
                    "peak_memory_mb": 900,
                    "threads": 2,
                    "nj": 2,
                    "device": "cpu",
                    "machine": "a test, 2 cores",
                    "versions": {"python": "3.10.13", "torch": "1.13.1"},
                    "git_commit": "c" * 40,
                    "git_clean": True,
                },
            )
    (plans["features"].out / "config.yaml").write_text(yaml.safe_dump(plans["features"].config))
    data, decode, rescore = (plans[n].out for n in ("data", "decode", "rescore"))
    rng = random.Random(seed)
    sets = {
        split: {
            (f"{language}-" if len(languages) > 1 else "") + key: (text, language)
            for language in languages
            for key, text in SENTENCES.items()
        }
        for split in ("dev", "test")
    }
    for split, utterances in sets.items():
        CutSet.from_cuts([_cut(key, *item) for key, item in utterances.items()]).to_file(data / f"cuts_{split}.jsonl.gz")
        for decoding, rate in rates.items():
            folder = rescore if decoding in ("lm", "wordvec") else decode
            write_jsonl(
                folder / f"hyps-{decoding}-{split}.jsonl",
                ({"id": k, "ref": t.split(), "hyp": noisy(t.split(), rate, rng)} for k, (t, _) in utterances.items()),
            )
        write_jsonl(
            rescore / f"nbest-{split}.jsonl",
            (
                {
                    "id": k,
                    "ref": t.split(),
                    "paths": [{"words": noisy(t.split(), 0.2, rng), "am": -1.0, "lm": -1.0, "word": -1.0} for _ in range(10)],
                }
                for k, (t, _) in utterances.items()
            ),
        )
    write_json(
        data / "summary.json",
        {"name": f"asterisk-{'+'.join(languages)}", "source": "", "normaliser": "basic-" + "+".join(f"{x}-1" for x in languages)},
    )
    write_json(plans["lang"].out / "word_counts.json", TRAINING_COUNTS)
    write_json(plans["train"].out / "summary.json", {"parameters": 3_000_000})
    write_json(
        rescore / "weights.json",
        {"graph": "lattice", "lm": {"lm": 0.5, "dev_wer": 20.0}, "wordvec": {"lm": 0.5, "word": 0.3, "dev_wer": 15.0}},
    )
    write_json(decode / "density.json", {split: {"lattice": 7.25} for split in sets})
    features = plans["features"].out
    links = ((features, ("front_end",)), (decode, ("encoder", "greedy", "lattice")), (rescore, ("nbest", "word_score")))
    for folder, timed in links:
        write_json(folder / "timing.json", {link: {"seconds": 2.0, "audio_seconds": 100.0} for link in timed})
    return plans


def run_score(plans: Dict[str, Plan], corpus_dir: Path, recipe: str, overrides: Sequence[str] = ()) -> None:
    """The real score stage under the real contract."""
    make(
        plans["score"],
        corpus=corpus_dir.name,
        corpus_dir=corpus_dir,
        recipe=recipe,
        overrides=tuple(overrides),
        nj=1,
        threads=2,
        device="cpu",
    )


def record(**changes: Any) -> Dict[str, Any]:
    """A valid record with a change or two; errors by utterance are insertions."""
    errors = changes.pop("utterance_errors", [1, 0, 2, 1])
    words = changes.pop("utterance_words", [5, 5, 6, 4])
    wer = round(100 * sum(errors) / sum(words), 4)
    out = {
        "corpus": "asterisk-en",
        "source": "",
        "split": "test",
        "recipe": "bpe_ctc",
        "overrides": [],
        "decoding": "lm",
        "seed": 0,
        "utterances": len(words),
        "utterances_left_out": 0,
        "words": sum(words),
        "errors": sum(errors),
        "insertions": sum(errors),
        "deletions": 0,
        "substitutions": 0,
        "wer": wer,
        "wer_interval": [max(wer - 5, 0), wer + 5],
        "cer": None,
        "cer_interval": None,
        "characters": None,
        "lattice_density": None,
        "oov_words": 2,
        "oov_recall": 50.0,
        "iv_recall": 80.0,
        "oracle_wer": 3.0,
        "by_language": {},
        "utterance_set": "set-a",
        "utterance_words": list(words),
        "utterance_errors": list(errors),
        "weights": {},
        "parameters": 3_000_000,
        "model_mb": 12.0,
        "confidence": None,
        "normaliser": "basic-en-1",
        "seconds": dict.fromkeys(STAGES, 10.5),
        "peak_memory_mb": dict.fromkeys(STAGES, 900),
        "rtf": dict.fromkeys(links(changes.get("decoding", "lm"), "lattice"), 0.01),
        "stage_threads": dict.fromkeys(STAGES, 2),
        "fingerprints": dict.fromkeys((*STAGES, "score"), "01234567"),
        "git_commit": "c" * 40,
        "git_commits": dict.fromkeys((*STAGES, "score"), "c" * 40),
        "git_clean": True,
        "versions": {"torch": "1.13.1"},
        "device": "cpu",
        "machine": "a test, 2 cores",
        "threads": 2,
        "date": "2025-01-02T03:04:05Z",
    }
    return {**out, **changes}


STAGES = ("data", "features", "lang", "vectors", "audit", "train", "decode", "rescore")


def _cut(key: str, text: str, language: str) -> MonoCut:
    recording = Recording(key, [AudioSource("file", [0], f"{key}.wav")], 16000, 16000, 1.0)
    segment = SupervisionSegment(key, key, 0.0, 1.0, text=text, language=language, speaker=key[:4], custom={"raw": text})
    return MonoCut(key, 0.0, 1.0, 0, [segment], recording=recording)
