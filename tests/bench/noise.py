"""Error rates beside noise: the bundle of a run hears the test set with noises that no training used, at several ratios.

    python -m tests.bench.noise --corpus asterisk --recipe wordvec_hybrid [--set K=V] --noises FOLDER

Missing stages run first. An utterance gets the same stretch of noise in every configuration, and at every ratio. Of the folder's
recordings those are used that `augment.noise` leaves for tests. Writes egs/<corpus>/noise.jsonl and noise.md.
"""

import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
from lhotse import MonoCut
from tqdm import tqdm

from tests.bench.common import configuration, corpus_folder, described, records_of, stages_until, what, write_page, write_record
from utils.audio.noises import chance, noise_files, samples_of, stretch
from utils.bundle.recogniser import Recogniser
from utils.core.languages import in_characters
from utils.core.tables import Table, as_text, number, signed, span
from utils.corpus.audio import load
from utils.corpus.cuts import read_cuts
from utils.corpus.manifests import name_digest
from utils.features.augmentation import mixed
from utils.pipeline import driver
from utils.pipeline.config import made_with
from utils.pipeline.stages import Plan
from utils.text.scoring import characters, difference, edits, error_rate, interval

BATCH = 32  # recordings


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command line; returns the exit status."""
    p = driver.parser(stages=False)
    p.add_argument("--noises", required=True, type=Path, metavar="FOLDER", help="recordings of noise")
    p.add_argument("--ratios", default="20,10,5,0", metavar="DB,DB", help="of speech to noise (default 20,10,5,0)")
    p.add_argument("--most", type=int, default=400, metavar="N", help="utterances, drawn at random (default 400)")
    return driver.with_plans(p, arguments, _run)


def _run(options, plans: Dict[str, Plan]) -> None:  # noqa: ANN001 - argparse's namespace
    stages_until("export", options)
    rate = made_with(plans["data"].out).data.sampling_rate
    cuts = sorted(read_cuts(plans["data"].out, "test"), key=lambda cut: name_digest(cut.id))[: options.most]
    speech = [load(cut)[0] for cut in cuts]
    noises = [samples_of(path, rate) for path in noise_files(options.noises, "test")]
    beside = [_noise(cut, len(samples), noises) for cut, samples in zip(cuts, speech)]
    recogniser, rows = Recogniser.open(plans["export"].out / "bundle"), []
    for ratio in (None, *map(float, options.ratios.split(","))):
        heard = speech if ratio is None else [_beside(one, other, ratio, rate) for one, other in zip(speech, beside)]
        errors = []
        for first in tqdm(range(0, len(cuts), BATCH), desc=_named(ratio), unit="batch"):
            found = recogniser.transcribe_many([(samples, rate) for samples in heard[first : first + BATCH]])
            for cut, transcript in zip(cuts[first:], found):
                errors.append(edits(_words(cut), [word.text for word in transcript.words]))
        rows.append({"ratio": ratio, "errors": errors})
    said = [len(characters(_words(cut))) for cut in cuts]
    corpus, seed = corpus_folder(plans), made_with(plans["train"].out).seed
    about = dict(seed=seed, recordings=len(noises), language=cuts[0].supervisions[0].language, said=said)
    write_record(corpus, "noise", described(options, plans, rows, **about))
    print(as_text(draw(corpus)))


def _words(cut: MonoCut) -> List[str]:
    return cut.supervisions[0].text.split()


def _noise(cut: MonoCut, length: int, noises: List[np.ndarray]) -> np.ndarray:
    """Noise for an utterance, which follows from its id."""
    return stretch(noises, length, chance(cut.id))


def _beside(speech: np.ndarray, noise: np.ndarray, ratio: float, rate: int) -> np.ndarray:
    """Speech (T,) beside noise, no louder than full scale."""
    both = mixed(speech[None], noise[None], ratio, rate)[0]
    return (both / max(1.0, float(np.abs(both).max()))).astype(np.float32)


def draw(corpus: Path) -> Table:
    """Write noise.md from noise.jsonl; returns its table."""
    records = records_of(corpus, "noise")
    ratios = list(dict.fromkeys(row["ratio"] for record in records for row in record["rows"]))
    rows = [
        [what(record), str(record["seed"]), *(_cell(record, ratio, _plain(record, records)) for ratio in ratios)]
        for record in records
    ]
    header = ["configuration", "seed", *map(_named, ratios)]
    unit = "characters" if in_characters(records[0]["language"]) else "words"
    caption = (
        f"Error rate of {unit} (%) with its 95% interval over utterances, by the ratio of speech to noise; in round brackets the "
        "difference from the same recipe without augmentation (paired bootstrap). "
        f"{len(records[0]['said'])} utterances of test, beside {records[0]['recordings']} noises that no training used."
    )
    table = Table("Noise", caption, header, rows, 2)
    write_page(corpus, "noise", [table])
    return table


def _named(ratio: Optional[float]) -> str:
    return "clean" if ratio is None else f"{ratio:g} dB"


def _plain(record: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> Optional[Mapping[str, Any]]:
    """The record of the same configuration without augmentation and denoising, if there is one."""
    own = [item for item in record["overrides"] if not item.startswith(("augment.", "features.denoise"))]
    wanted = configuration({**record, "overrides": own})
    same = [other for other in records if configuration(other) == wanted and other["overrides"] != record["overrides"]]
    return same[0] if same and same[0]["said"] == record["said"] else None


def _cell(record: Mapping[str, Any], ratio: Optional[float], plain: Optional[Mapping[str, Any]]) -> str:
    def errors_of(one: Mapping[str, Any]) -> Optional[np.ndarray]:
        return next((np.array(row["errors"]) for row in one["rows"] if row["ratio"] == ratio), None)

    errors, words = errors_of(record), np.array(record["said"])
    if errors is None:
        return number(None)
    cell = f"{number(error_rate(errors, words))} {span(*interval(errors, words))}"
    before = errors_of(plain) if plain else None
    if before is not None:
        found = difference(errors, before, words)
        cell += f" ({signed(found.value)} {span(found.low, found.high)})"
    return cell


if __name__ == "__main__":
    sys.exit(main())
