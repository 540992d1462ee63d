"""Does a bundle say word for word what stage 7 said, far from where it was made?

.venv/bin/python tests/bench/bundle.py take FOLDER --corpus asterisk --recipe wordvec_hybrid [--set KEY=VALUE]...
.venv/bin/python tests/bench/bundle.py compare FOLDER [--one-by-one] [--front-end MODEL]

`take` copies the bundle, the test recordings and stage 7's hypotheses to a folder, which may go to another machine; `compare`
recognises them there, and reads nothing else.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2]))

from utils.bundle.recogniser import Recogniser  # noqa: E402
from utils.core.files import ROOT, read_json, read_jsonl, write_jsonl  # noqa: E402


def take(folder: Path, options: argparse.Namespace) -> None:
    """Copy what `compare` needs."""
    from utils.corpus.audio import load
    from utils.corpus.cuts import read_cuts
    from utils.pipeline.config import load as load_config
    from utils.pipeline.stages import plan
    from utils.rescore.scores import decodings

    corpus, exp = ROOT / "egs" / options.corpus, Path(os.environ.get("NUPTSE_EXP") or ROOT / "exp")
    plans = plan(load_config(options.recipe, corpus, options.set), exp / options.corpus)
    inputs = {name: made.out for name, made in plans.items()}
    shutil.copytree(inputs["export"] / "bundle", folder / "bundle")
    (folder / "audio").mkdir()
    weights = read_json(inputs["rescore"] / "weights.json")
    last = [d.name for d in decodings() if d.name in weights and d.name != "whole_lattice"][-1]
    rows = {row["id"]: row["hyp"] for row in read_jsonl(inputs["rescore"] / f"hyps-{last}-test.jsonl")}
    listed = []
    for n, cut in enumerate(sorted(read_cuts(inputs["data"], "test"), key=lambda cut: cut.id)):
        if cut.id in rows:
            soundfile.write(folder / "audio" / f"{n:06d}.wav", load(cut)[0], cut.sampling_rate, subtype="FLOAT")
            listed.append({"file": f"{n:06d}.wav", "id": cut.id, "hyp": rows[cut.id]})
    write_jsonl(folder / "hypotheses.jsonl", listed)


def compare(folder: Path, one_by_one: bool, front_end: str) -> int:
    """Print the words that differ, and how many; returns that number."""
    rows = read_jsonl(folder / "hypotheses.jsonl")
    recordings = [soundfile.read(folder / "audio" / row["file"], dtype="float32") for row in rows]
    started = time.perf_counter()
    recogniser = Recogniser.open(folder / "bundle", front_end=front_end or None)
    opened, cpu = time.perf_counter() - started, time.process_time()
    if one_by_one:
        found = [recogniser.transcribe(*one) for one in recordings]
    else:
        found = recogniser.transcribe_many(recordings)
    spent, audio = time.process_time() - cpu, sum(len(samples) / rate for samples, rate in recordings)
    wrong = 0
    for row, transcript in zip(rows, found):
        words = [word.text for word in transcript.words]
        if words != row["hyp"]:
            from kaldialign import edit_distance

            wrong += edit_distance(row["hyp"], words)["total"]
            print(f"{row['id']}: '{' '.join(words)}', in stage 7 '{' '.join(row['hyp'])}'")
    confidences = [word.confidence for transcript in found for word in transcript.words]
    total = sum(len(row["hyp"]) for row in rows)
    print(
        f"{wrong} of {total} words differ in {len(rows)} recordings; opened in {opened:.1f} s, real-time factor "
        f"{spent / audio:.4f}, mean confidence {np.mean(confidences):.3f}"
    )
    return wrong


def main() -> int:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("action", choices=("take", "compare"))
    p.add_argument("folder", type=Path)
    p.add_argument("--corpus")
    p.add_argument("--recipe", default="wordvec_hybrid")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    p.add_argument("--one-by-one", action="store_true", help="one call a recording, without batches")
    p.add_argument("--front-end", default="", help="folder of the front end's model")
    options = p.parse_args()
    if options.action == "take":
        take(options.folder, options)
        return 0
    return int(compare(options.folder, options.one_by_one, options.front_end) > 0)


if __name__ == "__main__":
    sys.exit(main())
