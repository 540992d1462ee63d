"""What pages show of results records: the table of their keys with an example, and the scores that a run prints."""

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from utils.core.errors import UserError
from utils.core.files import ROOT
from utils.core.tables import Table, as_text
from utils.pipeline.variants import display_name
from utils.reference.chinese import Language, english
from utils.results.records import SCHEMA, Record, decoding_rank, spoken
from utils.results.result_tables import run_table
from utils.results.store import CLEAN, read_file

HEADER = ("JSON key", "type", "meaning", "example")
LONGEST = 60  # characters of an example
MEANINGS: Dict[str, str] = {
    "corpus": "name of the corpus, with what its options chose",
    "source": "which of several corpora of this name; empty where there is one, or the record is older",
    "split": "test or dev",
    "recipe": "a file of recipes/",
    "overrides": "settings that differ from recipe and corpus, without the seed and where the corpus is",
    "decoding": "which words: along the chain from greedy to the last rescoring",
    "seed": "of training",
    "utterances": "in the split",
    "utterances_left_out": "of the split, that could not be scored",
    "words": "of the reference",
    "errors": "insertions, deletions and substitutions",
    "insertions": "recognised words where the reference has none",
    "deletions": "reference words where none is recognised",
    "substitutions": "reference words for which another is recognised",
    "wer": "word error rate, percent: 100 errors / words",
    "wer_interval": "its 95% interval, bootstrap over utterances",
    "cer": "character error rate, percent; null where words are the measure",
    "cer_interval": "its 95% interval",
    "characters": "the counts in characters, and the oracle; null where words are the measure",
    "oov_words": "reference words that the training text lacks",
    "oov_recall": "share of them that is right, percent",
    "iv_recall": "share of the other reference words that is right, percent",
    "oracle_wer": "word error rate of the best hypothesis in each list, or path in each lattice",
    "by_language": "counts and rates of each language, where there are several",
    "utterance_set": "names the set of utterances: digest of their ids",
    "utterance_words": "words of each utterance; in the file a digest, which a line at its top spells out",
    "utterance_errors": "errors of each utterance; in the file digits, 05(12) is 0, 5 and 12",
    "weights": "of the scores in rescoring and of the first pass, tuned on dev, with the error rate there",
    "lattice_density": "arcs a frame of the lattices",
    "confidence": "ece and nce of the confidences of words",
    "parameters": "learned in training",
    "model_mb": "of all models that recognising loads",
    "normaliser": "name, language and version",
    "seconds": "wall time of each stage",
    "peak_memory_mb": "of each stage",
    "rtf": "real-time factor of each link: processor seconds a second of audio, on one core",
    "stage_threads": "threads of each stage",
    "fingerprints": "of each stage: settings, inputs and versions; the names of their folders end with it",
    "git_commit": "at which the score stage ran: a run at it gives the same fingerprints and numbers",
    "git_commits": "of each stage",
    "git_clean": "whether all stages ran without changes of the code",
    "versions": "of packages that change results",
    "device": "cpu or a GPU",
    "machine": "processor and cores",
    "threads": "of training",
    "date": "when it was scored, UTC",
}


def keys(words: Sequence[str], language: Language = english, root: Path = ROOT) -> str:
    """The table of keys. words: folder of egs/ and system of the example, of which the last decoding on test is shown.

    Raises:
      UserError: no such record, or a key of records without a meaning here.
    """
    named = set(MEANINGS) ^ set(SCHEMA)
    if named:
        raise UserError(f"utils/reference/records.py and the keys of records differ in {', '.join(sorted(named))}")
    lines = [f"| {' | '.join(map(language, HEADER))} |", "|---|---|---|---|"]
    return "\n".join([*lines, *_rows(_of_first_seed(words, root)[-1], language)])


def scores(words: Sequence[str], root: Path = ROOT) -> str:
    """What stage 8 printed of a run on test, without the caption of the table. words: as above; the lowest seed counts.

    Raises:
      UserError: no such record.
    """
    found = _of_first_seed(words, root)
    table, last = run_table(found), found[-1]
    lines = as_text(Table("", "", table.header, table.rows, table.labels)).splitlines()
    rate = ("" if last["cer"] is None else f"CER {last['cer']:.2f}%, ") + f"WER {last['wer']:.2f}%"
    listed = f"exp/{words[0]}/score-{last['fingerprints']['score']}/errors-test-{last['decoding']}.txt"
    end = f"{rate} on {last['corpus']} test ({last['recipe']}, {last['decoding']}); errors aligned in {listed}"
    return "\n".join(["```text", *(line for line in lines if line.strip("─ ")), end, "```"])


def _of_first_seed(words: Sequence[str], root: Path) -> List[Record]:
    """The records on test of a folder of egs/ and a system, of its lowest seed, along the chain of decodings."""
    if len(words) != 2:
        raise UserError(f"'{' '.join(words)}' is not a folder of egs/ and a system")
    folder, system = words
    records = read_file(root / "egs" / folder / CLEAN)
    found = [r for r in records if r["split"] == "test" and display_name(r["recipe"], r["overrides"]) == system]
    if not found:
        raise UserError(f"no record of {system} in egs/{folder}")
    seed = min(r["seed"] for r in found)
    return sorted((r for r in found if r["seed"] == seed), key=lambda r: decoding_rank(r["decoding"]))


def _rows(example: Record, language: Language) -> List[str]:
    return [
        f"| `{key}` | {language(spoken(kind))} | {language(MEANINGS[key])} | `{_short(example[key])}` |"
        for key, kind in SCHEMA.items()
    ]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
