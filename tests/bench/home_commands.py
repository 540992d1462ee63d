"""Commands to a smart home in Mandarin, laid out for tests.bench.commands: sentences of aishell_sample, and synthesised ones.

    python -m tests.bench.home_commands --data exp/aishell_sample/data-0123abcd --noise kitchen.opus --to FOLDER

The grammar is home_commands.yaml beside this file. Dev and test have sentences that no network was trained on: those that it
accepts are the commands of FOLDER/recorded, and the others are in FOLDER/other_sentences. FOLDER/synthesised has sentences
drawn from it, in voices of espeak-ng, which no network was trained on either. The noise, one long recording, goes to both.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Dict, Optional, Sequence

import numpy as np
import soundfile

from utils.audio.resampling import resample
from utils.commands.speech import RATE, Speakers
from utils.commands.training import LABELS
from utils.core.files import write_json
from utils.core.options import Parser, positive
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.grammars.grammar import Command, Grammar, read_grammar
from utils.text.sentences import transcripts_normaliser

GRAMMAR = Path(__file__).with_suffix(".yaml")
LANGUAGE = "zh"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = Parser(
        prog="python -m tests.bench.home_commands", formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__
    )
    p.add_argument("--data", required=True, type=Path, metavar="FOLDER", help="of stage 0 of aishell_sample, characters as words")
    p.add_argument("--noise", required=True, type=Path, metavar="FILE")
    p.add_argument("--to", required=True, type=Path, metavar="FOLDER")
    p.add_argument("--synthesised", type=positive, default=100, metavar="N")
    options = p.parse_args(arguments)
    grammar = Grammar(read_grammar(GRAMMAR), transcripts_normaliser(options.data), LANGUAGE)
    recorded, others = {}, {}
    for cut in (cut for split in ("dev", "test") for cut in read_cuts(options.data, split)):
        meant = grammar.meaning(list(cut.supervisions[0].text.split()))
        samples = resample(np.asarray(load(cut)[0], np.float32), int(cut.sampling_rate), RATE)
        if meant is None:
            others[cut.id] = samples
        else:
            recorded[cut.id] = (samples, meant)
    drawn = list(grammar.sentences(options.synthesised, seed=1))
    said = Speakers(LANGUAGE, seed=1).say([words for words, _ in drawn])
    made = {f"synthesised-{n:03d}": (samples, meant) for n, (samples, (_, meant)) in enumerate(zip(said, drawn))}
    for name, commands in (("recorded", recorded), ("synthesised", made)):
        folder = options.to / name
        _write(folder / "clean", {key: samples for key, (samples, _) in commands.items()})
        write_json(folder / LABELS, {key: _label(meant) for key, (_, meant) in commands.items()})
        shutil.copy(GRAMMAR, folder / "grammar.yaml")
        shutil.copy(options.noise, folder / f"kitchen{options.noise.suffix}")
    _write(options.to / "other_sentences", others)
    print(f"{len(recorded)} recorded commands, {len(made)} synthesised ones, {len(others)} other sentences")
    return 0


def _write(folder: Path, sounds: Dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for name, samples in sounds.items():
        soundfile.write(folder / f"{name}.flac", samples, RATE)


def _label(meant: Command) -> Dict[str, object]:
    return {"intent": meant.intent, "slots": dict(meant.slots)}


if __name__ == "__main__":
    sys.exit(main())
