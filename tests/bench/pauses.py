"""How a long recording should be cut: settings of utils/audio/speech.py on dev, whose recordings are joined to one.

    python -m tests.bench.pauses --corpus asterisk [--recipe wordvec_hybrid] [--set KEY=VALUE] [--orders 2]

Dev is joined in the order of its list and shuffled, without a pause between recordings and with 0.3 s of faint noise. Missing
stages run first. Writes egs/<corpus>/pauses.jsonl and pauses.md: for each setting, how much more errors the joined recordings
have than the same recordings by themselves.
"""

import random
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from kaldialign import edit_distance

from tests.bench.common import corpus_folder, described, records_of, stages_until, what, write_page, write_record
from utils.audio.speech import FRAME, PAUSES, RATE, Pauses, SpeechProbability, Window, Windows
from utils.bundle.recogniser import Recogniser
from utils.core.tables import Table, as_text, grouped, number, signed
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.pipeline import driver
from utils.pipeline.stages import Plan

GAP, NOISE = 0.3, 5e-4  # seconds between recordings, and the noise there (standard deviation)
BLOCK = 60000  # samples that are pushed at once
TIGHT = Pauses(longest=8.0, pause=0.15, before=0.2, after=0.06, silence=0.5)  # what stood before, and was chosen on test
WIDE = replace(TIGHT, pause=0.35, before=0.3, after=0.3)
TRIED = (
    TIGHT,
    *(replace(WIDE, pause=pause, silence=max(0.5, pause + 0.1)) for pause in (0.25, 0.35, 0.5, 0.8)),
    replace(WIDE, before=0.15, after=0.15),
    replace(WIDE, longest=15.0),
    replace(WIDE, speech=0.5, no_speech=0.35),
)


@dataclass(frozen=True)
class Joined:
    """Recordings joined to one."""

    order: str  # list, shuffled
    gap: float  # seconds between two
    samples: np.ndarray  # (T,)
    rate: int  # Hz
    words: List[str]  # the transcript
    probabilities: np.ndarray  # of speech, of every frame


class Known:
    """Probabilities of speech that were computed before, as `Windows` asks for them; of samples of 16 kHz."""

    def __init__(self, probabilities: np.ndarray) -> None:
        self._left, self._samples, self._at = probabilities, 0, 0

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Those of the frames that (T,) more samples complete."""
        self._samples += len(samples)
        before, self._at = self._at, self._samples // FRAME
        return self._left[before : self._at]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--orders", type=int, default=2, metavar="N", help="shuffled orders besides that of the list (default 2)")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("export", options)
    recogniser = Recogniser.open(plans["export"].out / "bundle")
    cuts = list(read_cuts(plans["data"].out, "dev"))
    sounds = [(load(cut)[0], cut.sampling_rate) for cut in cuts]
    texts = [cut.supervisions[0].text.split() for cut in cuts]
    said = [[word.text for word in one.words] for one in recogniser.transcribe_many(sounds)]
    alone = sum(edit_distance(text, words)["total"] for text, words in zip(texts, said))
    rows = measured(recogniser, joined(sounds, texts, options.orders), TRIED)
    about = {"alone": 100 * alone / sum(map(len, texts)), "words": sum(map(len, texts)), "chosen": asdict(PAUSES)}
    corpus = corpus_folder(plans)
    write_record(corpus, "pauses", described(options, plans, rows, **about))
    print(as_text(draw(corpus)))


def joined(sounds: Sequence[Tuple[np.ndarray, int]], texts: Sequence[List[str]], orders: int) -> List[Joined]:
    """The recordings as one, in the given order and in shuffled ones, with and without gaps."""
    out, rate = [], sounds[0][1]
    for seed in range(orders + 1):
        order = list(range(len(sounds)))
        if seed:
            random.Random(seed).shuffle(order)
        for gap in (0.0, GAP):
            noise = np.random.default_rng(seed).normal(0, NOISE, round(gap * rate)).astype(np.float32)
            samples = np.concatenate([part for n in order for part in (sounds[n][0], noise)])
            name = "shuffled" if seed else "list"
            words = [word for n in order for word in texts[n]]
            out.append(Joined(name, gap, samples, rate, words, SpeechProbability(rate)(samples)))
    return out


def measured(recogniser: Recogniser, recordings: Sequence[Joined], tried: Sequence[Pauses]) -> List[Dict[str, Any]]:
    """A row for each setting: number of windows and word error rate of each recording. A window is recognised once."""
    rows = []
    known: Dict[Tuple[int, float, int], List[str]] = {}
    for pauses in tried:
        cut = [_windows(recording, pauses) for recording in recordings]
        keys = [[(n, w.start, len(w.samples)) for w in windows] for n, windows in enumerate(cut)]
        new = {key: w for row, windows in zip(keys, cut) for key, w in zip(row, windows) if key not in known}
        rate = recordings[0].rate
        found = recogniser.transcribe_many([(w.samples, rate) for w in new.values()])
        known.update((key, [word.text for word in one.words]) for key, one in zip(new, found))
        results = []
        for recording, row in zip(recordings, keys):
            said = [word for key in row for word in known[key]]
            errors = edit_distance(recording.words, said)["total"]
            about = {"order": recording.order, "gap": recording.gap, "windows": len(row)}
            results.append({**about, "wer": 100 * errors / len(recording.words)})
        rows.append({"pauses": asdict(pauses), "recordings": results})
    return rows


def _windows(recording: Joined, pauses: Pauses) -> List[Window]:
    probability = Known(recording.probabilities) if recording.rate == RATE else None
    cutter, out = Windows(recording.rate, pauses, probability), []  # type: Windows, List[Window]
    for start in range(0, len(recording.samples), BLOCK):
        out += cutter.push(recording.samples[start : start + BLOCK])
    return [*out, *cutter.finish()]


def draw(corpus: Path) -> Table:
    """Write pauses.md of a corpus folder from pauses.jsonl; returns its table."""
    rows = []
    for record in records_of(corpus, "pauses"):
        for row in record["rows"]:
            pauses, losses = row["pauses"], [(one, one["wer"] - record["alone"]) for one in row["recordings"]]
            chosen = " (chosen)" * (pauses == record["chosen"])
            rows.append(
                [
                    what(record),
                    number(record["alone"]),
                    f"{pauses['pause']:g} s{chosen}",
                    f"{pauses['longest']:g} s",
                    f"{pauses['before']:g} s, {pauses['after']:g} s",
                    f"{pauses['speech']:g}, {pauses['no_speech']:g}",
                    *(_mean(losses, order, gap) for order in ("list", "shuffled") for gap in (0.0, GAP)),
                    signed(float(np.mean([loss for _, loss in losses])), 2),
                ]
            )
    header = ["corpus and recipe", "WER", "pause", "longest window", "before, after", "speech"]
    header += ["in order", "in order, pauses", "shuffled", "shuffled, pauses", "mean"]
    caption = (
        "Dev joined to one recording. WER: of its recordings by themselves, in percent. The other figures: how many points more "
        f"the joined recording has, in the order of the list and shuffled, without a pause and with {GAP:g} s of faint noise "
        "between recordings; mean: of all of them. Pause: seconds without speech that end a window. Before, after: what "
        "a window keeps around speech, at most half of the pause. Speech: probabilities at which it begins and ends."
    )
    table = Table(f"How long recordings are cut: {corpus.name}", caption, header, grouped(rows, 2), 6)
    write_page(corpus, "pauses", [table])
    return table


def _mean(losses: Sequence[Tuple[Mapping[str, Any], float]], order: str, gap: float) -> str:
    had = [loss for one, loss in losses if (one["order"], one["gap"]) == (order, gap)]
    return signed(float(np.mean(had)), 2) if had else number(None)


if __name__ == "__main__":
    sys.exit(main())
