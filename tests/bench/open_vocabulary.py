"""Words added to trained models without training: recall and precision of what training never had, and what it costs the rest.

    python -m tests.bench.open_vocabulary --corpus speechocean762 --recipe whisper_wordvec [--sizes 0 1000 10000] [--set KEY=VALUE]

The words of dev and test that the training text lacks are added, then with them 1,000, 10,000 ... others, of cmudict, that nobody
says. Every list is a vocabulary pack, and stages 6 and 7 run with it; the results go to egs/<corpus>/open_vocabulary/. Stages that
the model still lacks run first.
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
from tests.bench.common import also, must, of_model, of_run, spread, stages_until, write_page
from utils.core.errors import UserError
from utils.core.files import ROOT, read_json, read_jsonl, write_json, write_lines
from utils.core.versions import git_state, machine
from utils.lang.lexicon import read_lexicon
from utils.lang.linter import confusion
from utils.lang.units import cmudict, pronounce, pronunciations
from utils.lang.vocabulary import used_lang
from utils.pipeline import driver
from utils.pipeline.config import made_with
from utils.pipeline.stages import Plan
from utils.results.records import DECODINGS, named_overrides, result_decoding, suffix
from utils.results.tables import Table, as_text, grouped, number, probability, signed, span
from utils.text.scoring import GAP, difference, error_rate, interval, score
from utils.text.sentences import held_out_words

CONTROLS = {"whisper_wordvec": "whisper_bpe_ctc", "wordvec_hybrid": "bpe_ctc"}
OFTEN = 5  # occurrences of a word in test from which its rate of confusion means something


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
    if lexicon.of_phones:  # those that training's phones can say
        phones, spoken = set(lexicon.tokens), pronounce(others)[0]
        others = [w for w in others if any(phones.issuperset(variant) for variant in spoken[w])]
    others.sort(key=lambda word: hashlib.sha256(word.encode()).digest())
    how = ["by-frequency"] if options.by_frequency else []
    command = ["--by-frequency"] if options.by_frequency else []
    if options.like_vectors:
        how.append(f"like-vectors={Path(options.like_vectors).name}")
        command += ["--like-vectors", options.like_vectors]
    packs = {}
    for size in options.sizes:  # what can't be added is refused before an hour of decoding
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
    corpus = ROOT / "egs" / plans["data"].out.parent.name
    overrides, name = named_overrides(options.set), read_json(plans["data"].out / "summary.json")["name"]
    seed = plans["train"].config["seed"]
    settings = "-".join(filter(None, (options.recipe, name[len(corpus.name) + 1 :], suffix(overrides), *how, f"seed{seed}")))
    record = {
        "corpus": name,
        "recipe": options.recipe,
        "overrides": overrides,
        "how_added": how,
        "seed": seed,
        "unseen_types": len(unseen),
        "model": plans["train"].fingerprint,
        "machine": machine("cpu"),
        "rows": rows,
        **git_state(ROOT),
    }
    write_json(corpus / "open_vocabulary" / f"{settings}.json", record)
    print(as_text(of_settings(draw(corpus), " ".join(settings_of(record)))))


def draw(corpus: Path) -> Table:
    """Write open_vocabulary/README.md of a corpus's folder from the records there; returns its first table."""
    found: Dict[Tuple[str, int, str], List[Dict[str, Any]]] = {}
    records = [read_json(path) for path in sorted((corpus / "open_vocabulary").glob("*.json"))]
    for record in records:
        what = " ".join(settings_of(record))
        for row in record["rows"]:
            for decoding, rates in row["decodings"].items():
                found.setdefault((what, row["added"], decoding), []).append(rates)
    last: Dict[Tuple[str, int], str] = {}
    for what, added, decoding in found:
        last[what, added] = result_decoding([decoding, last.get((what, added), decoding)])
    header = ["corpus and recipe", "added", "decoding", "seeds", "WER", "95% interval", "IV WER", "OOV recall", "95% interval"]
    header += ["precision", "false alarms"]
    rows = {key: [key[0], str(key[1]), key[2], str(len(seeds)), *_cells(seeds)] for key, seeds in found.items()}
    results = []
    for (what, added), decoding in last.items():
        alone = found.get((what, added, "greedy"), [])
        heard = [spread([rates[key] for rates in alone]) for key in ("oov_recall", "oov_precision")]
        results.append([*rows[what, added, decoding], *heard])
    captions = (
        "Added without training: first the words of dev and test that the training text lacks, then with them words of cmudict "
        "that nobody says. Each recipe with the last decoding of its chain: WER; WER of the words that training has, insertions "
        "counted; recall of words that the training text lacks; share of the added words in the output that are right, and how "
        "many are not; recall and precision of the word-vector head alone. Means over seeds with their range; 95% bootstrap "
        "intervals over utterances, whose ends are means over seeds too; where recall has none the record is older. "
        "All but counts in percent.",
        "As above; share of the words with homophones that are taken for one of these.",
        "Recall of words that the training text lacks, by the last decoding of each chain, with the same words added in the same way: "
        "percent of them over the seeds that both have; difference in points, with the 95% interval and the two-sided p of the paired "
        "bootstrap over utterances; false alarms, means over these seeds. The control has no word vectors, so it is the same for all "
        "settings of them. Older records don't say which of the words were found, and are not here.",
    )
    both = ["corpus and recipe", "control", "added", "seeds", "OOV recall", "control's", "Δ", "Δ interval", "p"]
    both += ["false alarms", "control's alarms"]
    every = [[*rows[key], spread([rates.get("homophones_taken_for_another") for rates in found[key]])] for key in sorted(found)]
    tables = [
        Table(f"Words added to trained models: test of {corpus.name}", captions[0], [*header, "head's recall", "head's precision"],
              grouped(results, 1), 4),
        Table("All decodings", captions[1], [*header, "homophones"], grouped(every, 2), 4),
    ]  # fmt: skip
    compared = grouped(beside_control(records), 2)
    if compared:
        tables.insert(1, Table("Unseen words, beside the control without word vectors", captions[2], both, compared, 3))
    write_page(corpus / "open_vocabulary", tables, "the records by `python -m tests.bench.open_vocabulary`")
    return tables[0]


def beside_control(records: Sequence[Dict[str, Any]]) -> List[List[str]]:
    """Rows of each recipe that has records of its control with the same settings, but for `vectors`, and seeds."""
    found: Dict[Tuple[str, ...], Dict[Tuple[int, int], Dict[str, Any]]] = {}  # settings -> (words added, seed) -> rates
    for record in records:
        for row in record["rows"]:
            last = row["decodings"][result_decoding(list(row["decodings"]))]
            if "oov_found" in last:
                found.setdefault(settings_of(record), {})[row["added"], record["seed"]] = last
    rows = []
    for (corpus, recipe, *rest), own in found.items():
        control = (corpus, CONTROLS.get(recipe, ""), *(setting for setting in rest if not setting.startswith("vectors.")))
        shared = sorted(own.keys() & found.get(control, {}).keys())
        for added in sorted({added for added, _ in shared}):
            of_seeds = [(own[key], found[control][key]) for key in shared if key[0] == added]
            pairs = [tuple(rates["oov_found"].split() for rates in pair) for pair in of_seeds]
            if len({tuple(map(len, marks)) for pair in pairs for marks in pair}) != 1:
                raise UserError(f"{' '.join(control)} and its records of {recipe} are of different test sets: measure both again")
            right, theirs = (sum(np.array([m.count("1") for m in pair[n]]) for pair in pairs) for n in (0, 1))
            words = len(pairs) * np.array([len(marks) for marks in pairs[0][0]])
            delta = difference(right, theirs, words)
            recalls = (number(error_rate(part, words)) for part in (right, theirs))
            alarms = (number(sum(rates["false_alarms"] for rates in each) / len(each), 0) for each in zip(*of_seeds))
            rows.append([" ".join((corpus, recipe, *rest)), control[1], str(added), str(len(pairs)), *recalls,
                         signed(delta.value), span(delta.low, delta.high), probability(delta.p), *alarms])  # fmt: skip
    return rows


def settings_of(record: Dict[str, Any]) -> Tuple[str, ...]:
    """What was measured: corpus, recipe, and all that differs from their settings."""
    return (record["corpus"], record["recipe"], *record["overrides"], *record["how_added"])


def of_settings(table: Table, what: str) -> Table:
    """The rows of one measurement alone, of all its seeds, for a terminal's width."""
    first = [row[0] for row in table.rows].index(what)
    others = (n for n in range(first + 1, len(table.rows)) if table.rows[n][0])
    rows = table.rows[first : next(others, len(table.rows))]
    return Table(what, table.caption, table.header[1:], [row[1:] for row in rows], table.labels - 1)


def _cells(seeds: Sequence[Dict[str, Any]]) -> List[str]:
    """What some rates, of a seed each, say of one decoding."""

    def over(key: str, digits: int = 1) -> str:
        return spread([rates[key] for rates in seeds], digits)

    def ends(key: str) -> str:
        had = [rates[key] for rates in seeds if rates.get(key)]
        return span(*(sum(end) / len(had) for end in zip(*had))) if had else number(None)

    return [
        over("wer", 2),
        ends("wer_interval"),
        over("iv_wer", 2),
        over("oov_recall"),
        ends("oov_recall_interval"),
        over("oov_precision"),
        over("false_alarms", 0),
    ]


def measure(plans: Dict[str, Plan], added: Set[str], distractors: Optional[int], seconds: float) -> Dict[str, Any]:
    """Rates on test of every decoding that stands."""
    heard, alike = set(read_lexicon(plans["lang"].out).words), homophones(plans)
    decodings: Dict[str, Dict[str, Any]] = {}
    for stage in ("decode", "rescore"):
        for decoding in DECODINGS:
            path = plans[stage].out / f"hyps-{decoding}-test.jsonl"
            if path.exists():
                decodings[decoding] = rates(read_jsonl(path), heard, added, alike)
    timing = {**read_json(plans["decode"].out / "timing.json"), **read_json(plans["rescore"].out / "timing.json")}
    return {
        "distractors": distractors,
        "added": len(added),
        "seconds_to_add": round(seconds, 2),
        "decodings": decodings,
        "linter": linter_correlation(plans),
        "homophones": said_alike(plans, alike),
        "rtf": {link: round(t["seconds"] / t["audio_seconds"], 6) for link, t in timing.items()},
    }


def homophones(plans: Dict[str, Plan]) -> Dict[str, Set[str]]:
    """The words that each word of the vocabulary, added ones included, can't be told from by ear; of those that have some."""
    lexicon = read_lexicon(used_lang(plans["lang"].out, plans["decode"].out))
    language = made_with(plans["lang"].out).data.language
    if not lexicon.of_phones and language != "en":
        return {}
    sounding: Dict[Tuple[str, ...], Set[str]] = {}
    for word, variants in pronunciations(lexicon.words, lexicon, language).items():
        for variant in variants:
            sounding.setdefault(tuple(variant), set()).add(word)
    alike: Dict[str, Set[str]] = {}
    for words in sounding.values():
        for word in words if len(words) > 1 else ():
            alike.setdefault(word, set()).update(words - {word})
    return alike


def said_alike(plans: Dict[str, Plan], alike: Dict[str, Set[str]]) -> List[List[str]]:
    """Groups of homophones of which some are said in test."""
    path = next(plans["decode"].out.glob("hyps-*-test.jsonl"))
    said = {word for row in read_jsonl(path) for word in row["ref"] if word in alike}
    return sorted({tuple(sorted({word} | alike[word])) for word in said})


def linter_correlation(plans: Dict[str, Plan]) -> Optional[Dict[str, Any]]:
    """Whether words fail that the linter says would: Spearman's correlation over the words of test that the model knows and that
    are said at least `OFTEN` times, between the highest expected confusion with another word and the share recognised as another.
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
    rows: List[Dict[str, Any]], heard: Set[str], added: Set[str], alike: Optional[Dict[str, Set[str]]] = None
) -> Dict[str, Any]:
    """WER; recall of words that training lacks, precision of added words, false alarms; WER of the words that training has,
    with all insertions; how often homophones are said, right, and taken for another that sounds the same: percent.
    """
    scores = score((row["id"], row["ref"], row["hyp"]) for row in rows)
    alarms = known = wrong = ambiguous = told = taken = 0
    marks = []  # of each utterance: 1 for an unseen word that is right, 0 for another
    for pairs in scores.alignments:
        marks.append("")
        for reference, recognised in pairs:
            hit = reference == recognised
            if reference != GAP and reference not in heard:
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
