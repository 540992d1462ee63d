"""What the onnx engine takes and loses: its words beside those of stage 6, speed, memory, start; with float and int8 weights.

    python -m tests.bench.without_torch --corpus asterisk [--set KEY=VALUE]

Missing stages run first. Writes egs/<corpus>/without_torch.jsonl and without_torch.md.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from tests.bench.common import (
    also,
    corpus_folder,
    described,
    records_of,
    stages_until,
    what,
    write_page,
    write_record,
)
from utils.core.files import ROOT, read_json, read_jsonl
from utils.core.splits import EVALUATION
from utils.core.tables import Table, as_text, grouped, number
from utils.corpus.cuts import read_cuts
from utils.pipeline import driver
from utils.pipeline.stages import Plan
from utils.text.scoring import error_rate, score

DECODINGS = ("greedy", "lattice", "word_lattice")  # of the onnx engine, under the names that stage 6 has for them
PARTS = {
    "greedy": ("encoder", "greedy"),
    "lattice": ("encoder", "lattice"),
    "word_lattice": ("encoder", "greedy", "word_lattice"),
}
ALONE = """
import json, re, sys, time
from pathlib import Path
started = time.perf_counter()
import soundfile
from utils.bundle.recogniser import Recogniser
bundle, decoding, files = json.load(sys.stdin)
recogniser = Recogniser.open(bundle, engine="onnx", decoding=decoding)
about = {"start_seconds": time.perf_counter() - started, "hyps": {}, "cpu_seconds": 0.0, "audio_seconds": 0.0}
for key, path, start, duration in files:
    rate = soundfile.info(path).samplerate
    samples, _ = soundfile.read(path, start=round(start * rate), frames=round(duration * rate), dtype="float32")
    before = time.process_time()
    about["hyps"][key] = [word.text for word in recogniser.transcribe(samples, rate).words]
    about["cpu_seconds"] += time.process_time() - before
    about["audio_seconds"] += duration
# what getrusage says survives exec: it would be the memory of the process that started this one
about["peak_mb"] = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps(about))
"""


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    return driver.with_plans(driver.parser(stages=False), arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("rescore", options)
    rows = []
    for decoding in DECODINGS:
        if (plans["decode"].out / f"hyps-{decoding}-test.jsonl").exists():
            rows.append(_of_stage(plans, decoding))
    for weights in ("float", "int8"):
        chosen = also(options, f"export.int8={str(weights == 'int8').lower()}")
        stages_until("export", chosen)
        bundle = driver.planned_stages(chosen, ROOT)[1]["export"].out / "bundle"
        size = (bundle / "model.onnx").stat().st_size / 1e6
        rows += [{"weights": weights, "model_mb": size, **measured(bundle, plans, row)} for row in rows if row["engine"] == "k2"]
    corpus = corpus_folder(plans)
    write_record(corpus, "without_torch", described(options, plans, rows))
    print(as_text(draw(corpus)))


def _of_stage(plans: Dict[str, Plan], decoding: str) -> Dict[str, Any]:
    """What stage 6 made of a decoding: word errors, and the real-time factor with that of stage 1."""
    timing = {**read_json(plans["features"].out / "timing.json"), **read_json(plans["decode"].out / "timing.json")}
    factor = sum(timing[part]["seconds"] / timing[part]["audio_seconds"] for part in ("front_end", *PARTS[decoding]))
    rows = {split: read_jsonl(plans["decode"].out / f"hyps-{decoding}-{split}.jsonl") for split in EVALUATION}
    rates = {split: rate([(row["id"], row["ref"], row["hyp"]) for row in found]) for split, found in rows.items()}
    return {"engine": "k2", "decoding": decoding, "wer": rates, "real_time_factor": factor}


def measured(bundle: Path, plans: Dict[str, Plan], stage: Dict[str, Any]) -> Dict[str, Any]:
    """The same decoding by the onnx engine, in a process of its own for each split."""
    row: Dict[str, Any] = {"engine": "onnx", "decoding": stage["decoding"], "wer": {}, "unlike_stage_6": {}}
    taken: List[Dict[str, Any]] = []
    for split in EVALUATION:
        cuts = read_cuts(plans["data"].out, split)
        files = [(cut.id, str(ROOT / cut.recording.sources[0].source), cut.start, cut.duration) for cut in cuts]
        given = json.dumps([str(bundle), stage["decoding"], files])
        done = subprocess.run([sys.executable, "-c", ALONE], input=given, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(done.stderr)
        taken.append(json.loads(done.stdout))
        hyps, rows = taken[-1].pop("hyps"), read_jsonl(plans["decode"].out / f"hyps-{stage['decoding']}-{split}.jsonl")
        row["wer"][split] = rate([(one["id"], one["ref"], hyps[one["id"]]) for one in rows])
        row["unlike_stage_6"][split] = int(score((one["id"], one["hyp"], hyps[one["id"]]) for one in rows).errors.sum())
    row["real_time_factor"] = sum(t["cpu_seconds"] for t in taken) / sum(t["audio_seconds"] for t in taken)
    return {**row, "start_seconds": min(t["start_seconds"] for t in taken), "peak_mb": max(t["peak_mb"] for t in taken)}


def rate(utterances: Sequence[Tuple[str, Sequence[str], Sequence[str]]]) -> float:
    """Word error rate of utterances (id, reference, hypothesis), in percent."""
    scores = score(utterances)
    return float(error_rate(scores.errors, scores.words))


def draw(corpus: Path) -> Table:
    """Write without_torch.md of a corpus folder from without_torch.jsonl; returns its table."""
    rows = []
    for record in records_of(corpus, "without_torch"):
        for row in sorted(record["rows"], key=lambda row: DECODINGS.index(row["decoding"])):
            unlike = row.get("unlike_stage_6", {})
            rows.append(
                [
                    what(record),
                    row["decoding"],
                    " ".join((row["engine"], row.get("weights", ""))).strip(),
                    *(number(row["wer"][split], 2) for split in EVALUATION),
                    *(str(unlike[split]) if unlike else number(None) for split in EVALUATION),
                    number(row["real_time_factor"], 4),
                    number(row.get("start_seconds"), 2),
                    number(row.get("peak_mb"), 0),
                    number(row.get("model_mb"), 1),
                ]
            )
    header = ["corpus and recipe", "decoding", "engine", *(f"WER {split}" for split in EVALUATION)]
    header += [*(f"words unlike stage 6, {split}" for split in EVALUATION)]
    header += ["real-time factor", "start, s", "peak MB", "model MB"]
    caption = (
        "The best path of stage 6 (k2), and the same by the onnx engine. WER in percent. Real-time factor: processor seconds of "
        "features, network and search a second of audio, on one core. Start: wall seconds of imports and opening the bundle, the "
        "less of two runs. Peak: resident memory of the whole process. Model: model.onnx."
    )
    table = Table(f"Recognising without PyTorch and k2: {corpus.name}", caption, header, grouped(rows, 2), 3)
    write_page(corpus, "without_torch", [table])
    return table


if __name__ == "__main__":
    sys.exit(main())
