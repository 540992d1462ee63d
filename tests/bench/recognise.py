"""What `steps.recognise` costs, and what it loses on a long recording.

    python -m tests.bench.recognise --corpus asterisk [--recipe wordvec_hybrid] [--set KEY=VALUE] [--files 500] [--hours 1]

The recordings of test are joined to one file without a pause between them, again and again until it lasts so long, in the order
of the list and shuffled: peak memory, and the word error rate beside that of the same recordings by themselves. Then the
real-time factor of a folder of recordings beside that of the chain in stages 1, 6 and 7 (CPU seconds of one core). Missing
stages run first. Writes egs/<corpus>/recognise.jsonl and recognise.md.
"""

import random
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import soundfile
from kaldialign import edit_distance

from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from utils.core.files import ROOT, read_json
from utils.core.tables import Table, as_text, grouped, number, signed
from utils.corpus.audio import load as load_audio
from utils.corpus.cuts import read_cuts
from utils.pipeline import driver
from utils.pipeline.stages import Plan

ORDERS = ("in order", "shuffled")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--files", type=int, default=500)
    p.add_argument("--hours", type=float, default=1.0)
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("export", options)
    with tempfile.TemporaryDirectory() as folder:
        rows = [_long(Path(folder) / order, plans, order, options.hours) for order in ORDERS]
        about = _folder(Path(folder) / "folder", plans, options.files)
    corpus = corpus_folder(plans)
    write_record(corpus, "recognise", described(options, plans, rows, **about))
    print(as_text(draw(corpus)))


def _folder(folder: Path, plans: Dict[str, Plan], most: int) -> Dict[str, Any]:
    """Real-time factors of a folder of recordings."""
    folder.mkdir()
    cuts = [cut for split in ("test", "dev", "train") for cut in read_cuts(plans["data"].out, split)][:most]
    for cut in cuts:
        soundfile.write(str(folder / f"{cut.id}.wav"), load_audio(cut)[0], cut.sampling_rate, subtype="FLOAT")
    said, _ = _recognised(plans["export"].out / "bundle", folder)
    steps = [read_json(plans[stage].out / "timing.json") for stage in ("features", "decode", "rescore")]
    chain = sum(step["seconds"] / step["audio_seconds"] for timing in steps for step in timing.values())
    factor = float(re.findall("factor ([0-9.]+)", said)[0])
    return {"files": len(cuts), "real_time_factor": factor, "real_time_factor_of_stages": chain}


def _long(folder: Path, plans: Dict[str, Plan], order: str, hours: float) -> Dict[str, Any]:
    """One long recording: its WER, that of its parts by themselves, and peak memory."""
    parts = folder / "parts"
    parts.mkdir(parents=True)
    cuts = list(read_cuts(plans["data"].out, "test"))
    sounds, rate = [load_audio(cut)[0] for cut in cuts], cuts[0].sampling_rate
    texts, taken = [cut.supervisions[0].text.split() for cut in cuts], []
    generator, left = random.Random(0), hours * 3600 * rate
    while left > 0:
        again = list(range(len(sounds)))
        if order == "shuffled":
            generator.shuffle(again)
        for n in again:
            if left > 0:
                taken.append(n)
                left -= len(sounds[n])
    path = folder / "long.wav"
    with soundfile.SoundFile(str(path), "w", rate, 1, "PCM_16") as long:
        for n in taken:
            long.write(sounds[n])
    _, lines = _recognised(plans["export"].out / "bundle", path)
    megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest process so far
    for n in set(taken):
        soundfile.write(str(parts / f"{n:06d}.wav"), sounds[n], rate, subtype="FLOAT")
    alone = dict(line.split("\t") for line in _recognised(plans["export"].out / "bundle", parts)[1])
    by_part = {n: edit_distance(texts[n], alone[str(parts / f"{n:06d}.wav")].split())["total"] for n in set(taken)}
    reference = [word for n in taken for word in texts[n]]
    errors = edit_distance(reference, " ".join(lines).split())["total"]
    return {
        "order": order,
        "recordings": len(taken),
        "hours": sum(len(sounds[n]) for n in taken) / rate / 3600,
        "wer": 100 * errors / len(reference),
        "wer_of_parts": 100 * sum(by_part[n] for n in taken) / len(reference),
        "peak_mb": megabytes,
    }


def _recognised(bundle: Path, what: Path) -> Tuple[str, List[str]]:
    """What the command says, and the lines that it prints."""
    words = [sys.executable, "-m", "steps.recognise", "--nj", "1", "--bundle", str(bundle), str(what)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stderr, done.stdout.splitlines()


def draw(corpus: Path) -> Table:
    """Write recognise.md of a corpus folder from recognise.jsonl; returns its first table."""
    long, folders = [], []
    for record in records_of(corpus, "recognise"):
        for row in record["rows"]:
            rates = (row["wer_of_parts"], row["wer"])
            figures = [*(number(rate, 2) for rate in rates), signed(rates[1] - rates[0], 2), number(row["peak_mb"], 0)]
            long.append([what(record), row["order"], str(row["recordings"]), number(row["hours"], 2), *figures])
        factors = (record["real_time_factor"], record["real_time_factor_of_stages"])
        figures = [*(number(factor, 4) for factor in factors), number(factors[0] / factors[1], 2)]
        folders.append([what(record), str(record["files"]), *figures])
    header = ["corpus and recipe", "joined", "recordings", "hours", "WER by themselves", "WER joined", "difference", "peak MB"]
    caption = (
        "Test recordings joined without a pause, repeated until the file is so long, and recognised by `steps.recognise`. WER in "
        "percent. Peak: resident memory of the largest process."
    )
    tables = [Table(f"Recognising files: {corpus.name}", caption, header, grouped(long, 1), 2)]
    header = ["corpus and recipe", "files", "real-time factor", "of the stages", "ratio"]
    caption = "A folder of recordings. Processor seconds a second of audio, on one core; of the stages: 1, 6 and 7 together."
    tables.append(Table("A folder of short recordings", caption, header, folders, 1))
    write_page(corpus, "recognise", tables)
    return tables[0]


if __name__ == "__main__":
    sys.exit(main())
