"""Words added to trained models without training: their recall and precision, and what they cost the other words.

    python -m tests.bench.open_vocabulary --corpus speechocean762 --recipe whisper_wordvec [--sizes 0 1000 10000] [--set K=V]

The words of dev and test that the training text lacks are added, then with them 1,000, 10,000 ... distractors, words of cmudict
that nobody says. Every list is a vocabulary pack, and stages 6 and 7 run with it. Missing stages run first. Writes
egs/<corpus>/open_vocabulary.jsonl and open_vocabulary.md.
"""

import hashlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

import kaldialign
import numpy as np
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr

from steps import add_words
from tests.bench.common import also, corpus_folder, described, must, of_model, of_run, stages_until, write_record
from tests.bench.open_vocabulary_page import draw
from utils.core.files import ROOT, read_json, read_jsonl, write_lines
from utils.core.tables import as_text
from utils.core.versions import machine
from utils.lang.confusable import confusion
from utils.lang.lexicon import read_lexicon
from utils.lang.units import cmudict, pronounce, pronunciations
from utils.lang.vocabulary import used_lang
from utils.pipeline import driver
from utils.pipeline.config import made_with
from utils.pipeline.stages import Plan
from utils.results.records import DECODINGS, result_decoding
from utils.text.scoring import GAP, error_rate, interval, score
from utils.text.sentences import held_out_words

OFTEN = 5  # occurrences of a word in test


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--sizes", type=int, nargs="+", default=[0, 1000, 10000], metavar="N", help="distractors that are added too")
    p.add_argument("--by-frequency", action="store_true", help="added words are as likely as in the language at large")
    p.add_argument("--like-vectors", metavar="PATH", help="added words occur where those with the nearest vectors do")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("rescore", options)
    base, lexicon = of_model(options), read_lexicon(plans["lang"].out)
    said = held_out_words(plans["data"].out)
    unseen = sorted(said - set(lexicon.words))
    letters = {letter for word in lexicon.words for letter in word}
    others = [w for w in cmudict() if w not in said and w not in lexicon.word_id and letters.issuperset(w)]
    if lexicon.of_phones:  # those that the phones of training can spell
        phones, spoken = set(lexicon.tokens), pronounce(others, "en")[0]
        others = [w for w in others if any(phones.issuperset(variant) for variant in spoken[w])]
    others.sort(key=lambda word: hashlib.sha256(word.encode()).digest())
    how = ["by-frequency"] if options.by_frequency else []
    command = ["--by-frequency"] if options.by_frequency else []
    if options.like_vectors:
        how.append(f"like-vectors={Path(options.like_vectors).name}")
        command += ["--like-vectors", options.like_vectors]
    packs = {}
    for size in options.sizes:  # first, because words that can't be added are refused here, before an hour of decoding
        name, added = "-".join(["unseen-and", str(size), *how]), [*unseen, *others[:size]]
        with tempfile.TemporaryDirectory() as folder:
            write_lines(Path(folder) / "words", added)
            started = time.perf_counter()
            must(add_words.main([*base, "--pack", name, "--file", str(Path(folder) / "words"), *command]))
            packs[name] = (size, added, time.perf_counter() - started)
    rows = [measure(plans, set(), None, 0.0)]
    for name, (size, added, seconds) in packs.items():
        packed = also(options, f"decode.packs=[{name}]")
        must(driver.main([*of_model(packed), *of_run(packed), "--stage", "decode", "--stop-stage", "rescore"]))
        rows.append(measure(driver.planned_stages(packed, ROOT)[1], set(added), size, seconds))
    corpus, seed = corpus_folder(plans), plans["train"].config["seed"]
    about = {"how_added": how, "seed": seed, "unseen_types": len(unseen), "model": plans["train"].fingerprint}
    record = {**described(options, plans, rows, **about), "device": "cpu", "machine": machine("cpu")}
    write_record(corpus, "open_vocabulary", record)
    for table in draw(corpus):
        print(as_text(table))


def measure(plans: Dict[str, Plan], added: Set[str], distractors: Optional[int], seconds: float) -> Dict[str, Any]:
    """Rates on test of the last decoding and, where the model has a word head, of its greedy words."""
    vocabulary, alike = set(read_lexicon(plans["lang"].out).words), homophones(plans)
    found = {
        decoding: plans[stage].out / f"hyps-{decoding}-test.jsonl"
        for stage in ("decode", "rescore")
        for decoding in DECODINGS
        if (plans[stage].out / f"hyps-{decoding}-test.jsonl").exists()
    }
    shown = [decoding for decoding in ("greedy", result_decoding(found)) if decoding in found]
    timing = {**read_json(plans["decode"].out / "timing.json"), **read_json(plans["rescore"].out / "timing.json")}
    return {
        "distractors": distractors,
        "added": len(added),
        "seconds_to_add": round(seconds, 2),
        "decodings": {decoding: rates(read_jsonl(found[decoding]), vocabulary, added, alike) for decoding in shown},
        "confusable": confusable_correlation(plans),
        "rtf": {link: round(t["seconds"] / t["audio_seconds"], 6) for link, t in timing.items()},
    }


def homophones(plans: Dict[str, Plan]) -> Dict[str, Set[str]]:
    """Word -> the words of the vocabulary, added ones included, with the same pronunciation; words that have such words."""
    lexicon = read_lexicon(used_lang(plans["lang"].out, plans["decode"].out))
    language = made_with(plans["lang"].out).data.language
    if not lexicon.of_phones and language != "en":
        return {}
    sounding: Dict[Tuple[str, ...], Set[str]] = {}
    for word, variants in pronunciations({language: lexicon.words}, lexicon).items():
        for variant in variants:
            sounding.setdefault(tuple(variant), set()).add(word)
    alike: Dict[str, Set[str]] = {}
    for words in sounding.values():
        for word in words if len(words) > 1 else ():
            alike.setdefault(word, set()).update(words - {word})
    return alike


def confusable_correlation(plans: Dict[str, Plan]) -> Optional[Dict[str, Any]]:
    """Whether the words that are expected to be confused are: Spearman's correlation between a word's highest expected confusion
    and the share of its occurrences in test recognised as another word, over words said at least `OFTEN` times.
    """
    decoded = plans["decode"].out
    if not (decoded / "words.safetensors").exists() or not (decoded / "hyps-greedy-test.jsonl").exists():
        return None
    words = read_lexicon(used_lang(plans["lang"].out, decoded)).words
    vectors = load_file(str(decoded / "words.safetensors"))["vectors"]
    scale = float(load_file(str(plans["train"].out / "model.safetensors"))["word.log_scale"].exp())
    number = {word: n for n, word in enumerate(words)}
    said: Counter = Counter()
    other: Counter = Counter()
    for row in read_jsonl(decoded / "hyps-greedy-test.jsonl"):
        for reference, recognised in kaldialign.align(row["ref"], row["hyp"], GAP):
            if reference in number:
                said[reference] += 1
                other[reference] += recognised not in (GAP, reference)
    often = [word for word in said if said[word] >= OFTEN]
    rows = torch.tensor([number[word] for word in often])
    cosines = vectors[rows] @ vectors.T
    cosines[torch.arange(len(rows)), rows] = -1.0  # not with itself
    found = spearmanr(confusion(cosines.amax(1), scale).tolist(), [other[w] / said[w] for w in often])
    return {"words": len(often), "spearman": round(float(found[0]), 4), "p": float(f"{found[1]:.3g}")}


def rates(
    rows: List[Dict[str, Any]], vocabulary: Set[str], added: Set[str], alike: Optional[Dict[str, Set[str]]] = None
) -> Dict[str, Any]:
    """WER; recall of words that training lacks; precision and false alarms of added words; WER of the words that training has,
    with all insertions; homophones: how often they are said, recognised, and confused. All but counts in percent.

    `oov_found` has a mark for every word that training lacks, 1 where it is recognised: "10 1" for two utterances.
    """
    scores = score((row["id"], row["ref"], row["hyp"]) for row in rows)
    alarms = known = wrong = ambiguous = told = taken = 0
    marks = []  # of each utterance
    for pairs in scores.alignments:
        marks.append("")
        for reference, recognised in pairs:
            hit = reference == recognised
            if reference != GAP and reference not in vocabulary:
                marks[-1] += "01"[hit]
            else:
                known, wrong = known + (reference != GAP), wrong + (not hit)
            alarms += recognised in added and not hit
            if alike and reference in alike:
                ambiguous, told, taken = ambiguous + 1, told + hit, taken + (recognised in alike[reference])
    unseen, right = (np.array(list(map(count, marks))) for count in (len, lambda mark: mark.count("1")))
    return {
        "wer": round(error_rate(scores.errors, scores.words), 3),
        "wer_interval": [round(edge, 3) for edge in interval(scores.errors, scores.words)],
        "oov_words": int(unseen.sum()),
        "oov_found": " ".join(filter(None, marks)),
        "oov_recall": round(100 * int(right.sum()) / max(int(unseen.sum()), 1), 3),
        "oov_recall_interval": [round(edge, 3) for edge in interval(right, unseen)],
        "oov_precision": round(100 * int(right.sum()) / (right.sum() + alarms), 3) if right.sum() + alarms else None,
        "false_alarms": alarms,
        "iv_wer": round(100 * wrong / max(known, 1), 3),
        "homophones": ambiguous,
        "homophones_right": round(100 * told / ambiguous, 3) if ambiguous else None,
        "homophones_taken_for_another": round(100 * taken / ambiguous, 3) if ambiguous else None,
    }


if __name__ == "__main__":
    sys.exit(main())
