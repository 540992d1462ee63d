"""What `steps.recognise` costs, and what it loses on a long recording.

.venv/bin/python -m tests.bench.recognise --corpus asterisk --recipe wordvec_hybrid [--files 500] [--hours 1] [--set KEY=VALUE]...

Prints, for the recordings of test joined to one file without a pause between them, again and again until it lasts so long: peak
memory, and its word error rate beside that of the same recordings by themselves. Then the real-time factor of a folder of
recordings beside that of the chain in stages 1, 6 and 7 (CPU seconds of one core). Stages 0 to 9 must be complete.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np
import soundfile
from kaldialign import edit_distance

from utils.core.files import ROOT, read_json
from utils.corpus.audio import load as load_audio
from utils.corpus.cuts import read_cuts
from utils.pipeline.config import load
from utils.pipeline.stages import plan


def main() -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--corpus", required=True)
    p.add_argument("--recipe", default="wordvec_hybrid")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    p.add_argument("--files", type=int, default=500)
    p.add_argument("--hours", type=float, default=1.0)
    options = p.parse_args()
    exp = Path(os.environ.get("NUPTSE_EXP") or ROOT / "exp") / options.corpus
    inputs = {n: made.out for n, made in plan(load(options.recipe, ROOT / "egs" / options.corpus, options.set), exp).items()}
    with tempfile.TemporaryDirectory() as folder:
        _hours(Path(folder), inputs, options.hours)
        _folder(Path(folder) / "folder", inputs, options.files)


def _folder(folder: Path, inputs: Dict[str, Path], most: int) -> None:
    folder.mkdir()
    cuts = [cut for split in ("test", "dev", "train") for cut in read_cuts(inputs["data"], split)][:most]
    for cut in cuts:
        soundfile.write(str(folder / f"{cut.id}.wav"), load_audio(cut)[0], cut.sampling_rate, subtype="FLOAT")
    said, _ = _recognised(inputs["export"] / "bundle", folder)
    steps = [read_json(inputs[stage] / "timing.json") for stage in ("features", "decode", "rescore")]
    chain = sum(step["seconds"] / step["audio_seconds"] for timing in steps for step in timing.values())
    print(f"{len(cuts)} files: real-time factor {re.findall('factor ([0-9.]+)', said)[0]}, of the chain {chain:.4f}")


def _hours(folder: Path, inputs: Dict[str, Path], hours: float) -> None:
    cuts = list(read_cuts(inputs["data"], "test"))
    sounds = [load_audio(cut)[0] for cut in cuts]
    rate, texts = cuts[0].sampling_rate, [cut.supervisions[0].text.split() for cut in cuts]
    times = int(np.ceil(hours * 3600 * rate / sum(map(len, sounds))))
    path = folder / "long.wav"
    with soundfile.SoundFile(str(path), "w", rate, 1, "PCM_16") as long:
        for samples in sounds * times:
            long.write(samples)
    _, rows = _recognised(inputs["export"] / "bundle", path)
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest process
    parts = folder / "parts"
    parts.mkdir()
    for n, samples in enumerate(sounds):
        soundfile.write(str(parts / f"{n:06d}.wav"), samples, rate, subtype="FLOAT")
    alone = dict(line.split("\t") for line in _recognised(inputs["export"] / "bundle", parts)[1])
    cut_errors = sum(edit_distance(text, alone[str(parts / f"{n:06d}.wav")].split())["total"] for n, text in enumerate(texts))
    reference = [word for text in texts for word in text] * times
    errors = edit_distance(reference, " ".join(rows).split())["total"]
    print(
        f"{len(sounds) * times} recordings joined to {sum(map(len, sounds)) * times / rate / 3600:.2f} h: "
        f"peak {megabytes:.0f} MB, {100 * errors / len(reference):.2f}% WER; by themselves "
        f"{100 * cut_errors / (len(reference) / times):.2f}%"
    )


def _recognised(bundle: Path, what: Path) -> Tuple[str, List[str]]:
    """What the command says, and the lines that it prints."""
    words = [sys.executable, "-m", "steps.recognise", "--nj", "1", "--bundle", str(bundle), str(what)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stderr, done.stdout.splitlines()


if __name__ == "__main__":
    main()
